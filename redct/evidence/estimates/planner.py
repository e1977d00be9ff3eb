"""How many expert answers an interval of a given half-width needs: before there are any, and after the first ones."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from redct.evidence.estimates.intervals import Precision, satterthwaite
from redct.evidence.estimates.questions import FEWEST_ANSWERS

Floats = npt.NDArray[np.float64]
Inclusion = Callable[[int], Floats]
"""Gives (N,) inclusion probabilities, above 0, of a draw of so many documents."""


@dataclass(frozen=True)
class Plan:
    """Answers that the widest interval needs.

    Args:
        answers: How many, in all; None where even answers to all documents are too few.
        without: The same, were the machine of no help; None also after the first answers, which tell how much it is.
    """

    answers: int | None
    without: int | None = None


def before(machine: Floats, groups: Floats, half_width: float, inclusion: Inclusion, wider: bool = False) -> Plan:
    """Plans shares when there are no answers yet, by what the machine expects of itself.

    Where it gives a label the probability m, an expert's answer differs from m by sqrt(m (1 - m)) in the root mean
    square, if its probabilities are right. Were it of no help, that would be as much as answers differ from their mean.

    Args:
        machine: (N,) the machine's probability of the label.
        groups: (N, C) 1 in the column of a document's group, else 0; all documents may be one group.
        half_width: Wanted, above 0.
        inclusion: Of the draw.
        wider: Whether the shares are about a wider population than the corpus.
    """
    size, members = len(machine), groups.sum(axis=0)
    share = machine @ groups / members
    alike = groups @ (share * (1 - share))

    def expected(answers: int, square: Floats) -> float:
        pi = inclusion(answers)
        unit = (1 / pi - 1)[:, None] * groups
        precise = Precision(
            (unit * square[:, None]).sum(axis=0) / members**2,
            unit.sum(axis=0) / members**2,
            share * (1 - share) / members if wider else np.zeros(len(members)),
            pi @ groups,
            share,
            satterthwaite(unit.sum(axis=0), (unit**2 / pi[:, None]).sum(axis=0)),
        )
        return _widest(precise, share)

    helpful = _least(size, half_width, lambda answers: expected(answers, machine * (1 - machine)))
    return Plan(helpful, _least(size, half_width, lambda answers: expected(answers, alike)))


def after(share: Floats, half_width: float, found: Precision, answers: int, size: int) -> Plan:
    """Plans shares when there are answers, by how far experts and machine differ on them.

    With n of N documents drawn the variance of the draw falls as 1/n - 1/N (Cochran 1977, Sampling Techniques, section
    2.6), while documents are drawn as they were.

    Args:
        share: (C,) the shares now.
        half_width: Wanted, above 0.
        found: How precise they are now.
        answers: n, answers so far, at least 1.
        size: N, documents of the corpus.
    """

    def expected(more: int) -> float:
        fall = (1 / more - 1 / size) / (1 / answers - 1 / size) if answers < size else 0.0
        grow = more / answers
        return _widest(
            replace(
                found,
                of_the_draw=found.of_the_draw * fall,
                unit=found.unit * fall,
                answers=found.answers * grow,
                freedom=np.maximum((found.freedom + 1) * grow - 1, 1.0),
            ),
            share,
        )

    return Plan(_least(size, half_width, expected))


def _widest(found: Precision, share: Floats) -> float:
    low, high = found.of_shares(share)
    return float(np.max(high - low) / 2)


def _least(size: int, half_width: float, expected: Callable[[int], float]) -> int | None:
    """The least number of answers, by bisection, whose expected half-width is small enough."""
    if expected(size) > half_width:
        return None
    low, high = min(FEWEST_ANSWERS, size) - 1, size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if expected(middle) <= half_width else (middle, high)
    return high
