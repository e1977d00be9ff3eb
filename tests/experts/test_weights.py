"""Weights over rounds: on paper, and by simulated studies whose truth is known."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from redct.experts import RANDOMISED, Choice, Ledger, Pool, Wave, choose, mean, unit_variance, waves_of, weigh

N, K, STUDIES, ROUNDS = 240, 3, 500, (24, 36, 24)


def wave(pi: list[float], chosen: list[int], stratum: list[int] | None = None, randomised: bool = True) -> Wave:
    mask = np.zeros(len(pi), dtype=bool)
    mask[chosen] = True
    return Wave(np.array(pi), np.array(stratum or [0] * len(pi)), mask, randomised)


NO = float("nan")
FIRST = wave([0.5, 0.5, 0.5, 0.25, 0.25], [0, 3])
SECOND = wave([NO, 0.8, 0.7, NO, 0.5], [1, 4])


def mask(*positions: int) -> np.ndarray:
    return np.isin(np.arange(5), positions)


def test_one_round_weighs_by_one_over_pi() -> None:
    weights = weigh([FIRST], mask(0, 3))
    np.testing.assert_allclose(weights.weight, [2, 0, 0, 4, 0])
    assert weights.round_weight.tolist() == [1]
    assert weights.why is None


def test_two_rounds_on_paper() -> None:
    weights = weigh([FIRST, SECOND], mask(0, 1, 3, 4))
    np.testing.assert_allclose(weights.round_weight, [0.5, 0.5])
    np.testing.assert_allclose(weights.weight, [0.5 * 2 + 0.5, 0.5 / 0.8, 0, 0.5 * 4 + 0.5, 0.5 / 0.5])


def test_answers_stand_for_their_stratum_of_the_round() -> None:
    drawn = wave([0.5] * 5, [0, 1, 2, 4], [0, 0, 0, 7, 7])
    np.testing.assert_allclose(weigh([drawn], mask(0, 2, 4)).weight, [3, 0, 3, 0, 2])
    # Nobody answered in stratum 7: the other one stands for it too.
    np.testing.assert_allclose(weigh([drawn], mask(0, 2)).weight, [4, 0, 4, 0, 0])
    np.testing.assert_allclose(weigh([drawn], mask(4)).weight, [0, 0, 0, 0, 8])


def test_an_unanswered_round_does_not_count_yet() -> None:
    weights = weigh([FIRST, SECOND], mask(0, 3))
    assert weights.round_weight.tolist() == [1, 0]
    np.testing.assert_allclose(weights.weight, [2, 0, 0, 4, 0])


def test_a_deterministic_round_counts_where_a_later_one_covers_the_rest() -> None:
    margin = wave([1, 0, 0, 1, 0], [0, 3], randomised=False)
    weights = weigh([margin, SECOND], mask(0, 1, 3, 4))
    assert weights.round_weight.tolist() == [0, 1]
    np.testing.assert_allclose(weights.weight, [1, 1 / 0.8, 0, 1, 2])
    last = weigh([FIRST, wave([NO, 1, 0, NO, 1], [1, 4], randomised=False)], mask(0, 1, 3, 4))
    np.testing.assert_allclose(last.weight, [2, 0, 0, 4, 0])


@pytest.mark.parametrize(
    ("waves", "answered", "why"),
    [
        ([], mask(), "no documents were chosen"),
        ([wave([1, 0, 0, 1, 0], [0, 3], randomised=False)], mask(0, 3), "the choice of documents was deterministic"),
        ([SECOND], mask(1, 4), "2 documents of the corpus could not be chosen"),
        ([FIRST], mask(), "a round has no answers yet"),
        ([FIRST, SECOND], mask(1, 4), "a round has no answers yet"),
    ],
)
def test_where_no_estimate_is_valid_the_reason_is_said(waves: list[Wave], answered: np.ndarray, why: str) -> None:
    weights = weigh(waves, answered)
    assert weights.weight is None
    assert weights.why == why
    assert weights.round_weight.tolist() == [0] * len(waves)
    with pytest.raises(ValueError, match=why):
        mean(weights, waves, answered, np.zeros(5))


def test_a_document_chosen_twice_has_one_answer() -> None:
    """As where rounds do not leave out the documents of earlier ones."""
    weights = weigh([FIRST, wave([0.4] * 5, [0, 1])], mask(0, 1, 3))
    assert weights.round_weight.tolist() == [2 / 3, 1 / 3]
    np.testing.assert_allclose(weights.weight, [2 / 3 * 2 + 1 / 3, 1 / 3 / 0.4, 0, 2 / 3 * 4 + 1 / 3, 0])


def test_simple_random_sampling_has_the_variance_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    y, chosen, answered = rng.normal(3, 2, 50), np.arange(50) < 20, np.arange(50) < 20
    drawn = Wave(np.full(50, 0.4), np.zeros(50, dtype=int), chosen, True)
    found = mean(weigh([drawn], answered), [drawn], answered, np.where(answered, y, np.nan))
    assert found.value == pytest.approx(y[:20].mean())
    assert found.standard_error == pytest.approx(np.sqrt((1 - 20 / 50) * y[:20].var(ddof=1) / 20))
    # Half of the answers at random make it a simple random sample of half the size.
    answered = np.arange(50) < 10
    half = mean(weigh([drawn], answered), [drawn], answered, y)
    assert half.value == pytest.approx(y[:10].mean())
    assert half.standard_error == pytest.approx(np.sqrt((1 - 10 / 50) * y[:10].var(ddof=1) / 10))
    two = mean(weigh([drawn], answered), [drawn], answered, np.stack([y, 2 * y], axis=1))
    np.testing.assert_allclose(two.standard_error, half.standard_error * np.array([1, 2]))
    answered = np.arange(50) < 1
    assert np.isnan(mean(weigh([drawn], answered), [drawn], answered, y).standard_error)


def test_a_census_has_no_error() -> None:
    y = np.arange(5.0)
    drawn = wave([1.0] * 5, [0, 1, 2, 3, 4])
    found = mean(weigh([drawn], mask(0, 1, 2, 3, 4)), [drawn], mask(0, 1, 2, 3, 4), y)
    assert (found.value, found.standard_error) == (2.0, 0.0)


def test_waves_are_read_from_the_ledger(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        one = Choice(np.array([1, 3]), np.array([0.5, 0.25, 1.0, 0.25]), np.array([0, 0, 1, 1]))
        rounds = [
            ledger.add_round("experts", "random_stratified", 0, {}, ["a", "b", "gone", "c"], one),
            ledger.add_round("experts", "margin", 0, {}, ["a", "new"], Choice(np.array([0]), np.array([1.0, 0.0]))),
        ]
        first, second = waves_of(ledger, rounds, ["c", "b", "a", "new"])
    np.testing.assert_array_equal(first.inclusion, [0.25, 0.25, 0.5, np.nan])
    assert first.stratum[:3].tolist() == [1, 0, 0]
    assert first.chosen.tolist() == [True, True, False, False]
    assert (first.randomised, second.randomised) == (True, False)
    np.testing.assert_array_equal(second.inclusion, [np.nan, np.nan, 1, 0])
    assert second.chosen.tolist() == [False, False, True, False]


# Simulated studies: a corpus with known gold labels, and rounds that learn from the answers before them.


@dataclass(frozen=True)
class Truth:
    gold: np.ndarray
    pool: Pool

    @property
    def shares(self) -> np.ndarray:
        return np.eye(K)[self.gold].mean(axis=0)


@cache
def truth() -> Truth:
    rng = np.random.default_rng(11)
    gold = rng.choice(K, N, p=[0.6, 0.3, 0.1])
    logits = 1.2 * np.eye(K)[gold] + rng.normal(0, 1, (N, K)) + [0.8, 0, 0]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    label = np.where(rng.random(N) < 0.05, -1, probs.argmax(axis=1))
    probs[label < 0] = np.nan
    embeddings = 2 * np.eye(4)[rng.integers(0, 4, N)] + np.pad(np.eye(K)[gold], ((0, 0), (0, 1)))
    return Truth(gold, Pool(label, probs, _margins(probs), rng.dirichlet(np.ones(K), N), embeddings))


def _margins(probs: np.ndarray) -> np.ndarray:
    top = np.sort(np.log(probs), axis=1)
    return top[:, -1] - top[:, -2]


def learned(pool: Pool, gold: np.ndarray, chosen: np.ndarray) -> Pool:
    """What a study knows after some answers: how the LLM errs in each class, and how common the first class is."""
    confusion = np.ones((K + 1, K))
    np.add.at(confusion, (pool.label[chosen], gold[chosen]), 4.0)
    sharpness = 0.5 + 3 * (gold[chosen] == 0).mean()
    weighted = pool.probs**sharpness * confusion[pool.label]
    probs = weighted / weighted.sum(axis=1, keepdims=True)
    edge = confusion[pool.label] / confusion[pool.label].sum(axis=1, keepdims=True)
    return Pool(pool.label, probs, _margins(probs), edge, pool.embeddings)


def study(name: str, seed: int) -> tuple[list[Wave], list[np.ndarray]]:
    """Adaptive rounds, and the documents of each in the order to ask."""
    gold, pool = truth().gold, truth().pool
    left, waves, orders = np.arange(N), [], []
    for number, n in enumerate(ROUNDS):
        choice = choose(name, pool.rows(left), n, 1000 * seed + number)
        inclusion, stratum, chosen = np.full(N, np.nan), np.zeros(N, dtype=int), np.zeros(N, dtype=bool)
        inclusion[left], stratum[left] = choice.inclusion, choice.strata()
        orders.append(left[choice.chosen])
        chosen[orders[-1]] = True
        waves.append(Wave(inclusion, stratum, chosen, True))
        pool = learned(truth().pool, gold, np.concatenate(orders))
        left = np.setdiff1d(left, orders[-1])
    return waves, orders


@cache
def studies(name: str) -> list[tuple[list[Wave], list[np.ndarray]]]:
    return [study(name, seed) for seed in range(STUDIES)]


def estimates(name: str, rounds: int, answered_share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(STUDIES, K) estimated shares of the classes and their standard errors, after so many rounds."""
    values, errors = [], []
    for waves, orders in studies(name):
        answered = np.zeros(N, dtype=bool)
        for order in orders[:rounds]:
            answered[order[: round(answered_share * len(order))]] = True
        found = mean(weigh(waves[:rounds], answered), waves[:rounds], answered, np.eye(K)[truth().gold])
        values.append(found.value)
        errors.append(found.standard_error)
    return np.array(values), np.array(errors)


def assert_unbiased(values: np.ndarray) -> None:
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - truth().shares) < 4 * error).all()
    assert error.max() < 0.01  # so that the check above has power


@pytest.mark.parametrize("rounds", [1, 2, 3])
@pytest.mark.parametrize("name", sorted(RANDOMISED))
def test_class_shares_are_unbiased_and_their_errors_are_known(name: str, rounds: int) -> None:
    values, errors = estimates(name, rounds)
    assert_unbiased(values)
    # An empirical variance of 500 studies is itself known to 6 % (one standard deviation).
    ratio = (errors**2).mean(axis=0) / values.var(axis=0, ddof=1)
    assert (ratio > 0.75).all()
    assert (ratio < 1.35).all()


@pytest.mark.parametrize("name", ["margin_randomised", "random_stratified", "mixed_randomised"])
def test_answers_to_a_part_of_each_round_are_unbiased_too(name: str) -> None:
    values, errors = estimates(name, 3, answered_share=0.6)
    assert_unbiased(values)
    ratio = (errors**2).mean(axis=0) / values.var(axis=0, ddof=1)
    assert (ratio > 0.75).all()
    assert (ratio < 1.35).all()


def test_unit_variance_on_paper() -> None:
    answered = mask(0, 1, 3, 4)
    found = unit_variance(weigh([FIRST, SECOND], answered), [FIRST, SECOND], answered)
    np.testing.assert_allclose(found, [0.25, 0.25 + 0.25 / 4, 0.25 + 0.25 * 3 / 7, 0.75, 0.75 + 0.25])
    # Half of the answers of a round are a draw with half of the chances.
    drawn = wave([0.5] * 5, [0, 1])
    np.testing.assert_allclose(unit_variance(weigh([drawn], mask(0)), [drawn], mask(0)), [3.0] * 5)
    everyone = wave([1.0] * 5, [0, 1, 2, 3, 4])
    assert not unit_variance(weigh([everyone], mask(0, 1, 2, 3, 4)), [everyone], mask(0, 1, 2, 3, 4)).any()


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_unit_variance_is_the_variance_of_values_of_random_sign(rounds: int) -> None:
    """Such values have no part in common, so it does not matter how the documents of a draw depend on each other."""
    sign, totals, expected = np.random.default_rng(0), [], []
    for waves, orders in studies("margin_randomised"):
        answered = np.isin(np.arange(N), np.concatenate(orders[:rounds]))
        weights, value = weigh(waves[:rounds], answered), sign.choice([-1.0, 1.0], N)
        totals.append(weights.weight @ value - value.sum())
        expected.append(unit_variance(weights, waves[:rounds], answered).sum())
    assert np.mean(expected) == pytest.approx(np.mean(np.square(totals)), rel=0.2)


def test_more_rounds_make_better_estimates() -> None:
    one, two, three = (estimates("margin_randomised", rounds)[0].std(axis=0).mean() for rounds in (1, 2, 3))
    assert three < two < one


def test_plain_pooling_counts_the_corpus_once_a_round() -> None:
    indicator = np.eye(K)[truth().gold]
    pooled, unweighted = [], []
    for waves, _ in studies("margin_randomised"):
        weight = sum(np.where(each.chosen, 1 / each.inclusion, 0.0) for each in waves[:2])
        pooled.append(weight @ indicator / N)
        unweighted.append(indicator[weight > 0].mean(axis=0))
    assert np.sum(np.mean(pooled, axis=0)) == pytest.approx(2 - ROUNDS[0] / N, rel=0.02)
    for wrong in (np.array(pooled), np.array(unweighted)):
        error = wrong.std(axis=0, ddof=1) / np.sqrt(STUDIES)
        assert (np.abs(wrong.mean(axis=0) - truth().shares) > 20 * error).all()
