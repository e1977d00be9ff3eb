"""Metrics of predicted against gold labels, with bootstrap intervals."""

from typing import Final

import numpy as np
import numpy.typing as npt

from redct.evidence.resampling import Interval, Units, intervals

METRICS: Final = ("accuracy", "macro_f1", "weighted_f1", "mcc")
CLASS_METRICS: Final = ("precision", "recall", "f1")


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


def class_metrics_of(confusion: npt.ArrayLike) -> dict[str, npt.NDArray[np.float64]]:
    """Metrics of each label, of one or many confusion matrices.

    Args:
        confusion: (..., K, K + 1) as from `confusion`.

    Returns:
        (..., K) for each of `CLASS_METRICS`; nan where there is nothing to divide by: precision of a label that was
        never said, recall of one that gold never has, F1 of one that is neither.
    """
    cells = np.asarray(confusion, dtype=np.float64)
    hits = np.diagonal(cells[..., :-1], axis1=-2, axis2=-1)
    in_gold, in_predicted = cells.sum(axis=-1), cells.sum(axis=-2)[..., :-1]
    return {
        "precision": _ratio(hits, in_predicted, np.nan),
        "recall": _ratio(hits, in_gold, np.nan),
        "f1": _ratio(2 * hits, in_gold + in_predicted, np.nan),
    }


def evaluate(
    gold: npt.ArrayLike,
    predicted: npt.ArrayLike,
    n_labels: int,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Metrics with bootstrap intervals over documents.

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
    """As `evaluate`, for documents that are counted already: those of a cell are alike.

    Args:
        observed: (K, K + 1) as from `confusion`.
        resamples: Number of bootstrap samples.
        seed: Of the resampling.
        level: Probability mass of the interval, in (0, 1).

    Raises:
        InputError: When there is no document, or resamples or level are out of range.
    """
    cells = np.flatnonzero(observed)
    count = observed.ravel()[cells]

    def statistic(times: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
        drawn = np.zeros((len(times), observed.size))
        drawn[:, cells] = times * count
        return metrics_of(drawn.reshape(-1, *observed.shape))

    units = Units(count, np.zeros(len(cells), dtype=np.int64))
    return intervals(units, statistic, resamples, seed, level, observed.size)


def _ratio(above: npt.ArrayLike, below: npt.ArrayLike, otherwise: float = 0.0) -> npt.NDArray[np.float64]:
    numerator, denominator = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    quotient: npt.NDArray[np.float64] = np.full(numerator.shape, otherwise)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient
