"""`redct report`, on a small study that went through all commands, and on studies that did not."""

import hashlib
import json
import shutil
import zipfile
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from cli.commands import run
from cli.conftest import LABELS, write_corpus

from redct.cli.main import main
from redct.edge.abstention import Abstention
from redct.experts import Ledger
from redct.files import sha256
from redct.hub.store import read_labels

RUN = Path("runs/study")
VOID = {"meta", "br", "hr", "img", "input", "link"}
SELF_CLOSED = {"rect", "line", "path", "polyline", "polygon"}
HOSTILE = "<script>fetch('https://evil.example')</script><img src=x onerror=alert(1)> {{ 7 * 7 }} \x01 bad awful"


class Page(HTMLParser):
    """What a browser would see: elements, their attributes, the text of each kind."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID | SELF_CLOSED:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if data.strip() and self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def reported(capfd) -> tuple[str, dict, str]:
    """The page, the numbers and what was printed."""
    capfd.readouterr()
    assert run("report") == 0
    numbers = json.loads((RUN / "report.json").read_text())
    return (RUN / "report.html").read_text(), numbers, capfd.readouterr().out


def write_bundle() -> None:
    """What of `redct export --max_error` the report reads; the command itself takes its time."""
    abstention = Abstention([0.5] * 3, 0.1, 0.05, False, 60, 30, 1, 0.5, [0.04], [7])
    digest = sha256(RUN / "checkpoints" / "best.ckpt")
    bundle = {
        "sha256": "0" * 64, "precision": "int8", "temperature": 1.3, "max_length": 32, "abstention": asdict(abstention),
        "parity": {"documents": 100, "agreement": 0.99},
        "provenance": {"training": {"encoder": "tiny", "checkpoint_sha256": digest}},
    }  # fmt: skip
    (RUN / "edge").mkdir()
    (RUN / "edge" / "bundle.json").write_text(json.dumps(bundle))


def svgs(text: str) -> list[ET.Element]:
    return [ET.fromstring("<svg " + part.split("</svg>")[0] + "</svg>") for part in text.split("<svg ")[1:]]


def test_a_whole_study(study, capfd) -> None:
    rows = [json.loads(line) for line in Path("test.jsonl").read_text().splitlines()]
    Path("test.jsonl").write_text("\n".join(json.dumps({**row, "text": f"{HOSTILE} {row['text']}"}) for row in rows))
    content = yaml.safe_load(study.read_text())
    content["data"]["experts"]["budget"] = 50
    study.write_text(yaml.safe_dump(content))
    for command in ("predict", "fit", "test", "estimate"):
        assert run(command) == 0
    write_bundle()
    text, numbers, out = reported(capfd)
    _check_page(text)
    page = Page(text)
    figures = page.tags.count("figure")
    assert figures >= 11
    assert page.tags.count("figcaption") == page.tags.count("svg") == figures
    _check_numbers(numbers, page)
    assert [each["what"] for each in numbers["missing"]] == ["agreement of experts"]
    assert "threshold of the bundle" in page.texts["text"]
    diagrams = [f"Reliability of the {rater}, before and after correction" for rater in ("LLM", "edge classifier")]
    assert [title for title in page.texts["title"] if title.startswith("Reliability")] == diagrams
    assert "not there: agreement of experts: redct annotate --config study.yaml" in out
    assert "report: runs/study/report.html" in out
    _check_archive(capfd)


FOLLOWS = {
    "llm", "margins", "experts", "targets", "edge", "rescaled", "estimates.estimates",
    *(f"metrics.{name}" for name in (
        "scores", "classes", "differences", "confusion", "probabilities", "ceilings", "substitutions"
    )),
}  # fmt: skip


def differences(one: object, other: object, place: str = "") -> set[str]:
    """Where two JSON trees differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [(f".{key}", one.get(key), other.get(key)) for key in one.keys() | other.keys()]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [("[]", *pair) for pair in zip(one, other, strict=True)]
    else:
        return set() if one == other else {place}
    return set().union(*(differences(a, b, place + key) for key, a, b in pairs))


def _check_archive(capfd) -> None:
    """Made again elsewhere, the report has the same numbers; without texts, or with a number changed, it says so."""
    assert run("report", "--bundle_evidence", "--texts") == 0
    numbers = json.loads((RUN / "report.json").read_text())
    shutil.copy(RUN / "evidence.zip", "full.zip")
    assert main(["report", "--from", "full.zip", "--to", "elsewhere/again"]) == 0
    again = Path("elsewhere/again")
    assert differences(json.loads((again / "report.json").read_text()), numbers) == set()
    assert (again / "report.html").read_text() == (RUN / "report.html").read_text()
    with Ledger(again / "experts.sqlite") as copy, Ledger(RUN / "experts.sqlite") as own:
        assert copy.answers() == own.answers() != []
        assert copy.rounds() == own.rounds() != []
    assert read_labels(again / "labels-0", LABELS).ids == read_labels(RUN / "labels", LABELS).ids
    assert "evil" in pq.read_table(again / "documents.parquet").to_pandas().text.str.cat()
    assert set(json.loads((again / "evidence.json").read_text())["follows"]) == FOLLOWS
    assert main(["report", "--from", "full.zip", "--to", "elsewhere/again"]) == 2
    assert "is there already" in capfd.readouterr().err
    assert run("report", "--bundle_evidence") == 0
    assert main(["report", "--from", str(RUN / "evidence.zip"), "--to", "bare"]) == 0
    written = [file.read_bytes() for file in Path("bare").rglob("*") if file.is_file()]
    assert not any(b"evil" in each for each in written)
    bare, whole = (json.loads((folder / "report.json").read_text()) for folder in (Path("bare"), RUN))
    assert differences(bare, whole) == {".metrics.mistakes[].text", ".metrics.mistakes[].context.target"}
    assert differences(whole, numbers) <= {".created"}
    _check_readme()
    for change in ("hash", "number"):
        altered(Path("full.zip"), Path(f"{change}.zip"), change)
        assert main(["report", "--from", f"{change}.zip"]) == 2
        told = {"hash": "report.json was altered", "number": "metrics.scores in report.json do not follow from"}
        assert told[change] in capfd.readouterr().err
        assert not Path(change).exists()


def _check_readme() -> None:
    """The archive says what is in it, the probabilities of all models on all documents among it, and what is not."""
    readme = Path("bare/README.md").read_text()
    files = {str(file.relative_to("bare")) for file in Path("bare").rglob("*") if file.is_file()}
    named = [line.split("`")[1] for line in readme.splitlines() if line.startswith("- `")]
    absent = {"out_of_fold.parquet"}
    assert {file for file in files if not any(Path(file).match(name) for name in named)} <= {
        "README.md", "report.html", *(file for file in files if file.startswith(("labels-", "configs/")))
    }  # fmt: skip
    assert absent <= set(named) - files
    assert "`out_of_fold.parquet`: `redct estimate --labels edge`" in readme
    assert "texts of the documents: `redct report --bundle_evidence --texts`" in readme
    corpus = [json.loads(line)["id"] for line in Path("train.jsonl").read_text().splitlines()]
    said = pq.read_table("bare/edge_labels.parquet").to_pandas()
    assert said.id.tolist() == corpus
    trained = pq.read_table("bare/targets.parquet").to_pandas().set_index("id").part
    assert said.served.tolist() == [trained[each] for each in corpus]
    assert np.stack(said.probs).sum(axis=1) == pytest.approx(np.ones(90), abs=1e-5)
    assert said.label.tolist() == [LABELS[row.argmax()] for row in said.probs]


def test_answers_of_a_file_are_in_the_archive_and_its_other_columns_are_not(study) -> None:
    lines = [f"d{n},{LABELS[n % 3]},ann,secret" for n in range(40)]
    Path("answers.csv").write_text("\n".join(["id,label,annotator,remark", *lines]))
    content = yaml.safe_load(study.read_text())
    content["data"]["experts"]["answers"] = "answers.csv"
    study.write_text(yaml.safe_dump(content))
    assert run("predict") == 0
    assert run("report", "--bundle_evidence") == 0
    assert main(["report", "--from", str(RUN / "evidence.zip"), "--to", "again"]) == 0
    written = Path("again/answers.csv").read_text()
    assert "d39" in written
    assert "secret" not in written
    follows = json.loads(Path("again/evidence.json").read_text())["follows"]
    assert set(follows) == {"llm", "margins", "experts", "edge"}
    readme = Path("again/README.md").read_text()
    assert "the edge classifier: `redct fit" in readme
    assert "`out_of_fold.parquet`: `redct estimate --labels edge`" in readme


def altered(archive: Path, to: Path, what: str) -> None:
    """Copies an archive with another accuracy; for `number` with a hash that fits it."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(to, "w") as new:
        files = {name: old.read(name) for name in old.namelist()}
        numbers = json.loads(files["report.json"])
        numbers["metrics"]["scores"]["edge classifier"]["accuracy"]["value"] = 0.99
        files["report.json"] = json.dumps(numbers).encode()
        if what == "number":
            listed = json.loads(files["evidence.json"])
            listed["files"]["report.json"] = hashlib.sha256(files["report.json"]).hexdigest()
            files["evidence.json"] = json.dumps(listed).encode()
        for name, content in files.items():
            new.writestr(name, content)


def test_what_is_no_archive_is_refused(study, capfd) -> None:
    assert main(["report", "--from", "study.yaml"]) == 2
    assert "study.yaml: no archive of `redct report --bundle_evidence`" in capfd.readouterr().err
    assert main(["report", "--from", "none.zip"]) == 2
    assert run("report", "--texts") == 2
    assert "--texts: says what is in an archive" in capfd.readouterr().err
    assert not Path("study").exists()


def _check_page(text: str) -> None:
    """Self-contained, well-formed, nothing of a document's text at work, every figure with its alternative."""
    page = Page(text)
    assert page.open == []
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    links = [value for name, value in page.attributes if name in ("href", "src", "xlink:href", "action")]
    assert all(str(value).startswith("#") for value in links)
    assert "url(" not in text
    assert "@import" not in text
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {str(value)[1:] for value in links} <= set(ids)
    for svg in svgs(text):
        assert svg.get("role") == "img"
        assert svg[0].text
        assert svg[1].text
    assert all(caption.strip().endswith((".", ").")) for caption in page.texts["figcaption"])


def _check_numbers(numbers: dict, page: Page) -> None:
    metrics = json.loads((RUN / "metrics.json").read_text())
    assert numbers["metrics"] == metrics
    assert numbers["estimates"] == json.loads((RUN / "estimates.json").read_text())
    assert numbers["calibration"] == json.loads((RUN / "calibration.json").read_text())
    assert numbers["llm"]["labels"] == dict(zip(LABELS, (30, 30, 30), strict=True))
    assert numbers["experts"]["documents"] == 50
    assert numbers["stores"][0]["time"]["documents"] == 121
    assert "documents a second" in " ".join(page.texts["td"])
    assert sum(numbers["margins"]["documents"]) == 90
    assert sum(numbers["margins"]["chosen"]) == 50
    assert (
        sum(numbers["targets"]["parts"]["train"].values()) + sum(numbers["targets"]["parts"]["validation"].values())
        == 90
    )
    assert numbers["learning"]["answered"] == 50
    assert numbers["bundle"]["parity"]["agreement"] == 0.99
    assert len(numbers["training"]["epochs"]) == 2
    score = metrics["scores"]["edge classifier"]["macro_f1"]["value"]
    assert f"macro-F1 of {100 * score:.1f} %" in numbers["headline"]["why"]
    assert numbers["headline"]["why"] in " ".join(page.texts["p"])
    for words in (
        "90 documents",
        "50 (55.6 %)",
        "margin_randomised, seed 1",
        "31 held-out documents",
        "int8 ONNX",
        "It answers 50.0 % of documents",
    ):
        assert words in numbers["methods"]
    assert "{{ 7 * 7 }}" in " ".join(page.texts["td"])


def test_a_study_that_has_nothing_yet_says_how_to_go_on(study, capfd) -> None:
    text, numbers, _ = reported(capfd)
    _without_figures = Page(text)
    assert numbers["headline"]["verdict"] == "Not known yet"
    assert numbers["metrics"] is numbers["llm"] is numbers["bundle"] is None
    commands = {each["command"].split()[1] for each in numbers["missing"]}
    assert commands >= {"predict", "fit", "test", "export", "estimate"}
    assert all(each["command"].endswith("--config study.yaml") for each in numbers["missing"])
    for each in numbers["missing"]:
        assert each["command"] in " ".join(_without_figures.texts["code"])


def test_scores_of_another_checkpoint_are_not_shown(study, capfd) -> None:
    assert run("predict") == 0
    (RUN / "checkpoints").mkdir()
    (RUN / "checkpoints" / "best.ckpt").write_text("other weights")
    (RUN / "metrics.json").write_text(json.dumps({"checkpoint_sha256": "0" * 64, "differences": []}))
    _, numbers, _ = reported(capfd)
    assert numbers["metrics"] is None
    (lacking,) = [each for each in numbers["missing"] if each["section"] == "quality" and "scores" in each["what"]]
    assert "another checkpoint" in lacking["why"]


def test_a_broken_file_is_refused_in_one_line(study, capfd) -> None:
    RUN.mkdir(parents=True)
    (RUN / "estimates.json").write_text("{")
    assert run("report") == 2
    assert "runs/study/estimates.json: not valid JSON" in capfd.readouterr().err
    assert not (RUN / "report.html").exists()


@pytest.mark.parametrize("experts", [None, {"budget": 0}, {"budget": 5, "answers": "ledger"}])
def test_a_study_without_answers(study, capfd, experts) -> None:
    content = yaml.safe_load(study.read_text())
    content["data"]["experts"] = experts
    study.write_text(yaml.safe_dump(content))
    write_corpus(Path("test.jsonl"), 4, start=90)
    assert run("predict") == 0
    text, numbers, _ = reported(capfd)
    _check_page(text)
    assert numbers["experts"] is None
    assert sum(numbers["margins"]["chosen"]) == 0
