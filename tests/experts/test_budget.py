import pytest

from redct.errors import InputError
from redct.experts import Answer, budget_count, seconds_per_document


@pytest.mark.parametrize(
    ("budget", "n", "expected"),
    [
        (0.1, 2814, 281), (0.1, 600, 60), (0, 10, 0), (0.0, 10, 0), (1, 10, 1), (10, 10, 10), (25.0, 30, 25),
        ("10 %", 600, 60), ("2.5%", 1000, 25), ("100%", 7, 7),
    ],
)  # fmt: skip
def test_shares_and_numbers(budget: float | str, n: int, expected: int) -> None:
    assert budget_count(budget, n) == expected


@pytest.mark.parametrize("budget", [-1, -0.1, 1.0, 2.5, 11, float("nan"), float("inf"), True, "110 %"])
def test_senseless_budgets_are_refused(budget: float | str) -> None:
    with pytest.raises(InputError, match=r"data\.experts\.budget: found .* 0 to 10 \(documents in the corpus\)"):
        budget_count(budget, 10)


def test_a_later_round_has_fewer_documents() -> None:
    assert budget_count(0.1, 100, left=10) == 10
    assert budget_count(10, 100, left=10) == 10
    for budget, found in ((0.2, "'0.2 of 100 documents, 20'"), (11, "11")):
        with pytest.raises(
            InputError, match=rf"found {found}, .* 0 to 10 \(documents that nobody was asked about, of 100\)"
        ):
            budget_count(budget, 100, left=10)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("90 minutes", 270),
        ("90min", 270),
        (" 1 Minute ", 3),
        ("1.5 hours", 270),
        ("2h", 360),
        ("0 minutes", 0),
        ("0.3 minutes", 0),
        ("99 hours", 400),
    ],
)
def test_time_buys_whole_documents_of_those_left(budget: str, expected: int) -> None:
    assert budget_count(budget, 1000, seconds_per_document=20.0, left=400) == expected


@pytest.mark.parametrize("budget", ["", "90", "an hour", "-5 minutes", "5 days", "1,5 hours"])
def test_what_is_no_time_is_refused(budget: str) -> None:
    with pytest.raises(InputError, match=r"data\.experts\.budget: found '.*' or '1\.5 hours'"):
        budget_count(budget, 1000, 20.0)


def test_time_needs_timed_answers() -> None:
    with pytest.raises(InputError, match="'90 minutes', but the ledger has no timed answers yet, expected a share"):
        budget_count("90 minutes", 1000)


def test_seconds_count_what_people_spent_on_a_document_together() -> None:
    answers = [
        Answer("a", "ann", label="x", duration_seconds=10),
        Answer("a", "bob", "skip", duration_seconds=20),
        Answer("b", "ann", "flag", note="?", duration_seconds=30),
        Answer("b", "ann", "undo", duration_seconds=500),
        Answer("b", "bob", "resolution", "x", duration_seconds=500),
        Answer("c", "ann", label="x"),
        Answer("d", "gold", label="x", duration_seconds=500),
    ]
    assert seconds_per_document(answers) == 30.0
    assert seconds_per_document(answers[5:]) is None
    assert seconds_per_document([Answer("a", "ann", label="x", duration_seconds=0)]) is None
