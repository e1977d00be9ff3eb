"""Abstention with a guarantee: which documents the edge leaves to the hub, so that few of its answers are wrong.

Learn then Test (Angelopoulos, Bates, Candès, Jordan & Lei 2021, arXiv 2110.01052), for the share of wrong answers
among those given. For each threshold of a fixed sequence, from high confidence to low, the hypothesis "more than
`max_error` of the documents with at least this confidence are labeled wrongly" is tested on n calibration documents.
Of those, m are answered and e are wrong; given m, e is Binomial(m, share), so that P(Bin(m, max_error) <= e) is an
exact p-value. Testing stops at the first hypothesis that is not rejected at `delta` (fixed-sequence testing), and the
last threshold before it is taken. A wrong one is taken only if the first true hypothesis of the sequence is rejected:
with probability at most delta over the draw of the calibration documents. Nothing is assumed about the classifier, and
the share of wrong answers may rise and fall with the threshold.

It holds only if the sequence knows nothing of the calibration documents: it is made of the confidences of other
documents, the reference, and of the number n.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr  # P(Bin(m, p) <= e)

from redct.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STEPS: Final = 50
# The first test expects half of the documents, but so many that it allows at least 1 wrong answer, and no more than
# allow 10: a later start misses the few documents that are safe where a task is hard, an earlier one fails by bad luck
# where it is easy. By simulation (n = 100 to 1000, max_error 0.05 to 0.2, six curves of error) this answers on average
# 4 % of the documents less than the best of a dozen rules for each; sharing delta among several starts is no better.
_START: Final = 1 / 2
_ERRORS_AT_START: Final = (1, 10)


@dataclass(frozen=True)
class Abstention:
    """When the edge classifier answers, and what is guaranteed about its answers.

    Attributes:
        thresholds: For each of the K labels: it is given where it is the likeliest and its probability is at least
            this; None: never.
        max_error: Largest share of wrong labels among the answered documents; of each label where `per_class`.
        delta: Probability that this does not hold, over the draw of the calibration documents.
        per_class: Whether each predicted label has a threshold, and the guarantee, of its own.
        documents: Calibration documents.
        answered: How many of them are answered.
        errors: How many of the answered are labeled wrongly.
        coverage: Share of the documents that are answered, 0 to 1.
        p_values: Of the thresholds taken: one, or one for each label (None where its threshold is).
        tested: Number of hypotheses tested to find them, likewise.
    """

    thresholds: list[float | None]
    max_error: float
    delta: float
    per_class: bool
    documents: int
    answered: int
    errors: int
    coverage: float
    p_values: list[float | None]
    tested: list[int]

    def __str__(self) -> str:
        each = " of each label" if self.per_class else ""
        target = f"at most {self.max_error:.1%} of the answers{each} are wrong, with probability {1 - self.delta:.1%}"
        found = f"{self.answered:,} ({self.coverage:.1%}) are answered, {self.errors:,} wrongly"
        return f"{target} over the draw of the {self.documents:,} documents that show it; of these {found}"


@dataclass(frozen=True)
class FixedSequence:
    """A sequence of J thresholds, tested in turn.

    Attributes:
        threshold: (J,) descending.
        answered: (J,) documents with at least that confidence.
        errors: (J,) those of them that are labeled wrongly.
        p_value: (J,) of "more than max_error of the answers are wrong".
        rejected: How many were rejected before the first that was not, 0 to J.
    """

    threshold: Floats
    answered: Ints
    errors: Ints
    p_value: Floats
    rejected: int


def choose_thresholds(
    probs: npt.ArrayLike,
    gold: npt.ArrayLike,
    reference: npt.ArrayLike,
    *,
    max_error: float,
    delta: float = 0.05,
    per_class: bool = False,
) -> Abstention:
    """Chooses when to answer, so that with probability 1 - delta at most max_error of the answers are wrong.

    Args:
        probs: (n, K) the classifier's distributions for the calibration documents: a uniform draw from the documents
            that it will meet, none of which served its training. A row of nan counts as never answered.
        gold: (n,) their right labels, 0 to K-1.
        reference: (M, K) its distributions for other documents, of which no label is needed. The more they are
            like those it will meet, the more it will answer; the guarantee does not depend on them.
        max_error: Largest share of wrong labels among the answered documents, above 0 and below 1.
        delta: Probability that the guarantee fails, above 0 and below 1.
        per_class: Whether it shall hold for the documents of each predicted label: each label has a threshold of its
            own, found at delta / K so that all hold together, or none, and then is never given.

    Raises:
        InputError: When no threshold can be guaranteed; it says what would be needed.
        ValueError: When the arrays do not fit together.
    """
    n, k = _checked_shape(probs, gold, reference, max_error, delta)
    (predicted, confidence), (likely, surety) = _answers(probs), _answers(reference)
    wrong = predicted != np.asarray(gold)
    groups = [[label] for label in range(k)] if per_class else [list(range(k))]
    level, sequences = delta / len(groups), []
    for labels in groups:
        here, there = np.isin(predicted, labels), np.isin(likely, labels)
        # How many documents are expected, not how many were found: the sequence must not depend on them.
        expected = n * np.count_nonzero(there) / max(len(there), 1)
        grid = threshold_grid(surety[there], expected, max_error, level)
        sequences.append(fixed_sequence(confidence[here], wrong[here], grid, max_error, level))
    if not any(sequence.rejected for sequence in sequences):
        raise InputError(_refusal(sequences, n, max_error, delta))
    taken = [sequence.rejected - 1 if sequence.rejected else None for sequence in sequences]
    limits = [None if at is None else float(s.threshold[at]) for s, at in zip(sequences, taken, strict=True)]
    thresholds = limits if per_class else limits * k
    answered = confidence >= np.array([np.inf if limit is None else limit for limit in thresholds])[predicted]
    return Abstention(
        thresholds=thresholds,
        max_error=max_error,
        delta=delta,
        per_class=per_class,
        documents=n,
        answered=int(answered.sum()),
        errors=int((answered & wrong).sum()),
        coverage=float(answered.mean()),
        p_values=[None if at is None else float(s.p_value[at]) for s, at in zip(sequences, taken, strict=True)],
        tested=[min(s.rejected + 1, len(s.threshold)) for s in sequences],
    )


def threshold_grid(reference: npt.ArrayLike, documents: float, max_error: float, delta: float) -> Floats:
    """Returns the thresholds to test in turn: descending, the last one 0, which answers everything.

    The others are those at which equal steps of the reference are answered, from the share at which enough
    calibration documents are expected for a rejection in spite of an error.

    Args:
        reference: (M,) confidences of documents that are not the calibration documents.
        documents: Number of calibration documents expected.
        max_error: Largest share of wrong labels among the answered documents.
        delta: Level of each test.

    Returns:
        (J,), J <= 50, each but the last one a confidence of the reference; empty where no document is expected.
    """
    descending = np.sort(np.asarray(reference, dtype=np.float64))[::-1]
    if not descending.size or documents <= 0:
        return np.zeros(0)
    fewest, most = (fewest_documents(errors, max_error, delta) for errors in _ERRORS_AT_START)
    start = min(max(_START * documents, fewest), most) / documents
    coverage = np.linspace(min(start, 1.0), 1.0, STEPS)
    at = np.ceil(coverage[coverage < 1] * len(descending)).astype(np.int64) - 1
    return np.unique([*np.maximum(descending[at], 0.0), 0.0])[::-1]


def fixed_sequence(
    confidence: npt.ArrayLike, wrong: npt.ArrayLike, threshold: npt.ArrayLike, max_error: float, delta: float
) -> FixedSequence:
    """Tests thresholds in turn, up to the first that is not rejected.

    Args:
        confidence: (m,) confidences of the calibration documents.
        wrong: (m,) whether they are labeled wrongly.
        threshold: (J,) descending, chosen without a look at these documents.
        max_error: Largest share of wrong labels among the answered documents.
        delta: Level of each test, and of all together.
    """
    grid = np.asarray(threshold, dtype=np.float64)
    answers = np.asarray(confidence, dtype=np.float64)[:, None] >= grid
    answered = answers.sum(axis=0, dtype=np.int64)
    errors = (answers & np.asarray(wrong, dtype=bool)[:, None]).sum(axis=0, dtype=np.int64)
    p_value = bdtr(errors, answered, max_error)  # 1 where nothing is answered
    rejected = int(np.argmin(np.append(p_value <= delta, False)))
    return FixedSequence(grid, answered, errors, p_value, rejected)


def fewest_documents(errors: int, max_error: float, delta: float) -> int:
    """Returns how many documents must be answered for the guarantee to be possible in spite of some wrong answers.

    Without any wrong one it is ceil(log(delta) / log(1 - max_error)).

    Args:
        errors: Wrong answers, at least 0.
        max_error: Largest share of wrong labels among the answered documents, above 0 and below 1.
        delta: Probability that the guarantee fails, above 0 and below 1.
    """
    return bisect_left(range(2**31 - 1), True, lo=errors, key=lambda m: bool(bdtr(errors, m, max_error) <= delta))


def _checked_shape(
    probs: npt.ArrayLike, gold: npt.ArrayLike, reference: npt.ArrayLike, max_error: float, delta: float
) -> tuple[int, int]:
    for name, value in (("max_error", max_error), ("delta", delta)):
        if not 0 < value < 1:
            raise InputError(f"{name}: found {value}, expected above 0 and below 1")
    (n, k), right = np.shape(probs), np.asarray(gold)
    if right.shape != (n,) or np.shape(reference)[1:] != (k,):
        raise ValueError(f"found {(n, k)} probs, {right.shape} gold and {np.shape(reference)} reference")
    if n and not (right.min() >= 0 and right.max() < k):
        raise ValueError(f"gold: found {right.min()} to {right.max()}, expected 0 to {k - 1}")
    return n, k


def _answers(probs: npt.ArrayLike) -> tuple[Ints, Floats]:
    """Returns (N,) the likeliest labels and (N,) their probabilities, -1 in a row of nan."""
    # In the runtime's precision, so that it compares the numbers that were compared here.
    rows = np.asarray(probs, dtype=np.float32)
    return rows.argmax(axis=1), np.nan_to_num(rows.max(axis=1).astype(np.float64), nan=-1.0)


def _refusal(sequences: list[FixedSequence], n: int, max_error: float, delta: float) -> str:
    """Says what the calibration documents lack."""
    target, level = f"max_error {max_error:g} at delta {delta:g}", delta / len(sequences)
    if len(sequences) > 1:
        target += f" / {len(sequences)} labels"
    without, with_one = (fewest_documents(errors, max_error, level) for errors in (0, 1))
    needed = f"{target} takes at least {without:,} answered without an error, {with_one:,} with one"
    if n < without:
        return f"data.reserve: found {n:,} documents, but {needed}; give more documents with gold labels"
    firsts = [f"{s.errors[0]:,} of {s.answered[0]:,}" for s in sequences if len(s.threshold)]
    found = f"of the {n:,} documents, {' and '.join(firsts)} with the surest answers are wrong"
    return f"data.reserve: {found}, but {needed}; give more documents with gold labels, or allow a larger max_error"
