"""What a budget buys: a share of the corpus, a number of documents, or the experts' time."""

import re
from collections.abc import Sequence
from typing import Final

from redct.errors import InputError
from redct.experts.records import GOLD, Answer

_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(min|minutes?|h|hours?)")


def budget_count(
    budget: float | str, n_documents: int, seconds_per_document: float | None = None, left: int | None = None
) -> int:
    """How many documents a budget buys.

    Args:
        budget: A share of the corpus above 0 and below 1, also as in "10 %", a whole number of documents, 0, or an
            expert's time such as "90 minutes" or "1.5 hours". The float 1.0 is refused: it could mean one document or
            all of them.
        n_documents: Documents in the corpus.
        seconds_per_document: Of people's time, see `seconds_per_document`; None where nobody measured.
        left: Documents that nobody was asked about yet; by default all. Time buys no more than these.

    Raises:
        InputError: When it is none of these, more documents than are left, or time where nobody measured.
    """
    available = n_documents if left is None else left
    if isinstance(budget, str):
        percent = _PERCENT.fullmatch(budget.strip())
        if percent is None:
            return min(available, _count_in(budget, seconds_per_document))
        if (wanted := round(float(percent[1]) / 100 * n_documents)) <= available:
            return wanted
    elif not isinstance(budget, bool):
        if 0 < budget < 1 and round(budget * n_documents) <= available:
            return round(budget * n_documents)
        # Option parsers turn a whole number into a float where a share is allowed too.
        whole = isinstance(budget, int) or (budget != 1 and float(budget).is_integer())
        if whole and 0 <= budget <= available:
            return int(budget)
    if isinstance(budget, float) and 0 < budget < 1:
        budget = f"{budget:g} of {n_documents:,} documents, {round(budget * n_documents):,}"
    where = "documents in the corpus" if left is None else f"documents that nobody was asked about, of {n_documents}"
    raise InputError(
        f"data.experts.budget: found {budget!r}, expected a share above 0 and below 1, "
        f"or a whole number from 0 to {available} ({where})"
    )


def seconds_per_document(answers: Sequence[Answer]) -> float | None:
    """Mean time that people spent on a document, all annotators of it together.

    Args:
        answers: Of the ledger; only timed labels, skips and flags of people count.

    Returns:
        Seconds, above 0; None where nobody measured.
    """
    timed = [
        (answer.document, answer.duration_seconds)
        for answer in answers
        if answer.annotator != GOLD and answer.kind in ("label", "skip", "flag") and answer.duration_seconds is not None
    ]
    total = sum(seconds for _, seconds in timed)
    return total / len({document for document, _ in timed}) if total > 0 else None


def _count_in(time: str, seconds: float | None) -> int:
    match = _TIME.fullmatch(time.strip().lower())
    if match is None:
        expected = (
            "a share of the corpus such as '10 %', a number of documents, or a time such as '90 minutes' or '1.5 hours'"
        )
        raise InputError(f"data.experts.budget: found {time!r}, expected {expected}")
    if seconds is None:
        found = f"found {time!r}, but the ledger has no timed answers yet"
        raise InputError(f"data.experts.budget: {found}, expected a share of the corpus or a number of documents first")
    return int(float(match[1]) * (3600 if match[2].startswith("h") else 60) / seconds)
