"""How the LLM errs, learned from the experts' answers, to correct what it said about all other documents.

A single answer as a training row says something about one document; as an observation of how the LLM errs it says
something about all. The model is a small multinomial regression of the answers on three things: what the LLM said, what
a student says that learned from the LLM alone (it smooths the LLM's errors over similar documents), and what a
pretrained encoder sees in the document (where the LLM errs on a kind of documents). It is shrunk to "the LLM is right",
and judged on answers that it was not fitted on.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.calibration import Reliability, reliability, scale
from redct.folds import cross_predict, deal
from redct.training.regression import Predictor, Regression, fit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Penalties, in answers; factors of 3 up or down changed macro-F1 by less than 0.4 points.
_LLM: Final = 1.0
_STUDENT: Final = 0.1
_INTERCEPT: Final = 0.3
_DOCUMENT: Final = 1.0
# Of the student, per document, and how many documents it learns from at most: more than enough for a linear model.
_STUDENT_RIDGE: Final = 1 / 3
_STUDENT_DOCUMENTS: Final = 20_000


@dataclass(frozen=True)
class Evidence:
    """What is known about each of N documents without any expert.

    Args:
        llm: (N, K) log-probabilities of the LLM, normalised and finite.
        student: (N, K) log-probabilities of a student that learned from the LLM's labels of other documents; None
            where there are no vectors.
        vectors: (N, D) centred, of mean squared length 1; D may be 0.
    """

    llm: Floats
    student: Floats | None
    vectors: npt.NDArray[np.float32]

    def rows(self, at: npt.ArrayLike) -> "Evidence":
        """Returns that of some documents."""
        positions = np.asarray(at, dtype=np.int64)
        student = None if self.student is None else self.student[positions]
        return Evidence(self.llm[positions], student, self.vectors[positions])


def gather(logprobs: npt.ArrayLike, embeddings: npt.ArrayLike | None, seed: int) -> Evidence:
    """Returns what the error model rests on.

    Args:
        logprobs: (N, K) of the LLM, normalised or not.
        embeddings: (N, D) of the documents; None to do without them, and without a student.
        seed: Deals the documents out to the folds of the student.
    """
    llm = scale(logprobs, 1.0)
    if embeddings is None:
        return Evidence(llm, None, np.zeros((len(llm), 0), dtype=np.float32))
    vectors = standardised(embeddings)
    return Evidence(llm, student_logprobs(vectors, np.exp(llm), seed), vectors)


def standardised(embeddings: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Centres vectors (N, D) and gives them a mean squared length of 1, so that penalties mean the same for all."""
    vectors = np.asarray(embeddings, dtype=np.float32)
    centred = vectors - vectors.mean(axis=0)
    length = np.sqrt(np.square(centred, dtype=np.float64).sum(axis=1).mean())
    return np.asarray(centred / max(float(length), 1e-12), dtype=np.float32)


def student_logprobs(vectors: npt.NDArray[np.float32], probs: npt.ArrayLike, seed: int, folds: int = 5) -> Floats:
    """Log-probabilities (N, K) of linear students, each taught by the LLM on the folds that it does not judge.

    Args:
        vectors: (N, D).
        probs: (N, K) the LLM's label distributions.
        seed: Deals the documents out.
        folds: Number of students; fewer where there are fewer documents.
    """
    taught = np.asarray(probs, dtype=np.float64)
    rng = np.random.default_rng([seed, 3])
    fold = deal(taught.argmax(axis=1), min(folds, len(taught)), rng)

    def predict(others: Ints, own: Ints) -> Floats:
        if len(others) > _STUDENT_DOCUMENTS:
            others = np.sort(rng.choice(others, _STUDENT_DOCUMENTS, replace=False))
        student = fit(taught[others], np.ones(len(others)), features=vectors[others], ridge=_STUDENT_RIDGE)
        return student.logprobs((), vectors[own])

    return cross_predict(fold, predict)


def fit_errors(evidence: Evidence, shares: npt.ArrayLike, weight: npt.ArrayLike) -> Regression:
    """Fits the error model to answered documents.

    Args:
        evidence: Of the n answered documents.
        shares: (n, K) shares of the experts' votes.
        weight: (n,) above 0, 1 / inclusion probability. Their square roots count, with a mean of 1: full weights remove
            the bias of an uneven choice, at a price in variance that is too high for some hundred answers.
    """
    root = np.sqrt(np.asarray(weight, dtype=np.float64))
    return fit(
        shares, root / root.mean(), _predictors(evidence), evidence.vectors, _DOCUMENT, intercept_ridge=_INTERCEPT
    )


def corrected(model: Regression, evidence: Evidence) -> Floats:
    """Returns (N, K) log-probabilities of what an expert would answer, normalised."""
    return model.logprobs(_predictors(evidence), evidence.vectors)


def cross_fit_errors(
    evidence: Evidence, shares: npt.ArrayLike, label: npt.ArrayLike, weight: npt.ArrayLike, seed: int, folds: int = 5
) -> Reliability:
    """Judges the error model on answers that it was not fitted on.

    Args:
        evidence: Of the n answered documents, n >= folds.
        shares: (n, K) shares of the experts' votes.
        label: (n,) the label that most of them gave.
        weight: (n,) above 0.
        seed: Deals the answers out to the folds, as for a temperature.
        folds: At least 2.
    """
    votes, stands_for = np.asarray(shares, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    fold = np.random.default_rng(seed).permutation(len(votes)) % folds

    def predict(others: Ints, own: Ints) -> Floats:
        return corrected(fit_errors(evidence.rows(others), votes[others], stands_for[others]), evidence.rows(own))

    return reliability(cross_predict(fold, predict), label, weight)


def _predictors(evidence: Evidence) -> list[Predictor]:
    predictors = [Predictor(_centred(evidence.llm), believed=1.0, ridge=_LLM)]
    if evidence.student is not None:
        predictors.append(Predictor(_centred(evidence.student), ridge=_STUDENT))
    return predictors


def _centred(logprobs: Floats) -> Floats:
    """A constant per document changes no probability, but would make the problem badly scaled."""
    centred: Floats = logprobs - logprobs.mean(axis=1, keepdims=True)
    return centred
