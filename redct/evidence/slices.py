"""Parts of the documents on which a classifier errs more often than on the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control, fisher_exact, norm
from scipy.stats import t as student

from redct.evidence.resampling import Design, Interval, intervals, units_of

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FEWEST_DOCUMENTS: Final = 20
LENGTH: Final = "length"
FALSE_DISCOVERIES: Final = 0.05


@dataclass(frozen=True)
class Slice:
    """The documents with one value of a column.

    Args:
        column: The column, or `length`.
        value: Its value; of `length`, a range of characters.
        documents: How many.
        error: Share of errors among them.
        excess: That minus the share among all others.
        p_value: One-sided, that errors are not more frequent there than elsewhere: Fisher's exact test, or a t test
            by the bootstrap's standard error where documents are weighted or come in clusters or strata.
        q_value: The p-value, adjusted for all slices that were tested (Benjamini & Hochberg 1995).
    """

    column: str
    value: str
    documents: int
    error: Interval
    excess: Interval
    p_value: float
    q_value: float

    @property
    def is_worse(self) -> bool:
        """Whether errors are more frequent there, with a false discovery rate of 5 % over all slices."""
        return self.q_value <= FALSE_DISCOVERIES


def find_slices(
    wrong: npt.ArrayLike,
    columns: Mapping[str, Sequence[str]],
    design: Design = Design(),  # noqa: B008 - frozen
    seed: int = 0,
) -> list[Slice]:
    """Tests each value of each column that 20 or more documents have, and that 20 or more do not.

    Args:
        wrong: (N,) whether a document's label is wrong.
        columns: Of each column, the N values.
        design: How the documents were sampled.
        seed: Of the resampling.

    Returns:
        The slices, the most significant first.
    """
    missed = np.asarray(wrong, dtype=bool)
    named = [(column, value, inside) for column, values in columns.items() for value, inside in _values(values)]
    if not named:
        return []
    found = [_test(missed, inside, design, seed) for _, _, inside in named]
    adjusted = false_discovery_control([p_value for _, _, p_value in found], method="bh")
    slices = [
        Slice(column, value, int(inside.sum()), error, excess, p_value, float(q_value))
        for (column, value, inside), (error, excess, p_value), q_value in zip(named, found, adjusted, strict=True)
    ]
    return sorted(slices, key=lambda each: (each.p_value, -each.excess.value))


def length_quartiles(texts: Sequence[str]) -> list[str]:
    """Returns of each text the range of characters of its quartile, such as `41 to 87 characters`."""
    lengths = np.array([len(text) for text in texts])
    edges = np.unique(np.quantile(lengths, (0.25, 0.5, 0.75), method="inverted_cdf"))
    quartile = np.searchsorted(edges, lengths)
    names = {}
    for number in np.unique(quartile):
        inside = lengths[quartile == number]
        names[number] = f"{inside.min()} to {inside.max()} characters"
    return [names[number] for number in quartile]


def _values(values: Sequence[str]) -> list[tuple[str, Mask]]:
    array = np.asarray(values, dtype=object)
    found = [(value, array == value) for value in dict.fromkeys(values)]
    return [
        (value, inside) for value, inside in found if FEWEST_DOCUMENTS <= inside.sum() <= len(array) - FEWEST_DOCUMENTS
    ]


def _test(wrong: Mask, inside: Mask, design: Design, seed: int) -> tuple[Interval, Interval, float]:
    units, of = units_of(design, (wrong, inside), len(wrong))
    weight = np.ones(len(wrong)) if design.weight is None else design.weight
    parts = [inside & wrong, inside, ~inside & wrong, ~inside]
    sums = np.stack([np.bincount(of, weight * part, minlength=len(units.count)) for part in parts], axis=1)

    def statistic(times: Floats) -> dict[str, Floats]:
        wrong_in, all_in, wrong_out, all_out = (times @ sums).T
        with np.errstate(invalid="ignore", divide="ignore"):
            error = wrong_in / all_in
            return {"error": error, "excess": error - wrong_out / all_out}

    found = intervals(units, statistic, seed=seed)
    if design.is_plain:
        table = [[np.sum(part & hit) for hit in (wrong, ~wrong)] for part in (inside, ~inside)]
        p_value = float(fisher_exact(table, alternative="greater").pvalue)
    else:
        fewer = min(int(units.count[sums[:, part] > 0].sum()) for part in (1, 3))
        p_value = _p_value(found["excess"], fewer - 1)
    return found["error"], found["excess"], p_value


def _p_value(excess: Interval, freedom: int) -> float:
    """By the bootstrap's standard error, which as few units tell as the smaller side has, less one."""
    error = (excess.high - excess.low) / (2 * norm.ppf(0.975))
    if freedom < 1:  # what is one author's alone says nothing about others
        return 1.0
    return float(student.sf(excess.value / error, freedom)) if error > 0 else float(excess.value <= 0)
