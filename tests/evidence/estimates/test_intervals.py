"""Intervals against statsmodels' where these exist, and by how often they hold in simulated studies."""

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from evidence.estimates.worlds import world
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from redct.errors import InputError
from redct.evidence.estimates import (
    Design,
    Question,
    Sample,
    dsl,
    estimates,
    experts_only,
    naive,
    naive_estimates,
    overall,
    ppi,
    precision,
)
from redct.evidence.estimates.intervals import Precision
from redct.experts import Wave

STUDIES, SIZE = 100, 1500
GROUPS = Question(["a", "b", "b - a"], np.empty((0, 2)), np.array([[1, 0], [0, 1], [-1, 1]]), shares=True)


def of_counts(hits: np.ndarray, n: np.ndarray) -> Precision:
    """Independent samples without a machine and without end, as textbooks have them."""
    p = hits / n
    return Precision(p * (1 - p) / n, 1 / n, 0 * n, n, p, np.full(len(n), np.inf))


@pytest.mark.parametrize("hits", [0, 1, 7, 30, 60])
def test_shares_have_wilsons_interval(hits: int) -> None:
    low, high = of_counts(np.array([hits]), np.array([60.0])).of_shares(np.array([hits / 60]))
    assert (low[0], high[0]) == pytest.approx(proportion_confint(hits, 60, method="wilson"), abs=1e-12)


def test_differences_of_shares_have_newcombes_interval() -> None:
    """Two groups, every document with the same chance, from a corpus so large that nothing is taken from it."""
    n, hits = np.array([400, 700]), np.array([60, 210])
    size, answered = 400_000, np.zeros(400_000, bool)
    answered[: n.sum()] = True
    label, group = np.zeros(size), np.zeros(size, np.int64)
    group[n[0] :] = 1
    label[: hits[0]], label[n[0] : n[0] + hits[1]] = 1, 1
    wave = Wave(np.full(size, n.sum() / size), np.zeros(size, np.int64), answered, True)
    sample = Sample(Design([wave], answered), label, np.full(size, 0.5), label)
    question = replace(GROUPS, columns=np.eye(2)[group])
    found = estimates(experts_only(sample, question), sample, question, wider=False)
    known = confint_proportions_2indep(hits[1], n[1], hits[0], n[0], method="newcomb")
    assert (found[2].low, found[2].high) == pytest.approx(known, abs=5e-4)  # quantiles of t and imaginary answers
    assert found[2].value == pytest.approx(hits[1] / n[1] - hits[0] / n[0])


def test_the_variance_about_the_corpus_is_the_textbooks() -> None:
    made = world(0, 400)
    sample = made.sample("random", 80, 1)
    answers = made.label[sample.design.at]
    residual = answers - made.machine[sample.design.at]
    for estimator, values in ((experts_only, answers), (dsl, residual)):
        found = precision(estimator(sample, overall(400)), sample, wider=False)
        expected = (1 - 80 / 400) * values.var(ddof=1) / 80
        stretch = 80 / 79 if estimator is experts_only else 1.0  # HC3 beside Hájek's n / (n - 1)
        assert found.of_the_draw == pytest.approx([expected * stretch**2])
        assert found.unit == pytest.approx([(1 - 80 / 400) / 80])
        assert (found.freedom, found.answers) == (pytest.approx([79]), [80])


def test_the_variance_of_coefficients_is_statsmodels_hc3() -> None:
    """With unequal chances, all so small that the draw is one with replacement."""
    made, rng = world(3, 40_000), np.random.default_rng(0)
    chance = np.where(rng.random(40_000) < 0.3, 0.005, 0.001)
    answered = rng.random(40_000) < chance
    design = Design([Wave(chance, np.zeros(40_000, np.int64), answered, True)], answered)
    sample = Sample(design, made.label, made.machine, np.round(made.machine))
    question = Question(["c", "g", "x"], made.columns, np.eye(3), shares=False)
    known = sm.WLS(made.label[answered], made.columns[answered], design.weight[answered]).fit()
    found = precision(experts_only(sample, question), sample, wider=True)
    n = answered.sum()
    np.testing.assert_allclose(found.of_the_draw * (n - 1) / n, known.HC3_se**2, rtol=0.01)
    score = known.model.pinv_wexog.T / np.sqrt(design.weight[answered])[:, None]  # what an answer moves, by its weight
    k = design.weight[answered, None] * score**2
    np.testing.assert_allclose(found.freedom[1:], (k.sum(axis=0) ** 2 / (k**2).sum(axis=0) - 1)[1:], rtol=1e-6)
    assert (found.freedom < n - 1).all()


def test_shares_and_rare_labels_have_fewer_degrees_of_freedom() -> None:
    made = world(4, SIZE)
    sample = made.sample("margin_randomised", 200, 1)
    question = Question(["c", "g", "x"], made.columns, np.eye(3), shares=False)
    at, design = sample.design.at, sample.design
    k = design.weight[at] * design.unit[at]  # what an answer would add to the variance of a share
    share = precision(dsl(sample, overall(SIZE)), sample, wider=False)
    assert share.freedom == pytest.approx([k.sum() ** 2 / (k**2).sum() - 1])
    assert share.freedom < 100
    solution = dsl(sample, question)
    assert (precision(solution, sample, wider=True).freedom[1:] > share.freedom).all()
    rare = replace(sample, expert=np.where(np.arange(SIZE) == at[0], 1.0, 0.0))
    assert (precision(solution, rare, wider=True).freedom < 100).all()


def test_without_any_difference_between_machine_and_experts_an_interval_has_a_width() -> None:
    sample = world(0, 400).sample("random", 80, 1)
    sample = replace(sample, machine=np.where(sample.design.answered, sample.expert, 0.5))
    (found,) = estimates(dsl(sample, overall(400)), sample, overall(400), wider=False)
    assert 0.005 < found.standard_error < 0.02


def test_clusters_widen_as_statsmodels_has_it() -> None:
    """With answers to all documents the draw adds nothing, and what is left is the cluster-robust variance."""
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(60), 20)
    label = (rng.random(1200) < np.repeat(rng.beta(1, 2, 60), 20)).astype(float)
    everyone = np.ones(1200, bool)
    design = Design([Wave(np.ones(1200), np.zeros(1200, np.int64), everyone, True)], everyone)
    sample = Sample(design, label, rng.random(1200), label)
    known = sm.OLS(label, np.ones(1200)).fit(cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False})
    for estimator in (experts_only, dsl, ppi):
        (found,) = estimates(estimator(sample, overall(1200)), sample, overall(1200), wider=True, cluster=cluster)
        assert found.standard_error == pytest.approx(float(known.bse[0]), rel=2e-3)
        assert found.freedom == 59


def test_clusters_of_a_population_are_known_from_a_few_answers() -> None:
    """Authors of a population share its label more or less; a corpus has some of them, experts answer to 150 posts."""
    inside, without = [], []
    for seed in range(STUDIES):
        rng = np.random.default_rng(seed)
        cluster = np.repeat(np.arange(60), 20)
        label = (rng.random(1200) < np.repeat(rng.beta(0.7, 1.4, 60), 20)).astype(float)
        answered = np.isin(np.arange(1200), rng.choice(1200, 150, replace=False))
        design = Design([Wave(np.full(1200, 1 / 8), np.zeros(1200, np.int64), answered, True)], answered)
        machine = np.clip(0.5 * label + 0.5 * rng.random(1200), 0, 1)
        sample = Sample(design, label, machine, np.round(machine))
        solution = ppi(sample, overall(1200))
        for kept, codes in ((inside, cluster), (without, None)):
            (found,) = estimates(solution, sample, overall(1200), wider=True, cluster=codes)
            kept.append(found.low <= 1 / 3 <= found.high)
    assert np.mean(inside) > 0.88
    assert np.mean(without) < 0.8


def test_answers_to_a_deterministic_choice_are_refused() -> None:
    chosen = np.arange(10) < 5
    with pytest.raises(InputError, match="the choice of documents was deterministic; expected answers to documents"):
        Design([Wave(chosen.astype(float), np.zeros(10, np.int64), chosen, False)], chosen)


# ---- simulated studies: how often the truth is inside --------------------------------------------


def held(strategy: str, n: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(3,) shares of studies whose intervals hold, and (STUDIES, 3) standard errors, for each estimator."""
    inside: dict[str, list] = {"naive": [], "experts only": [], "DSL": [], "PPI++": []}
    errors: dict[str, list] = {name: [] for name in inside}
    for seed in range(STUDIES):
        made = world(seed, SIZE)
        sample = made.sample(strategy, n, seed)
        groups = replace(GROUPS, columns=np.column_stack([~made.group, made.group]).astype(float))
        regression = Question(["c", "g", "x"], made.columns, np.eye(3), shares=False)
        a, b = made.label[~made.group].mean(), made.label[made.group].mean()
        coefficient = np.linalg.lstsq(made.columns, made.label, rcond=None)[0][2]
        asked = ((overall(SIZE), 0, made.label.mean()), (groups, 2, b - a), (regression, 2, coefficient))
        for name, estimator in (("naive", naive), ("experts only", experts_only), ("DSL", dsl), ("PPI++", ppi)):
            row = []
            for question, at, truth in asked:
                solution = estimator(sample, question)
                trusting = name == "naive"
                each = naive_estimates(solution, question) if trusting else estimates(solution, sample, question, False)
                row.append((each[at].low <= truth <= each[at].high, each[at].standard_error))
            inside[name].append([hit for hit, _ in row])
            errors[name].append([error for _, error in row])
    return {k: np.mean(v, axis=0) for k, v in inside.items()}, {k: np.array(v) for k, v in errors.items()}


@pytest.mark.parametrize("strategy", ["random", "margin_randomised"])
def test_intervals_hold_and_are_narrower_than_the_experts_alone(strategy: str) -> None:
    """95 % from afar: three standard deviations of 100 studies are 6.5 points; scripts/bench/estimates.py is nearer."""
    inside, errors = held(strategy, 200)
    for name in ("experts only", "DSL", "PPI++"):
        assert (inside[name] >= 0.88).all(), name
    assert inside["naive"][0] < 0.3
    for name in ("DSL", "PPI++"):
        assert (np.median((errors["experts only"] / errors[name]) ** 2, axis=0) > 1.3).all()


def test_a_classifier_that_learned_from_the_answers_is_to_be_cross_fitted() -> None:
    """On its own training documents its errors are too small, and so are intervals and corrections."""
    inside, studies = {1: 0, 5: 0}, 60
    for seed in range(studies):
        made, rng = world(seed, SIZE), np.random.default_rng(seed)
        features = np.column_stack([0.8 * made.label + made.columns[:, 2], rng.normal(size=(SIZE, 30))])
        design = made.design("random", 100, seed)
        fold = rng.permutation(SIZE) % 5
        for folds in inside:
            machine = np.empty(SIZE)
            for number in range(folds):
                out = fold % folds == number
                train = design.at[~out[design.at]] if folds > 1 else design.at
                model = LogisticRegression(C=10).fit(features[train], made.label[train])
                machine[out] = model.predict_proba(features[out])[:, 1]
            sample = Sample(design, made.label, machine, (machine > 0.5).astype(float))
            (found,) = estimates(ppi(sample, overall(SIZE)), sample, overall(SIZE), wider=False)
            inside[folds] += found.low <= made.label.mean() <= found.high
    assert inside[1] / studies < 0.85
    assert inside[5] / studies > 0.88


def test_few_answers_with_unequal_chances_still_hold() -> None:
    """A normal interval of the weighted mean would hold in 76 to 90 % of such studies."""
    inside, normal = [], []
    for seed in range(200):
        made = world(seed, SIZE)
        sample = made.sample("margin_randomised", 40, seed)
        (found,) = estimates(experts_only(sample, overall(SIZE)), sample, overall(SIZE), wider=False)
        inside.append(found.low <= made.label.mean() <= found.high)
        variance = sample.design.variance(np.where(sample.design.answered, made.label - found.value, 0.0)[:, None])
        normal.append(abs(found.value - made.label.mean()) <= norm.ppf(0.975) * np.sqrt(variance[0]))
    assert np.mean(inside) > 0.93
    assert np.mean(normal) < np.mean(inside)
