"""What `redct test` finds and writes, with a classifier's probabilities made up: no training."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli.commands import run
from cli.conftest import LABELS

from redct.cli import testing
from redct.cli.main import main
from redct.documents import Document
from redct.errors import InputError
from redct.evidence.edge_labels import EdgeLabels, hash_of
from redct.experts import Answer, Choice, Experts, Ledger
from redct.task import load_task
from redct.training.corpus import LabeledCorpus

RUN = Path("runs/study")


def asked(corpus: LabeledCorpus, **flags: object) -> testing.Asked:
    return testing.read_flags({"by": [], "inclusion": None, "cluster": None, "strata": None} | flags, corpus)


@pytest.fixture
def corpus(study) -> LabeledCorpus:
    """The study after predict, its targets written, its test documents with further columns."""
    assert run("predict") == 0
    rows = [json.loads(line) for line in Path("test.jsonl").read_text().splitlines()]
    for n, row in enumerate(rows):
        row |= {"source": "blog" if n % 3 else "news", "author": f"a{n // 4}", "pi": 0.5 if n % 2 else 0.25}
    Path("test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = LabeledCorpus(load_task("task.yaml"), "train.jsonl", "test.jsonl", experts=Experts(0.2), folder=RUN, seed=1)
    made.write_provenance(made.fit_parts())
    return made


def examined(corpus: LabeledCorpus, flags: testing.Asked, encoder: str | None = None) -> testing.Examined:
    part = corpus.test_part()
    probs = np.eye(3)[part.label] * 0.6 + 0.4 / 3
    probs[:5] = np.roll(probs[:5], 1, axis=1)  # five errors
    return testing.examine(corpus, part.documents, probs, flags, encoder=encoder)


def test_what_is_written(corpus, capfd) -> None:
    Path("best.ckpt").write_text("weights")
    testing.report(examined(corpus, asked(corpus, by=["source"])), Path("best.ckpt"), RUN / "metrics.json")
    out = capfd.readouterr().out
    metrics = json.loads((RUN / "metrics.json").read_text())
    assert list(metrics["scores"]) == ["edge classifier", "LLM", "TF-IDF + logistic", "majority class"]
    assert metrics["scores"]["edge classifier"]["accuracy"]["value"] == pytest.approx(26 / 31)
    assert set(metrics["scores"]["LLM"]["mcc"]) == {"value", "low", "high", "method"}
    assert list(metrics["classes"]["LLM"]) == LABELS
    assert [each["other"] for each in metrics["differences"]] == ["LLM", "TF-IDF + logistic", "majority class"]
    assert list(metrics["probabilities"]) == ["edge classifier", "LLM", "TF-IDF + logistic"]
    assert {value: each["documents"] for value, each in metrics["groups"]["source"].items()} == {"blog": 20, "news": 11}
    assert len(metrics["mistakes"]) == 5
    assert metrics["mistakes"][0]["text"].startswith("post ")
    assert metrics["ceilings"] == metrics["substitutions"] == {}
    assert metrics["llm_alpha"] is None
    for words in ("31 held-out documents", "Labels of the edge", "minus other", "AURC", "by source", "sure and wrong"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 160


def test_columns_say_how_documents_were_sampled(corpus) -> None:
    found = examined(corpus, asked(corpus, inclusion="pi", cluster="author"))
    right = np.arange(31) >= 5
    weight = np.where(np.arange(31) % 2, 2, 4)
    score = found.assessment.comparison.scores["edge classifier"]["accuracy"]
    assert score.value == pytest.approx(np.average(right, weights=weight))
    assert found.assessment.comparison.differences[0].p_value is None
    assert found.columns == {"inclusion": "pi", "cluster": "author"}


def test_columns_that_cannot_be_used_are_refused(corpus) -> None:
    with pytest.raises(InputError, match=r"test.jsonl.*colour"):
        asked(corpus, by=["colour"])
    with pytest.raises(InputError, match="--inclusion source: found 'news', expected probabilities"):
        asked(corpus, inclusion="source")


def test_without_a_fit_or_llm_labels_there_are_fewer_raters(corpus) -> None:
    corpus.targets_path.unlink()
    corpus.label_folders = ["runs/none/labels"]
    found = examined(corpus, asked(corpus))
    assert list(found.assessment.comparison.scores) == ["edge classifier", "majority class"]
    assert found.assessment.leakage is None
    assert any("predict --data.predict test" in note for note in corpus.notes)
    assert any("without TF-IDF + logistic" in note for note in corpus.notes)


def answered_by_three(corpus: LabeledCorpus) -> list[Document]:
    """Three experts of 80 % label sixty documents; the study takes their answers."""
    rng = np.random.default_rng(0)
    documents = corpus.splits().train.documents[:60]
    ids = [document.id for document in corpus.splits().train.documents]
    with Ledger(corpus.asking.ledger) as ledger:
        ledger.add_round("experts", "random", 1, {"round": 1}, ids, Choice(np.arange(60), np.full(90, 60 / 90)))
        ledger.record_all(
            Answer(document.id, who, label=document.gold if rng.random() < 0.8 else LABELS[rng.integers(3)])
            for document in documents
            for who in ("ann", "ben", "cem")
        )
    corpus.experts = corpus.asking.experts = Experts(60, answers="ledger")
    return documents


def out_of_fold(corpus: LabeledCorpus, wrong: int = 0) -> EdgeLabels:
    """What a classifier might have said that gets every label right but the first ones."""
    documents = corpus.splits().train.documents
    gold = np.array([LABELS.index(str(document.gold)) for document in documents])
    probs = np.eye(3)[np.where(np.arange(90) < wrong, (gold + 1) % 3, gold)] * 0.7 + 0.1
    about = {"encoder": "tiny", "targets": hash_of(corpus.targets_so_far()), "folds": 2}
    return EdgeLabels(LABELS, [document.id for document in documents], probs, ["nothing"] * 90, about)


def test_the_edge_stands_in_for_experts_by_labels_out_of_fold(corpus, capfd) -> None:
    answered_by_three(corpus)
    kept, path = out_of_fold(corpus), RUN / "out_of_fold.parquet"
    kept.write(path)
    found = examined(corpus, asked(corpus), "tiny")
    assert list(found.ceilings) == list(found.substitutions) == ["LLM", "edge classifier"]
    assert found.substitutions["edge classifier"].passes
    assert found.substitutions["edge classifier"].advantage.value > found.substitutions["LLM"].advantage.value
    out_of_fold(corpus, wrong=60).write(path)
    assert not examined(corpus, asked(corpus), "tiny").substitutions["edge classifier"].passes
    testing.show_experts(found.ceilings, found.substitutions, [])
    out = capfd.readouterr().out
    assert "the edge classifier may stand in for an expert (it could replace 100% of 3 experts" in out
    assert len([line for line in out.splitlines() if " cem " in line]) == 2
    assert not any("out of fold" in note for note in corpus.notes)
    # Of another encoder or of other targets, they say nothing about this classifier.
    assert list(examined(corpus, asked(corpus), "another").ceilings) == ["LLM"]
    assert "the edge classifier beside experts needs its labels out of fold" in corpus.notes[-1]
    replace(kept, about={**kept.about, "targets": "0" * 64}).write(path)
    assert list(examined(corpus, asked(corpus), "tiny").ceilings) == ["LLM"]


def test_what_people_answered_follows_from_the_archive(corpus, capfd) -> None:
    answered_by_three(corpus)
    out_of_fold(corpus).write(RUN / "out_of_fold.parquet")
    best = RUN / "checkpoints" / "best.ckpt"
    best.parent.mkdir()
    best.write_text("weights")
    testing.report(examined(corpus, asked(corpus)), best, RUN / "metrics.json")
    people = ("--data.experts", "{budget: 60, strategy: random, answers: ledger}")
    assert run("agreement", *people) == run("estimate", *people) == run("report", "--bundle_evidence", *people) == 0
    assert "make it anew" not in capfd.readouterr().out
    assert main(["report", "--from", str(RUN / "evidence.zip"), "--to", "again"]) == 0
    follows = json.loads(Path("again/evidence.json").read_text())["follows"]
    assert {"agreement", "experts", "estimates.estimates", "edge", "metrics.substitutions"} < set(follows)
    page = Path("again/report.html").read_text()
    assert "edge classifier for cem" in page
    assert ", the edge classifier may stand in for an expert (epsilon 0.2" in page
    # An answer that comes later is no part of what was found before.
    with Ledger(corpus.asking.ledger) as ledger:
        ledger.record(Answer("d0", "ann", label="neutral"))
    capfd.readouterr()
    assert run("report", "--bundle_evidence", *people) == 0
    out = capfd.readouterr().out
    assert all(f"in the archive, {name} is of other" in out for name in ("agreement", "metrics.substitutions"))
    assert main(["report", "--from", str(RUN / "evidence.zip"), "--to", "stale"]) == 0
    assert "- `agreement` of `report.json` is of other labels or answers" in Path("stale/README.md").read_text()


def test_a_large_corpus_is_labeled_only_where_that_is_asked_for(corpus, monkeypatch) -> None:
    assert testing.labels_corpus({"corpus": None}, corpus)
    assert not testing.labels_corpus({"corpus": False}, corpus)
    monkeypatch.setattr(testing, "SMALL_CORPUS", 89)
    assert not testing.labels_corpus({"corpus": None}, corpus)
    assert testing.labels_corpus({"corpus": True}, corpus)


def test_held_out_documents_with_several_answers_need_no_folds(corpus) -> None:
    held_out = corpus.test_part().documents
    ids = [document.id for document in held_out]
    with Ledger(corpus.asking.ledger) as ledger:
        ledger.add_round("experts", "random", 1, {"round": 1}, ids, Choice(np.arange(31), np.full(31, 1.0)))
        ledger.record_all(Answer(d.id, who, label=d.gold) for d in held_out for who in ("ann", "ben", "cem"))
    found = examined(corpus, asked(corpus))
    assert found.ceilings["edge classifier"].documents == 31
    assert found.ceilings["edge classifier"].machine.value == pytest.approx(26 / 31)  # as of everything held out
    assert found.substitutions["LLM"].annotators[0].documents == 31


def test_experts_who_labeled_the_same_documents_are_the_ceiling(corpus, capfd) -> None:
    documents = answered_by_three(corpus)
    found = examined(corpus, asked(corpus))
    assert list(found.ceilings) == list(found.substitutions) == ["LLM"]
    assert found.ceilings["LLM"].documents == 60
    assert found.ceilings["LLM"].machine.value > 0.6
    assert [each.annotator for each in found.substitutions["LLM"].annotators] == ["ann", "ben", "cem"]
    Path("best.ckpt").write_text("weights")
    testing.report(found, Path("best.ckpt"), RUN / "metrics.json")
    out = capfd.readouterr().out
    assert "human ceiling, % on 60 documents" in out
    assert "alternative annotator test: the LLM may" in out
    assert "experts' answers that may be wrong" in out
    votes = {document.id: document.gold for document in documents}
    doubted = json.loads((RUN / "metrics.json").read_text())["doubted_answers"]
    assert doubted
    assert all(each["id"] in votes and each["label"] != each["likelier"] for each in doubted)


def test_several_llms_are_compared(corpus) -> None:
    assert run("predict", "--trainer.default_root_dir", "runs/two") == 0
    corpus.label_folders = ["runs/study/labels", "runs/two/labels"]
    found = examined(corpus, asked(corpus)).assessment
    names = ["LLM", "LLM runs/study/labels", "LLM runs/two/labels"]
    assert list(found.comparison.scores)[1:4] == names
    assert found.llm_alpha is not None
    assert found.llm_alpha.value == 1
