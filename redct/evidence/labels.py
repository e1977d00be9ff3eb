"""What the hub said about a corpus, summed up part by part of the label store."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from redct.digests import Digests, Mask
from redct.documents import Documents
from redct.errors import InputError
from redct.evidence.evaluation import confusion
from redct.hub.store import LabelStore

QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class LabelSummary:
    """The hub's labels of N documents, K labels.

    Attributes:
        counts: (K,) documents with each label.
        quartiles: (K, 3) quartiles of their margins; NaN for a label without documents.
        unlabeled: Documents without a label.
        confusion: (K, K + 1) documents with a gold label, see `evidence.confusion`.
    """

    counts: npt.NDArray[np.int64]
    quartiles: npt.NDArray[np.float64]
    unlabeled: int
    confusion: npt.NDArray[np.int64]


def summarise_labels(documents: Documents, store: LabelStore, labels: Sequence[str]) -> LabelSummary:
    """Sums up the labels of documents in one pass over them and one over the store.

    Held are 16 bytes per document, and digests on disk.

    Args:
        documents: N documents.
        store: Holds their labels, and maybe those of others.
        labels: The task's K labels.

    Raises:
        InputError: When a document has no row in the store, or the store cannot be read.
    """
    index = {label: k for k, label in enumerate(labels)}
    ids, golds = Digests(), array("h")
    for document in documents:
        ids.add(document.id)
        golds.append(index[document.gold] if document.gold is not None else -1)
    stored, said, margins = Digests(), array("h"), array("f")
    for table in store.read_parts(labels):
        for document_id in table.ids:
            stored.add(document_id)
        said.frombytes(table.label.astype(np.int16).tobytes())
        margins.frombytes(table.margin.tobytes())
    gold, label, margin = np.asarray(golds), np.asarray(said), np.asarray(margins)
    found = np.zeros(len(ids), dtype=bool)
    cells = np.zeros((len(labels), len(labels) + 1), dtype=np.int64)
    margins_of: list[list[npt.NDArray[np.float32]]] = [[] for _ in labels]
    for rows, at in ids.matches(stored):
        found[rows] = True
        known = gold[rows] >= 0
        cells += confusion(gold[rows][known], label[at][known], len(labels))
        for k, values in enumerate(margins_of):
            values.append(margin[at[label[at] == k]])
    _check_all_found(documents, found)
    counts = np.array([sum(map(len, values)) for values in margins_of], dtype=np.int64)
    return LabelSummary(counts, np.array([_quartiles(v) for v in margins_of]), len(ids) - int(counts.sum()), cells)


def _check_all_found(documents: Documents, found: Mask) -> None:
    if missing := len(found) - int(np.count_nonzero(found)):
        first = next(islice(documents, int(np.argmin(found)), None))
        raise InputError(
            f"label store: {missing} of {len(found)} documents have no label (the first: {first.id!r}); "
            "label them with `redct predict`"
        )


def _quartiles(parts: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    if not any(map(len, parts)):
        return np.full(len(QUARTILES), np.nan)
    return np.quantile(np.concatenate(parts), QUARTILES, overwrite_input=True).astype(np.float64)
