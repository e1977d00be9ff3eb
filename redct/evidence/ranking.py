"""Metrics of an order of documents, under many weightings of them at once, as a bootstrap needs them.

scikit-learn computes the first two for one weighting; for 2,000 resamples of 1,000 documents and six labels it takes
nearly a minute, torchmetrics, which knows no weights, 13 seconds, and this one. The tests hold them against each other.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Ranking:
    """N documents by descending score; those of equal score come together.

    Args:
        score: (N,) finite.
    """

    def __init__(self, score: npt.ArrayLike) -> None:
        values = np.asarray(score, dtype=np.float64)
        self._order = np.argsort(-values, kind="stable")
        self.scores = values[self._order]
        self._ends = np.flatnonzero(np.append(self.scores[1:] != self.scores[:-1], True))
        self.scores = self.scores[self._ends]

    def down_to(self, amount: Floats) -> Floats:
        """Returns (B, S) how much documents amount to down to each of the S different scores, from (B, N)."""
        summed: Floats = np.cumsum(amount[:, self._order], axis=1)[:, self._ends]
        return summed


def auroc(positive: Floats, total: Floats) -> Floats:
    """Area under the receiver operating characteristic, by trapezoids.

    Args:
        positive: (B, S) weight of positive documents down to each score.
        total: (B, S) weight of all documents down to each score.

    Returns:
        (B,); nan without positive or without negative documents.
    """
    negative = total - positive
    area = (_steps(negative) * (positive - _steps(positive) / 2)).sum(axis=1)
    return _ratio(area, positive[:, -1] * negative[:, -1], np.nan)


def average_precision(positive: Floats, total: Floats) -> Floats:
    """Area under the precision-recall curve, as the mean of precision over recall; arguments as of `auroc`.

    Returns:
        (B,); nan without positive documents.
    """
    area = (_steps(positive) * _ratio(positive, total, 0.0)).sum(axis=1)
    return _ratio(area, positive[:, -1], np.nan)


def risk(wrong: Floats, total: Floats) -> Floats:
    """Share of errors among the documents down to each score (Geifman & El-Yaniv 2017, Selective Classification).

    Args:
        wrong: (B, S) weight of documents with a wrong label down to each score.
        total: (B, S) weight of all documents down to each score.

    Returns:
        (B, S); 0 while there are no documents.
    """
    return _ratio(wrong, total, 0.0)


def aurc(wrong: Floats, total: Floats) -> Floats:
    """Area under the risk-coverage curve: the mean risk over all coverages; arguments as of `risk`.

    Returns:
        (B,), 0 to 1; the lower, the better errors are found among the least certain documents.
    """
    return _ratio((_steps(total) * risk(wrong, total)).sum(axis=1), total[:, -1], np.nan)


def reached(total: Floats, coverage: float) -> npt.NDArray[np.int64]:
    """Returns (B,) the first score down to which there is a share of the documents, from (B, S) weights."""
    # Sums of weights that should be equal differ in their last digits.
    at: npt.NDArray[np.int64] = (total < coverage * total[:, -1:] * (1 - 1e-12)).sum(axis=1)
    return at


def _steps(summed: Floats) -> Floats:
    return np.diff(summed, axis=1, prepend=0)


def _ratio(above: Floats, below: Floats, otherwise: float) -> Floats:
    quotient: Floats = np.full(below.shape, otherwise)
    np.divide(above, below, out=quotient, where=below != 0)
    return quotient
