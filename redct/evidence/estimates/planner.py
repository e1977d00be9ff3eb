"""How many expert answers an interval of a given half-width needs: before there are any, and after the first ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.evidence.estimates.estimators import Solution
from redct.evidence.estimates.intervals import Precision

Floats = npt.NDArray[np.float64]

FEWEST: Final = 10


@dataclass(frozen=True)
class Plan:
    """Answers that the widest interval needs.

    Args:
        answers: How many, in all; None where even answers to all documents are too few.
        without: The same, were the machine of no help.
    """

    answers: int | None
    without: int | None


def before(
    solution: Solution,
    machine: npt.ArrayLike,
    share: npt.ArrayLike,
    half_width: float,
    inclusion: Callable[[int], Floats],
    of_the_corpus: npt.ArrayLike = 0.0,
) -> Plan:
    """Plans when there are no answers yet, by what the machine expects of itself.

    Where it gives a label the probability m, an expert's answer differs from m by sqrt(m (1 - m)) in the root mean
    square, if its probabilities are right. Were it of no help, that would be as much as answers differ from their mean.

    Args:
        solution: Of `naive`: its leverages are those that the figures will have.
        machine: (N,) the machine's probability of the label.
        share: (C,) whether a figure is a share.
        half_width: Wanted, above 0.
        inclusion: Gives (N,) inclusion probabilities, above 0, of a draw of so many documents.
        of_the_corpus: (C,) variance that no answer takes away.
    """
    m = np.asarray(machine, dtype=np.float64)
    square = solution.leverage**2
    label = m @ square / square.sum(axis=0)

    def expected(answers: int, residual: Floats) -> float:
        pi = inclusion(answers)
        unit = (1 / pi - 1)[:, None] * square
        freedom = unit.sum(axis=0) ** 2 / np.maximum((unit**2 / pi[:, None]).sum(axis=0), 1e-300) - 1
        draw, one = ((unit * part).sum(axis=0) / len(m) ** 2 for part in (residual, np.ones((1, 1))))
        has_part = (pi[:, None] * (square > 0)).sum(axis=0)
        rest = np.broadcast_to(np.asarray(of_the_corpus, dtype=np.float64), label.shape)
        precise = Precision(draw, one, rest, has_part, label, np.maximum(freedom, 1.0))
        return _widest(precise, solution.value, share)

    helpful, helpless = (m * (1 - m))[:, None], (label * (1 - label))[None, :]
    return Plan(*(_least(len(m), half_width, lambda n, r=r: expected(n, r)) for r in (helpful, helpless)))  # type: ignore[misc]


def after(value: npt.ArrayLike, share: npt.ArrayLike, half_width: float, found: Precision, n: int, size: int) -> int | None:
    """Plans when there are answers, by how far experts and machine differ on them.

    With n of N documents drawn the variance of the draw falls as 1/n - 1/N (Cochran 1977, Sampling Techniques, section
    2.6), while documents are drawn as they were.

    Args:
        value: (C,) the figures.
        share: (C,) whether a figure is a share.
        half_width: Wanted, above 0.
        found: How precise the figures are now.
        n: Answers so far.
        size: N, documents of the corpus.

    Returns:
        Answers in all; None where even answers to all documents are too few.
    """

    def expected(answers: int) -> float:
        fall, grow = (1 / answers - 1 / size) / max(1 / n - 1 / size, 1e-300), answers / n
        precise = replace(
            found,
            of_the_draw=found.of_the_draw * fall,
            unit=found.unit * fall,
            answers=found.answers * grow,
            freedom=np.maximum((found.freedom + 1) * grow - 1, 1.0),
        )
        return _widest(precise, np.asarray(value, dtype=np.float64), share)

    return _least(size, half_width, expected)


def _widest(found: Precision, value: Floats, share: npt.ArrayLike) -> float:
    low, high = found.ends(value, np.asarray(share, dtype=np.bool_))
    return float(np.max(high - low) / 2)


def _least(size: int, half_width: float, expected: Callable[[int], float]) -> int | None:
    """The least number of answers, by bisection, whose expected half-width is small enough."""
    if expected(size) > half_width:
        return None
    low, high = min(FEWEST, size) - 1, size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if expected(middle) <= half_width else (middle, high)
    return high
