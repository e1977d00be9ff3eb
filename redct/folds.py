"""Dealing documents out to folds, so that each is judged by what was made without it."""

from collections.abc import Callable

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


def cross_predict(
    fold: npt.NDArray[np.int64],
    predict: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.float64]],
) -> npt.NDArray[np.float64]:
    """Predicts each fold by what was made of the others.

    Args:
        fold: (N,) 0 to F-1, F >= 2.
        predict: Gets positions to learn from and M others, gives (M, K).

    Returns:
        (N, K).
    """
    own = [np.flatnonzero(fold == number) for number in np.unique(fold)]
    parts = [predict(np.setdiff1d(np.arange(len(fold)), rows), rows) for rows in own]
    found: npt.NDArray[np.float64] = np.concatenate(parts)[np.argsort(np.concatenate(own))]
    return found
