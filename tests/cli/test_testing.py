"""What `redct test` finds and writes, with a classifier's probabilities made up: no training."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli.commands import run
from cli.conftest import LABELS

from redct.cli import testing
from redct.errors import InputError
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


def examined(corpus: LabeledCorpus, flags: testing.Asked) -> testing.Examined:
    part = corpus.test_part()
    probs = np.eye(3)[part.label] * 0.6 + 0.4 / 3
    probs[:5] = np.roll(probs[:5], 1, axis=1)  # five errors
    return testing.examine(corpus, part.documents, probs, flags)


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
    assert metrics["ceiling"] is metrics["substitution"] is metrics["llm_alpha"] is None
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


def test_experts_who_labeled_the_same_documents_are_the_ceiling(corpus, capfd) -> None:
    rng = np.random.default_rng(0)
    documents = corpus.splits().train.documents[:60]
    ids = [document.id for document in documents]
    with Ledger(corpus.asking.ledger) as ledger:
        ledger.add_round("experts", "random", 1, {"round": 1}, ids, Choice(np.arange(60), np.full(60, 1.0)))
        ledger.record_all(
            Answer(document.id, who, label=document.gold if rng.random() < 0.8 else LABELS[rng.integers(3)])
            for document in documents
            for who in ("ann", "ben", "cem")
        )
    found = examined(corpus, asked(corpus))
    assert found.ceiling is not None
    assert found.ceiling.documents == 60
    assert found.ceiling.machine.value > 0.6
    assert found.substitution is not None
    assert [each.annotator for each in found.substitution.annotators] == ["ann", "ben", "cem"]
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
