"""Four estimators of one regression: naive, experts only, design-based supervised learning, and PPI++.

All solve sum_i x_i (z_i - c_i mu(x_i b)) = 0 for the coefficients b, where mu is the identity or the logistic function.
With y the experts' answers, m the machine's probabilities and d the weights of the answers (0 where there is none),

    naive          z = the machine's label            c = 1
    experts only   z = d y                            c = d
    DSL            z = m + d (y - m)                  c = 1
    PPI++          z = lambda m + d (y - lambda m)    c = lambda + d (1 - lambda)

DSL: Egami, Hinck, Stewart & Wei 2023, Using Imperfect Surrogates for Downstream Inference: Design-based Supervised
Learning, with m as it is in place of a fitted model of y; z is their pseudo-outcome. PPI++: Angelopoulos, Duchi & Zrnic
2023, PPI++: Efficient Prediction-Powered Inference, weighted by d. Their linear regression is, as in their package
ppi-python, that of lambda m on all documents plus that of y - lambda m on the answered ones.

The corpus includes the answered documents, where the paper has two separate samples. With n of N documents drawn
uniformly the estimates are the same, for lambda (N - n) / N in place of lambda.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from redct.errors import InputError
from redct.evidence.estimates.questions import Link, Question
from redct.evidence.estimates.sample import Design, Sample

Floats = npt.NDArray[np.float64]

_STEPS: Final = 100
_CLOSE: Final = 1e-11
_FARTHEST: Final = 30.0  # log odds beyond which a logistic regression has no finite solution
_SINGULAR: Final = 1e12
_LARGEST_PULL: Final = 0.99
_NOTHING: Final = 1e-20


@dataclass(frozen=True)
class Solution:
    """Estimated coefficients, and how each document moves them; or combinations of them.

    The estimate is off by (1/N) sum_i d_i (by_expert_i - by_machine_i) from what answers to all N documents would give,
    and that by (1/N) sum_i by_expert_i, with by_expert of all documents, from what a wider population would give.

    Args:
        value: (P,) the coefficients.
        leverage: (N, P) what a unit of a document's label adds to N times a coefficient.
        by_expert: (N, P) leverage times the residual of the expert's answer; 0 where there is none.
        by_machine: (N, P) leverage times the residual of the machine's part; None where it has no part.
        power: (P,) lambda of each coefficient, for PPI++.
        skewed: Whether a share errs as shares do, more easily towards 1/2. DSL does not: what it adds up are the
            machine's errors, of either sign, and it may end below 0.
    """

    value: Floats
    leverage: Floats
    by_expert: Floats
    by_machine: Floats | None = None
    power: Floats | None = None
    skewed: bool = True

    def of(self, contrast: Floats) -> "Solution":
        """Returns C combinations of the coefficients, given as (C, P)."""
        machine = None if self.by_machine is None else self.by_machine @ contrast.T
        return Solution(contrast @ self.value, self.leverage @ contrast.T, self.by_expert @ contrast.T, machine)


def naive(sample: Sample, question: Question) -> Solution:
    """Trusts the machine's labels as if they were answers to all documents."""
    x, ones = question.columns, np.ones(len(sample.design))
    b = solve(x, sample.said, ones, question.link)
    residual = sample.said - _mean(x @ b, question.link)
    leverage = _leverage(x, b, ones, question.link)
    return Solution(b, leverage, leverage * residual[:, None])


def experts_only(sample: Sample, question: Question) -> Solution:
    """Weights the experts' answers and leaves the machine out: the classical estimate of survey sampling."""
    x, d, y, link = question.columns, sample.design.weight, sample.known, question.link
    b = solve(x, d * y, d, link)
    leverage = _leverage(x, b, d, link)
    answer = np.where(d > 0, y - _mean(x @ b, link), 0.0) * _stretch(x, b, d, link)
    return Solution(b, leverage, leverage * answer[:, None])


def dsl(sample: Sample, question: Question) -> Solution:
    """Regresses the pseudo-outcomes m + d (y - m), see above."""
    x, d, y, m, link = question.columns, sample.design.weight, sample.known, sample.machine, question.link
    ones = np.ones(len(m))
    b = solve(x, m + d * (y - m), ones, link)
    leverage, fitted = _leverage(x, b, ones, link), _mean(x @ b, link)
    answer = np.where(d > 0, y - fitted, 0.0)
    return Solution(b, leverage, leverage * answer[:, None], leverage * (m - fitted)[:, None], skewed=False)


def ppi(sample: Sample, question: Question, power: float | None = None) -> Solution:
    """PPI++, see above.

    Args:
        sample: The label.
        question: The figures.
        power: lambda, for all coefficients; by default each coefficient has the one that makes its variance
            smallest.
    """
    fit = _ppi_linear if question.link == "linear" else _ppi_logistic
    return fit(sample, question.columns, power)


def _ppi_linear(sample: Sample, x: Floats, power: float | None) -> Solution:
    d, y, m = sample.design.weight, sample.known, sample.machine
    of_experts, of_machine, of_all = solve(x, d * y, d), solve(x, d * m, d), solve(x, m, np.ones(len(m)))
    leverage = _leverage(x, of_experts, d, "linear")
    answer, guess = np.where(d > 0, y - x @ of_experts, 0.0), m - x @ of_machine
    lam = _power(sample.design, leverage, answer, m - x @ of_all, power)
    stretch = _stretch(x, of_experts, d, "linear")
    by_expert, by_machine = leverage * (stretch * answer)[:, None], leverage * lam * (stretch * guess)[:, None]
    return Solution(of_experts + lam * (of_all - of_machine), leverage, by_expert, by_machine, lam)


def _ppi_logistic(sample: Sample, x: Floats, power: float | None) -> Solution:
    y, m, inside = sample.known, sample.machine, x.any(axis=1)
    d = sample.design.weight * inside.sum() / sample.design.weight[inside].sum()

    def fit(lam: float) -> Floats:
        return solve(x, lam * m + d * (y - lam * m), lam + d * (1 - lam), "logistic")

    def parts(b: Floats) -> tuple[Floats, Floats, Floats]:
        fitted = expit(x @ b)
        return _leverage(x, b, np.ones(len(m)), "logistic"), np.where(d > 0, y - fitted, 0.0), m - fitted

    lam = _power(sample.design, *parts(fit(0.0)), power)
    b = np.array([fit(each)[j] for j, each in enumerate(lam.tolist())])
    leverage, answer, guess = parts(b)
    stretch = _stretch(x, b, d, "logistic")
    by_expert, by_machine = leverage * (stretch * answer)[:, None], leverage * lam * (stretch * guess)[:, None]
    return Solution(b, leverage, by_expert, by_machine, lam)


def _power(design: Design, leverage: Floats, answer: Floats, guess: Floats, power: float | None) -> Floats:
    """(P,) lambda as given, or that of least variance for each coefficient: a covariance by a variance.

    Where all answers weigh the same the variance is that of all documents, as in ppi-python, whose lambda for a mean
    this is (clipped to 0 to 1 there). Where they do not it is over the answers too: what few heavy ones happen to be
    then moves both, and a machine that is right gets its 1.
    """
    if power is not None:
        return np.full(leverage.shape[1], power)
    n, at = len(design), design.at
    moved = design.weight[at, None] * design.unit[at, None] * leverage[at] ** 2 * (answer * guess)[at, None]
    known = np.full(n, n / (n - 1)) if design.uniform else design.weight
    unit = (known * design.unit)[:, None] * leverage**2
    spread = (unit * guess[:, None] ** 2).sum(axis=0)
    told = spread > _NOTHING * unit.sum(axis=0)  # a constant differs from its mean by rounding
    best = np.divide(moved.sum(axis=0), spread, out=np.zeros_like(spread), where=told)
    return np.asarray(np.clip(best, 0, n / max(n - len(at), 1)))


def solve(x: Floats, z: Floats, c: Floats, link: Link = "linear") -> Floats:
    """Solves sum_i x_i (z_i - c_i mu(x_i b)) = 0.

    Args:
        x: (N, P) columns.
        z: (N,) see above.
        c: (N,) see above.
        link: `linear` or `logistic`.

    Returns:
        (P,) b.

    Raises:
        InputError: When columns depend on each other, or a logistic regression has no finite solution.
    """
    if link == "linear":
        return np.asarray(_inverse(x.T @ (c[:, None] * x)) @ (x.T @ z))
    b = np.zeros(x.shape[1])
    for _ in range(_STEPS):  # Newton's, of at most 4 in any fitted log odds
        fitted = expit(x @ b)
        step = _inverse(x.T @ ((c * fitted * (1 - fitted))[:, None] * x)) @ (x.T @ (z - c * fitted))
        b = b + step / max(1.0, float(np.abs(x @ step).max()) / 4)
        if np.abs(step).max() < _CLOSE * (1 + np.abs(b).max()):
            return np.asarray(b)
        if np.abs(x @ b).max() > _FARTHEST:
            break
    raise InputError(
        "--regression logistic: found no finite coefficients, as where all answers of a group are alike; expected "
        "both kinds of answers, fewer terms, or --regression linear"
    )


def _leverage(x: Floats, b: Floats, c: Floats, link: Link) -> Floats:
    """(N, P) x times N times the inverse of the derivative of the equations."""
    slope = c * _slope(x @ b, link)
    return np.asarray(len(x) * x @ _inverse(x.T @ (slope[:, None] * x)))


def _stretch(x: Floats, b: Floats, d: Floats, link: Link) -> Floats:
    """(N,) 1 / (1 - h) of answered documents, 1 for all others.

    A fit draws its own documents towards itself, by h, so that with a few answers for each coefficient, or a few that
    weigh much, plain residuals are too small. These are, nearly, those of a fit without the document (HC3: MacKinnon &
    White 1985, Some heteroskedasticity-consistent covariance matrix estimators).
    """
    at = np.flatnonzero(d)
    part, weight = x[at], d[at] * _slope(x[at] @ b, link)
    h = weight * np.einsum("ij,jk,ik->i", part, _inverse(part.T @ (weight[:, None] * part)), part)
    found = np.ones(len(x))
    found[at] = 1 / (1 - np.clip(h, 0, _LARGEST_PULL))
    return found


def _inverse(matrix: Floats) -> Floats:
    """Inverts a symmetric matrix, whatever the scales of its columns.

    Raises:
        InputError: When it is singular.
    """
    scale = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix / np.outer(scale, scale)
    if not np.isfinite(scaled).all() or np.linalg.cond(scaled) > _SINGULAR:
        raise InputError("--formula: found terms that the answered documents cannot tell apart; leave some out")
    return np.asarray(np.linalg.inv(scaled) / np.outer(scale, scale))


def _mean(eta: Floats, link: Link) -> Floats:
    return eta if link == "linear" else np.asarray(expit(eta))


def _slope(eta: Floats, link: Link) -> Floats:
    return np.ones(len(eta)) if link == "linear" else np.asarray(expit(eta) * (1 - expit(eta)))
