"""How far a rater's probabilities can be believed, tell the labels apart and find its own errors, with intervals."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.errors import InputError
from redct.evidence.ranking import Ranking, aurc, auroc, average_precision, reached, risk
from redct.evidence.resampling import Design, Interval, intervals, mirrored, units_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PROBABILITY_METRICS: Final = ("ece", "brier", "auroc", "auprc", "aurc")
BINS: Final = 15
COVERAGES: Final = tuple(n / 20 for n in range(1, 21))
_FEWEST_IN_BIN: Final = 50  # with fewer, the calibration error is mostly noise

Name = str | tuple[str, int]


@dataclass(frozen=True)
class Bin:
    """Documents of similar confidence, the largest probability.

    Args:
        documents: How many.
        confidence: Their mean confidence.
        accuracy: Share of them whose label is right.
    """

    documents: int
    confidence: float
    accuracy: Interval


@dataclass(frozen=True)
class Selection:
    """Only documents above a confidence are answered.

    Args:
        coverage: The share that is answered; with ties, somewhat more are.
        threshold: The least confidence among them.
        risk: Share of errors among them.
    """

    coverage: float
    threshold: float
    risk: Interval


@dataclass(frozen=True)
class Probabilities:
    """A rater's label distributions against gold.

    Args:
        documents: Those with a distribution; the others are left out here.
        metrics: `ece`, the expected calibration error over bins of equal mass, and `brier`, half the mean squared
            distance of the distribution from gold, both 0 (best) to 1; `auroc` and `auprc`, each label against the
            rest, the mean over labels that gold has; `aurc`, the area under the risk-coverage curve.
        reliability: The bins, from low to high confidence.
        risk_coverage: From few to all documents answered.
    """

    documents: int
    metrics: dict[str, Interval]
    reliability: list[Bin]
    risk_coverage: list[Selection]


def judge(
    gold: npt.ArrayLike,
    probs: npt.ArrayLike,
    design: Design = Design(),  # noqa: B008 - frozen
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Probabilities:
    """Judges label distributions; bins stay the same over the resamples.

    Args:
        gold: (N,) indices 0 to K-1.
        probs: (N, K) distributions; rows of nan are left out.
        design: How the documents were sampled.
        resamples: Number of bootstrap samples.
        seed: Of the resampling.
        level: Probability mass of the intervals, in (0, 1).

    Raises:
        InputError: When no document has a distribution.
    """
    values = np.asarray(probs, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    right, values = np.asarray(gold, dtype=np.int64)[known], values[known]
    if not len(known):
        raise InputError("evaluation: found no document with a label distribution, expected at least one")
    design = design.rows(known)
    units, of = units_of(design, (), len(right))
    weight = np.ones(len(right)) if design.weight is None else design.weight
    judged = _Judged(right, values, weight)

    def statistic(times: Floats) -> dict[Name, Floats]:
        return judged.metrics(times[:, of] * weight)

    unsteady: tuple[Name, ...] = ("ece", "noise")
    found = intervals(units, statistic, resamples, seed, level, 4 * len(right), percentile=unsteady)
    found["ece"] = mirrored(found["ece"], found["noise"].high)
    return Probabilities(
        len(right),
        {name: found[name] for name in PROBABILITY_METRICS},
        judged.bins(found),
        judged.selections(found),
    )


def equal_mass_bins(confidence: npt.ArrayLike, weight: npt.ArrayLike, bins: int) -> Ints:
    """Divides documents by their confidence into bins of about the same weight.

    Args:
        confidence: (N,) finite.
        weight: (N,) above 0.
        bins: How many; fewer come out where many documents have the same confidence, which share a bin.

    Returns:
        (N,) 0, 1, ... from low to high confidence, none of them empty.
    """
    values, order = np.asarray(confidence, dtype=np.float64), np.argsort(confidence, kind="stable")
    mass = np.cumsum(np.asarray(weight, dtype=np.float64)[order])
    # As numpy's inverted_cdf, but for sums of weights that should be equal and differ in their last digits.
    wanted = np.arange(1, bins) / bins * mass[-1] * (1 - 1e-12)
    edges = values[order][np.searchsorted(mass, wanted)]
    return np.unique(np.searchsorted(edges, values), return_inverse=True)[1].reshape(-1)


class _Judged:
    """Label distributions beside gold, prepared for many weightings of the documents."""

    def __init__(self, gold: Ints, probs: Floats, weight: Floats) -> None:
        self.weight, self.confidence = weight, probs.max(axis=1)
        self.hit = (probs.argmax(axis=1) == gold).astype(np.float64)
        bins = int(np.clip(len(gold) // _FEWEST_IN_BIN, 1, BINS))
        self.bin = equal_mass_bins(self.confidence, weight, bins)
        self.in_bin = np.eye(self.bin.max() + 1)[self.bin]
        truth = np.eye(probs.shape[1])[gold]
        self.distance = ((probs - truth) ** 2).sum(axis=1) / 2
        self.by_confidence = Ranking(self.confidence)
        self.by_label = [
            (Ranking(probs[:, k]), truth[:, k]) for k in range(probs.shape[1]) if 0 < truth[:, k].mean() < 1
        ]

    def metrics(self, weight: Floats) -> dict[Name, Floats]:
        """Returns (B,) values for (B, N) weights."""
        total = weight.sum(axis=1)
        in_bin, hits = weight @ self.in_bin, (weight * self.hit) @ self.in_bin
        gaps = self._gaps(weight)
        wrong, answered = (self.by_confidence.down_to(x) for x in (weight * (1 - self.hit), weight))
        values: dict[Name, Floats] = {
            "ece": np.abs(gaps).sum(axis=1),
            "noise": np.abs(gaps - self._gaps(self.weight[None])).sum(axis=1),
            "brier": weight @ self.distance / total,
            "aurc": aurc(wrong, answered),
            **self._discrimination(weight),
        }
        with np.errstate(invalid="ignore"):
            values |= {("accuracy", b): share for b, share in enumerate((hits / in_bin).T)}
        risks, rows = risk(wrong, answered), np.arange(len(weight))
        return values | {("risk", n): risks[rows, reached(answered, share)] for n, share in enumerate(COVERAGES)}

    def _gaps(self, weight: Floats) -> Floats:
        """(B, bins) by how much accuracy exceeds confidence, times the bin's share of the weight."""
        gaps: Floats = (weight * (self.hit - self.confidence)) @ self.in_bin / weight.sum(axis=1, keepdims=True)
        return gaps

    def _discrimination(self, weight: Floats) -> dict[Name, Floats]:
        areas = []
        for ranking, positive in self.by_label:
            curve = ranking.down_to(weight * positive), ranking.down_to(weight)
            areas.append((auroc(*curve), average_precision(*curve)))
        if not areas:
            return {"auroc": np.full(len(weight), np.nan), "auprc": np.full(len(weight), np.nan)}
        means = np.mean(areas, axis=0)
        return {"auroc": means[0], "auprc": means[1]}

    def bins(self, found: dict[Name, Interval]) -> list[Bin]:
        """Returns the reliability curve, with the intervals that were found."""
        mass = self.weight @ self.in_bin
        means = (self.weight * self.confidence) @ self.in_bin / mass
        counts = np.bincount(self.bin)
        return [
            Bin(int(n), float(mean), found["accuracy", b])
            for b, (n, mean) in enumerate(zip(counts, means, strict=True))
        ]

    def selections(self, found: dict[Name, Interval]) -> list[Selection]:
        """Returns the risk-coverage curve, with the intervals that were found."""
        answered = self.by_confidence.down_to(self.weight[None])
        thresholds = [float(self.by_confidence.scores[reached(answered, share)[0]]) for share in COVERAGES]
        return [
            Selection(share, threshold, found["risk", n])
            for n, (share, threshold) in enumerate(zip(COVERAGES, thresholds, strict=True))
        ]
