"""Dealing documents out to folds, so that each is judged by what was made without it."""

import numpy as np
import numpy.typing as npt


def deal(label: npt.ArrayLike, folds: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Deals documents out to folds by chance, those of each label evenly.

    Args:
        label: (N,) index of each document's label; -1 for none counts as one more label.
        folds: F, at least 1.
        rng: Of the draw.

    Returns:
        (N,) fold of each document, 0 to F-1; folds differ by one document at most, in all and of each label.
    """
    labels = np.asarray(label, dtype=np.int64)
    fold = np.empty(len(labels), dtype=np.int64)
    # Going on with the next fold where the next label begins keeps the folds as large as each other.
    fold[np.lexsort((rng.permutation(len(labels)), labels))] = np.arange(len(labels)) % folds
    return fold
