"""All that held-out documents tell about a classifier, beside other raters of the same documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.documents import Document
from redct.errors import InputError
from redct.evidence.comparison import Comparison, alpha, compare
from redct.evidence.doubts import Doubt, doubts_of
from redct.evidence.evaluation import confusion
from redct.evidence.leakage import Leakage, find_leaks
from redct.evidence.mistakes import Confused, Mistake, confident_mistakes, confused_labels
from redct.evidence.probabilities import Probabilities, judge
from redct.evidence.resampling import Design, Interval
from redct.evidence.slices import LENGTH, Slice, find_slices, length_quartiles
from redct.evidence.suspects import agreed_suspects

MOST_GROUPS: Final = 50


@dataclass(frozen=True)
class Rater:
    """Somebody who labeled the N documents.

    Args:
        label: (N,) 0 to K-1, or -1 where no label was given.
        probs: (N, K) label distributions, rows of nan where none was given; None for a rater who says only labels.
        is_llm: Whether it is one of several LLMs, whose agreement is of interest.
    """

    label: npt.NDArray[np.int64]
    probs: npt.NDArray[np.floating] | None = None
    is_llm: bool = False


@dataclass(frozen=True)
class Assessment:
    """What was found; `first` is the rater that all of it is about, the edge classifier.

    Args:
        labels: The task's K labels.
        gold: How many documents have each.
        comparison: Scores of all raters, and the first one's differences to the others.
        confusion: Of each rater, counts per gold label and label given; the last column is "no label".
        probabilities: Of each rater that gives distributions.
        groups: Of each column asked for, and each of its values, scores of all raters.
        slices: Parts of the documents, tested for more errors of the first than on the others.
        mistakes: Errors that the first was surest of.
        confused: Which labels the first gives in place of which.
        doubts: Gold labels that look wrong to all raters with distributions, the most doubtful first.
        leakage: Test documents that stand among the training documents; None where these are not known.
        unleaked: Scores without those documents; None without any.
        llm_alpha: Krippendorff's alpha of several LLMs; None with fewer than two.
    """

    labels: list[str]
    gold: list[int]
    comparison: Comparison
    confusion: dict[str, list[list[int]]]
    probabilities: dict[str, Probabilities]
    groups: dict[str, dict[str, Comparison]]
    slices: list[Slice]
    mistakes: list[Mistake]
    confused: list[Confused]
    doubts: list[Doubt]
    leakage: Leakage | None
    unleaked: dict[str, dict[str, Interval]] | None
    llm_alpha: Interval | None

    @property
    def first(self) -> str:
        """The rater that all of it is about."""
        return next(iter(self.comparison.scores))


def assess(
    documents: Sequence[Document],
    gold: npt.ArrayLike,
    raters: Mapping[str, Rater],
    labels: Sequence[str],
    train: Sequence[Document] | None = None,
    by: Mapping[str, Sequence[str]] | None = None,
    design: Design = Design(),  # noqa: B008 - frozen
    seed: int = 0,
) -> Assessment:
    """Finds out how good raters are, the first one against the others, and where it fails.

    Args:
        documents: N held-out documents.
        gold: (N,) 0 to K-1.
        raters: By name, the edge classifier first, which must give distributions.
        labels: The task's K labels.
        train: What it was trained on, where that is known.
        by: Columns whose values are scored each by itself, N values each.
        design: How the documents were sampled.
        seed: Of the resampling.

    Raises:
        InputError: When there is no document, or a column has more than 50 values.
    """
    right, k, groups = np.asarray(gold, dtype=np.int64), len(labels), by or {}
    said = {name: rater.label for name, rater in raters.items()}
    first = next(iter(raters.values()))
    assert first.probs is not None
    tables = {name: confusion(right, label, k) for name, label in said.items()}
    given = distributions(raters)
    leakage = None if train is None else find_leaks(train, documents, seed)
    kept = np.array([leakage is None or document.id not in leakage.ids for document in documents])
    columns = {name: [each.context[name] for each in documents] for name in documents[0].context} if documents else {}
    length = {LENGTH: length_quartiles([document.text for document in documents])}
    return Assessment(
        list(labels),
        np.bincount(right, minlength=k).tolist(),
        compare(right, said, k, design, seed=seed),
        {name: table.tolist() for name, table in tables.items()},
        {name: judge(right, probs, design, seed=seed) for name, probs in given.items()},
        {column: _by_value(column, values, right, said, k, design, seed) for column, values in groups.items()},
        find_slices(first.label != right, {**columns, **groups, **length}, design, seed),
        confident_mistakes(documents, right, first.probs, labels),
        confused_labels(next(iter(tables.values())), labels),
        doubts_of(agreed_suspects(right, list(given.values())), documents, labels),
        leakage,
        None if kept.all() or not kept.any() else _scores(right, said, k, design, kept, seed).scores,
        alpha([r.label for r in raters.values() if r.is_llm], k, design, seed=seed),
    )


def _by_value(
    column: str,
    values: Sequence[str],
    gold: npt.NDArray[np.int64],
    said: Mapping[str, npt.NDArray[np.int64]],
    n_labels: int,
    design: Design,
    seed: int,
) -> dict[str, Comparison]:
    found, array = sorted(set(values)), np.asarray(values, dtype=object)
    if len(found) > MOST_GROUPS:
        raise InputError(f"--by {column}: found {len(found):,} values, expected at most {MOST_GROUPS}")
    return {value: _scores(gold, said, n_labels, design, array == value, seed) for value in found}


def _scores(
    gold: npt.NDArray[np.int64],
    said: Mapping[str, npt.NDArray[np.int64]],
    n_labels: int,
    design: Design,
    rows: npt.NDArray[np.bool_],
    seed: int,
) -> Comparison:
    part = {name: label[rows] for name, label in said.items()}
    return compare(gold[rows], part, n_labels, design.rows(rows), seed=seed)


def distributions(raters: Mapping[str, Rater]) -> dict[str, npt.NDArray[np.floating]]:
    """Returns (N, K) distributions of the raters that gave any, by name."""
    given = {name: rater.probs for name, rater in raters.items() if rater.probs is not None}
    return {name: probs for name, probs in given.items() if np.isfinite(probs).all(axis=1).any()}
