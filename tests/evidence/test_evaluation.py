import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, matthews_corrcoef

from redct.errors import InputError
from redct.evidence import METRICS, confusion, evaluate, majority, metrics_of

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:sklearn")


def labels(seed: int, n: int, k: int, skill: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    gold = rng.choice(k, n, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    return gold, np.where(rng.random(n) < skill, gold, rng.integers(-1, k, n))


def by_sklearn(gold: np.ndarray, predicted: np.ndarray, k: int) -> dict[str, float]:
    f1 = {a: f1_score(gold, predicted, labels=range(k), average=a, zero_division=0) for a in ("macro", "weighted")}
    return {
        "accuracy": accuracy_score(gold, predicted),
        "macro_f1": f1["macro"],
        "weighted_f1": f1["weighted"],
        "mcc": matthews_corrcoef(gold, predicted),
    }


@settings(deadline=None, max_examples=150)
@given(
    st.integers(2, 5).flatmap(
        lambda k: st.tuples(
            st.just(k),
            st.lists(st.tuples(st.integers(0, k - 1), st.integers(-1, k - 1)), min_size=1, max_size=30),
        )
    )
)
def test_metrics_equal_scikit_learn(case: tuple[int, list[tuple[int, int]]]) -> None:
    k, pairs = case
    gold, predicted = np.array(pairs).T
    values = metrics_of(confusion(gold, predicted, k))
    assert tuple(values) == METRICS
    for name, expected in by_sklearn(gold, predicted, k).items():
        assert values[name] == pytest.approx(expected, abs=1e-9), name


def test_confusion_equals_scikit_learn() -> None:
    gold, predicted = labels(0, 300, 4)
    full = confusion_matrix(gold, np.where(predicted < 0, 4, predicted), labels=range(5))
    np.testing.assert_array_equal(confusion(gold, predicted, 4), full[:4])


def test_metrics_of_many_matrices_are_those_of_each() -> None:
    cells = np.random.default_rng(0).integers(0, 9, (2, 3, 4, 5))
    cells[0, 0] = 0
    together = metrics_of(cells)
    for i, j in np.ndindex(2, 3):
        for name, value in metrics_of(cells[i, j]).items():
            assert together[name][i, j] == pytest.approx(value)
    assert all(together[name][0, 0] == 0 for name in METRICS)


def test_intervals_equal_resampling_of_documents() -> None:
    """Scipy resamples documents and jackknifes; both ends agree within Monte-Carlo error."""
    gold, predicted = labels(1, 250, 3)
    ours = evaluate(gold, predicted, 3, resamples=8000, seed=5)
    for name in METRICS:

        def statistic(g: np.ndarray, p: np.ndarray, axis: int, name: str = name) -> np.ndarray:
            g, p = np.moveaxis(g, axis, -1).astype(int), np.moveaxis(p, axis, -1).astype(int)
            cells = (g * 4 + np.where(p < 0, 3, p))[..., None] == np.arange(12)
            return metrics_of(cells.sum(axis=-2).reshape(*g.shape[:-1], 3, 4))[name]

        theirs = bootstrap((gold, predicted), statistic, paired=True, method="BCa", n_resamples=4000, batch=500, rng=9)
        interval = ours[name]
        # A quantile at 2.5 % has a standard error of about 2.7 sd / sqrt(B); 4 such errors of the difference.
        tolerance = 4 * 2.7 * theirs.standard_error * np.sqrt(1 / 8000 + 1 / 4000)
        assert interval.low == pytest.approx(theirs.confidence_interval.low, abs=tolerance)
        assert interval.high == pytest.approx(theirs.confidence_interval.high, abs=tolerance)
        assert interval.low < interval.value < interval.high
        assert interval.value == pytest.approx(by_sklearn(gold, predicted, 3)[name])


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(300):
        gold = rng.integers(0, 2, 200)
        predicted = np.where(rng.random(200) < 0.7, gold, 1 - gold)
        interval = evaluate(gold, predicted, 2, resamples=400, seed=seed)["accuracy"]
        covered += interval.low <= 0.7 <= interval.high
    assert 0.90 <= covered / 300 <= 0.985


def test_intervals_are_repeatable_narrow_with_the_level_and_do_not_depend_on_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gold, predicted = labels(2, 120, 3)
    wide, again = evaluate(gold, predicted, 3, seed=1), evaluate(gold, predicted, 3, seed=1)
    assert wide == again
    assert wide != evaluate(gold, predicted, 3, seed=2)
    narrow = evaluate(gold, predicted, 3, seed=1, level=0.5)["mcc"]
    assert wide["mcc"].low < narrow.low < narrow.high < wide["mcc"].high
    monkeypatch.setattr("redct.evidence.resampling._AT_ONCE", 100)
    assert evaluate(gold, predicted, 3, seed=1) == wide


def test_a_perfect_classifier_has_no_interval() -> None:
    gold, _ = labels(3, 50, 2)
    for interval in evaluate(gold, gold, 2).values():
        assert (interval.value, interval.low, interval.high) == (1, 1, 1)


def test_majority() -> None:
    assert majority([2, 1, 2, 0], 4).tolist() == [2, 2, 2, 2]
    assert majority([1, 0], 3).tolist() == [0, 0]
    assert metrics_of(confusion([2, 1, 2, 0], majority([2, 1, 2, 0], 3), 3))["accuracy"] == 0.5


def test_senseless_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="no document with a gold label"):
        evaluate([], [], 2)
    for options in ({"resamples": 0}, {"level": 1.0}, {"level": 0.0}):
        with pytest.raises(InputError, match="resamples"):
            evaluate([0], [0], 2, **options)  # type: ignore[arg-type]
    for gold, predicted in (([0, 1], [0]), ([2], [0]), ([-1], [0]), ([0], [2]), ([0], [-2])):
        with pytest.raises(ValueError, match="expected"):
            confusion(gold, predicted, 2)
