"""Agreement beyond chance: the coefficients, of many samples at once, as a bootstrap needs them."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def alphas(counts: npt.ArrayLike, times: npt.ArrayLike) -> Floats:
    """Krippendorff's alpha for nominal data, of many samples at once (Krippendorff 2004, chapter 11).

    Args:
        counts: (P, K) kinds of documents: how many annotators gave each label. Those with fewer than two count
            nothing.
        times: (..., P) how many documents of each kind a sample holds.

    Returns:
        (...): 1 - D_o / D_e; nan where all votes are for one label, so that D_e is 0.
    """
    votes, paired, size = _paired(counts)
    weights = np.asarray(times, dtype=np.float64)
    per_label = weights @ votes
    total = per_label.sum(axis=-1)
    observed = total - weights @ (paired / np.maximum(size - 1, 1))
    expected = _ratio(total**2 - (per_label**2).sum(axis=-1), total - 1)
    return 1 - _ratio(observed, expected)


def fleiss_kappas(counts: npt.ArrayLike, times: npt.ArrayLike) -> Floats:
    """Fleiss' kappa of many samples at once (Fleiss 1971).

    Where documents have unequal numbers of annotators, each counts once in the observed agreement, with the share of
    its pairs of annotators that agree, and each vote once in the agreement by chance.

    Args:
        counts: (P, K) as for `alphas`.
        times: (..., P) as for `alphas`.

    Returns:
        (...); nan where all votes are for one label.
    """
    votes, paired, size = _paired(counts)
    weights = np.asarray(times, dtype=np.float64)
    per_label = weights @ votes
    chance = _ratio((per_label**2).sum(axis=-1), per_label.sum(axis=-1) ** 2)
    same = _ratio(weights @ (paired / np.maximum(size * (size - 1), 1)), weights @ (size > 0))
    return _ratio(same - chance, 1 - chance)


def cohen_kappas(tables: npt.ArrayLike) -> Floats:
    """Cohen's kappa of many samples at once (Cohen 1960).

    Args:
        tables: (..., K, K) documents by the label of the one and of the other annotator.

    Returns:
        (...); nan where both gave one label only.
    """
    cells = np.asarray(tables, dtype=np.float64)
    total = cells.sum(axis=(-2, -1))
    chance = _ratio((cells.sum(axis=-1) * cells.sum(axis=-2)).sum(axis=-1), total**2)
    return _ratio(observed_agreement(cells) - chance, 1 - chance)


def observed_agreement(tables: npt.ArrayLike) -> Floats:
    """Share of documents with the same label, of many samples at once.

    Args:
        tables: (..., K, K) as for `cohen_kappas`.
    """
    cells = np.asarray(tables, dtype=np.float64)
    return _ratio(np.trace(cells, axis1=-2, axis2=-1), cells.sum(axis=(-2, -1)))


def _paired(counts: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Votes per label, ordered pairs of equal votes, and votes in all; 0 for documents with fewer than two."""
    votes = np.asarray(counts, dtype=np.float64)
    votes = votes * (votes.sum(axis=-1, keepdims=True) > 1)
    return votes, (votes * (votes - 1)).sum(axis=-1), votes.sum(axis=-1)


def _ratio(above: npt.ArrayLike, below: npt.ArrayLike) -> Floats:
    """Divides; nan by 0."""
    numerator, denominator = np.broadcast_arrays(np.asarray(above, float), np.asarray(below, float))
    quotient: Floats = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient
