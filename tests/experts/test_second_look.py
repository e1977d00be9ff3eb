"""A second look changes answers; the draw that they come from, and so every weight, stays as it was."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from redct.documents import Document
from redct.errors import InputError
from redct.experts import Answer, Experts, Ledger, Pool, choose_for_experts, look_again, verdicts, waiting
from redct.experts.records import GOLD, SUSPECTS
from redct.training.answers import Answers, answers_of_people
from redct.training.reserve import draw_reserve

LABELS = ["for", "against"]
DOCUMENTS = [Document(f"d{n}", f"Text {n}.", {}, None) for n in range(60)]
IDS = [document.id for document in DOCUMENTS]
PROBS = np.random.default_rng(0).dirichlet([1, 1], 60)
POOL = Pool(PROBS.argmax(axis=1), PROBS, np.abs(np.log(PROBS[:, 0] / PROBS[:, 1])))


def experts(budget: float | str = 20, strategy: str = "margin_randomised") -> Experts:
    return Experts(budget=budget, strategy=strategy, answers="ledger")


def draw(ledger: Ledger, strategy: str = "margin_randomised", number: int = 1) -> list[str]:
    return choose_for_experts(experts(20, strategy), DOCUMENTS, lambda: POOL, 1, ledger, "hash", number).ids


def answer(ledger: Ledger, ids: list[str], label: str = "for") -> None:
    ledger.record_all(Answer(document, "anna", label=label, duration_seconds=30) for document in ids)


def people(ledger: Ledger) -> Answers:
    return answers_of_people(ledger, IDS, LABELS)


def left(ledger: Ledger) -> list[str]:
    return waiting(ledger.second_looks(), ledger.answers())


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "experts.sqlite") as opened:
        yield opened


def test_the_most_suspect_answers_come_first_within_the_budget_and_none_twice(ledger: Ledger) -> None:
    ids = draw(ledger)
    answer(ledger, ids[:15])
    never_asked = next(document for document in IDS if document not in ids)
    suspects = [ids[7], never_asked, ids[3], ids[19], ids[5]]  # ids[19] has no answer yet
    first = look_again(experts(2), suspects, DOCUMENTS, ledger)
    assert first is not None
    assert (first.strategy, first.ids, first.inclusion) == (SUSPECTS, [ids[7], ids[3]], {ids[7]: 1, ids[3]: 1})
    assert set(ledger.eligible(first)) == set(ids[:15])
    assert look_again(experts(9), suspects, DOCUMENTS, ledger) == first, "first it is to be finished"
    answer(ledger, [ids[7], ids[3]], "against")
    second = look_again(experts("1.2 minutes"), [ids[7], ids[5], ids[1], ids[2]], DOCUMENTS, ledger)
    assert second is not None
    assert second.ids == [ids[5], ids[1]]
    answer(ledger, second.ids)
    assert look_again(experts(), suspects, DOCUMENTS, ledger) is None
    with pytest.raises(InputError, match="budget: 0 of 1 suspects is none"):
        look_again(experts(0), [ids[2]], DOCUMENTS, ledger)


def test_what_somebody_says_since_then_ends_the_wait_until_it_is_withdrawn(ledger: Ledger) -> None:
    ids = draw(ledger)
    answer(ledger, ids)
    look_again(experts(), ids[:3], DOCUMENTS, ledger)
    assert left(ledger) == ids[:3]
    ledger.record(Answer(ids[1], GOLD, label="for"))
    assert left(ledger) == ids[:3], "the gold column does not look"
    ledger.record_all([Answer(ids[0], "ben", "resolution", "against"), Answer(ids[1], "ben", "flag")])
    assert left(ledger) == ids[2:3]
    ledger.record_all([Answer(ids[0], "ben", "reopen"), Answer(ids[1], "ben", "undo")])
    assert left(ledger) == ids[:3]


@pytest.mark.parametrize("strategy", ["margin_randomised", "random"])
def test_a_second_look_is_no_part_of_the_sample(tmp_path: Path, strategy: str) -> None:
    """Two studies: in one the first answers are right, in the other a second look corrects four of them."""
    found, drawn = [], []
    for name in ("right", "corrected"):
        with Ledger(tmp_path / f"{name}.sqlite") as ledger:
            ids = draw(ledger, strategy)
            wrong = ids[:4] if name == "corrected" else []
            answer(ledger, ids)
            if name == "right":
                answer(ledger, ids[:4], "against")
            before = people(ledger)
            look = look_again(experts(), wrong, DOCUMENTS, ledger)
            after = people(ledger)
            assert (after.weight, after.why, after.uneven, after.rounds) == (
                before.weight,
                None,
                None,
                before.rounds,
            )
            ledger.record_all(Answer(each, "ben", "resolution", "against") for each in (look.ids if look else []))
            found.append(people(ledger))
            if strategy == "random":
                np.testing.assert_array_equal(
                    draw_reserve(people(ledger), 0.5, 1), draw_reserve(before, 0.5, 1), "still a uniform draw"
                )
            assert {verdict.votes["anna"] for verdict in verdicts(ledger.answers()).values()} >= {"for"}
            drawn.append(draw(ledger, strategy, 2))
    right, corrected = found
    assert {n: shares.tolist() for n, shares in corrected.shares.items()} == {
        n: shares.tolist() for n, shares in right.shares.items()
    }
    assert corrected.weight == right.weight
    assert sum(right.weight.values()) > 0
    assert drawn[0] == drawn[1], "the next round of the corpus is drawn as if nobody had looked again"
