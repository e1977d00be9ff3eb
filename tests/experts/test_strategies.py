import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from redct.errors import InputError
from redct.experts import strategies
from redct.experts.strategies import Choice, allocate, budget_count, choose

NAMES = ["margin", "margin_randomised", "random"]
# Class sizes, empty ones included; the last is the class of documents without a label.
class_sizes = st.lists(st.one_of(st.just(0), st.integers(0, 40)), min_size=3, max_size=6)


def corpus(sizes: list[int], seed: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.repeat([*range(len(sizes) - 1), -1], sizes))
    margin = rng.integers(0, 3, len(label)).astype(float) if ties else rng.exponential(2.0, len(label))
    return label, np.where(label < 0, np.nan, margin)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 150))
def test_allocation_equals_handing_out_one_by_one(counts: list[int], n: int) -> None:
    """In turns, each class that has documents left gives one; only the last, incomplete turn may differ."""
    turns = [0] * len(counts)
    left = min(n, sum(counts))
    while left >= sum(c > t for c, t in zip(counts, turns, strict=True)) > 0:
        turns = [min(t + 1, c) for c, t in zip(counts, turns, strict=True)]
        left = min(n, sum(counts)) - sum(turns)
    given_out = allocate(counts, n)
    extra = given_out - turns
    assert given_out.sum() == min(n, sum(counts))
    assert set(extra) <= {0, 1}
    assert (given_out <= counts).all()


def test_allocation_on_paper() -> None:
    assert allocate([100, 100, 100], 30).tolist() == [10, 10, 10]
    assert allocate([100, 2, 100], 30).tolist() == [14, 2, 14]
    assert allocate([50, 0, 100], 5).tolist() == [2, 0, 3]
    assert allocate([3, 2], 9).tolist() == [3, 2]
    assert allocate([0, 0], 4).tolist() == [0, 0]


@settings(deadline=None)
@given(class_sizes, st.integers(0, 200), st.integers(0, 10**6), st.booleans())
def test_margin_picks_the_lowest_margins_of_each_class(sizes: list[int], n: int, seed: int, ties: bool) -> None:
    label, margin = corpus(sizes, seed, ties)
    n_labels = len(sizes) - 1
    choice = strategies.margin(label, margin, n_labels, n, seed)
    assert len(set(choice.chosen.tolist())) == len(choice.chosen) == min(n, len(label))
    for k, share in zip([*range(n_labels), -1], allocate(sizes, n), strict=True):
        picked = choice.chosen[label[choice.chosen] == k]
        assert len(picked) == share
        if k >= 0:
            assert sorted(margin[picked]) == sorted(margin[label == k])[:share]
    np.testing.assert_array_equal(np.flatnonzero(choice.inclusion), np.sort(choice.chosen))
    assert set(choice.inclusion) <= {0.0, 1.0}


def test_margin_breaks_ties_by_seed_and_not_by_file_order() -> None:
    label, margin = np.zeros(200, dtype=int), np.ones(200)
    first, again, other = (strategies.margin(label, margin, 2, 20, seed).chosen for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert set(first) != set(other)
    assert set(first) != set(range(20))
    assert first.tolist() != sorted(first)


def test_nan_margin_is_the_most_uncertain_of_its_class() -> None:
    margin = np.array([0.0, 0.1, np.nan, 0.2])
    assert strategies.margin(np.zeros(4, dtype=int), margin, 2, 1, 0).chosen.tolist() == [2]


@settings(deadline=None)
@given(class_sizes, st.integers(0, 200), st.integers(0, 10**6), st.sampled_from([0.01, 0.2, 1.0]))
def test_randomised_probabilities_are_positive_and_sum_to_the_count(
    sizes: list[int], n: int, seed: int, floor: float
) -> None:
    label, margin = corpus(sizes, seed)
    margin[::5] = np.where(np.isnan(margin[::5]), np.nan, np.inf)
    margin[1::5] *= 1000
    n = min(n, len(label))
    choice = strategies.margin_randomised(label, margin, len(sizes) - 1, n, seed, floor)
    assert len(set(choice.chosen.tolist())) == len(choice.chosen) == n
    assert choice.inclusion.sum() == pytest.approx(n)
    assert (choice.inclusion <= 1).all()
    if n > 0:
        assert (choice.inclusion > 0).all()
    assert np.isin(np.flatnonzero(choice.inclusion == 1), choice.chosen).all()
    if n >= sum(s > 0 for s in sizes):
        for k, share in zip([*range(len(sizes) - 1), -1], allocate(sizes, n), strict=True):
            assert (label[choice.chosen] == k).sum() == share
            assert choice.inclusion[label == k].sum() == pytest.approx(share)


def test_randomised_probabilities_follow_the_formula_where_none_reaches_one() -> None:
    margin = np.array([0.0, 1.0, 2.0, np.inf, 3.0, 0.5, 0.2, 1.5, 0.1, 0.3])
    u = np.exp(-margin)
    expected = 2 * (0.8 * u / u.sum() + 0.2 / 10)
    choice = strategies.margin_randomised(np.zeros(10, dtype=int), margin, 2, 2, 0)
    np.testing.assert_allclose(choice.inclusion, expected)


def test_excess_over_one_goes_to_the_others_in_proportion() -> None:
    margin = np.array([0.0, 9.0, 9.0, 10.0, 10.0, 11.0])
    u = np.exp(-margin)
    size = 0.8 * u / u.sum() + 0.2 / 6
    choice = strategies.margin_randomised(np.zeros(6, dtype=int), margin, 2, 3, 0)
    np.testing.assert_allclose(choice.inclusion, [1.0, *(2 * size[1:] / size[1:].sum())])


def test_margins_too_large_for_exp_still_count() -> None:
    label = np.zeros(4, dtype=int)
    near, far = (
        strategies.margin_randomised(label, np.array([0.0, 1.0, 2.0, 3.0]) + shift, 2, 1, 0).inclusion
        for shift in (0, 5000)
    )
    np.testing.assert_allclose(near, far)
    np.testing.assert_allclose(strategies.margin_randomised(label, np.full(4, np.inf), 2, 1, 0).inclusion, 0.25)


@pytest.fixture(scope="module")
def draws() -> tuple[np.ndarray, np.ndarray, list[Choice]]:
    label, margin = corpus([30, 12, 0, 3, 5], seed=3)
    return label, margin, [strategies.margin_randomised(label, margin, 4, 17, seed) for seed in range(6000)]


def test_inclusion_frequencies_are_the_stated_probabilities(
    draws: tuple[np.ndarray, np.ndarray, list[Choice]],
) -> None:
    _, _, choices = draws
    pi = choices[0].inclusion
    hits = np.bincount(np.concatenate([c.chosen for c in choices]), minlength=len(pi))
    uncertain = pi < 1
    assert (hits[~uncertain] == len(choices)).all()
    assert uncertain.sum() >= 40
    z = (hits - len(choices) * pi)[uncertain] / np.sqrt(len(choices) * (pi * (1 - pi))[uncertain])
    assert np.abs(z).max() < 4.5
    # Fixed sizes make the counts negatively dependent, which only shrinks the statistic's upper tail.
    assert (z**2).sum() < chi2.ppf(0.9999, uncertain.sum())


def test_horvitz_thompson_share_is_unbiased(draws: tuple[np.ndarray, np.ndarray, list[Choice]]) -> None:
    _, margin, choices = draws
    # An outcome that goes with the margin: the unweighted share among the chosen is far off.
    outcome = (np.nan_to_num(margin) < 1.0).astype(float)
    weighted = [float((outcome[c.chosen] / c.inclusion[c.chosen]).sum() / len(margin)) for c in choices]
    plain = [outcome[c.chosen].mean() for c in choices]
    standard_error = np.std(weighted) / np.sqrt(len(weighted))
    assert abs(np.mean(weighted) - outcome.mean()) < 4 * standard_error
    assert np.mean(plain) - outcome.mean() > 20 * standard_error


def test_asking_order_says_nothing_about_the_class(
    draws: tuple[np.ndarray, np.ndarray, list[Choice]],
) -> None:
    label, _, choices = draws
    first = np.mean([label[c.chosen[0]] == 0 for c in choices])
    assert abs(first - np.mean([(label[c.chosen] == 0).mean() for c in choices])) < 0.03


def noisy_labels(seed: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gold labels, and an LLM whose scores are the truth plus noise."""
    rng = np.random.default_rng(seed)
    gold = rng.choice(k, n, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    scores = 1.5 * np.eye(k)[gold] + rng.normal(0, 1, (n, k))
    top = np.sort(scores, axis=1)
    return gold, scores.argmax(axis=1), top[:, -1] - top[:, -2]


@pytest.mark.parametrize("strategy", ["margin", "margin_randomised"])
def test_chosen_documents_hold_more_errors_than_the_corpus(strategy: str) -> None:
    excess = []
    for seed in range(20):
        gold, label, margin = noisy_labels(seed, 3000, 4)
        wrong = gold != label
        excess.append(wrong[choose(strategy, label, margin, 4, 300, seed).chosen].mean() - wrong.mean())
    assert np.mean(excess) > 6 * np.std(excess) / np.sqrt(len(excess))
    assert np.mean(excess) > 0.04


def test_random_draws_exactly_n_with_equal_probability() -> None:
    choice = strategies.random(40, 10, 0)
    assert len(set(choice.chosen.tolist())) == 10
    assert (choice.inclusion == 0.25).all()
    counts = np.bincount(np.concatenate([strategies.random(40, 10, s).chosen for s in range(4000)]), minlength=40)
    assert np.abs(counts - 1000).max() < 4.5 * np.sqrt(4000 * 0.25 * 0.75)
    assert strategies.random(0, 5, 0).chosen.tolist() == []


@pytest.mark.parametrize("strategy", NAMES)
def test_every_strategy_is_repeatable_and_takes_no_more_than_there_is(strategy: str) -> None:
    label, margin = corpus([20, 0, 7, 2], seed=1)
    one, two = (choose(strategy, label, margin, 3, 11, 5) for _ in range(2))
    assert one.chosen.dtype == np.int64
    np.testing.assert_array_equal(one.chosen, two.chosen)
    np.testing.assert_array_equal(one.inclusion, two.inclusion)
    everything = choose(strategy, label, margin, 3, 1000, 5)
    assert sorted(everything.chosen) == list(range(29))
    assert (everything.inclusion == 1).all()
    nothing = choose(strategy, label, margin, 3, 0, 5)
    assert len(nothing.chosen) == 0
    assert (nothing.inclusion == 0).all()
    assert len(choose(strategy, [], [], 3, 4, 5).chosen) == 0


def test_fewer_documents_than_classes_leave_no_class_out() -> None:
    label, margin = corpus([20, 15, 7, 2], seed=1)
    choice = strategies.margin_randomised(label, margin, 3, 2, 0)
    assert len(choice.chosen) == 2
    assert (choice.inclusion > 0).all()
    assert choice.inclusion.sum() == pytest.approx(2)


@pytest.mark.parametrize(
    ("budget", "n", "expected"),
    [(0.1, 2814, 281), (0.1, 600, 60), (0, 10, 0), (0.0, 10, 0), (1, 10, 1), (10, 10, 10), (25.0, 30, 25)],
)
def test_budget(budget: float, n: int, expected: int) -> None:
    assert budget_count(budget, n) == expected


@pytest.mark.parametrize("budget", [-1, -0.1, 1.0, 2.5, 11, float("nan"), float("inf"), True])
def test_senseless_budgets_are_refused(budget: float) -> None:
    with pytest.raises(InputError, match=r"experts\.budget: found"):
        budget_count(budget, 10)


def test_senseless_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="'entropy', expected one of margin, margin_randomised, random"):
        choose("entropy", [0], [0.0], 2, 1, 0)
    with pytest.raises(InputError, match="floor: found 0"):
        strategies.margin_randomised([0], [0.0], 2, 1, 0, floor=0)
    with pytest.raises(InputError, match="n: found -1"):
        strategies.margin([0], [0.0], 2, -1, 0)
    for label, margin in (([0, 1], [0.0]), ([2], [0.0]), ([-2], [0.0]), ([0], [-1.0])):
        with pytest.raises(ValueError, match="expected"):
            strategies.margin(label, margin, 2, 1, 0)
