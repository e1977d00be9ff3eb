import numpy as np
import pytest

from redct.folds import deal


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
