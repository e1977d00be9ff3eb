"""Each estimator against another implementation: statsmodels, ppi-python, or the textbook."""

import os
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from evidence.estimates.worlds import World, world

from redct.errors import InputError
from redct.evidence.estimates import (
    Question,
    Sample,
    dsl,
    estimates,
    experts_only,
    naive,
    naive_estimates,
    overall,
    ppi,
)
from redct.evidence.estimates.estimators import solve

WORLD = world(1, 1500)
LINKS = ("linear", "logistic")


def regression(link: str, columns: np.ndarray = WORLD.columns) -> Question:
    return Question(["c", "g", "x"], columns, np.eye(3), False, link)


def glm(y: np.ndarray, x: np.ndarray, link: str, weight: np.ndarray | None = None):
    family = sm.families.Gaussian() if link == "linear" else sm.families.Binomial()
    return sm.GLM(y, x, family=family, freq_weights=weight)


@pytest.mark.parametrize("link", LINKS)
def test_naive_is_a_regression_of_the_machines_labels(link: str) -> None:
    sample, question = WORLD.sample("random", 100, 0), regression(link)
    cluster = np.arange(1500) // 7
    fit = glm(sample.said, WORLD.columns, link)
    for codes, options in ((None, {"cov_type": "HC0"}), (cluster, {"cov_type": "cluster"})):
        more = {} if codes is None else {"cov_kwds": {"groups": codes, "use_correction": False}}
        known = fit.fit(**options, **more, tol=1e-14)
        found = naive_estimates(naive(sample, question), question, codes)
        np.testing.assert_allclose([each.value for each in found], known.params, rtol=1e-7)
        np.testing.assert_allclose([[each.low, each.high] for each in found], known.conf_int(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("strategy", ["random", "margin_randomised"])
def test_experts_only_is_a_weighted_regression_of_the_answers(strategy: str, link: str) -> None:
    sample = WORLD.sample(strategy, 200, 3)
    at = sample.design.at
    known = glm(WORLD.label[at], WORLD.columns[at], link, sample.design.weight[at]).fit(tol=1e-14)
    np.testing.assert_allclose(experts_only(sample, regression(link)).value, known.params, rtol=1e-7)
    # With the machine given no power PPI++ is the same.
    np.testing.assert_allclose(ppi(sample, regression(link), power=0.0).value, known.params, rtol=1e-7)


@pytest.mark.parametrize("strategy", ["random", "margin_randomised"])
def test_dsl_regresses_pseudo_outcomes(strategy: str) -> None:
    """Egami et al. 2023, section 4: their outcome, in ordinary least squares and in the logistic moments."""
    sample = WORLD.sample(strategy, 200, 3)
    design, m = sample.design, sample.machine
    chance = design.waves[0].inclusion
    outcome = np.where(design.answered, m + (np.nan_to_num(sample.expert) - m) / chance, m)
    known = sm.OLS(outcome, WORLD.columns).fit()
    np.testing.assert_allclose(dsl(sample, regression("linear")).value, known.params, rtol=1e-9)
    b = dsl(sample, regression("logistic")).value
    moments = WORLD.columns.T @ (outcome - 1 / (1 + np.exp(-WORLD.columns @ b)))
    np.testing.assert_allclose(moments, 0, atol=1e-6)


def test_answers_to_all_documents_leave_nothing_to_chance() -> None:
    sample = replace(WORLD.sample("random", 1500, 0), machine=np.full(1500, 0.3))
    for link in LINKS:
        known = glm(WORLD.label, WORLD.columns, link).fit(cov_type="HC0", tol=1e-14)
        for estimator in (experts_only, dsl, ppi):
            found = estimates(estimator(sample, regression(link)), sample, regression(link), wider=False)
            np.testing.assert_allclose([each.value for each in found], known.params, rtol=1e-7)
            assert max(each.standard_error for each in found) == 0
            wider = estimates(estimator(sample, regression(link)), sample, regression(link), wider=True)
            np.testing.assert_allclose([each.standard_error for each in wider], known.bse, rtol=5e-3)


def test_documents_left_out_have_no_part() -> None:
    """A regression on some documents is that on a corpus of these, with the weights as they are."""
    kept = np.arange(1500) % 3 > 0
    sample = WORLD.sample("margin_randomised", 300, 2)
    columns = WORLD.columns * kept[:, None]
    at = np.flatnonzero(kept & sample.design.answered)
    weight = sample.design.weight[at]
    for link in LINKS:
        known = glm(WORLD.label[at], WORLD.columns[at], link, weight).fit(tol=1e-14)
        np.testing.assert_allclose(experts_only(sample, regression(link, columns)).value, known.params, rtol=1e-7)
        assert not ppi(sample, regression(link, columns)).leverage[~kept].any()


def test_a_machine_without_information_gets_no_power_and_a_perfect_one_all() -> None:
    sample = WORLD.sample("margin_randomised", 200, 0)
    question = overall(1500)
    assert ppi(replace(sample, machine=np.full(1500, 0.4)), question).power == [0]
    assert ppi(replace(sample, machine=1 - WORLD.label), question).power == [0]
    right = ppi(replace(sample, machine=WORLD.label), question)
    assert right.power == pytest.approx([1], abs=0.01)
    assert right.value == pytest.approx([WORLD.label.mean()], abs=0.002)


def test_columns_that_cannot_be_told_apart_are_refused() -> None:
    twice = WORLD.columns[:, [0, 1, 1]]
    with pytest.raises(InputError, match="--formula: found terms that the answered documents cannot tell apart"):
        ppi(WORLD.sample("random", 100, 0), regression("linear", twice))
    separated = np.column_stack([np.ones(40), np.arange(40) < 20]).astype(float)
    with pytest.raises(InputError, match="no finite coefficients"):
        solve(separated, separated[:, 1], np.ones(40), "logistic")


# ---- ppi-python ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ppi_py():
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")  # compiling takes longer than all tests
    return pytest.importorskip("ppi_py", reason="ppi-python is not installed; pip install ppi-python")


def uniform(seed: int, n: int = 100) -> tuple[Sample, np.ndarray, np.ndarray, float]:
    """A sample with the answered documents, all others, and the share of the latter."""
    sample = WORLD.sample("random", n, seed)
    return sample, sample.design.answered, ~sample.design.answered, 1 - n / 1500


@pytest.mark.parametrize("power", [None, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_mean_as_in_ppi_python(ppi_py, seed: int, power: float | None) -> None:
    sample, answered, other, left = uniform(seed)
    theirs = ppi_py.ppi_mean_pointestimate(
        sample.expert[answered],
        sample.machine[answered],
        sample.machine[other],
        lam=None if power is None else power * left,
    )
    assert ppi(sample, overall(1500), power).value == pytest.approx(theirs, abs=1e-8)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_logistic_regression_as_in_ppi_python(ppi_py, power: float) -> None:
    sample, answered, other, left = uniform(0, 300)
    theirs = ppi_py.ppi_logistic_pointestimate(
        WORLD.columns[answered],
        sample.expert[answered],
        sample.machine[answered],
        WORLD.columns[other],
        sample.machine[other],
        lam=power * left,
        optimizer_options={"ftol": 1e-15, "gtol": 1e-11, "maxiter": 5000},
    )
    np.testing.assert_allclose(ppi(sample, regression("logistic"), power).value, theirs, atol=1e-8)


@pytest.mark.parametrize("power", [0.0, 0.6, 1.0])
def test_weighted_estimates_as_in_ppi_python(ppi_py, power: float) -> None:
    """With all documents for their second sample and the inverse chances for weights, theirs is this one."""
    sample = WORLD.sample("margin_randomised", 300, 0)
    at, x, y, m = sample.design.at, WORLD.columns, sample.expert, sample.machine
    given = {"lam": power, "w": sample.design.weight[at]}
    mean = ppi_py.ppi_mean_pointestimate(y[at], m[at], m, **given)
    assert ppi(sample, overall(1500), power).value == pytest.approx(mean, abs=1e-8)
    linear = ppi_py.ppi_ols_pointestimate(x[at], y[at], m[at], x, m, **given)
    np.testing.assert_allclose(ppi(sample, regression("linear"), power).value, linear, atol=1e-8)
    exact = {"ftol": 1e-15, "gtol": 1e-11, "maxiter": 5000}
    logistic = ppi_py.ppi_logistic_pointestimate(x[at], y[at], m[at], x, m, optimizer_options=exact, **given)
    np.testing.assert_allclose(ppi(sample, regression("logistic"), power).value, logistic, atol=1e-8)


def repeated(times: int = 8) -> tuple[World, Sample]:
    """Answered documents of which all others are copies: then one corpus and two samples have the same moments."""
    first = world(5, 150)
    again = World(*(np.concatenate([part] * (times + 1)) for part in (first.columns, first.label, first.machine)))
    sample = again.sample("random", 150, 0)
    design = sample.design
    order = np.concatenate([design.at, np.flatnonzero(~design.answered)])
    columns, machine = np.empty_like(again.columns), np.empty_like(again.machine)
    label = np.empty_like(again.label)
    columns[order], machine[order], label[order] = again.columns, again.machine, again.label
    again = World(columns, label, machine)
    return again, Sample(design, np.where(design.answered, label, np.nan), machine, sample.said)


@pytest.mark.parametrize("power", [0.0, 0.6, 1.0])
def test_linear_regression_as_in_ppi_python(ppi_py, power: float) -> None:
    made, sample = repeated()
    answered, other = sample.design.answered, ~sample.design.answered
    machine = sample.machine.copy()
    machine[other] = np.random.default_rng(0).permutation(machine[other])  # the columns stay copies
    theirs = ppi_py.ppi_ols_pointestimate(
        made.columns[answered],
        sample.expert[answered],
        machine[answered],
        made.columns[other],
        machine[other],
        lam=power * 8 / 9,
    )
    found = ppi(replace(sample, machine=machine), regression("linear", made.columns), power)
    np.testing.assert_allclose(found.value, theirs, atol=1e-8)


def test_the_variance_is_that_of_ppi_python(ppi_py) -> None:
    """About a wider population, where both samples have the same moments, but for corrections by n - 1."""
    made, sample = repeated()
    answered, other = sample.design.answered, ~sample.design.answered
    power = 0.7
    low, high = ppi_py.ppi_mean_ci(
        sample.expert[answered], sample.machine[answered], sample.machine[other], alpha=0.05, lam=power * 8 / 9
    )
    solution = ppi(sample, overall(len(made.label)), power)
    residual = (solution.by_expert - solution.by_machine)[answered, 0]
    stretch = 150 / 149  # of residuals of a fit to 150 answers, so squared, and again Hájek's n / (n - 1)
    of_the_draw = sample.design.variance(solution.by_expert - solution.by_machine)[0] / stretch**3
    assert of_the_draw == pytest.approx((8 / 9) * residual.var() / stretch**2 / 150, rel=1e-9)
    of_the_corpus = sample.expert[answered].var() / len(made.label)
    theirs = ((high - low) / 2 / 1.959963984540054) ** 2
    assert of_the_draw + of_the_corpus == pytest.approx(float(theirs[0]), rel=1e-8)
