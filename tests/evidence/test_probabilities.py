import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
from torchmetrics.functional.classification import multiclass_auroc, multiclass_average_precision

from redct.calibration import equal_mass_bins
from redct.errors import InputError
from redct.evidence.probabilities import BINS, COVERAGES, PROBABILITY_METRICS, judge
from redct.evidence.ranking import Ranking, aurc, auroc, average_precision, risk
from redct.evidence.resampling import Design


def sample(seed: int, n: int = 1500, k: int = 3, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated distributions where the temperature is 1, and gold labels drawn from them."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 1.5
    true, probs = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (logits, logits / temperature))
    return (true.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1), probs


def test_metrics_equal_scikit_learn_and_torchmetrics() -> None:
    gold, probs = sample(0)
    found = judge(gold, probs, resamples=50)
    assert tuple(found.metrics) == PROBABILITY_METRICS
    values = {name: interval.value for name, interval in found.metrics.items()}
    assert values["brier"] == pytest.approx(brier_score_loss(gold, probs, scale_by_half=True))
    assert values["auroc"] == pytest.approx(roc_auc_score(gold, probs, multi_class="ovr"))
    precision = np.mean([average_precision_score(gold == k, probs[:, k]) for k in range(3)])
    assert values["auprc"] == pytest.approx(precision)
    tensors = torch.tensor(probs), torch.tensor(gold)
    assert values["auroc"] == pytest.approx(multiclass_auroc(*tensors, 3).item(), abs=1e-6)
    assert values["auprc"] == pytest.approx(multiclass_average_precision(*tensors, 3).item(), abs=1e-6)
    hit, confidence = probs.argmax(axis=1) == gold, probs.max(axis=1)
    true, predicted = calibration_curve(hit, confidence, n_bins=BINS, strategy="quantile")
    np.testing.assert_allclose([b.accuracy.value for b in found.reliability], true)
    np.testing.assert_allclose([b.confidence for b in found.reliability], predicted)
    assert [b.documents for b in found.reliability] == [100] * BINS
    assert values["ece"] == pytest.approx(np.abs(true - predicted).mean())


def test_every_resample_equals_scikit_learn() -> None:
    """Under many weightings, with ties and documents that are not drawn."""
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 12, 80) / 12, rng.random(80) < 0.4
    weight = rng.multinomial(80, np.full(80, 1 / 80), size=30) * rng.random((30, 80))
    ranking = Ranking(score)
    curve = ranking.down_to(weight * positive), ranking.down_to(weight)
    for row, area, precision in zip(weight, auroc(*curve), average_precision(*curve), strict=True):
        assert area == pytest.approx(roc_auc_score(positive, score, sample_weight=row), abs=1e-12)
        assert precision == pytest.approx(average_precision_score(positive, score, sample_weight=row), abs=1e-12)


def test_risk_and_coverage_document_by_document() -> None:
    """With ties and weights, written out: who is at least as sure, how many of them are wrong, in the mean over all."""
    gold, probs = sample(3, 150)
    probs = np.round(probs, 1) + 1e-3 * np.arange(3)
    weight = np.random.default_rng(0).integers(1, 5, 150).astype(float)
    confidence, wrong = probs.max(axis=1), probs.argmax(axis=1) != gold
    risks = [np.average(wrong[confidence >= c], weights=weight[confidence >= c]) for c in confidence]
    found = judge(gold, probs, Design(weight=weight), resamples=20)
    assert found.metrics["aurc"].value == pytest.approx(np.average(risks, weights=weight), abs=1e-12)
    for each in found.risk_coverage:
        order = np.argsort(-confidence, kind="stable")
        last = order[np.searchsorted(np.cumsum(weight[order]), each.coverage * weight.sum() - 1e-9)]
        assert (each.threshold, each.risk.value) == (confidence[last], pytest.approx(risks[last], abs=1e-12))


def test_risk_and_coverage_by_hand() -> None:
    gold = np.array([0, 0, 1, 1])
    probs = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]])  # the third is wrong, the fourth least sure
    found = judge(gold, probs, resamples=50)
    assert found.metrics["aurc"].value == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4)
    at = {round(each.coverage, 2): each for each in found.risk_coverage}
    assert len(at) == len(COVERAGES)
    assert (at[0.5].threshold, at[0.5].risk.value) == (0.8, 0)
    assert (at[0.75].threshold, at[0.75].risk.value) == (0.7, pytest.approx(1 / 3))
    assert (at[1.0].threshold, at[1.0].risk.value) == (0.6, 0.25)
    # Documents of equal confidence come together: their order says nothing.
    tied = Ranking([0.5, 0.5, 0.5, 0.9])
    wrong, total = tied.down_to(np.array([[1.0, 0, 0, 0]])), tied.down_to(np.ones((1, 4)))
    assert risk(wrong, total).tolist() == [[0, 0.25]]
    assert aurc(wrong, total) == pytest.approx([0.75 * 0.25])


def test_bins_are_of_equal_mass() -> None:
    confidence = np.random.default_rng(0).random(600)
    assert np.bincount(equal_mass_bins(confidence, np.ones(600), 6)).tolist() == [100] * 6
    weight = np.where(confidence > 0.5, 3.0, 1.0)
    mass = np.bincount(equal_mass_bins(confidence, weight, 4), weight)
    np.testing.assert_allclose(mass, weight.sum() / 4, atol=3)
    assert equal_mass_bins([0.5, 1.0, 1.0, 1.0], np.ones(4), 4).tolist() == [0, 1, 1, 1]


def test_weights_stand_for_repeated_documents() -> None:
    gold, probs = sample(1, 120)
    weight = np.random.default_rng(0).integers(1, 4, 120)
    once = judge(gold, probs, Design(weight=weight.astype(float)), resamples=20)
    many = judge(np.repeat(gold, weight), np.repeat(probs, weight, axis=0), resamples=20)
    for name in ("brier", "auroc", "auprc", "aurc"):
        assert once.metrics[name].value == pytest.approx(many.metrics[name].value)


def test_only_the_proportions_of_weights_count() -> None:
    """Sums of weights of 0.1 differ from each other in their last digits."""
    gold, probs = sample(4, 600)
    weight = np.random.default_rng(0).integers(1, 4, 600)
    for one, other in ((None, np.full(600, 0.1)), (weight, weight * 0.3)):
        first, second = (judge(gold, probs, Design(weight=each), resamples=20) for each in (one, other))
        assert [each.documents for each in first.reliability] == [each.documents for each in second.reliability]
        for name, interval in first.metrics.items():
            again = second.metrics[name]
            assert (again.value, again.low, again.high) == pytest.approx((interval.value, interval.low, interval.high))


@pytest.mark.filterwarnings("error")
def test_one_document_has_no_interval() -> None:
    found = judge([0], [[0.7, 0.3]], resamples=20).metrics
    assert (found["brier"].low, found["brier"].high) == pytest.approx((0.09, 0.09))
    assert found["ece"].value == pytest.approx(0.3)


def test_rows_without_distribution_are_left_out() -> None:
    gold, probs = sample(2, 60)
    holes = probs.copy()
    holes[::3] = np.nan
    kept = np.arange(60) % 3 > 0
    assert judge(gold, holes, resamples=20) == judge(gold[kept], probs[kept], resamples=20)
    with pytest.raises(InputError, match="no document"):
        judge(gold, np.full((60, 3), np.nan))


def test_one_label_in_gold_cannot_be_told_apart() -> None:
    found = judge(np.zeros(30, dtype=int), np.full((30, 2), 0.5), resamples=20)
    assert np.isnan(found.metrics["auroc"].value)
    assert np.isnan(found.metrics["auprc"].value)


def test_intervals_cover_the_truth() -> None:
    """A short simulation, of a calibrated rater; the full one is scripts/bench/coverage.py."""
    truth = judge(*sample(99, 5_000), resamples=1).metrics
    covered = dict.fromkeys(PROBABILITY_METRICS, 0)
    for seed in range(70):
        found = judge(*sample(seed, 120), resamples=400, seed=seed).metrics
        for name, interval in found.items():
            true = 0.0 if name == "ece" else truth[name].value
            covered[name] += interval.low <= true <= interval.high
    for name, times in covered.items():
        assert times / 70 >= 0.88, name
