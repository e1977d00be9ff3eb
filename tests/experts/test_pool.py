import numpy as np
import pytest

from redct.experts import Pool

GOOD = {
    "label": np.array([0, 1, -1]),
    "probs": np.array([[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan]]),
    "margin": np.array([2.0, np.inf, np.nan]),
    "edge_probs": np.full((3, 2), 0.5),
    "embeddings": np.arange(12.0).reshape(3, 4),
}


def test_rows_are_documents_of_the_pool() -> None:
    pool = Pool(**GOOD)
    assert (len(pool), pool.n_labels) == (3, 2)
    for rows in (pool.rows(np.array([2, 1])), pool.rows(np.array([False, True, True])).rows(np.array([1, 0]))):
        assert rows.label.tolist() == [-1, 1]
        np.testing.assert_array_equal(rows.probs, GOOD["probs"][[2, 1]])
        np.testing.assert_array_equal(rows.margin, [np.nan, np.inf])
        assert rows.embeddings[:, 0].tolist() == [8, 4]
    bare = Pool(GOOD["label"], GOOD["probs"], GOOD["margin"]).rows(np.array([0]))
    assert bare.edge_probs is bare.embeddings is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label", np.array([0, 1])),
        ("label", np.array([0, 2, 0])),
        ("label", np.array([0, -2, 0])),
        ("label", np.zeros((3, 1), dtype=int)),
        ("probs", np.zeros(3)),
        ("probs", np.zeros((3, 2))),
        ("probs", np.array([[1.5, -0.5]] * 3)),
        ("margin", np.zeros(2)),
        ("margin", np.array([0.0, -1.0, np.nan])),
        ("edge_probs", np.full((3, 3), 1 / 3)),
        ("edge_probs", np.full((3, 2), 0.7)),
        ("embeddings", np.zeros(3)),
        ("embeddings", np.zeros((2, 4))),
        ("embeddings", np.full((3, 4), np.nan)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(field: str, value: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        Pool(**{**GOOD, field: value})
