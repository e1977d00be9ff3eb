"""Metrics of predicted against gold labels, with bootstrap intervals."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.errors import InputError

METRICS: Final = ("accuracy", "macro_f1", "weighted_f1", "mcc")
# Confusion cells held at a time (16 MB): with many labels, all resamples at once would not fit.
_CELLS_AT_ONCE: Final = 2_000_000


@dataclass(frozen=True)
class Interval:
    """A metric with the interval of its bootstrap distribution.

    Args:
        value: The metric on the documents themselves.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float


def confusion(gold: npt.ArrayLike, predicted: npt.ArrayLike, n_labels: int) -> npt.NDArray[np.int64]:
    """Counts documents per gold and predicted label.

    Args:
        gold: (N,) indices 0 to K-1.
        predicted: (N,) indices 0 to K-1, or -1 where no label was given, which counts as wrong.
        n_labels: K, the labels of the task, whether seen or not.

    Returns:
        (K, K + 1): a row per gold label, a column per predicted label, the last one for -1.

    Raises:
        ValueError: When lengths differ or an index is out of range.
    """
    true, guess = np.asarray(gold, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    if true.ndim != 1 or true.shape != guess.shape:
        raise ValueError(f"gold {true.shape} and predicted {guess.shape}: expected one label per document")
    for name, values, lowest in (("gold", true, 0), ("predicted", guess, -1)):
        if values.size and not (lowest <= values.min() and values.max() < n_labels):
            raise ValueError(f"{name}: found {values.min()} to {values.max()}, expected {lowest} to {n_labels - 1}")
    cells = true * (n_labels + 1) + np.where(guess < 0, n_labels, guess)
    return np.bincount(cells, minlength=n_labels * (n_labels + 1)).reshape(n_labels, n_labels + 1)


def metrics_of(confusion: npt.ArrayLike) -> dict[str, npt.NDArray[np.float64]]:
    """Metrics of one or many confusion matrices; what would divide by 0 is 0.

    Args:
        confusion: (..., K, K + 1) as from `confusion`.

    Returns:
        (...) for each of `METRICS`. Macro-F1 is the mean over all K labels, also those that do not occur;
        weighted F1 weighs by gold frequency; MCC is Matthews' correlation for K classes (Gorodkin 2004).
    """
    cells = np.asarray(confusion, dtype=np.float64)
    hits = np.diagonal(cells[..., :-1], axis1=-2, axis2=-1)
    in_gold = cells.sum(axis=-1)
    in_predicted = cells.sum(axis=-2)
    total = in_gold.sum(axis=-1)
    correct = hits.sum(axis=-1)
    f1 = _ratio(2 * hits, in_gold + in_predicted[..., :-1])
    covariance = correct * total - (in_gold * in_predicted[..., :-1]).sum(axis=-1)
    spread_gold = total**2 - (in_gold**2).sum(axis=-1)
    spread_predicted = total**2 - (in_predicted**2).sum(axis=-1)
    return {
        "accuracy": _ratio(correct, total),
        "macro_f1": np.asarray(f1.mean(axis=-1)),
        "weighted_f1": _ratio((f1 * in_gold).sum(axis=-1), total),
        # One root of the product, not two: it is exact when both are equal, so a perfect classifier gets 1.
        "mcc": _ratio(covariance, np.sqrt(spread_gold * spread_predicted)),
    }


def evaluate(
    gold: npt.ArrayLike,
    predicted: npt.ArrayLike,
    n_labels: int,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Metrics with percentile bootstrap intervals over documents (Efron & Tibshirani 1993, chapter 13).

    The metrics depend on the documents only through the confusion matrix, and drawing N documents with
    replacement makes its cells multinomial with the observed shares; so the cells are drawn directly, which
    is the same distribution at a fraction of the cost.

    Args:
        gold: (N,) indices 0 to K-1, N >= 1.
        predicted: (N,) indices 0 to K-1, or -1 where no label was given.
        n_labels: K, the labels of the task.
        resamples: Number of bootstrap samples.
        seed: Of the resampling.
        level: Probability mass of the interval, in (0, 1).

    Raises:
        InputError: When there is no document, or resamples or level are out of range.
        ValueError: When lengths differ or an index is out of range.
    """
    return evaluate_confusion(confusion(gold, predicted, n_labels), resamples, seed, level)


def evaluate_confusion(
    observed: npt.NDArray[np.int64], resamples: int = 2000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """As `evaluate`, for documents that are counted already.

    Args:
        observed: (K, K + 1) as from `confusion`.
        resamples: Number of bootstrap samples.
        seed: Of the resampling.
        level: Probability mass of the interval, in (0, 1).

    Raises:
        InputError: When there is no document, or resamples or level are out of range.
    """
    if resamples < 1 or not 0 < level < 1:
        raise InputError(f"found resamples {resamples} and level {level}, expected 1 or more and a level in (0, 1)")
    if observed.sum() == 0:
        raise InputError("evaluation: found no document with a gold label, expected at least one")
    drawn = _resampled(observed, resamples, np.random.default_rng(seed))
    values = metrics_of(observed)
    ends = ((1 - level) / 2, (1 + level) / 2)
    intervals = {}
    for name in METRICS:
        low, high = np.quantile(drawn[name], ends)
        intervals[name] = Interval(float(values[name]), float(low), float(high))
    return intervals


def majority(gold: npt.ArrayLike, n_labels: int) -> npt.NDArray[np.int64]:
    """Predicts the most frequent gold label for every document: the baseline to beat.

    Args:
        gold: (N,) indices 0 to K-1.
        n_labels: K, the labels of the task.

    Returns:
        (N,) the same index for all; of equally frequent labels, the first in the task.
    """
    labels = np.asarray(gold, dtype=np.int64)
    return np.full(len(labels), np.argmax(np.bincount(labels, minlength=n_labels)), dtype=np.int64)


def _resampled(
    observed: npt.NDArray[np.int64], resamples: int, rng: np.random.Generator
) -> dict[str, npt.NDArray[np.float64]]:
    total = int(observed.sum())
    block = max(1, _CELLS_AT_ONCE // observed.size)
    parts = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        cells = rng.multinomial(total, observed.ravel() / total, size=size)
        parts.append(metrics_of(cells.reshape(size, *observed.shape)))
    return {name: np.concatenate([part[name] for part in parts]) for name in METRICS}


def _ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> npt.NDArray[np.float64]:
    numerator, denominator = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    quotient: npt.NDArray[np.float64] = np.zeros(numerator.shape)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient
