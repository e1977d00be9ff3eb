import numpy as np
import pytest
from scipy.stats import bootstrap, skew

from redct.errors import InputError
from redct.evidence.resampling import Design, Interval, Units, intervals, mirrored, units_of


def mean_of(values: np.ndarray, of: np.ndarray, weight: np.ndarray | None = None):
    weight = np.ones(len(values)) if weight is None else weight

    def statistic(times: np.ndarray) -> dict[str, np.ndarray]:
        each = times[:, of] * weight
        return {"mean": each @ values / each.sum(axis=1)}

    return statistic


@pytest.mark.parametrize("n", [60, 900])
def test_bca_equals_scipy(n: int) -> None:
    """900 documents are left out in groups, which must tell the skewness all the same."""
    values = np.random.default_rng(4).lognormal(size=n)
    units, of = units_of(Design(), (), n)
    ours = intervals(units, mean_of(values, of), resamples=20_000, seed=1)["mean"]
    theirs = bootstrap((values,), np.mean, method="BCa", n_resamples=20_000, rng=2, batch=2000)
    assert ours.method == "bca"
    assert ours.value == pytest.approx(values.mean())
    error = 4 * 2.7 * theirs.standard_error * np.sqrt(2 / 20_000)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=error)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=error)
    # The correction is there at all: right of the percentile interval, by more than the error of either.
    plain = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=2, batch=2000)
    assert ours.high > plain.confidence_interval.high
    assert skew(values) > 1


def of_strata(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    return (x.sum(axis) + y.sum(axis)) / (x.shape[axis] + y.shape[axis])


def of_ratio(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    return x.sum(axis) / y.sum(axis)


@pytest.mark.parametrize("kind", ["strata", "clusters", "weights"])
def test_designs_equal_scipy(kind: str) -> None:
    """Scipy draws strata as several samples, clusters as their sums and sizes, weights beside what they weigh."""
    rng = np.random.default_rng(6)
    values, number = rng.lognormal(size=160) + np.repeat([0, 2], 80), rng.integers(0, 60, 160)
    weight = rng.random(160) + 0.1
    if kind == "strata":
        design, data, statistic, paired = Design(stratum=np.repeat([0, 1], 80)), np.split(values, 2), of_strata, False
    elif kind == "clusters":
        sums = [np.bincount(number, each, minlength=60) for each in (values, np.ones(160))]
        kept = sums[1] > 0
        design, data, statistic, paired = Design(cluster=number), [each[kept] for each in sums], of_ratio, True
    else:
        design, data, statistic, paired = Design(weight=weight), [weight * values, weight], of_ratio, True
    units, of = units_of(design, (), 160)
    for method, plain in (("bca", ()), ("percentile", ("mean",))):
        ours = intervals(units, mean_of(values, of, design.weight), 20_000, seed=1, percentile=plain)["mean"]
        options = {"paired": paired, "method": method, "n_resamples": 20_000, "batch": 2000, "rng": 2}
        theirs = bootstrap(data, statistic, **options)
        assert ours.method == method
        error = 4 * 2.7 * theirs.standard_error * np.sqrt(2 / 20_000)
        assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=error)
        assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=error)


def test_documents_alike_are_drawn_together_with_the_same_result() -> None:
    values = np.random.default_rng(0).integers(0, 3, 200)
    apart, of_apart = units_of(Design(), (), 200)
    together, of = units_of(Design(), (values,), 200)
    assert together.count.tolist() == np.bincount(values).tolist()
    one = intervals(apart, mean_of(values, of_apart), resamples=20_000)["mean"]
    kinds = np.arange(3)

    def statistic(times: np.ndarray) -> dict[str, np.ndarray]:
        counts = times * together.count
        return {"mean": counts @ kinds / counts.sum(axis=1)}

    other = intervals(together, statistic, resamples=20_000)["mean"]
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.01)
    np.testing.assert_array_equal(kinds[of], values)


def test_clusters_widen_and_strata_narrow_an_interval_as_theory_says() -> None:
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(100), 5)
    values = np.repeat(rng.normal(size=100), 5)  # documents of a cluster say the same: 100 observations, not 500
    stratum = np.repeat([0, 1], 250)

    def width(design: Design, y: np.ndarray) -> float:
        units, of = units_of(design, (), 500)
        found = intervals(units, mean_of(y, of), resamples=4000)["mean"]
        return (found.high - found.low) / (2 * 1.96)

    assert width(Design(cluster=cluster), values) == pytest.approx(values[::5].std() / 10, rel=0.07)
    assert width(Design(), values) == pytest.approx(values.std() / np.sqrt(500), rel=0.07)
    split = stratum * 10 + rng.normal(size=500)
    within = np.sqrt(np.mean([split[stratum == s].var() for s in (0, 1)]) / 500)
    assert width(Design(stratum=stratum), split) == pytest.approx(within, rel=0.07)
    assert width(Design(), split) > 4 * within


def test_strata_of_clusters() -> None:
    cluster, stratum = np.repeat(["a", "b", "c", "d"], 2), np.array(list("xxxxyyyy"))
    units, of = units_of(Design(cluster=cluster, stratum=stratum), (), 8)
    assert units.count.tolist() == [1, 1, 1, 1]
    assert units.stratum.tolist() == [0, 0, 1, 1]
    assert of.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    with pytest.raises(InputError, match="cluster 'a': has documents of several strata"):
        units_of(Design(cluster=np.array(["a", "a"]), stratum=np.array([0, 1])), (), 2)


def test_a_stratum_of_one_document_joins_its_neighbour() -> None:
    units, _ = units_of(Design(stratum=np.array([0, 1, 1, 2, 3, 3, 4])), (), 7)
    assert units.stratum.tolist() == [0, 0, 0, 1, 1, 1, 1]
    units, _ = units_of(Design(stratum=np.array([0, 1])), (), 2)
    assert units.stratum.tolist() == [0, 0]


def test_weighted_intervals_cover_the_population_mean() -> None:
    rng = np.random.default_rng(1)
    population = rng.normal(size=20_000)
    inclusion = 1 / (1 + np.exp(-population))  # large values are sampled more often
    inclusion *= 250 / inclusion.sum()
    covered = unweighted = 0
    for seed in range(200):
        chosen = np.flatnonzero(rng.random(20_000) < inclusion)
        units, of = units_of(Design(), (), len(chosen))
        for weight in (1 / inclusion[chosen], None):
            found = intervals(units, mean_of(population[chosen], of, weight), resamples=500, seed=seed)["mean"]
            hit = found.low <= population.mean() <= found.high
            covered, unweighted = (covered + hit, unweighted) if weight is not None else (covered, unweighted + hit)
    assert 0.89 <= covered / 200 <= 0.99
    assert unweighted / 200 < 0.2


def test_what_does_not_exist_is_said() -> None:
    units = Units(np.array([5]), np.array([0]))
    found = intervals(units, lambda times: {"nothing": np.full(len(times), np.nan), "one": np.ones(len(times))})
    assert np.isnan([found["nothing"].value, found["nothing"].low, found["nothing"].high]).all()
    assert found["one"] == Interval(1, 1, 1, "percentile")


def test_a_value_that_some_resamples_lack_has_a_percentile_interval() -> None:
    values = np.array([1.0, 0, 0, 0, 0, 0])  # a ratio of counts that are 0 in a third of the resamples
    units, of = units_of(Design(), (), 6)

    def statistic(times: np.ndarray) -> dict[str, np.ndarray]:
        counts = times[:, of] @ values
        return {"ratio": np.divide(counts, counts, out=np.full(len(counts), np.nan), where=counts > 0)}

    assert intervals(units, statistic)["ratio"] == Interval(1, 1, 1, "percentile")


def test_mirrored() -> None:
    assert mirrored(Interval(0.1, 0.09, 0.14), 0.02) == Interval(0.1, pytest.approx(0.06), 0.14, "mirrored")
    assert mirrored(Interval(0.1, 0.09, 0.14), 0.11).low == 0
    assert mirrored(Interval(0.1, 0.09, 0.25), 0.02).low == 0
