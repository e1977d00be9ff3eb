import numpy as np
import pytest

from redct.folds import cross_predict, deal


@pytest.mark.parametrize("folds", [1, 2, 5])
def test_folds_are_even_in_all_and_of_each_label(folds) -> None:
    label = np.array([-1] * 3 + [0] * 11 + [1] * 2 + [2] * 7)
    fold = deal(label, folds, np.random.default_rng(0))
    for members in [np.ones(len(label), dtype=bool), *(label == k for k in np.unique(label))]:
        assert np.ptp(np.bincount(fold[members], minlength=folds)) <= 1
    assert len(np.bincount(fold)) == folds


def test_folds_are_drawn() -> None:
    label = np.tile([0, 1], 50)
    dealt = np.array([deal(label, 2, np.random.default_rng(seed)) for seed in range(400)])
    # Any document is as likely to be in either fold, and any two of a label in the same one (49/99 of 24/49).
    assert np.abs(dealt.mean(axis=0) - 0.5).max() < 0.11
    assert (dealt[:, 0] == dealt[:, 2]).mean() == pytest.approx(24 / 49, abs=0.08)
    assert np.array_equal(dealt[7], deal(label, 2, np.random.default_rng(7)))


def test_no_documents() -> None:
    assert deal([], 3, np.random.default_rng(0)).shape == (0,)


def test_each_fold_is_predicted_by_what_was_made_of_the_others() -> None:
    fold, values = np.array([2, 0, 1, 0, 2, 1, 0]), np.arange(7.0)
    found = cross_predict(fold, lambda others, own: np.stack([np.full(len(own), values[others].sum()), own], axis=1))
    expected = [[values[fold != fold[n]].sum(), n] for n in range(7)]
    np.testing.assert_array_equal(found, expected)
