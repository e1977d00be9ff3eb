import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from statsmodels.stats.proportion import proportion_confint
from torchmetrics.functional.classification import multiclass_calibration_error

from redct.calibration import (
    LARGEST_TEMPERATURE,
    SMALLEST_TEMPERATURE,
    confidence_bins,
    cross_fit,
    divide_prior,
    expected_calibration_error,
    fit_temperature,
    mean_distribution,
    reliability,
    scale,
)
from redct.experts import Pool, choose


def drawn(n: int, k: int = 3, temperature: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities of an LLM that is too sure by this temperature, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (n, k))
    label = np.array([rng.choice(k, p=p) for p in softmax(logits / temperature, axis=1)])
    return logits - rng.gamma(2, 1, (n, 1)), label  # unnormalised


def test_batch_calibration_by_hand() -> None:
    logprobs = np.log([[0.8, 0.2], [0.6, 0.4]]) - 5
    prior = mean_distribution(logprobs)
    np.testing.assert_allclose(prior, [0.7, 0.3])
    odds = [(0.8 / 0.7) / (0.2 / 0.3), (0.6 / 0.7) / (0.4 / 0.3)]
    np.testing.assert_allclose(np.exp(divide_prior(logprobs, prior))[:, 0], [o / (1 + o) for o in odds])


def test_each_document_may_have_its_own_prior() -> None:
    logprobs, _ = drawn(5)
    prior = np.random.default_rng(1).dirichlet([1, 1, 1], 5)
    expected = softmax(logprobs, axis=1) / prior
    np.testing.assert_allclose(
        np.exp(divide_prior(logprobs, prior)), expected / expected.sum(axis=1, keepdims=True), rtol=1e-9
    )
    np.testing.assert_allclose(divide_prior(prior.clip(1e-9), [1 / 3] * 3), log_softmax(prior.clip(1e-9), axis=1))


def test_a_label_outside_the_prior_does_not_win_everywhere() -> None:
    corrected = divide_prior(np.log([[0.6, 0.4 - 1e-9, 1e-9]]), [0.5, 0.5, 0.0])
    assert np.isfinite(corrected).all()
    assert corrected.argmax() == 0


@pytest.mark.filterwarnings("ignore:Since FrozenEstimator")
def test_temperature_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(400, 4)), rng.integers(0, 3, 400)
    y[x[:, 0] > 0.3] = 0
    model = LogisticRegression(C=1e6).fit(x[:100], y[:100])
    weight = rng.gamma(1, 1, 400)
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="temperature").fit(x, y, sample_weight=weight)
    fitted = fit_temperature(model.predict_log_proba(x), y, weight)
    beta = theirs.calibrated_classifiers_[0].calibrators[0].beta_
    assert fitted == pytest.approx(1 / beta, rel=1e-5)
    np.testing.assert_allclose(np.exp(scale(model.predict_log_proba(x), fitted)), theirs.predict_proba(x), atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(2, 5), st.floats(0.2, 5))
def test_no_temperature_of_a_grid_is_better(seed: int, k: int, true: float) -> None:
    logprobs, label = drawn(60, k, true, seed)
    weight = np.random.default_rng(seed).uniform(0.1, 9, 60)

    def loss(temperature: float) -> float:
        z = logprobs / temperature
        return float(weight @ (logsumexp(z, axis=1) - z[np.arange(60), label]))

    best = loss(fit_temperature(logprobs, label, weight))
    assert best <= min(loss(t) for t in np.geomspace(SMALLEST_TEMPERATURE, LARGEST_TEMPERATURE, 400)) + 1e-9


def test_degenerate_answers() -> None:
    logprobs, _ = drawn(30)
    ones, best = np.ones(30), logprobs.argmax(axis=1)
    assert fit_temperature(logprobs, best, ones) == SMALLEST_TEMPERATURE
    assert fit_temperature(logprobs, logprobs.argmin(axis=1), ones) == LARGEST_TEMPERATURE
    assert fit_temperature(np.zeros((30, 3)), best, ones) == 1
    # One answer on an impossible label among right ones does not decide alone.
    certain = np.tile([0.0, -np.inf], (100, 1))
    temperature = fit_temperature(certain, [1] + [0] * 99, np.ones(100))
    assert np.exp(scale(certain, temperature))[0, 1] == pytest.approx(0.01, rel=1e-3)
    assert reliability(certain, [1] + [0] * 99, np.ones(100)).ece == pytest.approx(0.01)
    # -inf is never likelier than what is finite.
    assert scale([[0.0, -90.0, -np.inf]], 3)[0].argsort().tolist() in ([2, 1, 0], [1, 2, 0])


@pytest.mark.parametrize("k", [2, 5])
def test_calibration_error_is_that_of_torchmetrics(k: int) -> None:
    logprobs, label = drawn(300, k)
    probs = softmax(logprobs, axis=1)
    for bins in (7, 15):
        theirs = multiclass_calibration_error(torch.tensor(probs), torch.tensor(label), k, n_bins=bins)
        assert expected_calibration_error(probs, label, np.ones(300), bins) == pytest.approx(float(theirs), abs=1e-6)


def test_a_weight_is_a_number_of_copies() -> None:
    logprobs, label = drawn(80)
    copies = np.random.default_rng(0).integers(1, 5, 80)
    many, labels, ones = np.repeat(logprobs, copies, axis=0), np.repeat(label, copies), np.ones(copies.sum())
    probs = softmax(logprobs, axis=1)
    assert expected_calibration_error(probs, label, copies) == pytest.approx(
        expected_calibration_error(np.repeat(probs, copies, axis=0), labels, ones)
    )
    assert fit_temperature(logprobs, label, copies) == pytest.approx(fit_temperature(many, labels, ones))
    assert reliability(logprobs, label, copies).log_loss == pytest.approx(reliability(many, labels, ones).log_loss)


def test_weights_undo_a_choice_of_the_uncertain() -> None:
    # The LLM is well calibrated where it is sure, and far too sure elsewhere: one temperature cannot suit both, so
    # answers drawn mostly where it is unsure give another temperature unless they are weighted.
    n, rng = 4000, np.random.default_rng(0)
    logprobs = log_softmax(rng.normal(0, 3, (n, 3)), axis=1)
    top = np.sort(logprobs, axis=1)
    margin = top[:, -1] - top[:, -2]
    true = softmax(logprobs / np.where(margin < 2, 8.0, 1.0)[:, None], axis=1)
    label = np.array([rng.choice(3, p=p) for p in true])
    population = fit_temperature(logprobs, label, np.ones(n))
    pool = Pool(logprobs.argmax(axis=1), softmax(logprobs, axis=1), margin)
    weighted, unweighted = [], []
    for seed in range(60):
        choice = choose("margin_randomised", pool, 400, seed)
        at = choice.chosen
        weighted.append(fit_temperature(logprobs[at], label[at], 1 / choice.inclusion[at]))
        unweighted.append(fit_temperature(logprobs[at], label[at], np.ones(len(at))))
    error = np.std(weighted) / np.sqrt(60)
    assert abs(np.mean(weighted) - population) < 4 * error + 0.02
    assert abs(np.mean(unweighted) - population) > 5 * abs(np.mean(weighted) - population)


def test_cross_fit_judges_on_what_it_did_not_see() -> None:
    logprobs, label = drawn(2000, temperature=3.0)
    fitted = cross_fit(logprobs, label, np.ones(2000), seed=0)
    assert fitted.temperature == pytest.approx(3, rel=0.1)
    before = reliability(logprobs, label, np.ones(2000))
    in_sample = reliability(scale(logprobs, fitted.temperature), label, np.ones(2000))
    assert fitted.held_out.ece < before.ece / 3
    assert in_sample.log_loss < fitted.held_out.log_loss < before.log_loss
    fold = np.random.default_rng(0).permutation(2000) % 5
    parts = [fold == number for number in range(5)]
    temperatures = [fit_temperature(logprobs[~p], label[~p], np.ones(1600)) for p in parts]
    losses = [log_loss(label[p], softmax(logprobs[p] / t, axis=1)) for p, t in zip(parts, temperatures, strict=True)]
    assert fitted.held_out.log_loss == pytest.approx(np.mean(losses))


def test_bins_of_a_reliability_diagram() -> None:
    logprobs, label = drawn(330, seed=4)
    probs = softmax(logprobs, axis=1)
    order = np.argsort(probs.max(axis=1))
    bins = confidence_bins(probs, label, np.full(330, 7.0))
    assert [each.documents for each in bins] == [33] * 10
    for each, at in zip(bins, np.split(order, 10), strict=True):
        right = (probs[at].argmax(axis=1) == label[at]).sum()
        assert each.confidence == pytest.approx(probs[at].max(axis=1).mean())
        assert each.accuracy == pytest.approx(right / 33)
        assert (each.low, each.high) == pytest.approx(proportion_confint(right, 33, method="wilson"))
    assert [each.documents for each in confidence_bins(probs[:49], label[:49], np.ones(49))] == [49]
    assert len(confidence_bins(probs[:50], label[:50], np.ones(50))) == 2


def test_weights_of_bins_are_respected() -> None:
    weight = np.random.default_rng(5).choice([1.0, 3.0], 400)
    logprobs, label = drawn(400, seed=5)
    probs = softmax(logprobs, axis=1)
    bins = confidence_bins(probs, label, weight)
    end = np.cumsum([each.documents for each in bins])
    order = np.argsort(probs.max(axis=1))
    for each, at in zip(bins, np.split(order, end[:-1]), strict=True):
        assert each.share == pytest.approx(weight[at].sum() / weight.sum())
        assert weight[at].sum() == pytest.approx(weight.sum() / 10, abs=6)
        right = np.average(probs[at].argmax(axis=1) == label[at], weights=weight[at])
        worth = weight[at].sum() ** 2 / (weight[at] ** 2).sum()
        assert each.confidence == pytest.approx(np.average(probs[at].max(axis=1), weights=weight[at]))
        assert each.accuracy == pytest.approx(right)
        assert (each.low, each.high) == pytest.approx(proportion_confint(right * worth, worth, method="wilson"))


@pytest.mark.parametrize("accuracy", [0.6, 0.9])
def test_intervals_of_bins_hold_with_unequal_weights(accuracy) -> None:
    rng = np.random.default_rng(6)
    held = []
    for _ in range(400):
        weight = 1 / rng.choice([0.05, 0.1, 0.5], 45)
        label = (rng.random(45) > accuracy).astype(int)  # the first label is the likeliest
        (found,) = confidence_bins(np.tile([0.8, 0.2], (45, 1)), label, weight)
        held.append(found.low <= accuracy <= found.high)
    assert 0.92 <= np.mean(held) <= 0.99
