"""Multinomial regression on soft targets, shrunk to what is believed beforehand. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from redct.confidence import log_normalise, normalise

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Predictor:
    """Something that has a value for each document and label, with one slope for all labels (McFadden 1974).

    Args:
        values: (N, K).
        believed: The slope before any document is seen.
        ridge: Penalty on (slope - believed)^2, at least 0.
    """

    values: Floats
    believed: float = 0.0
    ridge: float = 0.0


@dataclass(frozen=True)
class Regression:
    """A fitted model: logits of a document are intercept + sum_j slope_j values_j + features @ weights.

    Args:
        slopes: (J,) of the predictors.
        intercept: (K,).
        weights: (D, K) of the features.
    """

    slopes: Floats
    intercept: Floats
    weights: Floats

    def logprobs(self, predictors: Sequence[Predictor], features: npt.ArrayLike) -> Floats:
        """Returns (N, K) log-probabilities, normalised.

        Args:
            predictors: J predictors of N documents.
            features: (N, D).
        """
        return log_normalise(self._logits([each.values for each in predictors], np.asarray(features)))

    def _logits(self, values: Sequence[Floats], features: npt.NDArray[np.floating]) -> Floats:
        logits: Floats = features @ self.weights + self.intercept
        for slope, each in zip(self.slopes, values, strict=True):
            logits = logits + slope * each
        return logits


def fit(
    target: npt.ArrayLike,
    weight: npt.ArrayLike,
    predictors: Sequence[Predictor] = (),
    features: npt.ArrayLike | None = None,
    ridge: float = 1.0,
    intercept_ridge: float = 0.0,
) -> Regression:
    """Minimises the weighted cross-entropy, summed over documents, plus penalties; a convex problem.

    The penalties are ridge / 2 |weights|^2 (so that ridge is scikit-learn's 1 / C), intercept_ridge |intercept|^2, and
    those of the predictors. They act like answers that say what was believed: with few documents the result stays
    near to it, with many it goes where they point.

    Args:
        target: (N, K) distributions, rows sum to 1.
        weight: (N,) at least 0.
        predictors: What has a value for each label.
        features: (N, D) what has a weight for each label; none by default.
        ridge: Above 0 where there are features.
        intercept_ridge: At least 0.
    """
    goal, share = np.asarray(target, dtype=np.float64), np.asarray(weight, dtype=np.float64)[:, None]
    n, k = goal.shape
    given = np.zeros((n, 0)) if features is None else np.asarray(features, dtype=np.float64)
    values = [np.asarray(each.values, dtype=np.float64) for each in predictors]
    believed, stiff = np.array([[each.believed, each.ridge] for each in predictors]).reshape(-1, 2).T
    j = len(values)

    def unpacked(flat: Floats) -> Regression:
        return Regression(flat[:j], flat[j : j + k], flat[j + k :].reshape(given.shape[1], k))

    def loss(flat: Floats) -> tuple[float, Floats]:
        model = unpacked(flat)
        logits = model._logits(values, given)
        error = share * (normalise(logits) - goal)
        off = model.slopes - believed
        slopes = np.array([(error * each).sum() for each in values]) + 2 * stiff * off
        intercept = error.sum(axis=0) + 2 * intercept_ridge * model.intercept
        penalty = stiff @ off**2 + intercept_ridge * (model.intercept**2).sum() + ridge / 2 * (model.weights**2).sum()
        value = float(-(share * goal * log_normalise(logits)).sum() + penalty)
        return value, np.concatenate([slopes, intercept, (given.T @ error + ridge * model.weights).ravel()])

    start = np.concatenate([believed, np.zeros(k + given.shape[1] * k)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "maxcor": 20})
    return unpacked(found.x)
