"""Documents that say nothing: what the LLM answers to them is its label prior (Zhao et al. 2021)."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.documents import Document
from redct.errors import InputError
from redct.hub.store import LabelTable

TEXTS: Final = ("N/A", "[MASK]", "...")
MOST_CONTEXTS: Final = 100

Context = tuple[tuple[str, str], ...]


def content_free_documents(documents: Iterable[Document]) -> list[Document]:
    """Returns documents without content for each combination of context fields in a corpus.

    Args:
        documents: The corpus.

    Returns:
        One for each of `TEXTS` and each of the `MOST_CONTEXTS` most frequent combinations, with ids such as
        `content-free:N/A|target=Atheism`.
    """
    counts = Counter(_key(document) for document in documents)
    contexts = [dict(context) for context, _ in counts.most_common(MOST_CONTEXTS)]
    return [Document(_id(text, context), text, context, None) for context in contexts for text in TEXTS]


def content_free_priors(table: LabelTable, documents: Sequence[Document]) -> npt.NDArray[np.float64]:
    """Returns the label prior of each document's context; the mean of all where that context has none.

    Args:
        table: Labels, among them those of content-free documents.
        documents: N documents.

    Returns:
        (N, K), rows sum to 1.

    Raises:
        InputError: When no content-free document has a label.
    """
    labeled = {i: p for i, p, k in zip(table.ids, table.probs, table.label, strict=True) if k >= 0 and _is_free(i)}
    if not labeled:
        raise InputError(
            "data.calibration.prior: content_free, but the label store has no label of a content-free document; "
            "make them with `redct predict --data.predict content_free`"
        )
    everywhere = _mean(labeled.values())
    priors: dict[Context, npt.NDArray[np.float64]] = {}
    for document in documents:
        if _key(document) not in priors:
            found = [labeled[i] for i in (_id(text, document.context) for text in TEXTS) if i in labeled]
            priors[_key(document)] = _mean(found) if found else everywhere
    return np.stack([priors[_key(document)] for document in documents])


def _key(document: Document) -> Context:
    return tuple(document.context.items())


def _mean(distributions: Collection[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    mean: npt.NDArray[np.float64] = np.stack([*distributions]).mean(axis=0, dtype=np.float64)
    return mean


def _id(text: str, context: dict[str, str]) -> str:
    return "|".join([f"content-free:{text}", *(f"{field}={value}" for field, value in context.items())])


def _is_free(document_id: str) -> bool:
    return document_id.startswith("content-free:")
