"""Bootstrap intervals of anything that can be computed from weighted documents, as the documents were sampled.

A statistic gets how often every unit was drawn, for many resamples at once. A unit is a document or, where documents
come in clusters, a cluster; units that the statistic cannot tell apart are one kind, drawn by a multinomial, which is
the same distribution as drawing them one by one and costs as much as there are kinds.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from redct.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Name = TypeVar("Name", bound=Hashable)
Statistic = Callable[[Floats], Mapping[Name, Floats]]
"""From (B, U) how much each kind counts, 1 as on the documents themselves, to (B,) values of each name."""

# Numbers held at a time (16 MB): with many units, all resamples at once would not fit.
_AT_ONCE: Final = 2_000_000
# With more kinds, groups of units are left out together: they tell the skewness as well, see `_left_out`.
_MOST_LEFT_OUT: Final = 500
# An end of BCa is the quantile of few resamples when bias and skewness push it far out; then it is mostly noise.
_FEWEST_BEYOND: Final = 10


@dataclass(frozen=True)
class Interval:
    """A metric with its bootstrap interval.

    Args:
        value: The metric on the documents themselves.
        low: Lower end of the interval.
        high: Upper end of the interval.
        method: `bca`, corrected for bias and skewness; `percentile` where that correction is not stable; or
            `mirrored`, see `mirrored`.
    """

    value: float
    low: float
    high: float
    method: Literal["bca", "percentile", "mirrored"] = "percentile"


@dataclass(frozen=True)
class Design:
    """How N documents of an evaluation were sampled; by default each by itself and with the same chance.

    Args:
        weight: (N,) above 0, 1 / inclusion probability.
        cluster: (N,) what documents were drawn together, such as all of an author.
        stratum: (N,) the part of the population in which a fixed number was drawn. Nothing else is a stratum: gold
            labels, say, would have come out in other numbers in another sample.
    """

    weight: Floats | None = None
    cluster: npt.NDArray[Any] | None = None
    stratum: npt.NDArray[Any] | None = None

    def rows(self, at: npt.NDArray[Any]) -> "Design":
        """Returns the design of some of the documents."""
        parts = (self.weight, self.cluster, self.stratum)
        return Design(*(None if part is None else part[at] for part in parts))

    @property
    def is_plain(self) -> bool:
        """Whether documents were drawn one by one and with the same chance."""
        return self.weight is None and self.cluster is None and self.stratum is None


@dataclass(frozen=True)
class Units:
    """What is drawn with replacement, U kinds.

    Args:
        count: (U,) how many units are of a kind.
        stratum: (U,) 0, 1, ...: as many units are drawn in each stratum as it has.
    """

    count: Ints
    stratum: Ints

    def strata(self) -> Iterator[tuple[Ints, int]]:
        """Yields the kinds of each stratum, and how many units it has."""
        for number in np.unique(self.stratum):
            kinds = np.flatnonzero(self.stratum == number)
            yield kinds, int(self.count[kinds].sum())


def units_of(design: Design, alike: Sequence[npt.ArrayLike], n: int) -> tuple[Units, Ints]:
    """Divides documents into kinds of units.

    Args:
        design: How the N documents were sampled.
        alike: Arrays of (N,): documents equal in all of these, and in weight, are of one kind. Without any, every
            document is a kind of its own. Clusters always are.
        n: N.

    Returns:
        The units, and (N,) the kind of each document.

    Raises:
        InputError: When a cluster has documents of several strata.
    """
    stratum = np.zeros(n, dtype=np.int64) if design.stratum is None else _numbered(design.stratum)
    if design.cluster is not None:
        first, of = _clusters(design.cluster, stratum)
        count = np.ones(len(first), dtype=np.int64)
    elif not alike:
        first, of, count = np.arange(n), np.arange(n), np.ones(n, dtype=np.int64)
    else:
        weight = () if design.weight is None else (design.weight,)
        numbers = [_numbered(np.asarray(column)) for column in (*alike, *weight, stratum)]
        _, first, of, count = np.unique(
            np.stack(numbers, axis=1), axis=0, return_index=True, return_inverse=True, return_counts=True
        )
    return Units(count, _without_singles(stratum[first], count)), of.reshape(-1)


def intervals(
    units: Units,
    statistic: Statistic[Name],
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
    width: int = 1,
    percentile: Collection[Name] = (),
) -> dict[Name, Interval]:
    """Intervals of all values of a statistic, from the same resamples.

    BCa (Efron 1987, Better Bootstrap Confidence Intervals) where its ends rest on at least 10 resamples each and all
    values exist; the percentile interval of those that exist otherwise. With strata, the acceleration is that of
    Efron's formula for several samples.

    Args:
        units: What is drawn.
        statistic: Gets (B, U) how much each kind counts, gives (B,) for each name; nan where a value does not exist.
        resamples: Number of bootstrap samples.
        seed: Of the resampling.
        level: Probability mass of the interval, in (0, 1).
        width: Numbers that the statistic holds for a resample, so that not too many are drawn at a time.
        percentile: Names whose interval is the percentile one in any case.

    Returns:
        For each name an interval, of nans where the value itself does not exist.

    Raises:
        InputError: When there is nothing to draw from, or resamples or level are out of range.
    """
    if resamples < 1 or not 0 < level < 1:
        raise InputError(f"found resamples {resamples} and level {level}, expected 1 or more and a level in (0, 1)")
    if not units.count.sum():
        raise InputError("evaluation: found no document with a gold label, expected at least one")
    block = max(1, _AT_ONCE // max(len(units.count), width))
    left_out, share = _left_out(units, np.random.default_rng(seed))
    observed = statistic(np.ones((1, len(units.count))))
    drawn = _gathered(statistic, _draws(units, resamples, block, np.random.default_rng(seed)))
    with np.errstate(invalid="ignore"):  # without the only unit there is nothing
        skewing = _gathered(statistic, (left_out(rows) for rows in _blocks(len(share), block)))
    found = {}
    for name, value in observed.items():
        acceleration = float("nan") if name in percentile else _acceleration(skewing[name], share)
        found[name] = _interval(float(value[0]), drawn[name], acceleration, level)
    return found


def mirrored(interval: Interval, noise: float) -> Interval:
    """Interval of something that noise alone makes larger, such as a sum of absolute deviations.

    On resamples it is larger than on the documents, as it is there larger than in the population, so that the
    percentile interval may even miss the value itself. Its upper end is kept and mirrored at the value.

    Args:
        interval: The percentile interval.
        noise: What would be found of it if it were 0, at the interval's upper quantile: a value up to that may be 0.
    """
    low = 0.0 if interval.value <= noise else max(0.0, 2 * interval.value - interval.high)
    return Interval(interval.value, low, max(interval.high, interval.value), "mirrored")


def _interval(value: float, drawn: Floats, acceleration: float, level: float) -> Interval:
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not known.size:
        return Interval(float("nan"), float("nan"), float("nan"))
    ends = np.array([(1 - level) / 2, (1 + level) / 2])
    below = (np.count_nonzero(known < value) + np.count_nonzero(known <= value)) / 2 / known.size
    if known.size == drawn.size and 0 < below < 1 and np.isfinite(acceleration):
        bias = ndtri(below)
        shifted = bias + ndtri(ends)
        corrected = ndtr(bias + shifted / (1 - acceleration * shifted))
        beyond = min(corrected[0], 1 - corrected[1]) * known.size
        if corrected[0] < corrected[1] and beyond >= _FEWEST_BEYOND:
            low, high = np.quantile(known, corrected)
            return Interval(value, float(low), float(high), "bca")
    low, high = np.quantile(known, ends)
    return Interval(value, float(low), float(high))


def _acceleration(left_out: Floats, share: Floats) -> float:
    """A sixth of the skewness of the values without each unit; nan where it cannot be told."""
    pull = left_out - np.average(left_out, weights=share)
    spread = float(share @ pull**2)
    return float(share @ -(pull**3)) / (6 * spread**1.5) if spread > 0 else float("nan")


def _draws(units: Units, resamples: int, block: int, rng: np.random.Generator) -> Iterator[Floats]:
    for rows in _blocks(resamples, block):
        drawn = np.empty((len(rows), len(units.count)))
        for kinds, total in units.strata():
            count = units.count[kinds]
            drawn[:, kinds] = rng.multinomial(total, count / total, size=len(rows)) / count
        yield drawn


def _left_out(units: Units, rng: np.random.Generator) -> tuple[Callable[[Ints], Floats], Floats]:
    """How much each kind counts where a unit is left out, and how many units that stands for.

    Returns:
        A function from (B,) numbers of what is left out to (B, U), and (J,) how many units are alike in that. With many
        kinds, groups of units are left out together: their influence on a statistic is nearly the sum of that of their
        units, and so is its third moment, on which the acceleration rests.
    """
    n_kinds = len(units.count)
    if n_kinds <= _MOST_LEFT_OUT:
        group, size, share = np.arange(n_kinds), np.ones(n_kinds), units.count.astype(np.float64)
    else:
        group = rng.permutation(n_kinds) % _MOST_LEFT_OUT
        size, share = units.count.astype(np.float64), np.ones(_MOST_LEFT_OUT)

    def counting(rows: Ints) -> Floats:
        counts: Floats = 1 - (group == rows[:, None]) * (size / units.count)
        for kinds, total in units.strata():
            # What is left of a stratum stands for all of it.
            counts[:, kinds] *= total / np.maximum((counts[:, kinds] * units.count[kinds]).sum(axis=1), 1)[:, None]
        return counts

    return counting, share


def _gathered(statistic: Statistic[Name], blocks: Iterator[Floats]) -> dict[Name, Floats]:
    parts = [statistic(block) for block in blocks]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _blocks(total: int, size: int) -> Iterator[Ints]:
    for start in range(0, total, size):
        yield np.arange(start, min(start + size, total))


def _numbered(values: npt.NDArray[Any]) -> Ints:
    numbers: Ints = np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return numbers


def _clusters(cluster: npt.NDArray[Any], stratum: Ints) -> tuple[Ints, Ints]:
    """The first document of each cluster, and the cluster of each document."""
    names, first, of = np.unique(cluster, return_index=True, return_inverse=True)
    mixed = stratum != stratum[first][of]
    if mixed.any():
        raise InputError(f"cluster {str(names[of[np.argmax(mixed)]])!r}: has documents of several strata, expected one")
    return first, of.reshape(-1)


def _without_singles(stratum: Ints, count: Ints) -> Ints:
    """Joins a stratum of one unit with the next one, the last with the one before: alone, it would never vary."""
    sizes = np.bincount(stratum, weights=count)
    number, place, filled = 0, np.zeros(len(sizes), dtype=np.int64), 0.0
    for n, size in enumerate(sizes):
        place[n], filled = number, filled + size
        if filled > 1:
            number, filled = number + 1, 0.0
    return np.minimum(place, max(number - 1, 0))[stratum]
