"""How documents are drawn once each has a score and a stratum: by rank, or by chance with known probabilities.

Scores are logarithms of uncertainties: 0 is the most uncertain, -inf certain, nan unknown, which counts as most
uncertain. Where documents are drawn by chance only the shares of the uncertainties in their stratum matter, and
logarithms keep them where the uncertainties themselves would underflow to 0.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# A probability this near to 1 counts as 1: it is beyond the resolution of the cumulated sums of a draw.
_CERTAIN: Final = 1 - 1e-9


def allocate(counts: npt.ArrayLike, n: int) -> Ints:
    """Divides n documents equally over strata.

    Each stratum gives n/K; one with fewer gives all it has and the rest goes to the others. What is left after
    equal division goes to the strata with most documents left, one each.

    Args:
        counts: (K,) documents available per stratum; may be 0.
        n: Documents wanted, at least 0.

    Returns:
        (K,) documents per stratum, none above its count; they sum to min(n, counts.sum()).
    """
    available = np.asarray(counts, dtype=np.int64)
    given = np.zeros_like(available)
    left = min(n, int(available.sum()))
    while left > 0:
        remaining = available - given
        open_strata = np.flatnonzero(remaining)
        share = left // len(open_strata)
        if share == 0:
            largest_first = open_strata[np.argsort(-remaining[open_strata], kind="stable")]
            given[largest_first[:left]] += 1
            break
        given += np.minimum(remaining, share)
        left = min(n, int(available.sum())) - int(given.sum())
    return given


def most_uncertain(score: Floats, strata: Ints, n: int, rng: np.random.Generator) -> Ints:
    """The most uncertain documents of each stratum; ties are broken by chance.

    Args:
        score: (N,) see above.
        strata: (N,) 0, 1, ...
        n: Documents wanted, divided over the strata by `allocate`.
        rng: Breaks ties.

    Returns:
        (min(n, N),) distinct positions.
    """
    certainty = np.where(np.isnan(score), -np.inf, -score)
    # Files are often sorted by source or date, so ties go by a random rank and not by position.
    ranking = np.lexsort((rng.permutation(len(strata)), certainty, strata))
    counts = np.bincount(strata)
    starts = np.cumsum(counts) - counts
    picked = [ranking[start : start + k] for start, k in zip(starts, allocate(counts, n), strict=True)]
    return np.concatenate([np.empty(0, dtype=np.int64), *picked])


def probabilities(score: Floats, strata: Ints, n: int, floor: float) -> Floats:
    """Inclusion probabilities that grow with the uncertainty, over a uniform floor.

    In a stratum of N_k documents, of which n_k are to be drawn, document i has the probability
    n_k * ((1 - floor) * u_i / sum(u) + floor / N_k) with u = exp(score). Probabilities above 1 become 1 and the
    excess goes to the others in proportion, so that they sum to n_k (Särndal, Swensson & Wretman 1992, Model
    Assisted Survey Sampling, section 3.6).

    Args:
        score: (N,) see above.
        strata: (N,) 0, 1, ...
        n: Documents wanted, divided over the strata by `allocate`.
        floor: Share of the probability that is spread evenly, above 0.

    Returns:
        (N,) in [0, 1]; above 0 in each stratum that gives a document.
    """
    known = np.where(np.isnan(score), 0.0, score)
    inclusion = np.zeros(len(strata))
    for stratum, k in enumerate(allocate(np.bincount(strata), n)):
        if k > 0:
            members = np.flatnonzero(strata == stratum)
            inclusion[members] = _capped(_sizes(known[members], floor), int(k))
    return inclusion


def draw(inclusion: Floats, strata: Ints, rng: np.random.Generator) -> Ints:
    """Draws documents with these inclusion probabilities, a fixed number in each stratum.

    Systematic sampling over a random order (Madow 1949, On the theory of systematic sampling II).

    Args:
        inclusion: (N,) in [0, 1]; a whole number in sum over each stratum.
        strata: (N,) 0, 1, ...
        rng: Of the draw.

    Returns:
        Distinct positions.
    """
    picked = [np.empty(0, dtype=np.int64)]
    for stratum in np.unique(strata[inclusion > 0]):
        members = np.flatnonzero(strata == stratum)
        picked.append(members[_systematic(inclusion[members], rng)])
    return np.concatenate(picked)


def _sizes(score: Floats, floor: float) -> Floats:
    """(N_k,) positive, 1 in the mean."""
    largest = score.max()
    u = np.exp(score - largest) if np.isfinite(largest) else np.ones_like(score)
    sizes: Floats = (1 - floor) * u / u.mean() + floor
    return sizes


def _capped(size: Floats, k: int) -> Floats:
    """(N_k,) probabilities in proportion to size, in (0, 1], that sum to k."""
    if k == len(size):
        return np.ones(k)
    certain = np.zeros(len(size), dtype=bool)
    while True:
        rest = ~certain
        inclusion = np.ones(len(size))
        inclusion[rest] = (k - certain.sum()) * size[rest] / size[rest].sum()
        reached = rest & (inclusion >= _CERTAIN)
        if not reached.any():
            return inclusion
        certain |= reached


def _systematic(inclusion: Floats, rng: np.random.Generator) -> Ints:
    """Distinct positions, as many as the probabilities sum to."""
    certain = np.flatnonzero(inclusion >= _CERTAIN)
    order = rng.permutation(np.flatnonzero(inclusion < _CERTAIN))
    steps = round(float(inclusion[order].sum()))
    if steps == 0:
        return certain
    cumulated = np.minimum(np.cumsum(inclusion[order]), steps)
    cumulated[-1] = steps  # rounding may leave the sum just below
    points = np.minimum(rng.random() + np.arange(steps), np.nextafter(steps, 0))
    return np.concatenate([certain, order[np.searchsorted(cumulated, points, side="right")]])
