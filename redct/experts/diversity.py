"""Documents that are unlike each other: clusters of their embeddings."""

import warnings
from math import ceil, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.experts.draws import allocate

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# k-means compares every document with every centre: with more centres it goes in two steps.
_AT_ONCE: Final = 100
# Later rounds of k-means move few documents.
_ROUNDS: Final = 20


def clusters(embeddings: npt.NDArray[np.floating], k: int, rng: np.random.Generator) -> Ints:
    """Divides documents into k clusters by the direction of their embeddings.

    k-means on unit vectors, begun by k-means++ (Arthur & Vassilvitskii 2007). Many clusters are found in two steps,
    sqrt(k) clusters and then each divided again, which takes N * sqrt(k) comparisons and not N * k.

    Args:
        embeddings: (N, D), finite.
        k: Clusters wanted.
        rng: Of the first centres.

    Returns:
        (N,) from 0 to k - 1; some may be empty, as where documents are the same.
    """
    points = _directions(embeddings)
    if k <= _AT_ONCE or k >= len(points):
        return _k_means(points, k, rng)
    coarse = _k_means(points, ceil(sqrt(k)), rng)
    fine = np.zeros(len(points), dtype=np.int64)
    first = 0
    for part, share in enumerate(allocate(np.bincount(coarse), k)):
        members = np.flatnonzero(coarse == part)
        fine[members] = first + _k_means(points[members], int(share), rng)
        first += int(share)
    return fine


def centrality(embeddings: npt.NDArray[np.floating], cluster: Ints) -> Floats:
    """How near a document is to the middle of its cluster.

    Args:
        embeddings: (N, D), finite.
        cluster: (N,) of `clusters`.

    Returns:
        (N,) minus the distance, at most 0.
    """
    if not len(cluster):
        return np.zeros(0)
    points = _directions(embeddings)
    _, number, counts = np.unique(cluster, return_inverse=True, return_counts=True)
    sums = np.add.reduceat(points[np.argsort(number, kind="stable")], np.cumsum(counts) - counts)
    distance: Floats = np.linalg.norm(points - (sums / counts[:, None])[number], axis=1).astype(np.float64)
    return -distance


def _directions(embeddings: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Unit vectors; a zero vector stays one."""
    points = embeddings.astype(np.float32)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / np.where(lengths == 0, 1, lengths), dtype=np.float32)


def _k_means(points: npt.NDArray[np.float32], k: int, rng: np.random.Generator) -> Ints:
    if k >= len(points):
        return np.arange(len(points))
    if k <= 1:
        return np.zeros(len(points), dtype=np.int64)
    # Here, since it takes a second to load and few strategies need it.
    from sklearn.cluster import KMeans  # noqa: PLC0415
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415

    model = KMeans(k, n_init=1, max_iter=_ROUNDS, random_state=int(rng.integers(2**31)))
    # One thread, since several sum up in any order: the same seed would not always give the same clusters.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer clusters where documents are the same
        return np.asarray(model.fit_predict(points), dtype=np.int64)
