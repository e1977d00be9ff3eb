"""Test documents that stand among the training documents too, word by word or nearly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.documents import Document, same_text

SIMILAR: Final = 0.9
MOST_PAIRS: Final = 200_000_000
MOST_DOCUMENTS: Final = 100_000
"""Of more pairs of a test and a training document, or more training documents, some of these are drawn at random to be
searched: so many take about half a minute on one core."""


@dataclass(frozen=True)
class Leak:
    """A test document and the training document most similar to it.

    Args:
        test: Id of the one.
        train: Id of the other.
        similarity: 1 where they have the same letters and digits; else the cosine of their TF-IDF vectors over runs of
            3 to 5 characters, 0.9 or more.
    """

    test: str
    train: str
    similarity: float


@dataclass(frozen=True)
class Leakage:
    """What leaked from the test into the training documents.

    Args:
        exact: Test documents with the same context, letters and digits as a training document.
        near: Those that are nearly the same, with the same context.
        searched: Share of the training documents that were searched for nearly the same ones, 0 to 1.
    """

    exact: list[Leak]
    near: list[Leak]
    searched: float

    @property
    def ids(self) -> set[str]:
        """Ids of all test documents that leaked."""
        return {leak.test for leak in (*self.exact, *self.near)}


def find_leaks(train: Sequence[Document], test: Sequence[Document], seed: int = 0, similar: float = SIMILAR) -> Leakage:
    """Searches for test documents among the training documents.

    Args:
        train: M documents.
        test: N documents.
        seed: Draws training documents where there are too many pairs.
        similar: From which cosine on texts are nearly the same, in (0, 1].
    """
    known = {same_text(document): document.id for document in reversed(train)}
    exact = [Leak(each.id, known[key], 1.0) for each in test if (key := same_text(each)) in known]
    leaked = {leak.test for leak in exact}
    left = [document for document in test if document.id not in leaked]
    if not train or not left:
        return Leakage(exact, [], 1.0)
    most = max(1, min(MOST_DOCUMENTS, MOST_PAIRS // len(left)))
    drawn = train
    if len(train) > most:
        drawn = [train[n] for n in np.sort(np.random.default_rng(seed).permutation(len(train))[:most])]
    return Leakage(exact, _near(drawn, left, similar), len(drawn) / len(train))


def _near(train: Sequence[Document], test: Sequence[Document], similar: float) -> list[Leak]:
    """Compares documents of the same context."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 - slow to import

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), dtype=np.float32)
    known = vectors.fit_transform(document.text for document in train)
    asked = vectors.transform(document.text for document in test)
    groups = _by_context(train)
    found: dict[int, tuple[int, float]] = {}
    for context, rows in _by_context(test).items():
        if (columns := groups.get(context)) is not None:
            nearest, similarity = _nearest(known[columns], asked[rows])
            found |= {int(row): (int(columns[n]), s) for row, n, s in zip(rows, nearest, similarity, strict=True)}
    return [
        Leak(test[row].id, train[n].id, float(min(similarity, 1)))
        for row, (n, similarity) in sorted(found.items())
        if similarity >= similar
    ]


def _nearest(known: object, asked: object) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    from sklearn import config_context  # noqa: PLC0415 - slow to import
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415

    search = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(known)
    with config_context(working_memory=256):  # MiB of distances at a time, of which it holds 1 GiB by default
        distance, place = search.kneighbors(asked)
    return place[:, 0], 1 - distance[:, 0]


def _by_context(documents: Sequence[Document]) -> dict[tuple[tuple[str, str], ...], npt.NDArray[np.int64]]:
    rows: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for n, document in enumerate(documents):
        rows.setdefault(tuple(sorted(document.context.items())), []).append(n)
    return {context: np.array(places, dtype=np.int64) for context, places in rows.items()}
