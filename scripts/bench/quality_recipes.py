"""Training targets from LLM labels and some expert answers: redct's, its ingredients one by one, and what was left out.

Each recipe gets a `Pool` of documents with frozen embeddings and returns test logits of a linear classifier, so that
hundreds of trainings take minutes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from redct.calibration import fit_temperature, scale
from redct.confidence import normalise
from redct.experts import Choice, Pool, choose
from redct.training import error_model
from redct.training.error_model import Evidence
from redct.training.regression import fit

Floats = npt.NDArray[np.float64]
RIDGE: Final = 1 / 3  # of the linear classifier; best for naive labels and for gold alike, or near it


@dataclass(frozen=True)
class Problem:
    """Documents to train on and to test on.

    Args:
        evidence: What the LLM and a student say about the N training documents, and their vectors.
        said: (N,) the LLM's labels.
        gold: (N,) gold labels.
        test: (M, D) vectors of the test documents.
        embeddings: (N, D) as the strategies take them.
        answers: How many documents experts label.
        seed: Of everything random.
    """

    evidence: Evidence
    said: npt.NDArray[np.int64]
    gold: npt.NDArray[np.int64]
    test: npt.NDArray[np.float32]
    embeddings: npt.NDArray[np.float32]
    answers: int
    seed: int

    @property
    def soft(self) -> Floats:
        """(N, K) the LLM's distributions."""
        return np.exp(self.evidence.llm)

    def one_hot(self, label: npt.NDArray[np.int64]) -> Floats:
        """(N, K) of labels (N,)."""
        return np.eye(self.evidence.llm.shape[1])[label]

    def choose(self, strategy: str = "random") -> Choice:
        """The experts' documents."""
        logs = self.evidence.llm
        top = np.sort(logs, axis=1)
        assert self.evidence.student is not None
        pool = Pool(
            self.said,
            self.soft,
            top[:, -1] - top[:, -2],
            embeddings=self.embeddings,
            edge_probs=np.exp(self.evidence.student),
        )
        return choose(strategy, pool, self.answers, self.seed)

    def learn(self, targets: Floats, weight: Floats | None = None, rows: npt.NDArray[np.int64] | None = None) -> Floats:
        """(M, K) logits on the test documents of a classifier trained on targets (N, K)."""
        at = np.arange(len(targets)) if rows is None else rows
        weights = np.ones(len(targets)) if weight is None else weight
        return fit(targets[at], weights[at], features=self.evidence.vectors[at], ridge=RIDGE).logprobs((), self.test)

    def answered(self, targets: Floats, at: npt.NDArray[np.int64]) -> Floats:
        """The targets with the experts' answers in their place."""
        found = targets.copy()
        found[at] = self.one_hot(self.gold)[at]
        return found


Recipe = Callable[[Problem], Floats]


def corrected(
    problem: Problem, evidence: Evidence, strategy: str = "random", rooted: bool = True
) -> tuple[Floats, Choice]:
    """(N, K) distributions corrected by the error model, and the experts' documents."""
    choice = problem.choose(strategy)
    at = choice.chosen
    weight = np.ones(len(at)) if strategy == "margin" else 1 / choice.inclusion[at]
    model = error_model.fit_errors(
        evidence.rows(at), problem.one_hot(problem.gold)[at], weight if rooted else weight**2
    )
    return np.exp(error_model.corrected(model, evidence)), choice


def redct(strategy: str = "random", rooted: bool = True, student: bool = True, vectors: bool = True) -> Recipe:
    """Redct's recipe, or it without some of its parts."""

    def recipe(problem: Problem) -> Floats:
        full = problem.evidence
        evidence = Evidence(
            full.llm, full.student if student else None, full.vectors if vectors else full.vectors[:, :0]
        )
        probs, choice = corrected(problem, evidence, strategy, rooted)
        return problem.learn(problem.answered(probs, choice.chosen))

    return recipe


def rows_only(kind: str, strategy: str, weight: float = 1.0) -> Recipe:
    """Answers as training rows only, beside the LLM's hard or soft labels."""

    def recipe(problem: Problem) -> Floats:
        at = problem.choose(strategy).chosen
        weights = np.ones(len(problem.gold))
        weights[at] = weight
        llm = problem.soft if kind == "soft" else problem.one_hot(problem.said)
        return problem.learn(problem.answered(llm, at), weights)

    return recipe


def temperature(problem: Problem) -> Floats:
    """The LLM's distributions scaled by a temperature."""
    at = problem.choose().chosen
    value = fit_temperature(problem.evidence.llm[at], problem.gold[at], np.ones(len(at)))
    return problem.learn(problem.answered(np.exp(scale(problem.evidence.llm, value)), at))


def hard(problem: Problem) -> Floats:
    """Redct's recipe with the likeliest corrected label."""
    probs, choice = corrected(problem, problem.evidence)
    return problem.learn(problem.answered(problem.one_hot(probs.argmax(axis=1)), choice.chosen))


def smoothed(problem: Problem) -> Floats:
    """Redct's recipe with label smoothing of 0.1."""
    probs, choice = corrected(problem, problem.evidence)
    targets = problem.answered(probs, choice.chosen)
    return problem.learn(0.9 * targets + 0.1 / targets.shape[1])


def heavier(weight: float) -> Recipe:
    """Redct's recipe with more weight on the rows of the experts."""

    def recipe(problem: Problem) -> Floats:
        probs, choice = corrected(problem, problem.evidence)
        weights = np.ones(len(problem.gold))
        weights[choice.chosen] = weight
        return problem.learn(problem.answered(probs, choice.chosen), weights)

    return recipe


def again(problem: Problem) -> Floats:
    """Redct's recipe twice: the second time with a student of the corrected distributions."""
    probs, choice = corrected(problem, problem.evidence)
    taught = problem.answered(probs, choice.chosen)
    student = error_model.student_logprobs(problem.evidence.vectors, taught, problem.seed)
    probs, _ = corrected(problem, replace(problem.evidence, student=student))
    return problem.learn(problem.answered(probs, choice.chosen))


def confident(problem: Problem) -> Floats:
    """Confident learning (Northcutt et al. 2021): rows that a sure student contradicts are dropped."""
    probs, choice = corrected(problem, problem.evidence)
    targets = problem.answered(probs, choice.chosen)
    label = targets.argmax(axis=1)
    student = np.exp(error_model.student_logprobs(problem.evidence.vectors, targets, problem.seed))
    sure = np.array([student[label == k, k].mean() if (label == k).any() else 1.0 for k in range(targets.shape[1])])
    reaches = np.where(student >= sure, student, 0)
    wrong = (reaches.max(axis=1) > 0) & (reaches.argmax(axis=1) != label)
    wrong[choice.chosen] = False
    return problem.learn(targets, rows=np.flatnonzero(~wrong))


def confident_naive(problem: Problem) -> Floats:
    """The same on the LLM's own labels, with answers as rows."""
    at = problem.choose().chosen
    label = problem.said.copy()
    label[at] = problem.gold[at]
    assert problem.evidence.student is not None
    student = np.exp(problem.evidence.student)
    sure = np.array([student[label == k, k].mean() if (label == k).any() else 1.0 for k in range(student.shape[1])])
    reaches = np.where(student >= sure, student, 0)
    wrong = (reaches.max(axis=1) > 0) & (reaches.argmax(axis=1) != label)
    wrong[at] = False
    return problem.learn(problem.one_hot(label), rows=np.flatnonzero(~wrong))


def confusion(problem: Problem) -> Floats:
    """Forward correction (Patrini et al. 2017) with the LLM's confusions as the answers show them."""
    at = problem.choose().chosen
    k = problem.soft.shape[1]
    counts = np.eye(k) * 2 + 0.5  # a believed diagonal, since some classes have few answers
    np.add.at(counts, (problem.gold[at], problem.said[at]), 1.0)
    flips = counts / counts.sum(axis=1, keepdims=True)
    return _by_gradient(problem, at, lambda probs: _forward(probs, problem.said, flips))


def generalised(problem: Problem) -> Floats:
    """Generalised cross-entropy (Zhang & Sabuncu 2018), q = 0.7, on the LLM's labels, with answers as rows."""
    at = problem.choose().chosen
    label = problem.said.copy()
    label[at] = problem.gold[at]

    def loss(probs: Floats) -> tuple[Floats, Floats]:
        rows = np.arange(len(probs))
        p = np.maximum(probs[rows, label], 1e-9)
        slope = np.zeros_like(probs)
        slope[rows, label] = -(p ** (0.7 - 1))
        return (1 - p**0.7) / 0.7, slope

    return _by_gradient(problem, np.empty(0, dtype=np.int64), loss)


def two_stages(problem: Problem) -> Floats:
    """First the LLM's distributions, then the answers alone, shrunk to the first stage."""
    at = problem.choose().chosen
    first = fit(problem.soft, np.ones(len(problem.gold)), features=problem.evidence.vectors, ridge=RIDGE)
    found = first.weights, first.intercept
    target, vectors = problem.one_hot(problem.gold)[at], problem.evidence.vectors[at]
    d, k = found[0].shape

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights, intercept = flat[: d * k].reshape(d, k), flat[d * k :]
        probs = normalise(vectors @ weights + intercept)
        error = probs - target
        off = weights - found[0]
        value = -(target * np.log(np.maximum(probs, 1e-12))).sum() + (off**2).sum() / 2
        return float(value), np.concatenate([(vectors.T @ error + off).ravel(), error.sum(axis=0)])

    result = minimize(loss, np.concatenate([found[0].ravel(), found[1]]), jac=True, method="L-BFGS-B").x
    logits: Floats = problem.test @ result[: d * k].reshape(d, k) + result[d * k :]
    return logits


def _forward(probs: Floats, said: npt.NDArray[np.int64], flips: Floats) -> tuple[Floats, Floats]:
    chance = np.maximum((probs * flips[:, said].T).sum(axis=1), 1e-9)
    return -np.log(chance), -flips[:, said].T / chance[:, None]


def _by_gradient(
    problem: Problem, at: npt.NDArray[np.int64], loss_of: Callable[[Floats], tuple[Floats, Floats]]
) -> Floats:
    """Trains with another loss: `loss_of` gives each document's loss and its slopes in the probabilities."""
    vectors, k, d = problem.evidence.vectors.astype(np.float64), problem.soft.shape[1], problem.test.shape[1]
    gold = problem.one_hot(problem.gold)

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights, intercept = flat[: d * k].reshape(d, k), flat[d * k :]
        probs = normalise(vectors @ weights + intercept)
        each, slope = loss_of(probs)
        error = probs * (slope - (slope * probs).sum(axis=1, keepdims=True))
        each[at], error[at] = -np.log(np.maximum((gold * probs).sum(axis=1)[at], 1e-12)), (probs - gold)[at]
        value = each.sum() + RIDGE / 2 * (weights**2).sum()
        return float(value), np.concatenate([(vectors.T @ error + RIDGE * weights).ravel(), error.sum(axis=0)])

    found = minimize(loss, np.zeros(d * k + k), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    logits: Floats = problem.test @ found[: d * k].reshape(d, k) + found[d * k :]
    return logits


RECIPES: Final[dict[str, Recipe]] = {
    "naive: hard LLM labels": lambda p: p.learn(p.one_hot(p.said)),
    "soft LLM labels": lambda p: p.learn(p.soft),
    "experts only": lambda p: p.learn(p.one_hot(p.gold), rows=p.choose().chosen),
    "paper as intended: margin, soft, answers as rows": rows_only("soft", "margin"),
    "redct": redct(),
    "all gold": lambda p: p.learn(p.one_hot(p.gold)),
    "redct without the document's vector": redct(vectors=False),
    "redct without the student": redct(student=False),
    "redct without both (label bias only)": redct(student=False, vectors=False),
    "temperature instead of the error model": temperature,
    "answers as rows only, soft": rows_only("soft", "random"),
    "answers as rows only, hard": rows_only("hard", "random"),
    "answers as rows of weight 8, soft": rows_only("soft", "random", 8.0),
    "hard instead of soft targets": hard,
    "label smoothing 0.1": smoothed,
    "expert rows weigh 3": heavier(3.0),
    "error model twice, the student corrected": again,
    "confident learning on corrected labels": confident,
    "confident learning on LLM labels, answers as rows": confident_naive,
    "forward correction with a confusion matrix": confusion,
    "generalised cross-entropy, answers as rows": generalised,
    "two stages: soft LLM labels, then answers": two_stages,
    "margin": redct("margin"),
    "margin_randomised": redct("margin_randomised"),
    "margin_randomised, weights 1/pi not rooted": redct("margin_randomised", rooted=False),
    "entropy_randomised": redct("entropy_randomised"),
    "disagreement_randomised": redct("disagreement_randomised"),
    "uncertainty_diversity_randomised": redct("uncertainty_diversity_randomised"),
    "random_stratified": redct("random_stratified"),
}
