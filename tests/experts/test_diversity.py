import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from redct.experts.diversity import centrality, clusters


def blobs(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres, which = rng.normal(0, 1, (k, 16)), rng.integers(0, k, n)
    return (centres[which] + rng.normal(0, 0.05, (n, 16))).astype(np.float32), which


def test_clusters_are_found_by_direction() -> None:
    embeddings, which = blobs(400, 4)
    found = clusters(embeddings * np.linspace(0.1, 9, 400, dtype=np.float32)[:, None], 4, np.random.default_rng(0))
    assert adjusted_rand_score(which, found) == 1


def test_many_clusters_are_tight_and_hold_documents() -> None:
    embeddings, which = blobs(1500, 6)
    found = clusters(embeddings, 150, np.random.default_rng(0))
    assert len(np.unique(found)) == 150
    assert found.max() == 149
    purity = sum(np.bincount(which[found == k]).max() for k in range(150)) / 1500
    assert purity > 0.99


@pytest.mark.parametrize("k", [0, 1, 7, 20, 30])
def test_any_number_of_clusters_works_even_of_equal_documents(k: int) -> None:
    for embeddings in (np.ones((20, 3)), np.zeros((20, 3)), blobs(20, 3)[0]):
        found = clusters(embeddings, k, np.random.default_rng(0))
        assert found.shape == (20,)
        assert found.min() >= 0
        assert found.max() < max(k, 1)
    assert clusters(np.zeros((0, 3)), k, np.random.default_rng(0)).tolist() == []


def test_the_same_seed_gives_the_same_clusters() -> None:
    embeddings, _ = blobs(600, 5)
    one, two, other = (clusters(embeddings, 12, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert one.tolist() == two.tolist() != other.tolist()


def test_centrality_is_the_distance_to_the_middle_of_the_cluster() -> None:
    embeddings = np.array([[2.0, 0], [0, 5], [1, 1], [0, 0], [0, 3]])
    nearness = centrality(embeddings, np.array([7, 7, 7, 2, 9]))
    units = np.array([[1, 0], [0, 1], [0.5**0.5, 0.5**0.5]])
    np.testing.assert_allclose(nearness[:3], -np.linalg.norm(units - units.mean(axis=0), axis=1), rtol=1e-5)
    np.testing.assert_allclose(nearness[3:], 0, atol=1e-6)
    assert centrality(np.zeros((0, 2)), np.zeros(0, dtype=int)).tolist() == []
