"""What is asked about a label: its share, its share in groups and how these differ, or a regression."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from redct.errors import InputError

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Link = Literal["linear", "logistic"]

LARGEST_GROUPS: Final = 30
FEWEST_ANSWERS: Final = 10
FEWEST_OF_A_KIND: Final = 20
"""Answers that are, and that are not, the label; with fewer it is rare, and errors of a figure lie on one side."""


@dataclass(frozen=True)
class Question:
    """Figures to estimate: contrast @ b, where b are the coefficients of a regression of the label on columns.

    Shares are such coefficients too, of indicators of the groups.

    Args:
        names: C figures.
        columns: (N, P) of the regression; rows of zeros for documents that it leaves out.
        contrast: (C, P) which combination of the coefficients a figure is.
        shares: Whether the coefficients are shares of the label, in groups of documents.
        link: `linear` or `logistic`.
        notes: What the user should know.
    """

    names: Sequence[str]
    columns: Floats
    contrast: Floats
    shares: bool
    link: Link = "linear"
    notes: Sequence[str] = ()


def overall(n: int) -> Question:
    """Asks for the label's share in the corpus of n documents."""
    return Question(["all documents"], np.ones((n, 1)), np.eye(1), shares=True)


def by_group(values: Sequence[str | None], column: str, answered: Mask) -> Question:
    """Asks for the label's share in each group, and how far it is from the share in the largest group.

    Args:
        values: (N,) the group of each document.
        column: What the groups are called.
        answered: (N,) whether experts answered; a group with fewer than 10 answers is left out.

    Raises:
        InputError: When fewer than two groups have enough answers, or there are more than 30.
    """
    named = [value if value is not None and value.strip() else "(none)" for value in values]
    sizes, answers = Counter(named), Counter(name for name, known in zip(named, answered, strict=True) if known)
    if len(sizes) > LARGEST_GROUPS:
        raise InputError(
            f"--by {column}: found {len(sizes):,} different values, expected at most {LARGEST_GROUPS}; use --formula "
            "for numbers"
        )
    groups = [group for group, _ in sizes.most_common() if answers[group] >= FEWEST_ANSWERS]
    if len(groups) < 2:
        raise InputError(
            f"--by {column}: found {len(groups)} groups with {FEWEST_ANSWERS} answers or more (of {len(sizes)}), "
            "expected two or more"
        )
    left_out = [f"{group} ({answers[group]})" for group in sizes if group not in groups]
    notes = [f"--by {column}: left out, as they have fewer than {FEWEST_ANSWERS} answers: {', '.join(left_out)}"]
    place = {group: g for g, group in enumerate(groups)}
    each = np.eye(len(groups))
    columns = np.vstack([each, np.zeros(len(groups))])[[place.get(name, len(groups)) for name in named]]
    names = [*groups, *(f"{group} - {groups[0]}" for group in groups[1:])]
    contrast = np.vstack([each, each[1:] - each[0]])
    return Question(names, columns, contrast, shares=True, notes=notes if left_out else ())
