"""Plans against what they lead to, and against formulas where there are any."""

from dataclasses import replace

import numpy as np
import pytest
from evidence.estimates.worlds import World, world
from scipy.stats import t as student

from redct.evidence.estimates import overall, ppi, precision
from redct.evidence.estimates.intervals import Precision
from redct.evidence.estimates.planner import after, before

EVERYBODY = np.ones((4000, 1))


def uniform(answers: int) -> np.ndarray:
    return np.full(4000, answers / 4000)


def test_before_any_answer_a_uniform_draw_needs_what_the_textbook_says() -> None:
    """Half of the documents are certain, half are a coin's throw, so residuals have the variance 1/8; shares 1/4."""
    machine = np.where(np.arange(4000) % 2, 0.5, np.where(np.arange(4000) % 4, 1.0, 0.0))
    plan = before(machine, EVERYBODY, 0.03, uniform)
    for answers, variance in ((plan.answers, 1 / 8), (plan.without, 1 / 4)):
        widths = [student.ppf(0.975, n - 1) * np.sqrt(variance * (1 / n - 1 / 4000)) for n in (answers, answers * 0.98)]
        assert widths[0] < 0.0305
        assert widths[1] > 0.0295
    assert plan.answers < plan.without


def test_what_no_number_of_answers_reaches_is_none() -> None:
    machine = np.full(4000, 0.5)
    assert before(machine, EVERYBODY, 0.005, uniform).answers > 3000
    assert before(machine, EVERYBODY, 0.005, uniform, wider=True).answers is None


def test_the_least_certain_group_decides() -> None:
    few = (np.arange(4000) < 400).astype(float)
    groups = np.column_stack([few, 1 - few])
    machine = np.full(4000, 0.5)
    both, alone = before(machine, groups, 0.08, uniform), before(machine, EVERYBODY, 0.08, uniform)
    assert both.without > 5 * alone.without


def test_after_answers_the_variance_falls_as_their_number_grows() -> None:
    now = Precision(*(np.array([x]) for x in (0.1 / 100 * (1 - 100 / 4000), 1 / 100, 0.0, 100.0, 0.3, 99.0)))
    plan = after(np.array([0.3]), 0.02, now, 100, 4000)
    half_width = student.ppf(0.975, plan.answers - 1) * np.sqrt(0.1 * (1 / plan.answers - 1 / 4000))
    assert half_width == pytest.approx(0.02, rel=0.02)
    assert after(np.array([0.3]), 0.02, replace(now, of_the_corpus=np.array([1e-3])), 100, 4000).answers is None


def realised(made: World, strategy: str, n: int, seed: int) -> tuple[np.ndarray, Precision, float]:
    sample = made.sample(strategy, n, seed)
    solution = ppi(sample, overall(4000))
    found = precision(solution, sample, wider=False)
    low, high = found.of_shares(solution.value)
    return solution.value, found, float(high[0] - low[0]) / 2


@pytest.mark.parametrize("strategy", ["random", "margin_randomised"])
@pytest.mark.parametrize("pilot", [0, 100])
def test_plans_come_true(strategy: str, pilot: int) -> None:
    ratios = []
    for seed in range(20):
        made = world(seed, 4000)
        if pilot:
            value, found, _ = realised(made, strategy, pilot, seed)
            plan = after(value, 0.035, found, pilot, 4000)
        else:
            plan = before(
                made.machine, EVERYBODY, 0.035, lambda n, made=made: made.design(strategy, n, 0).waves[0].inclusion
            )
        ratios.append(realised(made, strategy, plan.answers, seed + 1000)[2] / 0.035)
    assert 0.8 < np.median(ratios) < 1.2
