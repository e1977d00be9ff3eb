import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redct.experts.draws import allocate, draw, most_uncertain, probabilities

ONE_PART = np.zeros(10, dtype=int)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 150))
def test_allocation_equals_handing_out_one_by_one(counts: list[int], n: int) -> None:
    """In turns, each stratum that has documents left gives one; only the last, incomplete turn may differ."""
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
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=5),
    st.integers(0, 200),
    st.integers(0, 10**6),
    st.sampled_from([0.01, 0.2, 1.0]),
)
def test_a_draw_keeps_counts_and_floor(sizes: list[int], n: int, seed: int, floor: float) -> None:
    rng = np.random.default_rng(seed)
    strata = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    score = -rng.exponential(20, len(strata))
    score[::5], score[1::7] = -np.inf, np.nan
    inclusion = probabilities(score, strata, n, floor)
    drawn = draw(inclusion, strata, rng)
    assert len(set(drawn.tolist())) == len(drawn) == min(n, len(strata))
    assert np.isin(np.flatnonzero(inclusion == 1), drawn).all()
    for stratum, (size, share) in enumerate(zip(sizes, allocate(sizes, n), strict=True)):
        assert (strata[drawn] == stratum).sum() == share
        inside = inclusion[strata == stratum]
        assert inside.sum() == pytest.approx(share)
        assert (inside <= 1).all()
        if size:
            assert inside.min() >= min(1, floor * share / size) - 1e-12


def test_probabilities_follow_the_formula_where_none_reaches_one() -> None:
    score = -np.array([0.0, 1.0, 2.0, np.inf, 3.0, 0.5, 0.2, 1.5, 0.1, 0.3])
    u = np.exp(score)
    np.testing.assert_allclose(probabilities(score, ONE_PART, 2, 0.2), 2 * (0.8 * u / u.sum() + 0.2 / 10))


def test_excess_over_one_goes_to_the_others_in_proportion() -> None:
    score = -np.array([0.0, 9.0, 9.0, 10.0, 10.0, 11.0])
    u = np.exp(score)
    size = 0.8 * u / u.sum() + 0.2 / 6
    np.testing.assert_allclose(probabilities(score, ONE_PART[:6], 3, 0.2), [1.0, *(2 * size[1:] / size[1:].sum())])


def test_uncertainties_too_small_for_exp_still_count() -> None:
    score = -np.array([0.0, 1.0, 2.0, 3.0])
    near, far = (probabilities(score - shift, ONE_PART[:4], 1, 0.2) for shift in (0, 5000))
    np.testing.assert_allclose(near, far)
    np.testing.assert_allclose(probabilities(np.full(4, -np.inf), ONE_PART[:4], 1, 0.2), 0.25)


def test_pairs_of_documents_are_as_likely_as_in_simple_random_sampling_where_all_are_alike() -> None:
    """Second-order probabilities n(n-1) / N(N-1): a systematic draw over a fixed order would have zeros."""
    rng, n, draws = np.random.default_rng(0), 4, 6000
    pairs = np.zeros((10, 10))
    for _ in range(draws):
        drawn = draw(np.full(10, n / 10), ONE_PART, rng)
        pairs[np.ix_(drawn, drawn)] += 1
    expected = n * (n - 1) / 90
    z = (pairs[np.triu_indices(10, 1)] / draws - expected) / np.sqrt(expected * (1 - expected) / draws)
    assert np.abs(z).max() < 4.5


def test_unequal_probabilities_leave_every_pair_possible() -> None:
    """Necessary for a variance; the conditional Poisson design of the same probabilities is near."""
    rng, draws = np.random.default_rng(1), 6000
    inclusion = np.array([0.9, 0.8, 0.6, 0.5, 0.4, 0.3, 0.3, 0.2])
    pairs = np.zeros((8, 8))
    for _ in range(draws):
        drawn = draw(inclusion, ONE_PART[:8], rng)
        pairs[np.ix_(drawn, drawn)] += 1
    # Hájek's approximation of the joint probabilities of a design of high entropy.
    d = (inclusion * (1 - inclusion)).sum()
    hajek = np.outer(inclusion, inclusion) * (1 - np.outer(1 - inclusion, 1 - inclusion) / d)
    upper = np.triu_indices(8, 1)
    assert (pairs[upper] > 0).all()
    assert np.abs(pairs[upper] / draws - hajek[upper]).max() < 0.06


def test_ties_are_broken_by_chance_and_not_by_file_order() -> None:
    score, strata = np.zeros(200), np.zeros(200, dtype=int)
    first, again, other = (most_uncertain(score, strata, 20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist()
    assert set(first) != set(other)
    assert set(first) != set(range(20))


def test_what_is_unknown_is_the_most_uncertain_of_its_stratum() -> None:
    score = np.array([0.0, -0.1, np.nan, -np.inf])
    assert most_uncertain(score, ONE_PART[:4], 1, np.random.default_rng(0)).tolist() == [2]
    assert probabilities(score, ONE_PART[:4], 1, 0.2)[2] == probabilities(score, ONE_PART[:4], 1, 0.2)[0]
