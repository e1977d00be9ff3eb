"""Calibration and several label stores, through the commands."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from redct.calibration import fit_temperature
from redct.cli.main import main
from redct.experts import Ledger
from redct.hub.store import read_labels

LABELS = ["against", "for", "neutral"]
RUN = Path("runs/study")
FIT = ("fit", "--trainer.max_epochs", "1")


def run(command: str, *options: str) -> int:
    return main([command, "--config", "study.yaml", *options])


def said(capfd, command: str, *options: str) -> list[str]:
    """Runs a command and returns the lines that it prints."""
    capfd.readouterr()
    assert run(command, *options) == 0
    return capfd.readouterr().out.splitlines()


def labeler(path: str, wrong: int, sure: float, ids: range = range(121), more: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Writes the answers of an LLM that errs on every so-manieth document, and returns the options that import them."""
    rows = []
    for i in ids:
        label = LABELS[i % 3] if i % wrong else LABELS[(i + 1) % 3]
        probs = {name: sure if name == label else (1 - sure) / 2 for name in LABELS}
        rows.append({"id": f"d{i}", "llm_label": label, "llm_probs": probs})
    for document_id in more:
        probs = {"against": 0.6, "for": 0.3, "neutral": 0.1}
        rows.append({"id": document_id, "llm_label": "against", "llm_probs": probs})
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ("--labeler.init_args.path", path)


def targets() -> tuple[list[str], np.ndarray]:
    """Ids and targets of the documents that the LLM labeled."""
    rows = pq.read_table(RUN / "targets.parquet").to_pandas()
    rows = rows[rows.source == "llm"]
    return rows.id.tolist(), np.stack(rows.target)


def record() -> dict:
    return json.loads((RUN / "calibration.json").read_text())


def test_a_temperature_from_answers_of_a_randomised_choice(study, capfd) -> None:
    sure = labeler("sure.jsonl", wrong=4, sure=0.99)
    assert run("predict", *sure) == 0
    lines = said(capfd, *FIT, *sure, "--data.experts.budget", "60", "--data.calibration.experts", "temperature")
    assert any("log loss on 60 answers of a randomised choice, weighted: 0." in line for line in lines)
    table = read_labels(RUN / "labels", LABELS)
    with Ledger(RUN / "experts.sqlite") as ledger:
        (asked,) = ledger.rounds()
        given = {answer.document: str(answer.label) for answer in ledger.answers()}
    temperature = fit_temperature(
        table.aligned(list(given)).logprobs,
        [LABELS.index(label) for label in given.values()],
        [1 / asked.inclusion[i] for i in given],
    )
    assert f"soft targets scaled by a temperature of {temperature:.2f}" in lines
    assert record()["temperature"]["value"] == pytest.approx(temperature)
    assert record()["reliability"]["temperature"]["ece"] < record()["reliability"]["llm"]["ece"]
    ids, probs = targets()
    expected = np.exp(table.aligned(ids).logprobs / temperature)
    np.testing.assert_allclose(probs, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)
    # What was recorded about the choice does not depend on the correction.
    assert said(capfd, *FIT, *sure, "--data.experts.budget", "60", "--data.calibration.experts", "none")
    assert record()["temperature"] is None
    lines = said(capfd, *FIT, *sure, "--data.experts.budget", "60")
    assert record()["regression"]["labels_changed"] >= 0
    assert [*record()["reliability"]] == ["answers", "llm", "temperature", "regression"]
    assert any("(regression, cross-fitted)" in line for line in lines)
    with Ledger(RUN / "experts.sqlite") as ledger:
        assert len(ledger.rounds()) == 1
    lines = said(capfd, *FIT, *sure, "--data.experts", "{budget: 60, strategy: margin}")
    assert any("the choice of documents was deterministic" in line for line in lines)
    lines = said(capfd, *FIT, *sure)
    assert any(
        "18 answers of a randomised choice to documents with an LLM label, expected at least 50" in line
        for line in lines
    )
    assert run("test", *sure) == 0


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_label_prior_divided_out(study, capfd, kind) -> None:
    free = [f"content-free:{text}|target=tea" for text in ("N/A", "[MASK]", "...")]
    answers = labeler("llm.jsonl", wrong=5, sure=0.4, more=tuple(free))
    prior = ("--data.calibration.prior", "content_free", "--data.targets", kind)
    assert run("predict", *answers) == 0
    assert run(*FIT, *answers, *prior) == 2
    assert "redct predict --data.predict content_free" in capfd.readouterr().err
    assert "6 documents labeled" in "\n".join(said(capfd, "predict", *answers, "--data.predict", "content_free"))
    lines = said(capfd, *FIT, *answers, *prior)
    assert any(line.startswith("label prior divided out (content_free): against 0.60") for line in lines)
    ids, probs = targets()
    stored = read_labels(RUN / "labels", LABELS)
    # The three texts on coffee have no label: its documents get the mean, which is the prior on tea too.
    expected = stored.aligned(ids).probs / [0.6, 0.3, 0.1]
    expected /= expected.sum(axis=1, keepdims=True)
    wanted = expected if kind == "soft" else np.eye(3)[expected.argmax(axis=1)]
    np.testing.assert_allclose(probs, wanted, atol=1e-5)
    trained = stored.aligned([f"d{i}" for i in range(90)])
    changed = int(((trained.probs / [0.6, 0.3, 0.1]).argmax(axis=1) != trained.label).sum())
    assert record()["prior"]["labels_changed"] == changed > 0
    assert any(line.endswith(f"{changed} of 90 labels changed") for line in lines)
    assert any(
        line.startswith("label prior divided out (batch)")
        for line in said(capfd, *FIT, *answers, "--data.calibration", "{prior: batch}")
    )


def test_content_free_documents_go_through_the_labeler_of_the_study(study, tiny_llm) -> None:
    content = yaml.safe_load(study.read_text())
    content["labeler"] = {"class_path": "redct.hub.LocalLabeler", "init_args": {"model": str(tiny_llm)}}
    content["data"]["calibration"] = {"prior": "content_free"}
    study.write_text(yaml.safe_dump(content))
    for what in ("train", "content_free"):
        assert run("predict", "--data.predict", what) == 0
    table = read_labels(RUN / "labels", LABELS)
    assert sum(i.startswith("content-free:") for i in table.ids) == 6
    assert (table.label >= 0).all()
    assert run(*FIT) == 0
    tea = [i for i in table.ids if i.startswith("content-free:") and i.endswith("|target=tea")]
    prior = table.aligned(tea).probs.mean(axis=0)
    ids, probs = targets()
    of_tea = [n for n, i in enumerate(ids) if int(i[1:]) % 2]
    expected = table.aligned([ids[n] for n in of_tea]).probs / prior
    np.testing.assert_allclose(probs[of_tea], expected / expected.sum(axis=1, keepdims=True), atol=1e-4)


def test_several_stores(study, capfd) -> None:
    content = yaml.safe_load(study.read_text())
    wrong = {"a": 4, "b": 7, "c": 2}
    for name, every in wrong.items():
        words = labeler(f"{name}.jsonl", every, sure=0.9, ids=range(30 if name == "c" else 0, 121))
        assert run("predict", *words, "--trainer.default_root_dir", f"runs/{name}") == 0
    stores = [f"runs/{name}/labels" for name in wrong]
    content["data"] |= {"labels": stores, "experts": None}
    study.write_text(yaml.safe_dump(content))  # in a YAML, names are relative to it
    lines = said(capfd, *FIT)
    assert any(line.endswith("documents by the number that labeled them: 30 by 2, 60 by 3") for line in lines)
    a, b = (np.array([LABELS[i % 3] if i % wrong[n] else LABELS[(i + 1) % 3] for i in range(121)]) for n in "ab")
    (line,) = [line for line in lines if "runs/a/labels and" in line and "runs/b/labels" in line]
    assert f"agree on {np.mean(a[:90] == b[:90]):.1%} of 90 documents, kappa 0." in line
    tables = [read_labels(store, LABELS) for store in stores]
    ids, probs = targets()
    everywhere = [n for n, i in enumerate(ids) if int(i[1:]) >= 30]
    names = [ids[n] for n in everywhere]
    expected = np.mean([t.aligned(names).probs for t in tables], axis=0)
    np.testing.assert_allclose(probs[everywhere], expected, atol=1e-6)

    # The LLM's row of `test` is that of the majority of three; the study's own store does not exist.
    assert any("all 3 stores" in line for line in said(capfd, "test", "--data.combine", "votes"))
    c = np.array([LABELS[i % 3] if i % wrong["c"] else LABELS[(i + 1) % 3] for i in range(121)])
    gold = [LABELS[i % 3] for i in range(90, 121)]
    votes = [max({x: [*v].count(x) for x in v}.items(), key=lambda item: item[1])[0] for v in zip(a, b, c, strict=True)]
    scores = json.loads((RUN / "metrics.json").read_text())["scores"]
    assert scores["LLM"]["accuracy"]["value"] == pytest.approx(
        np.mean([v == g for v, g in zip(votes[90:], gold, strict=True)])
    )
    assert not (RUN / "labels").exists()


def test_a_cascade_takes_the_last_store_that_has_a_label(study, capfd) -> None:
    cheap = labeler("cheap.jsonl", wrong=3, sure=0.6)
    assert run("predict", *cheap) == 0
    dear = labeler("dear.jsonl", wrong=200, sure=0.95, ids=range(0, 121, 3))
    assert run("predict", *dear, "--trainer.default_root_dir", "runs/dear") == 0
    both = ("--data.labels", '["runs/study/labels", "runs/dear/labels"]', "--data.combine", "last")
    assert run(*FIT, *cheap, *both, "--data.experts", "null") == 0
    ids, probs = targets()
    assert {i for i, p in zip(ids, probs, strict=True) if np.isclose(p.max(), 0.95)} == {
        i for i in ids if int(i[1:]) % 3 == 0
    }
    # The study's own store is still checked against its labeler, the other one against the task.
    assert run(*FIT, *dear, *both) == 2
    assert "made with path" in capfd.readouterr().err
    assert run(*FIT, *cheap, "--data.labels", "runs/nothing/labels") == 2
    assert "runs/nothing/labels: no label store there" in capfd.readouterr().err
