"""Making an LLM's label distributions honest: dividing out its label prior, and temperature scaling."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from redct.confidence import IMPORT_FLOOR, log_floored, log_normalise, normalise
from redct.folds import cross_predict

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SMALLEST_TEMPERATURE: Final = 0.01
LARGEST_TEMPERATURE: Final = 100.0
_MOST_BINS: Final = 10
_FEWEST_IN_BIN: Final = 25  # with fewer, an interval says little
_NORMAL: Final = 1.959964  # quantile of 97.5 %


@dataclass(frozen=True)
class ConfidenceBin:
    """Documents of similar confidence, the largest probability.

    Args:
        documents: How many.
        share: Of the weight of all documents.
        confidence: Their weighted mean confidence.
        accuracy: The weighted share of them whose likeliest label is right.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    documents: int
    share: float
    confidence: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Reliability:
    """How far probabilities can be believed.

    Args:
        ece: Expected calibration error, 0 to 1.
        log_loss: Mean of -log p(answer), in nats.
        bins: Of a reliability diagram, from low to high confidence.
    """

    ece: float
    log_loss: float
    bins: list[ConfidenceBin]


@dataclass(frozen=True)
class Scaling:
    """A fitted temperature, judged on documents that it was not fitted on.

    Args:
        temperature: Fitted on all documents; above 1 the LLM was too sure of itself, below 1 too little.
        folds: Parts of the documents.
        held_out: Of all documents together, each part scaled by the temperature of the other parts.
    """

    temperature: float
    folds: int
    held_out: Reliability


def mean_distribution(logprobs: npt.ArrayLike) -> Floats:
    """Mean of the label distributions: the label prior that an LLM shows on these documents.

    Over the documents themselves it is the prior of batch calibration (Zhou et al. 2024, Batch Calibration,
    equation 3); over content-free texts that of contextual calibration (Zhao et al. 2021, Calibrate Before Use).

    Args:
        logprobs: (N, K), N >= 1, normalised or not.

    Returns:
        (K,), sums to 1.
    """
    mean: Floats = normalise(logprobs).mean(axis=0)
    return mean


def divide_prior(logprobs: npt.ArrayLike, prior: npt.ArrayLike) -> Floats:
    """Divides label distributions by a label prior and normalises them again; needs no gold.

    Args:
        logprobs: (N, K), normalised or not.
        prior: (K,) or, one for each document, (N, K); probabilities, of which none counts as less than 1e-6, so
            that a label the prior excludes does not win everywhere.

    Returns:
        (N, K) log-probabilities, normalised.
    """
    return log_normalise(_finite(logprobs) - log_floored(prior))


def scale(logprobs: npt.ArrayLike, temperature: float) -> Floats:
    """Divides log-probabilities by a temperature and normalises them; the order of the labels stays.

    Args:
        logprobs: (N, K), normalised or not.
        temperature: Above 0; above 1 flattens.

    Returns:
        (N, K) log-probabilities, normalised.
    """
    return log_normalise(_finite(logprobs) / temperature)


def fit_temperature(logprobs: npt.ArrayLike, label: npt.ArrayLike, weight: npt.ArrayLike) -> float:
    """Temperature of largest weighted likelihood (Guo et al. 2017, On Calibration of Modern Neural Networks).

    The log loss is convex in b = 1/T, and its slope is the weighted mean of E_b[z] - z_label: the root is found
    by bracketing. Where there is none the temperature is a bound: `SMALLEST_TEMPERATURE` when the likeliest label
    is always right, `LARGEST_TEMPERATURE` when the distributions tell nothing or mislead; 1 when they are uniform.

    Args:
        logprobs: (N, K), N >= 1, normalised or not.
        label: (N,) the right label of each document, 0 to K-1.
        weight: (N,) above 0; 1 / inclusion probability where documents were drawn with unequal ones.
    """
    logs, right = _finite(logprobs), np.asarray(label, dtype=np.int64)[:, None]
    shares = np.asarray(weight, dtype=np.float64) / np.sum(weight)
    logs -= logs.max(axis=1, keepdims=True)  # the slope of rows that are right is then at most 0, to the last digit
    of_label = np.take_along_axis(logs, right, axis=1)[:, 0]

    def slope(inverse: float) -> float:
        expected = (normalise(inverse * logs) * logs).sum(axis=1)
        return float(shares @ (expected - of_label))

    flattest, sharpest = 1 / LARGEST_TEMPERATURE, 1 / SMALLEST_TEMPERATURE
    if np.ptp(logs, axis=1).max() == 0:
        return 1.0
    if slope(flattest) >= 0:
        return LARGEST_TEMPERATURE
    if slope(sharpest) <= 0:
        return SMALLEST_TEMPERATURE
    return float(1 / brentq(slope, flattest, sharpest, xtol=1e-12))


def expected_calibration_error(
    probs: npt.ArrayLike, label: npt.ArrayLike, weight: npt.ArrayLike, bins: int = 15
) -> float:
    """Mean distance between confidence and accuracy over bins of confidence, each with the weight of its documents.

    Confidence is the largest probability; bins are of equal width and closed below, the last one at both ends
    (Guo et al. 2017, equation 3).

    Args:
        probs: (N, K) distributions, N >= 1.
        label: (N,) the right label of each document, 0 to K-1.
        weight: (N,) above 0.
        bins: Number of bins.

    Returns:
        0 (confidence is accuracy in every bin) to 1.
    """
    values, shares = np.asarray(probs, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    confidence, hit = values.max(axis=1), values.argmax(axis=1) == np.asarray(label)
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    gaps = np.bincount(np.searchsorted(edges, confidence, side="right"), shares * (hit - confidence), minlength=bins)
    return float(np.abs(gaps).sum() / shares.sum())


def reliability(logprobs: npt.ArrayLike, label: npt.ArrayLike, weight: npt.ArrayLike) -> Reliability:
    """Expected calibration error and log loss, weighted; arguments as of `fit_temperature`."""
    logs, right, shares = _finite(logprobs), np.asarray(label, dtype=np.int64), np.asarray(weight, dtype=np.float64)
    of_label = logs[np.arange(len(logs)), right]
    probs = np.exp(logs)
    ece = expected_calibration_error(probs, right, shares)
    return Reliability(ece, float(-(shares @ of_label) / shares.sum()), confidence_bins(probs, right, shares))


def confidence_bins(probs: npt.ArrayLike, label: npt.ArrayLike, weight: npt.ArrayLike) -> list[ConfidenceBin]:
    """Returns confidence and accuracy in up to 10 bins of about the same weight, each of some 25 documents or more.

    Intervals are those of Wilson (1927), for as many documents as the weights are worth in their bin, (sum w)^2 / sum
    w^2 (Kish 1965, Survey Sampling, section 8.2).

    Args:
        probs: (N, K) distributions, N >= 1.
        label: (N,) the right label of each document, 0 to K-1.
        weight: (N,) above 0.
    """
    values, shares = np.asarray(probs, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    confidence, hit = values.max(axis=1), values.argmax(axis=1) == np.asarray(label)
    bins = int(np.clip(len(values) // _FEWEST_IN_BIN, 1, _MOST_BINS))
    number = equal_mass_bins(confidence, shares, bins)
    found = []
    for each in range(number.max() + 1):
        at = number == each
        own = shares[at]
        sure, right = (float(np.average(one[at], weights=own)) for one in (confidence, hit))
        low, high = _wilson(right, float(own.sum() ** 2 / (own**2).sum()))
        found.append(ConfidenceBin(int(at.sum()), float(own.sum() / shares.sum()), sure, right, low, high))
    return found


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Ends of the 95 % interval of a share of n documents."""
    z, shrunk = _NORMAL, 1 + _NORMAL**2 / n
    middle = (share + z**2 / (2 * n)) / shrunk
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / shrunk
    return max(middle - half, 0.0), min(middle + half, 1.0)


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


def cross_fit(
    logprobs: npt.ArrayLike, label: npt.ArrayLike, weight: npt.ArrayLike, seed: int, folds: int = 5
) -> Scaling:
    """Fits a temperature, and judges it on documents that it was not fitted on.

    Args:
        logprobs: (N, K), N >= folds, normalised or not.
        label: (N,) the right label of each document, 0 to K-1.
        weight: (N,) above 0.
        seed: Deals the documents out to the folds.
        folds: At least 2.
    """
    logs, right, shares = _finite(logprobs), np.asarray(label, dtype=np.int64), np.asarray(weight, dtype=np.float64)
    fold = np.random.default_rng(seed).permutation(len(logs)) % folds
    held_out = cross_predict(
        fold, lambda others, own: scale(logs[own], fit_temperature(logs[others], right[others], shares[others]))
    )
    return Scaling(fit_temperature(logs, right, shares), folds, reliability(held_out, right, shares))


def _finite(logprobs: npt.ArrayLike) -> Floats:
    """Normalises; -inf becomes log 1e-6, or the row's least other value where that is lower.

    One answer that the LLM gave no chance at all would otherwise make every temperature infinitely bad.
    """
    logs = log_normalise(logprobs)
    impossible = np.isneginf(logs)
    least = np.where(impossible, np.log(IMPORT_FLOOR), logs).min(axis=1, keepdims=True)
    return np.where(impossible, least, logs)
