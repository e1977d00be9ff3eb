import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from redct.training.regression import Predictor, fit


def data(n: int = 300, d: int = 4, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, D), labels (N,) that depend on them, and weights (N,)."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, d))
    logits = features @ rng.normal(size=(d, k)) + rng.normal(size=k)
    label = (logits + rng.gumbel(size=(n, k))).argmax(axis=1)
    return features, label, rng.uniform(0.2, 3, n)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_it_is_scikit_learns_regression_where_that_can_do_it(k) -> None:
    features, label, weight = data(k=k)
    model = fit(np.eye(k)[label], weight, features=features, ridge=0.5)
    # For two labels scikit-learn has one vector in place of two opposite ones, whose squares add up to half of its own.
    known = LogisticRegression(C=2.0 if k > 2 else 4.0, tol=1e-10, max_iter=5000).fit(features, label, weight)
    np.testing.assert_allclose(np.exp(model.logprobs((), features)), known.predict_proba(features), atol=2e-4)


def test_soft_targets_are_shares_of_weighted_rows() -> None:
    features, label, weight = data()
    soft = softmax(np.random.default_rng(1).normal(size=(len(label), 3)), axis=1)
    model = fit(soft, weight, features=features, ridge=0.5)
    rows = np.repeat(features, 3, axis=0)
    known = LogisticRegression(C=2.0, tol=1e-10, max_iter=5000)
    known.fit(rows, np.tile(np.arange(3), len(features)), (weight[:, None] * soft).ravel())
    np.testing.assert_allclose(np.exp(model.logprobs((), features)), known.predict_proba(features), atol=2e-4)


def test_predictors_have_one_slope_for_all_labels() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.normal(size=(2, 4000, 3))
    logits = 1.7 * first - 0.6 * second + [0.5, 0, -0.5]
    label = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    model = fit(np.eye(3)[label], np.ones(len(label)), [Predictor(first), Predictor(second)])
    np.testing.assert_allclose(model.slopes, [1.7, -0.6], atol=0.1)
    np.testing.assert_allclose(model.intercept - model.intercept.mean(), [0.5, 0, -0.5], atol=0.1)


def test_it_finds_the_minimum_of_the_penalised_loss() -> None:
    features, label, weight = data(60, 2, 3)
    values = np.random.default_rng(3).normal(size=(60, 3))
    target = np.eye(3)[label] * 0.9 + 0.1 / 3

    def loss(flat: np.ndarray) -> float:
        slope, intercept, weights = flat[0], flat[1:4], flat[4:].reshape(2, 3)
        logs = log_softmax(slope * values + intercept + features @ weights, axis=1)
        penalty = 0.7 * (slope - 1) ** 2 + 0.2 * (intercept**2).sum() + 1.5 / 2 * (weights**2).sum()
        return float(-(weight[:, None] * target * logs).sum() + penalty)

    known = minimize(loss, np.zeros(10), method="Powell", options={"xtol": 1e-10, "ftol": 1e-14, "maxiter": 100_000}).x
    model = fit(target, weight, [Predictor(values, 1.0, 0.7)], features, 1.5, 0.2)
    np.testing.assert_allclose(np.concatenate([model.slopes, model.intercept, model.weights.ravel()]), known, atol=1e-4)


def test_without_documents_it_believes_what_was_believed() -> None:
    values = np.random.default_rng(4).normal(size=(5, 3))
    nothing = np.zeros((5, 2))
    model = fit(np.full((5, 3), 1 / 3), np.zeros(5), [Predictor(values, 1.0, 1.0)], nothing, 1.0, 1.0)
    np.testing.assert_allclose(model.logprobs([Predictor(values)], nothing), log_softmax(values, axis=1), atol=1e-9)
