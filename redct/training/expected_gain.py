"""Whether the classifier will beat the LLM that labels its documents, before anybody relies on it. Needs no torch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from redct.experts.forecast import MORE, Curve, learning_curve
from redct.training.error_model import standardised
from redct.training.held_out import Difference, Judges, paired
from redct.training.regression import fit

Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]

# Of the stand-in, per document, as for the student of the error model; and how many documents it learns from at most.
_RIDGE = 1 / 3
_DOCUMENTS = 20_000


@dataclass(frozen=True)
class ExpectedGain:
    """A light classifier and the LLM on expert answers that served nothing.

    Attributes:
        answers: How many.
        classifier: Weighted accuracy of the light classifier, 0 to 1.
        llm: The same of the LLM; no label counts as wrong.
        gain: Classifier less LLM, paired over documents.
    """

    answers: int
    classifier: float
    llm: float
    gain: Difference


def expected_gain(judges: Judges, vectors: Vectors, position: dict[str, int], seed: int) -> ExpectedGain:
    """Compares a light classifier with the LLM by answers that did not serve it.

    It stands in for the edge classifier: multinomial logistic regression on what the pretrained encoder sees, trained
    towards the same targets.

    Args:
        judges: Answers by fold, and what to train on for each.
        vectors: (N, D) embeddings of documents.
        position: Row of a document's embedding, by id.
        seed: Draws documents where there are very many.
    """
    scaled, predicted = standardised(vectors), np.empty(len(judges.label), dtype=np.int64)
    rng = np.random.default_rng([seed, 6])
    with threadpool_limits(1):
        for number, part in enumerate(judges.taught):
            rows = np.arange(len(part.documents))
            if len(rows) > _DOCUMENTS:
                rows = np.sort(rng.choice(rows, _DOCUMENTS, replace=False))
            seen = scaled[[position[part.documents[row].id] for row in rows]]
            taught = part.target[rows].astype(np.float64)
            # Targets of the kind expit do not sum to 1: their sum is a weight.
            total = taught.sum(axis=1)
            student = fit(taught / total[:, None], part.weight[rows] * total, features=seen, ridge=_RIDGE)
            out = np.flatnonzero(judges.fold == number)
            unseen = scaled[[position[judges.documents[n].id] for n in out]]
            predicted[out] = student.logprobs((), unseen).argmax(axis=1)
    return compare(predicted, judges)


def compare(predicted: Ints, judges: Judges) -> ExpectedGain:
    """Weighted accuracy of (n,) predicted labels and of the LLM's, and their difference."""
    right, llm = (predicted == judges.label).astype(float), (judges.llm == judges.label).astype(float)
    accuracy, of_llm = (float(np.average(each, weights=judges.weight)) for each in (right, llm))
    return ExpectedGain(len(right), accuracy, of_llm, paired(right - llm, judges.weight))


def growth(
    judges: Judges, vectors: Vectors, position: dict[str, int], probs: npt.ArrayLike, seed: int, more: int = MORE
) -> Curve | None:
    """What more answers are expected to bring; see `redct.experts.forecast.learning_curve`.

    Args:
        judges: The answers.
        vectors: (N, D) embeddings of the corpus.
        position: Row of a document's embedding, by id.
        probs: (N, K) the LLM's distributions.
        seed: Of everything random.
        more: Answers to add.
    """
    at = [position[document.id] for document in judges.documents]
    return learning_curve(lambda rows: vectors[rows], probs, at, judges.label, judges.weight, seed, more)


def notes(found: ExpectedGain, curve: Curve | None) -> list[str]:
    """Returns lines for the user: the forecast and, where the classifier does not beat the LLM, what would help."""
    between = f"{100 * found.gain.low:+.1f} to {100 * found.gain.high:+.1f}"
    gain = f"{100 * found.gain.value:+.1f} points, 95 % interval {between}"
    lines = [
        f"forecast by {found.answers} expert answers that served nothing: accuracy {100 * found.classifier:.1f} % of a "
        f"light classifier on the frozen encoder, {100 * found.llm:.1f} % of the LLM ({gain})"
    ]
    if found.gain.low > 0:
        return [*lines, "the classifier is predicted to beat the LLM"]
    untold = "whether the classifier beats the LLM cannot be told from so few answers"
    if found.gain.value > 0:
        return [*lines, untold]
    verdict = "the classifier is predicted not to beat the LLM" if found.gain.high < 0 else f"{untold}, rather not"
    return [*lines, f"{verdict}; what would help:", *(f"  {remedy}" for remedy in _remedies(found, curve))]


def _remedies(found: ExpectedGain, curve: Curve | None) -> list[str]:
    remedies = []
    if curve is not None:
        range_ = f"95 % interval {100 * curve.low:+.1f} to {100 * curve.high:+.1f}"
        remedies.append(
            f"{curve.more} more expert answers: {100 * curve.gain:+.1f} points of macro-F1 expected ({range_})"
        )
    halved = 50 * (1 - found.llm)
    remedies.append(
        f"a better prompt: one that halves the LLM's errors makes the LLM {halved:.1f} points more accurate; how much "
        "of that reaches the classifier cannot be told before"
    )
    remedies.append("a larger encoder, such as roberta-base or roberta-large: the gain cannot be told before trying")
    return remedies
