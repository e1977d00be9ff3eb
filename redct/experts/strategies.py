"""Query strategies: which documents are put to the experts, and with which probability each was.

Positions are positions in the pool, never within a class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.errors import InputError
from redct.experts import diversity, scores
from redct.experts.draws import draw, most_uncertain, probabilities
from redct.experts.pool import Pool

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Below it, the weight 1/pi of a confident document could dwarf all others.
SMALLEST_FLOOR: Final = 0.01


@dataclass(frozen=True)
class Choice:
    """The documents chosen for the experts.

    Args:
        chosen: (n,) distinct positions in the pool, in the order to ask.
        inclusion: (N,) the probability with which each document of the pool was to be chosen, in [0, 1]; 0 and 1
            where the strategy is not a randomised one.
        stratum: (N,) the part of the pool that each document was drawn in, with a fixed number of documents for
            each; None where the pool was one part.
    """

    chosen: Ints
    inclusion: Floats
    stratum: Ints | None = None

    def strata(self) -> Ints:
        """Returns (N,) the stratum of each document."""
        return np.zeros(len(self.inclusion), dtype=np.int64) if self.stratum is None else self.stratum


@dataclass(frozen=True)
class Strategy:
    """How documents are chosen: in which strata, by which score, by rank or by chance.

    Args:
        help: What it does, in a line.
        score: Logarithm of a document's uncertainty, from the pool and the strata; None where all are alike.
        strata: Divides the pool for a choice of n documents; None where it is one part.
        randomised: Whether documents are drawn by chance, in proportion to the uncertainty over a uniform floor.
        needs: What the pool must have for it: embeddings, edge_probs.
        mix: Share of each strategy that it is made of, by default; None for one that stands alone.
    """

    help: str
    score: Callable[[Pool, Ints], Floats] | None = None
    strata: Callable[[Pool, int, np.random.Generator], Ints] | None = None
    randomised: bool = False
    needs: frozenset[str] = frozenset()
    mix: Mapping[str, float] | None = None


def _by_label(pool: Pool, _n: int, _rng: np.random.Generator) -> Ints:
    """The LLM's classes; documents without a label are one of their own."""
    return np.where(pool.label < 0, pool.n_labels, pool.label)


def _by_cluster(pool: Pool, n: int, rng: np.random.Generator) -> Ints:
    """As many clusters as documents from each."""
    return diversity.clusters(_given(pool.embeddings, "embeddings"), ceil(sqrt(n)), rng)


def _one_each(pool: Pool, n: int, rng: np.random.Generator) -> Ints:
    return diversity.clusters(_given(pool.embeddings, "embeddings"), n, rng)


def _margin(pool: Pool, _strata: Ints) -> Floats:
    # exp(-margin) is the odds of the second label against the first.
    return -pool.margin.astype(np.float64)


def _least_confidence(pool: Pool, _strata: Ints) -> Floats:
    return _log(scores.least_confidence(pool.probs))


def _entropy(pool: Pool, _strata: Ints) -> Floats:
    return _log(scores.entropy(pool.probs))


def _disagreement(pool: Pool, _strata: Ints) -> Floats:
    return _log(scores.disagreement(pool.probs, _given(pool.edge_probs, "edge_probs")))


def _centrality(pool: Pool, strata: Ints) -> Floats:
    return diversity.centrality(_given(pool.embeddings, "embeddings"), strata)


_EMBEDDINGS: Final = frozenset({"embeddings"})
_EDGE: Final = frozenset({"edge_probs"})

STRATEGIES: Final[dict[str, Strategy]] = {
    "margin_randomised": Strategy("small margins likelier, within each class of the LLM", _margin, _by_label, True),
    "margin": Strategy("the smallest margins of each class of the LLM, as in RED-CT", _margin, _by_label),
    "random": Strategy("all documents alike", randomised=True),
    "random_stratified": Strategy("as many of each class of the LLM, alike within it", None, _by_label, True),
    "least_confidence": Strategy("the least probable first labels", _least_confidence),
    "least_confidence_randomised": Strategy("improbable first labels likelier", _least_confidence, randomised=True),
    "entropy": Strategy("the most even label distributions", _entropy),
    "entropy_randomised": Strategy("even label distributions likelier", _entropy, randomised=True),
    "disagreement": Strategy("where LLM and edge classifier differ most", _disagreement, needs=_EDGE),
    "disagreement_randomised": Strategy(
        "documents on which these differ likelier", _disagreement, randomised=True, needs=_EDGE
    ),
    "diversity": Strategy("the middle document of each of n clusters", _centrality, _one_each, needs=_EMBEDDINGS),
    "uncertainty_diversity": Strategy("the smallest margins of each cluster", _margin, _by_cluster, needs=_EMBEDDINGS),
    "uncertainty_diversity_randomised": Strategy(
        "small margins likelier, within each cluster", _margin, _by_cluster, True, _EMBEDDINGS
    ),
    "mixed": Strategy("a share of the documents by each of several strategies", mix={"margin": 0.5, "random": 0.5}),
    "mixed_randomised": Strategy(
        "one draw with the mean probabilities of several strategies",
        randomised=True,
        mix={"margin_randomised": 0.5, "random": 0.5},
    ),
}

RANDOMISED: Final = frozenset(name for name, strategy in STRATEGIES.items() if strategy.randomised)
"""Strategies with which every document had a known chance above 0: their answers can be weighted."""


def choose(
    strategy: str, pool: Pool, n: int, seed: int, floor: float = 0.2, mix: Mapping[str, float] | None = None
) -> Choice:
    """Chooses documents by the strategy of that name.

    An estimate about the corpus (prevalence, accuracy, calibration) that is weighted by 1/pi is valid only when every
    document's probability is known and above 0. That holds for the strategies in `RANDOMISED` whenever n > 0. When
    n is smaller than the number of strata, some would get nothing, so these then draw from the pool as one part.

    Args:
        strategy: A key of `STRATEGIES`.
        pool: The N documents to choose from.
        n: Documents wanted; the choice has min(n, N).
        seed: Of everything random in the choice.
        floor: Share of the probability that is spread evenly where uncertain documents are drawn likelier, 0.01 to 1.
        mix: Share of each strategy in `mixed`, where each in turn picks its share of n among the documents left, and in
            `mixed_randomised`, one draw with the mean of their probabilities; others take no notice of it.

    Raises:
        InputError: When there is no such strategy, or the floor or the mix is not as it must be.
        ValueError: When the pool lacks what the strategy needs.
    """
    shares = parts(strategy, mix)
    if not SMALLEST_FLOOR <= floor <= 1:
        raise InputError(f"data.experts.floor: found {floor}, expected {SMALLEST_FLOOR} to 1")
    if n < 0:
        raise InputError(f"n: found {n}, expected 0 or more documents")
    n, rng = min(n, len(pool)), np.random.default_rng(seed)
    if STRATEGIES[strategy].mix is None:
        return _alone(STRATEGIES[strategy], pool, n, floor, rng)
    if STRATEGIES[strategy].randomised:
        return _at_once(shares, pool, n, floor, rng)
    return _in_turn(shares, pool, n, floor, rng)


def parts(strategy: str, mix: Mapping[str, float] | None = None) -> dict[str, float]:
    """Share of each strategy that one is made of; a strategy that is no mix has all of itself.

    Args:
        strategy: A key of `STRATEGIES`.
        mix: The shares for `mixed` and `mixed_randomised`; by default half margin, half random.

    Raises:
        InputError: When there is no such strategy, or the mix is not as it must be.
    """
    if strategy not in STRATEGIES:
        raise InputError(f"data.experts.strategy: found {strategy!r}, expected one of {', '.join(STRATEGIES)}")
    default = STRATEGIES[strategy].mix
    if default is None:
        return {strategy: 1.0}
    shares = dict(default if mix is None else mix)
    possible = [name for name, part in STRATEGIES.items() if part.mix is None]
    if STRATEGIES[strategy].randomised:
        possible = [name for name in possible if name in RANDOMISED]
    if unknown := [name for name in shares if name not in possible]:
        raise InputError(f"data.experts.mix: found {unknown[0]!r}, expected for {strategy} {', '.join(possible)}")
    total = sum(shares.values())
    if not all(share > 0 for share in shares.values()) or abs(total - 1) > 1e-6:
        raise InputError(f"data.experts.mix: found {shares}, expected shares above 0 that sum to 1")
    return {name: share / total for name, share in shares.items()}


def needs(strategy: str, mix: Mapping[str, float] | None = None) -> frozenset[str]:
    """What the pool must have for a strategy: some of embeddings and edge_probs; raises as `parts` does."""
    return frozenset[str]().union(*(STRATEGIES[name].needs for name in parts(strategy, mix)))


def _alone(strategy: Strategy, pool: Pool, n: int, floor: float, rng: np.random.Generator) -> Choice:
    if strategy.randomised:
        return _drawn(*_inclusion(strategy, pool, n, floor, rng), rng)
    score, strata = _scored(strategy, pool, n, rng)
    return _taken(most_uncertain(score, strata, n, rng), strata, rng)


def _at_once(shares: Mapping[str, float], pool: Pool, n: int, floor: float, rng: np.random.Generator) -> Choice:
    """One draw with the mean of the strategies' probabilities, which sums to n as each of them does."""
    inclusion = np.zeros(len(pool))
    for name, share in shares.items():
        inclusion += share * _inclusion(STRATEGIES[name], pool, n, floor, rng)[0]
    return _drawn(np.minimum(inclusion, 1.0), np.zeros(len(pool), dtype=np.int64), rng)


def _in_turn(shares: Mapping[str, float], pool: Pool, n: int, floor: float, rng: np.random.Generator) -> Choice:
    """Each strategy picks its share of n among the documents that the ones before it left."""
    ends = np.rint(np.cumsum([*shares.values()]) * n).astype(np.int64)
    picked, left = np.empty(0, dtype=np.int64), np.arange(len(pool))
    for name, count in zip(shares, np.diff(ends, prepend=0).tolist(), strict=True):
        positions = _alone(STRATEGIES[name], pool.rows(left), count, floor, rng).chosen
        picked, left = np.concatenate([picked, left[positions]]), np.delete(left, positions)
    return _taken(picked, np.zeros(len(pool), dtype=np.int64), rng)


def _drawn(inclusion: Floats, strata: Ints, rng: np.random.Generator) -> Choice:
    return Choice(rng.permutation(draw(inclusion, strata, rng)), inclusion, strata)


def _taken(picked: Ints, strata: Ints, rng: np.random.Generator) -> Choice:
    inclusion = np.zeros(len(strata))
    inclusion[picked] = 1.0
    return Choice(rng.permutation(picked), inclusion, strata)


def _inclusion(strategy: Strategy, pool: Pool, n: int, floor: float, rng: np.random.Generator) -> tuple[Floats, Ints]:
    score, strata = _scored(strategy, pool, n, rng)
    if n < len(np.unique(strata)):
        strata = np.zeros_like(strata)
    return probabilities(score, strata, n, floor), strata


def _scored(strategy: Strategy, pool: Pool, n: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Scores and strata of the pool's documents."""
    strata = np.zeros(len(pool), dtype=np.int64) if strategy.strata is None else strategy.strata(pool, n, rng)
    return np.zeros(len(pool)) if strategy.score is None else strategy.score(pool, strata), strata


def _log(uncertainty: Floats) -> Floats:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(uncertainty))


def _given(array: npt.NDArray[np.floating] | None, name: str) -> npt.NDArray[np.floating]:
    if array is None:
        raise ValueError(f"the pool has no {name}, which the strategy needs")
    return array
