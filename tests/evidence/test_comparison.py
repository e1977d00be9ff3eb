import krippendorff
import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from redct.errors import InputError
from redct.evidence import METRICS, Design, evaluate
from redct.evidence.comparison import alpha, compare, mcnemar

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:sklearn")


def raters(seed: int = 0, n: int = 300, k: int = 3) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    gold, common = rng.integers(0, k, n), rng.random(n)  # easy documents are easy for both
    said = [np.where(0.7 * common + 0.3 * rng.random(n) < skill, gold, rng.integers(-1, k, n)) for skill in (0.7, 0.5)]
    return gold, {"a": said[0], "b": said[1], "c": np.zeros(n, dtype=np.int64)}


def test_scores_are_those_of_each_rater_alone() -> None:
    gold, said = raters()
    found = compare(gold, said, 3)
    for name, labels in said.items():
        for metric, interval in evaluate(gold, labels, 3, seed=8).items():
            ours = found.scores[name][metric]
            assert ours.value == pytest.approx(interval.value)
            assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), abs=0.012)


def test_labels_equal_scikit_learn() -> None:
    gold, said = raters()
    found = compare(gold, said, 4)  # a label that nobody gave
    for name, labels in said.items():
        precision, recall, f1, _ = precision_recall_fscore_support(gold, labels, labels=range(4), zero_division=np.nan)
        for k, scores in enumerate(found.classes[name]):
            ours = [scores[metric].value for metric in ("precision", "recall", "f1")]
            np.testing.assert_allclose(ours, [precision[k], recall[k], f1[k]], equal_nan=True)


def test_differences_are_paired() -> None:
    gold, said = raters(1)
    found = {each.other: each for each in compare(gold, said, 3, resamples=8000).differences}
    assert list(found) == ["b", "c"]
    theirs = bootstrap(
        (gold == said["a"], gold == said["b"]),
        lambda x, y, axis: (x * 1.0 - y).mean(axis=axis),
        paired=True, method="BCa", n_resamples=8000, rng=0,
    )  # fmt: skip
    ours = found["b"].metrics["accuracy"]
    error = 4 * 2.7 * theirs.standard_error * np.sqrt(2 / 8000)
    assert ours.value == pytest.approx(accuracy_score(gold, said["a"]) - accuracy_score(gold, said["b"]))
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=error)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=error)
    f1 = [f1_score(gold, said[name], labels=range(3), average="macro") for name in "ab"]
    assert found["b"].metrics["macro_f1"].value == pytest.approx(f1[0] - f1[1])
    a, b = (evaluate(gold, said[name], 3)["accuracy"] for name in "ab")
    unpaired = np.hypot(a.high - a.low, b.high - b.low)
    assert ours.high - ours.low < 0.9 * unpaired  # the raters err on the same documents
    assert set(found["b"].metrics) == set(METRICS)


def test_mcnemar_equals_statsmodels() -> None:
    gold, said = raters(2)
    first, second = gold == said["a"], gold == said["b"]
    table = [[np.sum(first & second), np.sum(first & ~second)], [np.sum(~first & second), np.sum(~first & ~second)]]
    assert mcnemar(first, second) == (table[0][1], table[1][0], pytest.approx(statsmodels_mcnemar(table).pvalue))
    assert mcnemar(first, first) == (0, 0, 1.0)


def test_weights_and_clusters() -> None:
    gold, said = raters(3)
    weight = np.random.default_rng(0).random(300) + 0.1
    found = compare(gold, said, 3, Design(weight=weight))
    assert found.scores["a"]["accuracy"].value == pytest.approx(accuracy_score(gold, said["a"], sample_weight=weight))
    f1 = f1_score(gold, said["b"], labels=range(3), average="macro", sample_weight=weight)
    assert found.scores["b"]["macro_f1"].value == pytest.approx(f1)
    assert found.differences[0].p_value is None  # McNemar's test holds for a plain sample only
    tripled = {name: np.repeat(labels, 3) for name, labels in said.items()}
    clustered = compare(np.repeat(gold, 3), tripled, 3, Design(cluster=np.repeat(np.arange(300), 3)))
    once = compare(gold, said, 3).differences[0].metrics["mcc"]
    three = clustered.differences[0].metrics["mcc"]
    assert (three.low, three.high) == pytest.approx((once.low, once.high), abs=0.02)


def test_differences_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    covered, rejected = 0, 0
    for seed in range(300):
        gold = rng.integers(0, 2, 150)
        hard = rng.random(150)
        a, b = (np.where(0.5 * hard + 0.5 * rng.random(150) < 0.7, gold, 1 - gold) for _ in range(2))
        each = compare(gold, {"a": a, "b": b}, 2, resamples=500, seed=seed).differences[0]
        covered += each.metrics["accuracy"].low <= 0 <= each.metrics["accuracy"].high
        rejected += each.p_value is not None and each.p_value <= 0.05
    assert 0.91 <= covered / 300 <= 0.985
    assert rejected / 300 <= 0.07


@pytest.mark.parametrize("design", [Design(), Design(cluster=np.repeat(np.arange(100), 3))])
def test_alpha_equals_krippendorff(design: Design) -> None:
    _, said = raters(4)
    found = alpha([said["a"], said["b"]], 3, design)
    data = [np.where(labels < 0, np.nan, labels) for labels in (said["a"], said["b"])]
    assert found is not None
    assert found.value == pytest.approx(krippendorff.alpha(data, level_of_measurement="nominal"))
    assert found.low < found.value < found.high
    assert alpha([said["a"]], 3) is None


def test_the_interval_of_alpha_is_that_of_resampled_documents() -> None:
    _, said = raters(5, 100)
    votes = np.stack([said["a"], said["b"], said["c"]])
    found = alpha(list(votes), 3)
    data = np.where(votes < 0, np.nan, votes)
    drawn = [np.random.default_rng(seed).integers(0, 100, 100) for seed in range(1500)]
    theirs = [krippendorff.alpha(data[:, at], level_of_measurement="nominal") for at in drawn]
    error = 4 * 2.7 * np.std(theirs) * np.sqrt(1 / 1500 + 1 / 2000)
    assert found is not None
    assert [found.low, found.high] == pytest.approx(np.quantile(theirs, [0.025, 0.975]), abs=error)


def test_alpha_takes_weights_as_proportions() -> None:
    """A document of weight 2 counts as two, and not as half of one where all the others count as 2 and it as 4."""
    _, said = raters(6, 90)
    both, weight = [said["a"], said["b"]], np.random.default_rng(0).integers(1, 4, 90)
    alike = [alpha(both, 3, Design(weight=each)) for each in (None, np.full(90, 0.01), np.full(90, 40.0))]
    for found in alike[1:]:  # sums of 0.01 break ties of resamples
        assert found.value == pytest.approx(alike[0].value, abs=1e-12)
        assert (found.low, found.high) == pytest.approx((alike[0].low, alike[0].high), abs=1e-3)
    once = alpha(both, 3, Design(weight=weight))
    repeated = [np.where(labels < 0, np.nan, labels).repeat(weight) for labels in both]
    assert once.value == pytest.approx(krippendorff.alpha(repeated, level_of_measurement="nominal"), abs=0.01)


def test_wrong_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="predicted: found"):
        compare([0, 1], {"a": np.array([0, 2])}, 2)
    with pytest.raises(InputError, match="no document"):
        compare([], {"a": np.array([], dtype=int)}, 2)
