"""Query strategies: which documents are put to the experts, and with which probability each was.

Positions are positions in the whole corpus, never within a class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.errors import InputError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Below it, the weight 1/pi of a confident document could dwarf all others.
SMALLEST_FLOOR: Final = 0.01
# A probability this near to 1 counts as 1: it is beyond the resolution of the cumulated sums of a draw.
_CERTAIN: Final = 1 - 1e-9


@dataclass(frozen=True)
class Choice:
    """The documents chosen for the experts.

    Args:
        chosen: (n,) distinct positions in the corpus, in the order to ask.
        inclusion: (N,) the probability with which each document of the corpus was to be chosen, in [0, 1].
        stratum: (N,) the part of the corpus that each document was drawn in, with a fixed number of documents for
            each; None where the corpus was one part.
    """

    chosen: Ints
    inclusion: Floats
    stratum: Ints | None = None

    def strata(self) -> Ints:
        """Returns (N,) the stratum of each document."""
        return np.zeros(len(self.inclusion), dtype=np.int64) if self.stratum is None else self.stratum


def allocate(counts: npt.ArrayLike, n: int) -> Ints:
    """Divides n documents equally over classes.

    Each class gives n/K; one with fewer gives all it has and the rest goes to the others. What is left after
    equal division goes to the classes with most documents left, one each.

    Args:
        counts: (K,) documents available per class; may be 0.
        n: Documents wanted, at least 0.

    Returns:
        (K,) documents per class, none above its count; they sum to min(n, counts.sum()).
    """
    available = np.asarray(counts, dtype=np.int64)
    given = np.zeros_like(available)
    left = min(n, int(available.sum()))
    while left > 0:
        remaining = available - given
        open_classes = np.flatnonzero(remaining)
        share = left // len(open_classes)
        if share == 0:
            largest_first = open_classes[np.argsort(-remaining[open_classes], kind="stable")]
            given[largest_first[:left]] += 1
            break
        given += np.minimum(remaining, share)
        left = min(n, int(available.sum())) - int(given.sum())
    return given


def margin(label: npt.ArrayLike, margin: npt.ArrayLike, n_labels: int, n: int, seed: int) -> Choice:
    """Confidence-informed sampling as in RED-CT: the lowest-margin documents of each LLM-assigned class.

    The choice is deterministic up to ties, which are broken by the seed: its inclusion probabilities are 0
    and 1, and no valid estimate about the whole corpus can be made from it.

    Args:
        label: (N,) the LLM's label, -1 where it gave none; those documents are a class of their own.
        margin: (N,) the LLM's margin; nan counts as most uncertain.
        n_labels: Labels of the task.
        n: Documents wanted; the choice has min(n, N).
        seed: Breaks ties and shuffles the order to ask.
    """
    strata, uncertain = _checked(label, margin, n_labels, n)
    rng = np.random.default_rng(seed)
    # Files are often sorted by source or date, so ties go by a random rank and not by position.
    ranking = np.lexsort((rng.permutation(len(strata)), uncertain, strata))
    counts = np.bincount(strata, minlength=n_labels + 1)
    starts = np.cumsum(counts) - counts
    picked = [ranking[start : start + k] for start, k in zip(starts, allocate(counts, n), strict=True)]
    chosen = rng.permutation(np.concatenate(picked))
    inclusion = np.zeros(len(strata))
    inclusion[chosen] = 1.0
    return Choice(chosen, inclusion, strata)


def margin_randomised(
    label: npt.ArrayLike, margin: npt.ArrayLike, n_labels: int, n: int, seed: int, floor: float = 0.2
) -> Choice:
    """Margin sampling by chance: uncertain documents are likelier, every document is possible.

    Within a class of N_k documents, of which n_k are to be chosen, document i has the inclusion probability
    n_k * ((1 - floor) * u_i / sum(u) + floor / N_k) with u = exp(-margin). Probabilities above 1 become 1 and
    the excess goes to the others in proportion, so that they sum to n_k (Särndal, Swensson & Wretman 1992,
    Model Assisted Survey Sampling, section 3.6). The draw is systematic over a random order (Madow 1949, On
    the theory of systematic sampling II): exactly n_k documents with exactly these probabilities.

    The reason: an estimate weighted by 1/pi (prevalence, accuracy, calibration) is valid only when every
    document's probability is known and above 0. That holds here whenever n > 0; when n is smaller than the
    number of non-empty classes, a class would get nothing, so the corpus is then drawn from as one class.

    Args:
        label: (N,) the LLM's label, -1 where it gave none; those documents are a class of their own.
        margin: (N,) the LLM's margin; nan counts as most uncertain, inf as certain.
        n_labels: Labels of the task.
        n: Documents wanted; the choice has min(n, N).
        seed: Of the draw and of the order to ask.
        floor: Share of the probability that is spread evenly, 0.01 to 1.

    Raises:
        InputError: When the floor is out of range.
    """
    if not SMALLEST_FLOOR <= floor <= 1:
        raise InputError(f"floor: found {floor}, expected {SMALLEST_FLOOR} to 1")
    strata, uncertain = _checked(label, margin, n_labels, n)
    rng = np.random.default_rng(seed)
    if n < len(np.unique(strata)):
        strata = np.zeros_like(strata)
    counts = np.bincount(strata, minlength=n_labels + 1)
    inclusion = np.zeros(len(strata))
    picked = [np.empty(0, dtype=np.int64)]
    for stratum, k in enumerate(allocate(counts, n)):
        members = np.flatnonzero(strata == stratum)
        if k > 0:
            inclusion[members] = _probabilities(uncertain[members], int(k), floor)
            picked.append(members[_systematic(inclusion[members], int(k), rng)])
    return Choice(rng.permutation(np.concatenate(picked)), inclusion, strata)


def random(n_documents: int, n: int, seed: int) -> Choice:
    """Simple random sampling without replacement: every document has the probability n / N.

    Args:
        n_documents: Documents in the corpus.
        n: Documents wanted; the choice has min(n, N).
        seed: Of the draw.
    """
    _check_n(n)
    size = min(n, n_documents)
    chosen = np.random.default_rng(seed).permutation(n_documents)[:size]
    return Choice(chosen, np.full(n_documents, size / max(n_documents, 1)))


def _random(label: npt.ArrayLike, margin: npt.ArrayLike, n_labels: int, n: int, seed: int) -> Choice:
    strata, _ = _checked(label, margin, n_labels, n)
    return random(len(strata), n, seed)


STRATEGIES: Final[dict[str, Callable[[npt.ArrayLike, npt.ArrayLike, int, int, int], Choice]]] = {
    "margin": margin,
    "margin_randomised": margin_randomised,
    "random": _random,
}

RANDOMISED: Final = frozenset({"margin_randomised", "random"})
"""Strategies with which every document had a known chance above 0: their answers can be weighted."""


def choose(strategy: str, label: npt.ArrayLike, margin: npt.ArrayLike, n_labels: int, n: int, seed: int) -> Choice:
    """Chooses documents by the strategy of that name.

    Args:
        strategy: margin, margin_randomised or random.
        label: (N,) the LLM's label, -1 where it gave none.
        margin: (N,) the LLM's margin.
        n_labels: Labels of the task.
        n: Documents wanted.
        seed: Of everything random in the choice.

    Raises:
        InputError: When there is no such strategy.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"experts.strategy: found {strategy!r}, expected one of {', '.join(STRATEGIES)}")
    return STRATEGIES[strategy](label, margin, n_labels, n, seed)


def budget_count(budget: float, n_documents: int) -> int:
    """How many documents a budget buys.

    Args:
        budget: A share of the corpus above 0 and below 1, a whole number of documents, or 0. The float 1.0 is
            refused: it could mean one document or all of them.
        n_documents: Documents in the corpus.

    Raises:
        InputError: When it is none of these, or more than the corpus has.
    """
    if not isinstance(budget, bool):
        if 0 < budget < 1:
            return round(budget * n_documents)
        # Option parsers turn a whole number into a float where a share is allowed too.
        whole = isinstance(budget, int) or (budget != 1 and float(budget).is_integer())
        if whole and 0 <= budget <= n_documents:
            return int(budget)
    raise InputError(
        f"experts.budget: found {budget!r}, expected a share above 0 and below 1, "
        f"or a whole number from 0 to {n_documents} (documents in the corpus)"
    )


def _check_n(n: int) -> None:
    if n < 0:
        raise InputError(f"n: found {n}, expected 0 or more documents")


def _checked(label: npt.ArrayLike, margin: npt.ArrayLike, n_labels: int, n: int) -> tuple[Ints, Floats]:
    """Stratum per document (n_labels for -1) and margin, where nan became the smallest there is."""
    _check_n(n)
    labels = np.asarray(label, dtype=np.int64)
    margins = np.asarray(margin, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != margins.shape:
        raise ValueError(f"label {labels.shape} and margin {margins.shape}: expected one value per document")
    if labels.size and (labels.min() < -1 or labels.max() >= n_labels):
        raise ValueError(f"label: found {labels.min()} to {labels.max()}, expected -1 to {n_labels - 1}")
    if (margins < 0).any():
        raise ValueError(f"margin: found {np.nanmin(margins)}, expected 0 or more")
    # -1 sorts before a tie of two labels (0).
    return np.where(labels < 0, n_labels, labels), np.where(np.isnan(margins), -1.0, margins)


def _probabilities(uncertain: Floats, k: int, floor: float) -> Floats:
    """(N_k,) inclusion probabilities that sum to k, each in (0, 1]."""
    margins = np.maximum(uncertain, 0.0)
    smallest = margins.min()
    # Only the shares u / sum(u) matter: subtracting the smallest margin keeps them from underflowing to 0.
    u = np.exp(smallest - margins) if np.isfinite(smallest) else np.ones_like(margins)
    size = (1 - floor) * u / u.sum() + floor / len(u)
    certain = np.zeros(len(u), dtype=bool)
    if k == len(u):
        return np.ones(len(u))
    while True:
        rest = ~certain
        probabilities = np.ones(len(u))
        probabilities[rest] = (k - certain.sum()) * size[rest] / size[rest].sum()
        reached = rest & (probabilities >= _CERTAIN)
        if not reached.any():
            return probabilities
        certain |= reached


def _systematic(inclusion: Floats, k: int, rng: np.random.Generator) -> Ints:
    """Distinct positions, k of them, drawn with these inclusion probabilities, which sum to k."""
    certain = np.flatnonzero(inclusion == 1)
    order = rng.permutation(np.flatnonzero(inclusion < 1))
    steps = k - len(certain)
    if steps == 0:
        return certain
    cumulated = np.minimum(np.cumsum(inclusion[order]), steps)
    cumulated[-1] = steps  # rounding may leave the sum just below
    points = np.minimum(rng.random() + np.arange(steps), np.nextafter(steps, 0))
    return np.concatenate([certain, order[np.searchsorted(cumulated, points, side="right")]])
