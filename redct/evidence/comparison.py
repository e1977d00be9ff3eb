"""Several raters on the same documents: scores of each, and paired differences between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.stats import binomtest

from redct.evidence.evaluation import CLASS_METRICS, METRICS, class_metrics_of, confusion, metrics_of
from redct.evidence.resampling import Design, Interval, Units, intervals, units_of
from redct.experts.coefficients import alphas

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """How much better one rater is than another on the same documents.

    Args:
        rater: The one.
        other: The other.
        metrics: Its metrics minus the other's, each from the same resamples.
        only_rater: Documents on which only the one is right.
        only_other: Documents on which only the other is right.
        p_value: McNemar's exact test of equal accuracy; None where documents were not drawn one by one and with the
            same chance, for which it does not hold.
    """

    rater: str
    other: str
    metrics: dict[str, Interval]
    only_rater: int
    only_other: int
    p_value: float | None


@dataclass(frozen=True)
class Comparison:
    """R raters on N documents.

    Args:
        documents: N.
        scores: Of each rater, each of `METRICS`.
        classes: Of each rater, for each label in the task's order, each of `CLASS_METRICS`.
        differences: The first rater against each of the others.
    """

    documents: int
    scores: dict[str, dict[str, Interval]]
    classes: dict[str, list[dict[str, Interval]]]
    differences: list[Difference]


def compare(
    gold: npt.ArrayLike,
    raters: Mapping[str, npt.ArrayLike],
    n_labels: int,
    design: Design = Design(),  # noqa: B008 - frozen
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Scores raters and compares the first one with each other, all from the same resamples.

    Args:
        gold: (N,) indices 0 to K-1, N >= 1.
        raters: Of each rater, (N,) indices 0 to K-1, or -1 where it gave no label, which counts as wrong.
        n_labels: K, the labels of the task.
        design: How the documents were sampled.
        resamples: Number of bootstrap samples.
        seed: Of the resampling.
        level: Probability mass of the intervals, in (0, 1).

    Raises:
        InputError: When there is no document, or resamples or level are out of range.
        ValueError: When lengths differ or an index is out of range.
    """
    right = np.asarray(gold, dtype=np.int64)
    said = [np.asarray(labels, dtype=np.int64) for labels in raters.values()]
    for labels in said:
        confusion(right, labels, n_labels)  # checks them
    units, of = units_of(design, [right, *said], len(right))
    sums = _confusion_sums(units, of, right, said, n_labels, design.weight)
    names = list(raters)

    def statistic(times: Floats) -> dict[tuple[str, str, str | int], Floats]:
        cells = np.asarray(sums @ times.T).T.reshape(len(times), len(names), n_labels, n_labels + 1)
        return _values(cells, names)

    found = intervals(units, statistic, resamples, seed, level, sums.shape[0])
    return Comparison(
        len(right),
        {name: {metric: found["score", name, metric] for metric in METRICS} for name in names},
        {name: [_of_class(found, name, k) for k in range(n_labels)] for name in names},
        [
            _difference(found, names[0], name, mcnemar(said[0] == right, labels == right), design)
            for name, labels in zip(names[1:], said[1:], strict=True)
        ],
    )


def alpha(
    said: Sequence[npt.ArrayLike],
    n_labels: int,
    design: Design = Design(),  # noqa: B008 - frozen
    resamples: int = 2000,
    seed: int = 0,
) -> Interval | None:
    """Krippendorff's alpha of several raters, 1 where they always agree, 0 where they do as by chance.

    Args:
        said: Of each rater, (N,) indices 0 to K-1, or -1 where it gave no label.
        n_labels: K, the labels of the task.
        design: How the documents were sampled.
        resamples: Number of bootstrap samples.
        seed: Of the resampling.

    Returns:
        The interval, of nans where only one label was ever said; None with fewer than two raters.
    """
    if len(said) < 2:
        return None
    votes = np.stack([np.asarray(labels, dtype=np.int64) for labels in said], axis=1)
    counts = (votes[:, :, None] == np.arange(n_labels)).sum(axis=1)
    units, of = units_of(design, [*votes.T], len(votes))
    # Documents of a cluster differ; of what is drawn together, each kind of document is counted by itself.
    kinds, kind = np.unique(counts, axis=0, return_inverse=True)
    # Alpha counts votes, less one: weights that sum to the corpus would make more of them than there are.
    weight = np.ones(len(votes)) if design.weight is None else design.weight / design.weight.mean()
    held = csr_array((weight, (kind.reshape(-1), of)), shape=(len(kinds), len(units.count)))

    def statistic(times: Floats) -> dict[str, Floats]:
        return {"alpha": alphas(kinds, np.asarray(held @ times.T).T)}

    return intervals(units, statistic, resamples, seed, width=len(kinds))["alpha"]


def mcnemar(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[int, int, float]:
    """McNemar's exact test that two raters are right equally often.

    Args:
        first: (N,) whether the one is right.
        second: (N,) whether the other is.

    Returns:
        Documents on which only the one is right, those on which only the other is, and the two-sided p-value.
    """
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    only_one, only_other = int(np.sum(one & ~other)), int(np.sum(other & ~one))
    split = only_one + only_other
    return only_one, only_other, float(binomtest(only_one, split).pvalue) if split else 1.0


def _confusion_sums(
    units: Units, of: Ints, gold: Ints, said: Sequence[Ints], n_labels: int, weight: Floats | None
) -> csr_array:
    """(R * K * (K + 1), U): what all documents of a kind add to each rater's confusion matrix."""
    size = n_labels * (n_labels + 1)
    guesses = [np.where(labels < 0, n_labels, labels) for labels in said]
    cells = np.concatenate([r * size + gold * (n_labels + 1) + guess for r, guess in enumerate(guesses)])
    amounts = np.ones(len(gold)) if weight is None else weight
    entries = (np.tile(amounts, len(said)), (cells, np.tile(of, len(said))))
    return csr_array(entries, shape=(len(said) * size, len(units.count)))


def _values(cells: Floats, names: Sequence[str]) -> dict[tuple[str, str, str | int], Floats]:
    """All values of (B, R, K, K + 1) confusion matrices."""
    values: dict[tuple[str, str, str | int], Floats] = {}
    for metric, by_rater in metrics_of(cells).items():
        for r, name in enumerate(names):
            values["score", name, metric] = by_rater[:, r]
            values["difference", name, metric] = by_rater[:, 0] - by_rater[:, r]
    for metric, by_class in class_metrics_of(cells).items():
        for r, name in enumerate(names):
            values |= {(metric, name, k): by_class[:, r, k] for k in range(by_class.shape[-1])}
    return values


def _of_class(found: Mapping[tuple[str, str, str | int], Interval], name: str, k: int) -> dict[str, Interval]:
    return {metric: found[metric, name, k] for metric in CLASS_METRICS}


def _difference(
    found: Mapping[tuple[str, str, str | int], Interval],
    rater: str,
    other: str,
    split: tuple[int, int, float],
    design: Design,
) -> Difference:
    only_rater, only_other, p_value = split
    metrics = {metric: found["difference", other, metric] for metric in METRICS}
    return Difference(rater, other, metrics, only_rater, only_other, p_value if design.is_plain else None)
