"""`redct estimate` on a study of 90 posts, whose LLM is wrong about every fifth of them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from cli.commands import refused, run
from cli.conftest import LABELS

from redct.cli.main import main
from redct.experts import Answer, Ledger

RUN = Path("runs/study")
DRAWN = ("--data.experts", "{budget: 40, strategy: random, answers: ledger}")


@pytest.fixture
def labeled(study, capfd) -> Path:
    """The study with its labels, and a column of the author and his age, who is older where the post is for it."""
    rows = [json.loads(line) for line in Path("train.jsonl").read_text().splitlines()]
    rng = np.random.default_rng(0)
    for n, row in enumerate(rows):
        row |= {"author": f"a{n // 3}", "age": int(rng.integers(20, 60)) + 10 * (row["stance"] == "for")}
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run("predict") == 0
    capfd.readouterr()
    return study


def answer_all() -> None:
    with Ledger(RUN / "experts.sqlite") as ledger:
        ids = [document for each in ledger.rounds("experts") for document in each.ids]
        ledger.record_all(Answer(i, "anna", label=LABELS[int(i.removeprefix("d")) % 3]) for i in ids)


def estimated(*options: str) -> dict[tuple[str, str], dict]:
    assert run("estimate", *options) == 0
    rows = json.loads((RUN / "estimates.json").read_text())["estimates"]
    return {(row["label"], row["figure"]): row for row in rows}


def test_shares_of_all_labels(labeled, capfd) -> None:
    assert run("sample", *DRAWN) == 0
    answer_all()
    found = estimated(*DRAWN)
    assert list(found) == [(label, "all documents") for label in LABELS]
    for row in found.values():
        assert row["answers"] == 40
        assert row["best"]["low"] < 1 / 3 < row["best"]["high"]
        assert row["others"]["naive"]["value"] == pytest.approx(1 / 3, abs=0.1)
        assert set(row["others"]) == {"naive", "experts only", "DSL"}
        assert row["gain"] > 1
    assert sum(row["others"]["DSL"]["value"] for row in found.values()) == pytest.approx(1)
    out = capfd.readouterr().out
    assert "share of each label, % [95 % interval], from 90 documents, about the corpus" in out
    assert "report the column PPI++" in out
    assert "all figures: runs/study/estimates.json" in out


def test_groups_differences_and_clusters(labeled, capfd) -> None:
    found = estimated("--by", "target", "--data.experts.budget", "60", "--data.experts.strategy", "random")
    assert [figure for label, figure in found if label == "for"] == ["coffee", "tea", "tea - coffee"]
    each = {name: row["best"]["value"] for (label, name), row in found.items() if label == "for"}
    assert each["tea - coffee"] == pytest.approx(each["tea"] - each["coffee"])
    assert sum(found["for", group]["answers"] for group in ("coffee", "tea")) == 60
    plain = estimated("--about", "wider", "--data.experts.strategy", "random")
    clustered = estimated("--cluster", "author", "--data.experts.strategy", "random")
    for key, row in clustered.items():
        assert row["best"]["standard_error"] >= plain[key]["best"]["standard_error"]
    assert "about a wider population" in capfd.readouterr().out


def test_a_regression_on_columns_of_the_file(labeled, capfd) -> None:
    drawn = ("--data.experts.budget", "80", "--data.experts.strategy", "random")
    for link in ("linear", "logistic"):
        found = estimated("--formula", "for ~ age + C(target)", "--regression", link, *drawn)
        assert list(found) == [("for", name) for name in ("Intercept", "C(target)[T.tea]", "age")]
        assert found["for", "age"]["best"]["low"] > 0
        out = capfd.readouterr().out
        assert "for [95 % interval], from 90 documents, about a wider population" in out
        assert "--formula: found" not in out
    assert run("estimate", "--formula", "for ~ age", "--data.experts.budget", "30") == 0
    said = capfd.readouterr().out
    assert "answers that are 'for'; with fewer than 20 intervals of coefficients" in said
    assert "'for, age' rests on about" in said


def test_labels_of_the_edge_are_out_of_fold(labeled, capfd) -> None:
    """Each half is labeled by a student that saw the answers to the other half only, and once for all runs."""
    drawn = ("--data.experts.budget", "60", "--data.experts.strategy", "random")
    options = ("--labels", "edge", *drawn, "--trainer.max_epochs", "1")
    first = estimated(*options)
    (folder,) = (RUN / "cache").glob("out-of-fold-*")
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert len(written) == 2
    assert estimated(*options) == first
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    assert run("report", "--bundle_evidence", *drawn) == 0
    assert main(["report", "--from", str(RUN / "evidence.zip"), "--to", "again"]) == 0
    assert {"edge", "estimates.estimates"} < set(json.loads(Path("again/evidence.json").read_text())["follows"])
    kept = pq.read_table("again/out_of_fold.parquet").to_pandas()
    assert set(kept.served) == {"nothing"}
    share = np.stack(kept.probs).argmax(axis=1) == LABELS.index("for")
    assert share.mean() == pytest.approx(first["for", "all documents"]["others"]["naive"]["value"])
    # Of other targets, as with fewer answers, they are no evidence any more.
    assert run("fit", "--data.experts.budget", "30") == run("report", "--data.experts.budget", "30") == 0
    assert json.loads((RUN / "report.json").read_text())["edge"]["out_of_fold"] is None
    of_llm = estimated(*drawn)
    assert (
        of_llm["for", "all documents"]["others"]["experts only"]
        == first["for", "all documents"]["others"]["experts only"]
    )
    assert of_llm["for", "all documents"]["best"] != first["for", "all documents"]["best"]
    assert "the edge classifier alone" in capfd.readouterr().out


def test_plans_before_and_after_answers(labeled, capfd) -> None:
    plan = ("--plan", "--half_width", "0.1", *DRAWN)
    assert run("estimate", *plan) == 0
    out = capfd.readouterr().out
    assert "Answers in all for shares +- 10 points" in out
    assert "if the LLM were of no help" in out
    assert not (RUN / "experts.sqlite").exists()
    assert run("sample", *DRAWN) == 0
    answer_all()
    capfd.readouterr()
    assert run("estimate", *plan, "--by", "target") == 0
    out = capfd.readouterr().out
    assert "in each group of target" in out
    assert "planned by how far the answers so far are from the LLM's probabilities" in out
    assert not (RUN / "estimates.json").exists()


def test_what_allows_no_estimate_is_refused(labeled, capfd) -> None:
    margin = ("--data.experts", "{budget: 40, strategy: margin}")
    said = refused(capfd, "estimate", *margin)
    assert "no valid estimate can be made from the experts' answers: the choice of documents was deterministic" in said
    assert refused(capfd, "estimate", *margin, "--labels", "edge") == said
    assert not list(RUN.glob("cache/out-of-fold-*"))  # before anything is trained
    Path("answers.csv").write_text("id,label\nd1,for\n")
    said = refused(capfd, "estimate", "--data.experts.answers", "answers.csv")
    assert "nothing says how the documents of" in said
    assert "found 9 answers of experts that count, expected 10" in refused(
        capfd, "estimate", "--data.experts", "{budget: 9, strategy: random}"
    )
    content = yaml.safe_load(labeled.read_text())
    del content["data"]["experts"]
    labeled.write_text(yaml.safe_dump(content))
    assert "no experts were asked" in refused(capfd, "estimate")
    assert not (RUN / "estimates.json").exists()


def test_wrong_options_are_refused_in_one_line(labeled, capfd) -> None:
    for options, said in (
        (("--by", "wage"), "train.jsonl: no column 'wage'; there are 'id', 'text', 'stance', 'target'"),
        (("--by", "id"), "--by id: found 90 different values, expected at most 30"),
        (("--formula", "perhaps ~ age"), "--formula: 'perhaps' is no label"),
        (("--formula", "for ~ age", "--by", "target"), "--by and --formula: found both, expected one of them"),
        (("--cluster", "author", "--about", "corpus"), "--about: found corpus beside --cluster"),
        (("--half_width", "2", "--plan"), "--half_width: found 2.0, expected more than 0"),
        (("--plan", "--labels", "edge"), "--plan: plans shares by the LLM's labels"),
        (("--regression", "probit"), '"regression": Expected a'),
    ):
        assert said in refused(capfd, "estimate", *options, "--data.experts.budget", "60")


def test_labels_of_the_llm_need_no_torch(labeled) -> None:
    code = (
        "from redct.cli.main import main; import sys; "
        "main(['estimate', '--config', 'study.yaml', '--data.experts.budget', '40', '--formula', 'for ~ age']); "
        "assert not {'torch', 'lightning', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
