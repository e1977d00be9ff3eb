"""What another 100 answers are expected to bring, so that experts know when to stop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import hstack
from scipy.stats import norm
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from redct.folds import deal

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Features = Callable[[Ints], Any]
"""Gives the features (n, D), sparse or dense, of the documents at n positions: `embeddings.__getitem__`, say."""

MORE: Final = 100
FEWEST_ANSWERS: Final = 50
LITTLE_F1: Final = 0.01
LITTLE_POINTS: Final = 0.5
"""Less than both, and another 100 answers bring little: the last digits that a study reports."""

_LARGEST_SAMPLE: Final = 2000
_LARGEST_WIDTH: Final = 100
_SHARES: Final = np.linspace(0, 1, 5)
_FOLDS: Final = 5
_REPEATS: Final = 3
_RESAMPLES: Final = 500
_SMALLEST_TARGET: Final = 0.01  # a label of less probability would cost a row and change nothing
_HEAD_STARTS: Final = np.geomspace(0.1, 30, 6)  # n0 in multiples of the answers: from a steep curve to a straight line
_Z: Final = float(norm.ppf(0.975))


@dataclass(frozen=True)
class Curve:
    """How the macro-F1 of a light student grows with the experts' answers.

    Args:
        answered: n, answers there are.
        more: Answers that the forecast adds to them.
        sizes: (S,) answers that the student was trained with, ascending; fewer than n, as some are held out.
        scores: (S,) its macro-F1 on held-out answers, 0 to 1.
        now: Macro-F1 that the fitted curve has at n.
        then: The same at n + more.
        low: Lower end of the 95 % interval of the gain, then - now.
        high: Upper end.
    """

    answered: int
    more: int
    sizes: tuple[int, ...]
    scores: tuple[float, ...]
    now: float
    then: float
    low: float
    high: float

    @property
    def gain(self) -> float:
        """Macro-F1 that another `more` answers are expected to bring."""
        return self.then - self.now


def learning_curve(
    features: Features,
    llm_probs: npt.ArrayLike,
    answered: npt.ArrayLike,
    label: npt.ArrayLike,
    weight: npt.ArrayLike | None,
    seed: int,
    more: int = MORE,
) -> Curve | None:
    """Forecasts the macro-F1 that another 100 answers bring, from what the answers so far brought.

    A light student stands in for the edge classifier, which would take hours: scikit-learn's multinomial logistic
    regression on the given features, 100 columns of them at most (truncated SVD). Its level is not the classifier's;
    what counts is how it grows. It is trained as `fit` trains: on the LLM's distributions, which answers replace,
    every document with weight 1. At most 2,000 unanswered documents stand for all of them, by weight.

    By 5-fold cross-validation, three times over, it is trained with none, 1/4, 1/2, 3/4 and all of the answers of the
    other folds and judged on the fold left out. To its macro-F1 (mean over the labels that were answered) a curve
    a - b (n + n0)^-1/2 is fitted by least squares: a power law (Figueroa et al. 2012, Predicting sample size required
    for classification performance, BMC Med Inform Decis Mak 12:8) with a head start n0, the answers that the LLM's
    labels are worth (Hernandez et al. 2021, Scaling Laws for Transfer). Where n0 is large the curve is a straight line:
    without it the forecast falls short where answers mend what the LLM keeps getting wrong. Where answers do not help
    the curve is flat, or falls. The interval is of the percentile bootstrap over the judged documents and over the
    three repetitions; in simulations it covered the true gain in 9 of 10 studies, with 60 to 100 answers in 8 of 10.

    Args:
        features: Gives features by position; only called with documents that serve.
        llm_probs: (N, K) the LLM's distributions, nan where it gave none.
        answered: (n,) positions of the answered documents.
        label: (n,) the experts' labels, 0 to K-1.
        weight: (n,) weight of each answer in an estimate for the whole corpus; None, or a nan among them, where
            there is none: then all count alike.
        seed: Of everything random.
        more: Answers to add.

    Returns:
        The curve; None with fewer than 50 answers, which are too few to tell.
    """
    at, right, probs = np.asarray(answered), np.asarray(label, dtype=np.int64), np.asarray(llm_probs, dtype=np.float64)
    n = len(at)
    if n < FEWEST_ANSWERS:
        return None
    rng = np.random.default_rng(seed)
    unanswered = np.setdiff1d(np.flatnonzero(~np.isnan(probs).any(axis=1)), at)
    sample = rng.permutation(unanswered)[:_LARGEST_SAMPLE]
    rows = np.concatenate([at, sample])
    weights = np.ones(len(rows))
    weights[n:] = len(unanswered) / max(len(sample), 1)
    with threadpool_limits(1):  # the matrices are small: more threads only wait for each other, for long on busy cores
        student = _Student(_reduced(features(rows), seed), probs[rows], weights)
        predicted = _held_out(student, right, rng)
    sizes = np.round(_SHARES * n * (1 - 1 / _FOLDS)).astype(np.int64)
    scores = _resampled_scores(right, predicted, _known(weight, n), rng)
    now, then = _extrapolate(sizes, scores, np.array([n, n + more])).T
    low, high = np.quantile(then[1:] - now[1:], (0.025, 0.975))
    points = tuple(sizes.tolist()), tuple(scores[0].tolist())
    return Curve(n, more, *points, float(now[0]), float(then[0]), float(low), float(high))


def text_features(texts: Sequence[str]) -> Any:  # noqa: ANN401 - scipy has no types
    """Returns (N, 32768) sparse TF-IDF of words (1 and 2) and characters (3 to 5), hashed, where no embeddings are.

    Args:
        texts: N texts, N >= 1.
    """
    kinds = []
    for analyzer, ngrams in (("word", (1, 2)), ("char_wb", (3, 5))):
        hashing = HashingVectorizer(
            analyzer=analyzer, ngram_range=ngrams, n_features=2**14, alternate_sign=False, norm=None
        )
        kinds.append(TfidfTransformer(sublinear_tf=True).fit_transform(hashing.transform(texts)))
    return hstack(kinds, format="csr")


def prevalence_forecast(
    standard_error: npt.ArrayLike, answered: int, corpus: int, more: int = MORE
) -> tuple[Floats, Floats]:
    """Half-widths of the 95 % intervals of label shares, now and with more answers chosen as the ones so far.

    The variance of a mean of n out of N documents falls as 1/n - 1/N (Cochran 1977, Sampling Techniques, section 2.6).

    Args:
        standard_error: (K,) of the shares now; nan where there is no valid estimate, and so in the result.
        answered: n, documents that were answered, at least 1.
        corpus: N, at least n.
        more: Answers to add; at N all is known.

    Returns:
        (K,) half-widths now, and (K,) then.
    """
    now = _Z * np.asarray(standard_error, dtype=np.float64)
    variance_now, variance_then = 1 / answered - 1 / corpus, 1 / min(answered + more, corpus) - 1 / corpus
    return now, now * np.sqrt(variance_then / variance_now if variance_now > 0 else 0.0)


def notes(
    answered: int,
    curve: Curve | None,
    labels: Sequence[str],
    prevalence: tuple[Floats, Floats] | None,
    more: int = MORE,
) -> list[str]:
    """Says what another 100 answers are expected to bring, and whether that is little.

    Little is a gain of macro-F1 below 0.01 while no label's half-width falls by 0.5 points or more.

    Args:
        answered: Documents that were answered.
        curve: Of `learning_curve`.
        labels: The K labels.
        prevalence: (K,) and (K,) of `prevalence_forecast`; None where no valid estimate can be made.
        more: Answers that both forecasts add.
    """
    lines = [f"another {more} answers: {_score_note(answered, curve)}"]
    falls = np.array([np.nan])
    if prevalence is not None and not np.isnan(prevalence[0]).all():
        now, then = (100 * half_width for half_width in prevalence)
        falls, widest = now - then, int(np.nanargmax(now))
        which = f"prevalence of {labels[widest]!r}, the least certain"
        lines.append(f"another {more} answers: {which}, +-{now[widest]:.1f} -> +-{then[widest]:.1f} points")
    if (falls >= LITTLE_POINTS).any() or (curve is not None and curve.gain >= LITTLE_F1):
        lines.append(f"another {more} answers are likely worth it")
    elif curve is not None:
        bounds = f"less than {LITTLE_F1:+} macro-F1, and no prevalence gets {LITTLE_POINTS} points narrower"
        lines.append(f"little to gain from another {more} answers: {bounds}")
    return lines


def _score_note(answered: int, curve: Curve | None) -> str:
    if curve is None:
        return f"too few answers to tell what they bring to training ({answered}, expected {FEWEST_ANSWERS} or more)"
    gain = f"{curve.gain:+.3f}, 95 % interval {curve.low:+.3f} to {curve.high:+.3f}"
    growth = f"macro-F1 {curve.now:.3f} -> {curve.then:.3f} ({gain})"
    return f"{growth} of a light student, which stands in for the edge classifier"


class _Student:
    """The light student: trained on distributions of some of M documents, it predicts labels of others.

    Args:
        features: (M, D).
        llm: (M, K), nan where there is none.
        weight: (M,) above 0.
    """

    def __init__(self, features: Floats, llm: Floats, weight: Floats) -> None:
        # The sum of the weights, against which the penalty stands, is then the number of documents.
        self.features, self.llm, self.weight = features, llm, weight / weight.mean()

    def predict(self, given: Ints, label: Ints, held_out: Ints) -> Ints:
        """Returns the labels of held-out documents, when some others have experts' labels instead of the LLM's."""
        target = self.llm.copy()
        target[held_out] = np.nan
        target[given] = np.eye(target.shape[1])[label]
        # A row for each label that a distribution has; nan is not larger than anything.
        rows, labels = np.nonzero(target > _SMALLEST_TARGET)
        if len(np.unique(labels)) < 2:
            return np.full(len(held_out), labels[0] if len(labels) else -1)  # no label is wrong
        model = LogisticRegression(C=10, tol=1e-3, max_iter=1000)
        model.fit(self.features[rows], labels, self.weight[rows] * target[rows, labels])
        return np.asarray(model.predict(self.features[held_out]), dtype=np.int64)


def _reduced(features: Any, seed: int) -> Floats:  # noqa: ANN401 - sparse or dense
    """Rows of unit length, with few enough columns for dozens of students in a few seconds."""
    if features.shape[1] > _LARGEST_WIDTH:
        width = min(_LARGEST_WIDTH, features.shape[0])
        features = TruncatedSVD(width, n_iter=2, random_state=seed).fit_transform(features)
    dense = features.toarray() if hasattr(features, "toarray") else features
    return np.asarray(normalize(dense), dtype=np.float64)


def _held_out(student: _Student, label: Ints, rng: np.random.Generator) -> Ints:
    """(R, S, n) predictions of students that saw a share of the other folds' answers; the first n rows are answered."""
    predicted = np.empty((_REPEATS, len(_SHARES), len(label)), dtype=np.int64)
    for repeat in range(_REPEATS):
        fold, order = deal(label, _FOLDS, rng), rng.permutation(len(label))
        for number in range(_FOLDS):
            out, others = np.flatnonzero(fold == number), order[fold[order] != number]
            for s, share in enumerate(_SHARES):
                given = others[: round(share * len(others))]
                predicted[repeat, s, out] = student.predict(given, label[given], out)
    return predicted


def _known(weight: npt.ArrayLike | None, n: int) -> Floats:
    values = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    return np.ones(n) if np.isnan(values).any() else values


def _resampled_scores(label: Ints, predicted: Ints, weight: Floats, rng: np.random.Generator) -> Floats:
    """(1 + B, S) macro-F1: of the documents as they are, and of B bootstrap samples of documents and repetitions."""
    repeats, _, n = predicted.shape
    documents = np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), _RESAMPLES)])
    shares = np.full(repeats, 1 / repeats)
    repetitions = np.vstack([shares, rng.multinomial(repeats, shares, _RESAMPLES) / repeats])
    scores: Floats = np.einsum("br,rsb->bs", repetitions, _macro_f1(label, predicted, documents * weight))
    return scores


def _macro_f1(label: Ints, predicted: Ints, weight: Floats) -> Floats:
    """(R, S, B) mean F1 over the labels that occur, of predictions (R, S, n) with B weightings (B, n)."""
    occurring = np.unique(label)
    total = np.zeros((*predicted.shape[:-1], len(weight)))
    for k in occurring:
        said, true = (predicted == k).astype(np.float64), (label == k).astype(np.float64)
        both = (said * true) @ weight.T
        either = said @ weight.T + true @ weight.T
        total += np.divide(2 * both, either, out=np.zeros_like(both), where=either > 0)
    return total / len(occurring)


def _extrapolate(sizes: Ints, scores: Floats, at: Ints) -> Floats:
    """(B, A) the values at A sizes of the curves a - b (n + n0)^-1/2 that fit scores (B, S) best.

    With n0 given the curve is a straight line in (n + n0)^-1/2, so each n0 of a grid has an exact solution. A nearly
    straight curve ends far above 1; its forecast may not.
    """
    mean = scores.mean(axis=1)
    values, least = np.empty((len(scores), len(at))), np.full(len(scores), np.inf)
    for n0 in _HEAD_STARTS * sizes.max():
        x, beyond = (sizes + n0) ** -0.5, (at + n0) ** -0.5
        centred = x - x.mean()
        b = -(scores @ centred) / (centred @ centred)
        a = mean + b * x.mean()
        error = ((a[:, None] - b[:, None] * x - scores) ** 2).sum(axis=1)
        better = error < least
        least[better] = error[better]
        values[better] = (a[:, None] - b[:, None] * beyond)[better]
    return np.clip(values, 0, 1)
