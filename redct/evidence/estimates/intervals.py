"""95 % intervals of estimates, measured to hold with few answers and unequal chances too.

The variance has two parts. The experts' documents were drawn: that part is Hájek's, see `experts.weights.mean`, and all
there is when an estimate is about the corpus at hand. Where it is about more, of which the corpus is a sample, the
corpus' own variance is added, by clusters where documents come in clusters: the draw of single documents from a given
corpus does not depend on these. A normal interval would be too narrow with few answers, so

- two imaginary answers on which experts and machine differ as much as experts do among each other are added to the
  variance, as Agresti & Coull (1998) do to shares: else it is 0 where no error of the machine was drawn, though one
  that is rare and weighs much is what an estimate errs by;
- quantiles are of Student's t, for a share or a rare label with the degrees of freedom that a variance estimated from
  such unequal weights has (Satterthwaite 1946), (sum k)^2 / sum k^2 - 1, where k is what an answer would add to it if
  all residuals were alike. Other coefficients and differences have as many as the answers that they rest on are
  worth, less one. Documents move these up as well as down, so that an answer that weighs much makes the variance large
  where it also leads the estimate astray, and their ratio has no longer tails than a normal one (Efron 1969, Student's
  t-test under symmetry conditions), if a fit does not hide such residuals (hence HC3, see `estimators`); by
  Satterthwaite 97 % and more held;
- the interval of a share is Wilson's (1927) for a sample of p (1 - p) / variance answers (Korn & Graubard 1998), which
  stays within 0 and 1 and is longer towards 1/2; that of a difference is put together from those of the shares (Zou &
  Donner 2008, Construction of confidence limits about effect measures).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from redct.evidence.estimates.estimators import Solution
from redct.evidence.estimates.questions import FEWEST_OF_A_KIND, Question
from redct.evidence.estimates.sample import Sample

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEVEL: Final = 0.95
_IMAGINARY: Final = 2


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Args:
        value: The figure.
        low: Lower end of the interval.
        high: Upper end.
        standard_error: Root of the variance that the interval rests on.
        freedom: Degrees of freedom of its quantiles; None for those of the normal distribution.
    """

    value: float
    low: float
    high: float
    standard_error: float
    freedom: float | None


@dataclass(frozen=True)
class Precision:
    """What an interval's width rests on, for C figures.

    Args:
        of_the_draw: (C,) variance since only some documents were answered.
        unit: (C,) what that would be were all residuals 1.
        of_the_corpus: (C,) variance since the corpus is a sample; 0 where the estimate is about the corpus.
        answers: (C,) answers that have a part in the figure.
        label: (C,) the label's share among these answers, weighted by their part.
        freedom: (C,) degrees of freedom.
    """

    of_the_draw: Floats
    unit: Floats
    of_the_corpus: Floats
    answers: Floats
    label: Floats
    freedom: Floats

    def imagined(self) -> Floats:
        """(C,) variance of a label among the experts' answers, were there two more of each kind."""
        share = (self.answers * self.label + 2) / (self.answers + 4)
        return share * (1 - share)

    def variance(self) -> Floats:
        """(C,) variance with the imaginary answers."""
        return self._with_imaginary(self.of_the_draw, self.unit) + self.of_the_corpus

    def half_width(self) -> Floats:
        """(C,) half-widths of symmetric intervals."""
        return np.asarray(student.ppf((1 + LEVEL) / 2, self.freedom) * np.sqrt(self.variance()))

    def of_shares(self, value: Floats) -> tuple[Floats, Floats]:
        """Returns (C,) lower and (C,) upper ends of the intervals of shares.

        Args:
            value: (C,) the shares.
        """
        p = np.clip(value, 0, 1)
        a = self.half_width() ** 2 / self._with_imaginary(p * (1 - p), np.ones(len(p)))
        middle, half = (p + a / 2) / (1 + a), np.sqrt(a * p * (1 - p) + a**2 / 4) / (1 + a)
        return middle - half, middle + half

    def _with_imaginary(self, found: Floats, of_one: Floats) -> Floats:
        return (self.answers * found + _IMAGINARY * self.imagined() * of_one) / (self.answers + _IMAGINARY)


def precision(solution: Solution, sample: Sample, wider: bool, cluster: Ints | None = None) -> Precision:
    """Finds how precise the figures of `experts_only`, `dsl` or `ppi` are.

    Args:
        solution: The figures.
        sample: The label.
        wider: Whether they are about a wider population, of which the corpus is a sample; else about the corpus.
        cluster: (N,) the cluster of each document, 0 to G-1, of which that population consists.
    """
    design, at = sample.design, sample.design.at
    residual = solution.by_expert if solution.by_machine is None else solution.by_expert - solution.by_machine
    leverage = solution.leverage[at] ** 2
    weighted = design.weight[at, None] * leverage
    answers = np.count_nonzero(leverage, axis=0).astype(np.float64)
    label = sample.known[at] @ weighted / weighted.sum(axis=0)
    part = design.unit[at, None] * weighted
    # As many as they are worth (Kish 1965): the coefficient of a small group rests on the few answers in it.
    worth = weighted.sum(axis=0) ** 2 / (weighted**2).sum(axis=0)
    either_way = (solution.leverage < 0).any(axis=0) & (solution.leverage > 0).any(axis=0)
    even = either_way & (answers * np.minimum(label, 1 - label) >= FEWEST_OF_A_KIND)
    freedom = np.where(even, worth - 1, satterthwaite(part.sum(axis=0), (part**2).sum(axis=0)))
    if cluster is not None and wider:
        freedom = np.minimum(freedom, len(np.unique(cluster)) - 1)
    return Precision(
        design.variance(residual),
        (design.unit[:, None] * solution.leverage**2).sum(axis=0) / len(design) ** 2,
        _of_the_corpus(solution, sample, residual, cluster) if wider else np.zeros(len(solution.value)),
        answers,
        label,
        np.maximum(freedom, 1.0),
    )


def satterthwaite(total: Floats, squares: Floats) -> Floats:
    """(C,) degrees of freedom, at least 1, from the sum of what the answers add and the sum of its squares."""
    freedom = np.divide(total**2, squares, out=np.full_like(total, np.inf), where=squares > 0)
    # Infinite where all documents were drawn, and nothing is left to chance.
    return np.asarray(np.maximum(freedom - 1, 1.0))


def _of_the_corpus(solution: Solution, sample: Sample, residual: Floats, cluster: Ints | None) -> Floats:
    """(C,) variance of the figures that answers to all documents would give.

    Documents of a cluster add their products, each with the machine's part for those without an answer; clusters can
    only widen an interval.
    """
    d, n = sample.design.weight, len(sample.design)
    alone = d @ solution.by_expert**2
    if cluster is not None:
        score = d[:, None] * residual
        score = score if solution.by_machine is None else score + solution.by_machine
        alone = alone + np.maximum(_sums(score, cluster) - (score**2).sum(axis=0), 0)
    return np.asarray(alone / n**2)


def _sums(score: Floats, cluster: Ints) -> Floats:
    """(C,) sum of the squared totals of the clusters."""
    totals = np.stack([np.bincount(cluster, weights=column) for column in score.T])
    return np.asarray((totals**2).sum(axis=1))


def estimates(
    solution: Solution, sample: Sample, question: Question, wider: bool, cluster: Ints | None = None
) -> list[Estimate]:
    """Returns the figures of `experts_only`, `dsl` or `ppi` with their intervals; arguments as of `precision`."""
    figure = solution.of(question.contrast)
    found = precision(figure, sample, wider, cluster)
    below = above = found.half_width()
    if question.shares and solution.skewed:
        below, above = _of_combinations(solution.value, precision(solution, sample, wider, cluster), found, question)
    return _listed(figure.value, below, above, np.sqrt(found.variance()), found.freedom)


def _of_combinations(
    share: Floats, of_shares: Precision, of_figures: Precision, question: Question
) -> tuple[Floats, Floats]:
    """How far (C,) the intervals of combinations of shares reach below, and above.

    As far as the root of the sum of the squares that the shares' own intervals do, if the shares were independent; else
    in proportion to the standard errors.
    """
    low, high = of_shares.of_shares(share)
    up, down = np.maximum(question.contrast, 0) ** 2, np.minimum(question.contrast, 0) ** 2
    independent = (up + down) @ of_shares.variance()
    dependence = np.divide(of_figures.variance(), independent, out=np.ones_like(independent), where=independent > 0)
    below = dependence * (up @ (share - low) ** 2 + down @ (high - share) ** 2)
    above = dependence * (up @ (high - share) ** 2 + down @ (share - low) ** 2)
    return np.sqrt(below), np.sqrt(above)


def naive_estimates(solution: Solution, question: Question, cluster: Ints | None = None) -> list[Estimate]:
    """Returns the figures of a study that takes the machine's labels for answers to all documents.

    Their intervals are those of statsmodels' HC0, or cluster-robust, with normal quantiles.

    Args:
        solution: Of `naive`.
        question: The figures.
        cluster: (N,) the cluster of each document, 0 to G-1.
    """
    figure = solution.of(question.contrast)
    score = figure.by_expert
    total = (score**2).sum(axis=0) if cluster is None else _sums(score, cluster)
    error = np.sqrt(total) / len(score)
    half = student.ppf((1 + LEVEL) / 2, np.inf) * error
    return _listed(figure.value, half, half, error, np.full_like(error, np.inf))


def _listed(value: Floats, below: Floats, above: Floats, error: Floats, freedom: Floats) -> list[Estimate]:
    found = []
    for middle, down, up, spread, df in zip(value, below, above, error, freedom, strict=True):
        known = float(df) if np.isfinite(df) else None
        found.append(Estimate(float(middle), float(middle - down), float(middle + up), float(spread), known))
    return found
