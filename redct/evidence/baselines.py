"""Classifiers to beat, which take seconds: the most frequent label, and TF-IDF with logistic regression."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.documents import Document
from redct.training.parts import Part

MOST_DOCUMENTS: Final = 20_000
"""Of more, so many are drawn at random: they take some ten seconds, and more hardly improve the baseline."""
_LEAST_WEIGHT: Final = 1e-3  # of a label in a soft target; less changes nothing, but costs a row


def majority(gold: npt.ArrayLike, n_labels: int) -> npt.NDArray[np.int64]:
    """Predicts the most frequent gold label for every document: the baseline to beat.

    Args:
        gold: (N,) indices 0 to K-1.
        n_labels: K, the labels of the task.

    Returns:
        (N,) the same index for all; of equally frequent labels, the first in the task.
    """
    labels = np.asarray(gold, dtype=np.int64)
    return np.full(len(labels), np.argmax(np.bincount(labels, minlength=n_labels)), dtype=np.int64)


def tfidf_probs(train: Part, documents: Sequence[Document], seed: int = 0) -> npt.NDArray[np.float64]:
    """Trains logistic regression on TF-IDF of words and pairs of words, towards the same targets as the classifier.

    A soft target is each label once, weighted by its probability, which has the same loss. Context fields are words
    too, each with the field's name.

    Args:
        train: What the edge classifier is trained on; of more than 20,000 documents, so many drawn at random.
        documents: N documents to label.
        seed: Of that draw.

    Returns:
        (N, K) label distributions.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 - slow to import
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    if len(train.documents) > MOST_DOCUMENTS:
        train = train.rows(np.sort(np.random.default_rng(seed).permutation(len(train.documents))[:MOST_DOCUMENTS]))
    probs = np.zeros((len(documents), train.target.shape[1]))
    weight = train.target.astype(np.float64) * train.weight[:, None]
    row, label = np.nonzero(weight > _LEAST_WEIGHT)
    if len(present := np.unique(label)) == 1:
        probs[:, present] = 1
        return probs
    vectors = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    known = vectors.fit_transform(map(_text, train.documents))
    model = LogisticRegression(C=10, max_iter=1000).fit(known[row], label, sample_weight=weight[row, label])
    probs[:, model.classes_] = model.predict_proba(vectors.transform(map(_text, documents)))
    return probs


def _text(document: Document) -> str:
    fields = [f"{name}_{word}" for name, value in document.context.items() for word in value.split()]
    return " ".join([document.text, *fields])
