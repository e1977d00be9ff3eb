"""Judging by experts' answers that served nothing: as rows, or in a correction. Needs no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.documents import Document
from redct.experts import majority
from redct.folds import deal
from redct.hub.store import LabelTable
from redct.training.answers import Answers
from redct.training.corrections import FEWEST_ANSWERS
from redct.training.parts import Part

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Teach = Callable[[Answers], Part]

FOLDS: Final = 3
# Without a fold there are then still as many answers as a correction needs.
FEWEST: Final = FEWEST_ANSWERS * FOLDS // (FOLDS - 1)


@dataclass(frozen=True)
class Judges:
    """Answers of known design, dealt out to folds, with what each fold's classifier may learn from.

    Attributes:
        at: (n,) positions of the answered documents in the corpus, ascending.
        documents: The n answered documents.
        label: (n,) the label that most experts gave.
        weight: (n,) documents that each stands for, above 0.
        llm: (n,) the LLM's own label, -1 where it has none.
        fold: (n,) 0 to F-1.
        taught: F parts to train on: nothing in them rests on the answers of the fold, and its documents are absent.
    """

    at: Ints
    documents: list[Document]
    label: Ints
    weight: Floats
    llm: Ints
    fold: Ints
    taught: list[Part]


def judges(
    documents: list[Document], table: LabelTable, answers: Answers, teach: Teach, seed: int, folds: int = FOLDS
) -> Judges | None:
    """Deals the answers out, and makes targets without those of each fold.

    Args:
        documents: The N documents of the corpus.
        table: What the LLM said about them.
        answers: The experts' answers.
        teach: Makes a part to train on from some of the answers.
        seed: Of the deal.
        folds: F, at least 2.

    Returns:
        None where nobody knows how the documents were chosen, or there are fewer answers than `FEWEST`.
    """
    at = np.array(sorted(answers.shares.keys() & answers.weight.keys()), dtype=np.int64)
    if answers.why or len(at) < FEWEST:
        return None
    label = np.array([majority(answers.shares[n], table.probs[n]) for n in at.tolist()], dtype=np.int64)
    weight = np.array([answers.weight[n] for n in at.tolist()])
    fold = deal(label, folds, np.random.default_rng([seed, 5]))
    taught = [_without(at[fold == number], documents, answers, teach) for number in range(folds)]
    return Judges(at, [documents[n] for n in at], label, weight, table.label[at].astype(np.int64), fold, taught)


def _without(out: Ints, documents: list[Document], answers: Answers, teach: Teach) -> Part:
    part = teach(answers.without(out))
    unseen = {documents[n].id for n in out}
    return part.rows([row for row, document in enumerate(part.documents) if document.id not in unseen])


@dataclass(frozen=True)
class Difference:
    """A weighted mean of paired differences.

    Attributes:
        value: The mean.
        standard_error: Of the mean, over documents.
    """

    value: float
    standard_error: float

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.value - 1.96 * self.standard_error

    @property
    def high(self) -> float:
        """Upper end."""
        return self.value + 1.96 * self.standard_error


def paired(difference: npt.ArrayLike, weight: npt.ArrayLike) -> Difference:
    """Mean of differences by weight, as a ratio of two sums (Hajek), with its linearised standard error.

    Särndal, Swensson and Wretman 1992, Model Assisted Survey Sampling, section 5.7; with equal weights the usual
    standard error of a mean.

    Args:
        difference: (n,) n >= 2, one for each document.
        weight: (n,) above 0.
    """
    d, w = np.asarray(difference, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    value = float(w @ d / w.sum())
    spread = np.sum((w * (d - value)) ** 2) * len(d) / (len(d) - 1)
    return Difference(value, float(np.sqrt(spread) / w.sum()))


def log_losses(probs: npt.ArrayLike, label: npt.ArrayLike) -> Floats:
    """(n,) -log p(label) of distributions (n, K), none above 16.1; a training that came to nothing counts as that."""
    of_label = np.take_along_axis(np.asarray(probs, dtype=np.float64), np.asarray(label)[:, None], axis=1)[:, 0]
    losses: Floats = -np.log(np.maximum(np.nan_to_num(of_label), 1e-7))
    return losses
