"""What people's answers come to: ties, documents outside the rounds, rounds that say nothing about the corpus."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from redct.documents import Document
from redct.errors import InputError
from redct.experts import Answer, Ledger, Pool, Round, choose
from redct.hub.store import LabelTable
from redct.training.answers import Answers, answers_of_people
from redct.training.corrections import Calibration, correct
from redct.training.reserve import draw_reserve

N = 200
LABELS = ["for", "against"]
IDS = [f"post {i} \N{SNOWMAN}" for i in range(N)]
LOGITS = np.random.default_rng(0).normal(size=(N, 2))
POOL = Pool(LOGITS.argmax(axis=1), softmax(LOGITS, axis=1), np.abs(LOGITS[:, 0] - LOGITS[:, 1]))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "experts.sqlite") as opened:
        yield opened


def draw(ledger: Ledger, strategy: str, n: int, seed: int, corpus: int = N, asked: str = "experts") -> Round:
    """A round on the first documents, without those of earlier rounds."""
    before = {document for each in ledger.rounds("experts") for document in each.ids}
    left = np.array([i for i in range(corpus) if IDS[i] not in before])
    choice = choose(strategy, POOL.rows(left), n, seed)
    return ledger.add_round(asked, strategy, seed, {"round": seed}, [IDS[i] for i in left], choice)


def answer(ledger: Ledger, ids: list[str], who: str = "anna", label: str = "for") -> None:
    ledger.record_all(Answer(document, who, label=label) for document in ids)


def people(ledger: Ledger) -> Answers:
    return answers_of_people(ledger, IDS, LABELS)


@pytest.mark.parametrize("kind", ["hard", "expit"])
def test_tied_documents_are_in_no_figure(ledger: Ledger, kind: str) -> None:
    ids = draw(ledger, "random", 80, 1).ids
    answer(ledger, ids)
    answer(ledger, ids[:5], "ben", "against")
    left = people(ledger).without_ties()
    assert len(left.shares) == 75
    assert left.weight.keys() == left.shares.keys() == left.annotators.keys() == left.decided.keys()
    assert left.notes()[0] == "experts' answers: 75 documents (anna 75)"
    arrays = [x.astype(np.float32) for x in (POOL.probs, np.log(POOL.probs), POOL.margin)]
    table = LabelTable(LABELS, IDS, POOL.label.astype(np.int64), *arrays)
    documents = [Document(i, "text", {}, None) for i in IDS]
    _, record = correct(table, documents, kind, Calibration(), left, 1)
    assert kind == "expit" or record["reliability"]["answers"] == 75


def test_nothing_but_skips(ledger: Ledger) -> None:
    ids = draw(ledger, "random", 3, 1).ids
    ledger.record_all(Answer(document, "anna", "skip") for document in ids)
    found = people(ledger)
    assert found.why == "a round has no answers yet"
    assert found.notes() == ["experts' answers: 0 documents", "left out after experts saw them: 3 skipped"]


def test_answers_outside_the_rounds_weigh_nothing_and_are_never_reserved(ledger: Ledger) -> None:
    by_gold = draw(ledger, "margin", 30, 1, asked="gold").ids
    answer(ledger, by_gold)
    answer(ledger, draw(ledger, "random", 40, 2).ids)
    found = people(ledger)
    assert set(found.strategies) == {"random"}
    assert found.why is None
    outside = len(found.shares) - 40
    assert outside > 0
    assert len(found.weight) == 40
    with pytest.raises(InputError, match=f"but {outside} of their documents were not chosen in the rounds for people"):
        draw_reserve(found, 0.3, 1)


def test_random_rounds_on_a_corpus_that_grew_are_no_reserve(ledger: Ledger) -> None:
    for seed, corpus in ((1, 40), (2, N)):
        answer(ledger, draw(ledger, "random", 20, seed, corpus).ids)
    found = people(ledger)
    assert found.why is None
    with pytest.raises(InputError, match="round 1 has no answers, or was no draw from the whole corpus"):
        draw_reserve(found, 0.3, 1)


def test_random_rounds_on_one_corpus_are_a_reserve(ledger: Ledger) -> None:
    for seed in (1, 2):
        answer(ledger, draw(ledger, "random", 20, seed).ids)
    assert len(draw_reserve(people(ledger), 0.3, 1)) == 12
