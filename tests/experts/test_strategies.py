import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from redct.errors import InputError
from redct.experts import RANDOMISED, STRATEGIES, Pool, choose, needs
from redct.experts.draws import allocate

NAMES = sorted(STRATEGIES)
# Class sizes, empty ones included; the last is the class of documents without a label.
class_sizes = st.lists(st.one_of(st.just(0), st.integers(0, 40)), min_size=3, max_size=6)


def corpus(sizes: list[int], seed: int, ties: bool = False) -> Pool:
    rng = np.random.default_rng(seed)
    k = len(sizes) - 1
    label = rng.permutation(np.repeat([*range(k), -1], sizes)).astype(np.int64)
    n = len(label)
    probs, edge = (np.full((n, k), 1 / k) if ties else rng.dirichlet(np.full(k, 0.5), n) for _ in range(2))
    margin = rng.integers(0, 3, n).astype(float) if ties else rng.exponential(2.0, n)
    embeddings = np.ones((n, 3)) if ties else rng.normal(0, 1, (n, 3))
    probs[label < 0], margin[label < 0] = np.nan, np.nan
    return Pool(label, probs, margin, edge, embeddings)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=25)
@given(class_sizes, st.integers(0, 200), st.integers(0, 10**6), st.booleans(), st.sampled_from([0.01, 0.2, 1.0]))
def test_every_strategy_chooses_exactly_n_distinct_documents(
    name: str, sizes: list[int], n: int, seed: int, ties: bool, floor: float
) -> None:
    pool = corpus(sizes, seed, ties)
    choice, again = (choose(name, pool, n, seed, floor) for _ in range(2))
    n = min(n, len(pool))
    assert choice.chosen.dtype == np.int64
    assert len(set(choice.chosen.tolist())) == len(choice.chosen) == n
    assert choice.chosen.tolist() == again.chosen.tolist()
    assert choice.inclusion.tolist() == again.inclusion.tolist()
    assert choice.inclusion.sum() == pytest.approx(n)
    assert choice.strata().shape == choice.inclusion.shape == (len(pool),)
    for stratum in np.unique(choice.strata()):
        inside = choice.strata() == stratum
        assert choice.inclusion[inside].sum() == pytest.approx(inside[choice.chosen].sum())
    if n and name in RANDOMISED:
        assert (choice.inclusion > 0).all()
        assert (choice.inclusion <= 1).all()
    if name not in RANDOMISED:
        np.testing.assert_array_equal(np.flatnonzero(choice.inclusion), np.sort(choice.chosen))
    if n == len(pool):
        np.testing.assert_allclose(choice.inclusion, 1)


@pytest.mark.parametrize("name", sorted(RANDOMISED))
def test_inclusion_frequencies_are_the_stated_probabilities(name: str) -> None:
    pool = corpus([30, 12, 0, 3, 5], seed=3)
    groups = 4.0 * np.eye(5)[np.arange(50) % 5] + 0.01 * np.arange(50)[:, None]  # the same for every seed
    pool = Pool(pool.label, pool.probs, pool.margin, pool.edge_probs, groups)
    choices = [choose(name, pool, 20, seed) for seed in range(600 if "diversity" in name else 3000)]
    assert all(np.allclose(choice.inclusion, choices[0].inclusion) for choice in choices)
    pi = choices[0].inclusion
    hits = np.bincount(np.concatenate([c.chosen for c in choices]), minlength=50)
    uncertain = pi < 1
    assert (hits[~uncertain] == len(choices)).all()
    assert uncertain.sum() >= 40
    z = (hits - len(choices) * pi)[uncertain] / np.sqrt(len(choices) * (pi * (1 - pi))[uncertain])
    assert np.abs(z).max() < 4.5
    # Fixed sizes make the counts negatively dependent, which only shrinks the statistic's upper tail.
    assert (z**2).sum() < chi2.ppf(0.9999, uncertain.sum())


@pytest.mark.parametrize("name", sorted(RANDOMISED))
def test_weighted_answers_show_the_corpus(name: str) -> None:
    """An outcome that goes with the margin: given the clusters, too, the weighted share is unbiased."""
    pool = corpus([60, 25, 5, 10], seed=4)
    outcome = (np.nan_to_num(pool.margin) < 1.0).astype(float)
    choices = [choose(name, pool, 20, seed) for seed in range(400)]
    weighted = [float((outcome[c.chosen] / c.inclusion[c.chosen]).sum() / len(pool)) for c in choices]
    assert abs(np.mean(weighted) - outcome.mean()) < 4 * np.std(weighted) / 20
    if "margin" in name:
        assert np.mean([outcome[c.chosen].mean() for c in choices]) - outcome.mean() > 0.05


@pytest.mark.parametrize("name", NAMES)
def test_the_asking_order_is_random(name: str) -> None:
    """Neither the file's order nor that of the strata, scores or parts of a mix."""
    pool = corpus([40, 30, 20, 10], seed=1)
    orders = [choose(name, pool, 30, seed).chosen for seed in range(60)]
    for fact in (np.arange(100), pool.label, np.nan_to_num(pool.margin)):
        correlations = [np.corrcoef(np.arange(30), fact[order])[0, 1] for order in orders]
        assert abs(np.mean(correlations)) < 4 / np.sqrt(29 * 60)


@settings(deadline=None)
@given(class_sizes, st.integers(0, 200), st.integers(0, 10**6), st.booleans())
def test_margin_picks_the_lowest_margins_of_each_class(sizes: list[int], n: int, seed: int, ties: bool) -> None:
    pool = corpus(sizes, seed, ties)
    choice = choose("margin", pool, n, seed)
    for k, share in zip([*range(pool.n_labels), -1], allocate(sizes, n), strict=True):
        picked = choice.chosen[pool.label[choice.chosen] == k]
        assert len(picked) == share
        if k >= 0:
            assert sorted(pool.margin[picked]) == sorted(pool.margin[pool.label == k])[:share]


@pytest.mark.parametrize("name", ["margin_randomised", "random_stratified"])
def test_classes_give_alike(name: str) -> None:
    pool = corpus([40, 30, 3, 0, 9], seed=0)
    chosen = pool.label[choose(name, pool, 25, 0).chosen]
    assert [(chosen == k).sum() for k in (0, 1, 2, 3, -1)] == allocate([40, 30, 3, 0, 9], 25).tolist()
    stratified = choose("random_stratified", pool, 25, 0).inclusion
    np.testing.assert_allclose(stratified[pool.label == -1], (chosen == -1).sum() / 9)


def test_random_draws_all_alike() -> None:
    pool = corpus([30, 5, 5], seed=0)
    assert (choose("random", pool, 10, 0).inclusion == 0.25).all()
    assert (choose("random", pool, 10, 0).strata() == 0).all()


def test_fewer_documents_than_classes_leave_no_class_out() -> None:
    choice = choose("margin_randomised", corpus([20, 15, 7, 2], seed=1), 2, 0)
    assert (choice.inclusion > 0).all()
    assert choice.inclusion.sum() == pytest.approx(2)
    assert (choice.strata() == 0).all()


PROBS = np.array([[0.5, 0.3, 0.2], [0.5, 0.5, 0.0], [0.34, 0.33, 0.33], [0.98, 0.01, 0.01], [np.nan] * 3])
EDGE = np.array([[0.5, 0.3, 0.2], [0.45, 0.55, 0.0], [0.33, 0.33, 0.34], [0.01, 0.01, 0.98], [0.2, 0.2, 0.6]])
FIVE = Pool(np.array([0, 0, 0, 0, -1]), PROBS, np.array([0.51, 0.0, 0.03, 4.6, np.nan]), EDGE)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("least_confidence", [4, 2, {0, 1}, 3]),
        ("entropy", [4, 2, 0, 1, 3]),
        ("disagreement", [4, 3, 1, 2, 0]),
    ],
)
def test_scores_rank_documents(name: str, order: list) -> None:
    ranks = [position for place in order for position in (place if isinstance(place, set) else {place})]
    for n in (1, 2, 4):
        assert set(choose(name, FIVE, n, 0).chosen) == set(ranks[:n])
    pi = choose(f"{name}_randomised", FIVE, 2, 0).inclusion
    assert (np.diff(pi[ranks]) <= 1e-12).all()
    assert pi[ranks[0]] > pi[ranks[-1]]


def test_diversity_takes_one_of_each_group_and_its_middle() -> None:
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(8), [200, 40, 40, 5, 5, 5, 3, 2])
    noise = rng.normal(0, 1, (300, 20))
    pool = corpus([300, 0, 0], seed=0)
    pool = Pool(pool.label, pool.probs, pool.margin, embeddings=30 * np.eye(20)[which] + noise)
    chosen = choose("diversity", pool, 8, 1).chosen
    assert sorted(which[chosen]) == list(range(8))
    assert (noise[chosen] ** 2).mean() < 0.8 * (noise**2).mean()


def test_uncertainty_diversity_takes_uncertain_documents_of_each_group() -> None:
    which = np.arange(300) % 3
    pool = corpus([300, 0, 0], seed=0)
    pool = Pool(pool.label, pool.probs, pool.margin, embeddings=np.eye(3)[which] * 5 + 0.01 * pool.margin[:, None])
    choice = choose("uncertainty_diversity", pool, 9, 0)
    lowest = [set(np.argsort(np.where(which == k, pool.margin, np.inf))[:3]) for k in range(3)]
    assert set(choice.chosen) == set().union(*lowest)
    randomised = [choose("uncertainty_diversity_randomised", pool, 9, seed).chosen for seed in range(40)]
    assert all(np.bincount(which[chosen]).tolist() == [3, 3, 3] for chosen in randomised)
    assert np.mean([pool.margin[chosen].mean() for chosen in randomised]) < 0.8 * pool.margin.mean()


def test_mixed_gives_each_strategy_its_share_of_what_is_left() -> None:
    pool = corpus([100, 0, 0], seed=2)
    choice = choose("mixed", pool, 25, 0, mix={"margin": 0.6, "disagreement": 0.4})
    lowest = np.argsort(pool.margin)[:15]
    assert set(lowest) <= set(choice.chosen)
    left = np.setdiff1d(np.arange(100), lowest)
    assert set(choice.chosen) - set(lowest) == {
        left[i] for i in choose("disagreement", pool.rows(left), 10, 0).chosen.tolist()
    }
    # A part of a mix: half margin, half random by default.
    assert set(np.argsort(pool.margin)[:10]) <= set(choose("mixed", pool, 20, 0).chosen)


def test_mixed_randomised_has_the_mean_of_the_probabilities() -> None:
    pool = corpus([60, 30, 10], seed=2)
    mix = {"margin_randomised": 0.5, "entropy_randomised": 0.2, "random_stratified": 0.3}
    expected = sum(share * choose(name, pool, 20, 0).inclusion for name, share in mix.items())
    choice = choose("mixed_randomised", pool, 20, 0, mix=mix)
    np.testing.assert_allclose(choice.inclusion, expected)
    assert (choice.strata() == 0).all()


def test_strategies_say_what_they_need() -> None:
    assert needs("margin") == needs("mixed") == needs("mixed_randomised") == frozenset()
    assert needs("disagreement_randomised") == {"edge_probs"}
    assert needs("diversity") == {"embeddings"}
    assert needs("mixed", {"diversity": 0.5, "disagreement": 0.5}) == {"edge_probs", "embeddings"}
    bare = Pool(FIVE.label, FIVE.probs, FIVE.margin)
    for name in NAMES:
        assert STRATEGIES[name].help
        if needs(name):
            with pytest.raises(ValueError, match=f"the pool has no {next(iter(needs(name)))}"):
                choose(name, bare, 2, 0)
        else:
            assert len(choose(name, bare, 2, 0).chosen) == 2


def test_every_score_and_strata_has_a_randomised_form() -> None:
    for name, strategy in STRATEGIES.items():
        if not strategy.randomised and name != "diversity":
            partner = STRATEGIES[f"{name}_randomised"]
            assert partner.randomised
            assert (partner.score, partner.strata, partner.needs) == (strategy.score, strategy.strata, strategy.needs)


def noisy_labels(seed: int, n: int, k: int) -> tuple[np.ndarray, Pool]:
    """Gold labels, and an LLM whose scores are the truth plus noise."""
    rng = np.random.default_rng(seed)
    gold = rng.choice(k, n, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    scores = 1.5 * np.eye(k)[gold] + rng.normal(0, 1, (n, k))
    top = np.sort(scores, axis=1)
    probs = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    edge = np.eye(k)[gold] * 0.6 + 0.4 / k
    return gold, Pool(scores.argmax(axis=1), probs, top[:, -1] - top[:, -2], edge)


@pytest.mark.parametrize("name", [n for n in NAMES if "random_" not in n and n != "random" and "diversity" not in n])
def test_chosen_documents_hold_more_errors_than_the_corpus(name: str) -> None:
    excess = []
    for seed in range(20):
        gold, pool = noisy_labels(seed, 3000, 4)
        wrong = gold != pool.label
        excess.append(wrong[choose(name, pool, 300, seed).chosen].mean() - wrong.mean())
    assert np.mean(excess) > 6 * np.std(excess) / np.sqrt(len(excess))
    assert np.mean(excess) > 0.02


@pytest.mark.parametrize(
    ("strategy", "mix", "message"),
    [
        ("guess", None, r"data\.experts\.strategy: found 'guess', expected one of margin_randomised, margin, random"),
        ("mixed", {"guess": 1.0}, r"data\.experts\.mix: found 'guess', expected for mixed margin_randomised, margin"),
        ("mixed", {"mixed": 1.0}, "found 'mixed', expected"),
        ("mixed_randomised", {"margin": 1.0}, "found 'margin', expected for mixed_randomised margin_randomised, "),
        ("mixed", {"margin": 0.5, "random": 0.6}, "expected shares above 0 that sum to 1"),
        ("mixed", {"margin": 1.5, "random": -0.5}, "expected shares above 0 that sum to 1"),
        ("mixed", {"margin": 1.0, "random": 0.0}, "expected shares above 0 that sum to 1"),
        ("mixed", {"margin": float("nan")}, "expected shares above 0 that sum to 1"),
        ("mixed", {}, "expected shares above 0 that sum to 1"),
    ],
)
def test_senseless_strategies_are_refused(strategy: str, mix: dict[str, float] | None, message: str) -> None:
    for call in (lambda: choose(strategy, FIVE, 2, 0, mix=mix), lambda: needs(strategy, mix)):
        with pytest.raises(InputError, match=message):
            call()


def test_senseless_numbers_are_refused() -> None:
    for floor in (0, 0.001, 1.1, float("nan")):
        with pytest.raises(InputError, match=r"data\.experts\.floor: found"):
            choose("margin_randomised", FIVE, 2, 0, floor)
    with pytest.raises(InputError, match="n: found -1"):
        choose("margin", FIVE, -1, 0)
