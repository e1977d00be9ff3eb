"""`redct export`: from a trained study to a bundle that answers alike."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from cli.commands import refused, run

from redct.cli.main import main
from redct.documents import read_documents
from redct.edge import Bundle
from redct.hub.store import LabelStore
from redct.task import load_task

RUN = Path("runs/study")
EDGE = RUN / "edge"


@pytest.fixture
def trained(study: Path) -> Path:
    """The study, trained; in the working directory."""
    for command in ("predict", "fit"):
        assert run(command) == 0
    return study


def test_a_study_becomes_a_bundle_that_answers_alike(trained: Path, capfd) -> None:
    assert run("test") == 0
    capfd.readouterr()
    assert run("export") == 0
    out = capfd.readouterr().out
    assert "parity of int8 and checkpoint" in out
    info = json.loads((EDGE / "bundle.json").read_text())
    assert info["labels"] == ["against", "for", "neutral"]
    assert info["columns"]["context"] == {"target": "target"}
    assert info["parity"]["documents"] == 121  # all there are
    assert info["temperature"] == 1.0  # validated on the LLM's labels
    assert info["abstention"] is None
    assert info["provenance"]["experts"] == {"asked": "gold", "strategies": ["margin_randomised"], "answers": 18}
    for name, digest in info["files"].items():
        assert hashlib.sha256((EDGE / name).read_bytes()).hexdigest() == digest
    assert {path.name for path in EDGE.iterdir()} == {*info["files"], "bundle.json"}

    test = read_documents("test.jsonl", load_task("task.yaml")).documents
    answers = Bundle(EDGE).classify([d.text for d in test], [d.context for d in test])
    from transformers import pipeline

    pipe = pipeline("text-classification", str(RUN / "checkpoints" / "best"), top_k=None, truncation=True)
    for n, document in enumerate(test):
        scores = {
            each["label"]: each["score"] for each in pipe({"text": document.text, "text_pair": document.context_text()})
        }
        assert answers.probs[n] == pytest.approx([scores[label] for label in info["labels"]], abs=0.01)

    card = (EDGE / "README.md").read_text()
    metrics = json.loads((RUN / "metrics.json").read_text())
    accuracy = metrics["scores"]["edge classifier"]["accuracy"]["value"]
    assert f"| edge classifier | {100 * accuracy:.1f} [" in card
    for fact in (
        "Stance towards {target}?",
        "18 answers (gold); documents chosen by margin_randomised",
        "ImportedLabels",
        "it answers every document",
    ):
        assert fact in card
    handed_on = info["provenance"]["test"]
    assert handed_on == {name: metrics[name] for name in handed_on}
    assert {"scores", "confusion"} < set(handed_on)
    assert "mistakes" in metrics
    assert "mistakes" not in handed_on  # texts of documents stay here


def test_answers_of_a_file_are_not_said_to_be_chosen_by_a_strategy(study: Path) -> None:
    Path("answers.csv").write_text("id,label\nd1,against\nd2,for\n")
    file = ("--data.experts.answers", str(Path("answers.csv").absolute()))
    for command in ("predict", "fit", "export"):
        assert run(command, *(() if command == "predict" else file)) == 0
    experts = json.loads((EDGE / "bundle.json").read_text())["provenance"]["experts"]
    assert experts == {"asked": "answers.csv", "strategies": [], "answers": 2}


def test_scores_of_another_checkpoint_are_not_claimed(trained: Path) -> None:
    assert run("test") == 0
    assert run("fit", "--model.weight_decay", "0.3") == 0
    assert run("export", "--model.weight_decay", "0.3") == 0
    assert "Not measured" in (EDGE / "README.md").read_text()


def test_without_a_checkpoint_nothing_is_exported(study: Path, capfd) -> None:
    assert "make one with `redct fit`" in refused(capfd, "export")
    assert not EDGE.exists()


def test_what_does_not_answer_alike_is_refused_and_auto_goes_on(
    trained: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redct.edge.parity.MOST_DIFFERENCE", 1e-6)
    line = refused(capfd, "export", "--precision", "int8")
    assert "int8 does not answer as the checkpoint does: " in line
    assert "mean difference of a probability 0.0" in line
    assert line.endswith("--precision auto takes a finer one where it must")
    assert not EDGE.exists()
    assert run("export") == 0
    out = capfd.readouterr().out
    assert "int8 does not answer as the checkpoint does" in out
    assert "int8_residual does not answer as the checkpoint does" in out
    assert json.loads((EDGE / "bundle.json").read_text())["precision"] == "fp32"


def test_a_bundle_that_is_there_stays_until_the_new_one_is_whole(
    trained: Path, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("export", "--license", "cc-by-4.0") == 0
    before = (EDGE / "bundle.json").read_bytes()
    assert "license: cc-by-4.0" in (EDGE / "README.md").read_text()
    monkeypatch.setattr("redct.edge.parity.LEAST_AGREEMENT", 1.1)
    refused(capfd, "export", "--precision", "fp32")
    assert (EDGE / "bundle.json").read_bytes() == before
    assert not EDGE.with_name("edge.tmp").exists()
    Bundle(EDGE)


def test_a_folder_that_is_no_export_is_never_replaced(trained: Path, capfd) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    for form in ("bundle", "huggingface"):
        assert "mine: is there already and has no " in refused(capfd, "export", "--to", "mine", "--format", form)
    assert "expected an earlier export, or a new folder" in refused(capfd, "export", "--to", "mine/thesis.txt")
    assert Path("mine/thesis.txt").read_text() == "years of work"


def test_a_folder_for_transformers_and_hubs(trained: Path, capfd) -> None:
    assert run("export", "--format", "huggingface", "--to", "hub") == 0
    from transformers import pipeline

    pipe = pipeline("text-classification", "hub")
    assert pipe({"text": "stop it", "text_pair": "target: tea"})["label"] in ("against", "for", "neutral")
    front = next(yaml.safe_load_all(Path("hub/README.md").read_text()))
    assert front["pipeline_tag"] == "text-classification"
    assert "base_model" not in front  # the encoder is a folder of this machine, and no hub's


def reserved(study: Path, count: int = 300) -> None:
    """Gives the study a reserve: a file of other documents."""
    lines = [
        json.dumps({"id": f"r{n}", "text": f"reserved {n} {('bad', 'good', 'when')[n % 3]}", "target": "tea"})
        for n in range(count)
    ]
    golds = ("against", "for", "neutral")
    rows = [json.loads(line) | {"stance": golds[n % 3]} for n, line in enumerate(lines)]
    Path("reserve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = yaml.safe_load(study.read_text())
    content["data"]["reserve"] = "reserve.jsonl"
    study.write_text(yaml.safe_dump(content))


def test_a_bundle_that_abstains_defers_to_the_hub(study: Path, capfd) -> None:
    reserved(study)
    for command in ("predict", "fit"):
        assert run(command) == 0
    # A random encoder is right by chance, one time in three.
    assert run("export", "--max_error", "0.78") == 0
    assert "at most 78.0% of the answers are wrong, with probability 95.0%" in capfd.readouterr().out
    info = json.loads((EDGE / "bundle.json").read_text())
    chosen = info["abstention"]
    assert chosen["documents"] == 300
    assert chosen["answered"] == round(300 * chosen["coverage"])
    assert len(set(chosen["thresholds"])) == 1
    assert "reserve.jsonl, 300 rows" in (EDGE / "README.md").read_text()

    documents = read_documents("reserve.jsonl", load_task("task.yaml")).documents
    answers = Bundle(EDGE).classify([d.text for d in documents], [d.context for d in documents])
    said = ~answers.abstained
    assert said.sum() == chosen["answered"]
    wrong = sum(answers.labels[n] != documents[n].gold for n in np.flatnonzero(said))
    assert wrong == chosen["errors"]
    from scipy.stats import binom

    assert binom.cdf(wrong, said.sum(), 0.78) == pytest.approx(chosen["p_values"][0])
    assert chosen["p_values"][0] <= 0.05


def test_what_the_edge_leaves_is_labeled_at_the_hub(study: Path, capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    reserved(study)
    for command in ("predict", "fit"):
        assert run(command) == 0
    assert run("export", "--max_error", "0.78") == 0
    # Whatever the threshold of a random encoder is, half of the documents are below their own median.
    info = json.loads((EDGE / "bundle.json").read_text())
    documents = read_documents("test.jsonl", load_task("task.yaml")).documents
    probs = Bundle(EDGE).classify([d.text for d in documents], [d.context for d in documents]).probs
    info["abstention"]["thresholds"] = [float(np.median(probs.max(axis=1)))] * 3
    from redct.edge.bundle import seal

    seal(EDGE, {key: value for key, value in info.items() if key not in ("sha256", "schema", "redct", "files")})
    assert main(["classify", str(EDGE), "test.jsonl", "--output", "labeled.jsonl"]) == 0
    labeled = [json.loads(line) for line in Path("labeled.jsonl").read_text().splitlines()]
    left = [row["id"] for row in labeled if row["edge_source"] == "deferred"]
    assert 5 < len(left) < 26
    assert all(row["edge_label"] is None for row in labeled if row["id"] in left)

    content = yaml.safe_load(study.read_text())
    content["data"]["predict"] = "deferred.jsonl"
    content["trainer"]["default_root_dir"] = "runs/deferred"
    study.write_text(yaml.safe_dump(content))
    assert run("predict") == 0
    answered = LabelStore("runs/deferred/labels").read(info["labels"])
    assert sorted(answered.ids) == sorted(left)
    assert (answered.label >= 0).all()


def test_a_threshold_that_nobody_can_promise_is_refused(study: Path, capfd) -> None:
    for command in ("predict", "fit"):
        assert run(command) == 0
    assert "data.reserve: found nothing" in refused(capfd, "export", "--max_error", "0.78")
    reserved(study)
    line = refused(capfd, "export", "--max_error", "0.01")
    assert "max_error 0.01 at delta 0.05 takes at least 299 answered without an error" in line
    assert not EDGE.exists()


@pytest.mark.slow
def test_the_bundle_installs_and_answers_without_index_and_redct(trained: Path, tmp_path: Path) -> None:
    if subprocess.run(
        [sys.executable, "-m", "pip", "download", "--dest", tmp_path, "tokenizers", "--no-deps"], check=False
    ).returncode:
        pytest.skip("no package index")
    assert run("export", "--wheels") == 0
    import venv

    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    cut_off = {"PATH": "/usr/bin:/bin", "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_CONFIG_FILE": "/dev/null"}
    install = ["-m", "pip", "install", "--quiet", "--no-cache-dir", "--no-index", "--find-links", "wheels"]
    subprocess.run([python, *install, "-r", "requirements.txt"], cwd=EDGE, env=cut_off, check=True)
    done = subprocess.run(
        [python, EDGE / "classify.py", "test.jsonl"], env=cut_off, capture_output=True, text=True, check=True
    )
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 31
    assert {row["edge_source"] for row in rows} == {"edge"}
    assert sys.prefix not in done.stderr
