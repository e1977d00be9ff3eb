"""How unsure a document's label is, from 0 (certain) to 1; nan where nothing is known."""

import numpy as np
import numpy.typing as npt
from scipy.special import entr

Floats = npt.NDArray[np.float64]


def least_confidence(probs: npt.ArrayLike) -> Floats:
    """1 minus the probability of the likeliest label (Lewis & Gale 1994).

    Args:
        probs: (N, K) label distributions, or rows of nan.

    Returns:
        (N,) from 0 to 1 - 1/K.
    """
    return _within(1.0 - _floats(probs).max(axis=1))


def entropy(probs: npt.ArrayLike) -> Floats:
    """Entropy of a label distribution, as a share of the greatest there is, log K.

    Args:
        probs: (N, K) label distributions, or rows of nan; K >= 2.

    Returns:
        (N,) from 0 to 1.
    """
    values = _floats(probs)
    return _within(_nats(values) / np.log(values.shape[1]))


def disagreement(probs: npt.ArrayLike, edge_probs: npt.ArrayLike) -> Floats:
    """Jensen-Shannon divergence of two label distributions in bits (Lin 1991): 0 where they are the same.

    Args:
        probs: (N, K) of the LLM, or rows of nan.
        edge_probs: (N, K) of the edge classifier, or rows of nan.

    Returns:
        (N,) from 0 to 1, which is reached where they share no label.
    """
    p, q = _floats(probs), _floats(edge_probs)
    return _within((_nats((p + q) / 2) - (_nats(p) + _nats(q)) / 2) / np.log(2))


def _floats(probs: npt.ArrayLike) -> Floats:
    return np.asarray(probs, dtype=np.float64)


def _nats(probs: Floats) -> Floats:
    nats: Floats = entr(probs).sum(axis=1)
    return nats


def _within(share: Floats) -> Floats:
    """Takes back what rounding put outside."""
    return np.asarray(np.clip(share, 0.0, 1.0), dtype=np.float64)
