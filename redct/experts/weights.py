"""Weights that make the answers of one or several rounds stand for the whole corpus.

Round t by itself estimates the total of y over the corpus without bias: the documents chosen before it count once,
those chosen in it 1/pi_t times. So does a mean of the rounds' estimates with shares w_t, as long as the shares do not
depend on the answers, and the errors of the rounds are uncorrelated, since each is 0 in the mean given all that was
known before. A document then weighs sum_t w_t a_t, where a_t is 1 if it was chosen before round t, 1/pi_t if it was
chosen in round t, and 0 otherwise. (Adding up 1/pi over rounds would count the corpus once per round.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from redct.experts.ledger import Ledger
from redct.experts.records import Round
from redct.experts.strategies import RANDOMISED

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Wave:
    """A round, over the N documents of the corpus.

    Args:
        inclusion: (N,) the probability to be chosen in it; nan for a document that could not be.
        stratum: (N,) the part that a document was drawn in, with a fixed number of documents for each.
        chosen: (N,) whether it was.
        randomised: Whether the documents were drawn by chance, with these probabilities.
    """

    inclusion: Floats
    stratum: Ints
    chosen: Mask
    randomised: bool


@dataclass(frozen=True)
class Weights:
    """How much each answer counts in an estimate about the corpus.

    Args:
        weight: (N,) 0 for documents without an answer; sum(weight * y) estimates the total of y. None where no
            valid estimate can be made.
        round_weight: (T,) the shares of the rounds; they sum to 1, or are all 0 where there are no weights.
        why: Why there are no weights; None where there are.
    """

    weight: Floats | None
    round_weight: Floats
    why: str | None = None


@dataclass(frozen=True)
class Estimate:
    """A mean over the corpus.

    Args:
        value: () or (C,), unbiased.
        standard_error: () or (C,); nan where there are too few answers to tell.
    """

    value: Floats
    standard_error: Floats


def waves_of(ledger: Ledger, rounds: Sequence[Round], ids: Sequence[str]) -> list[Wave]:
    """Reads rounds from the ledger.

    Args:
        ledger: Where they are recorded.
        rounds: In the order in which they were chosen.
        ids: The N documents of the corpus; others that were eligible once are left out.
    """
    position = {document: n for n, document in enumerate(ids)}
    waves = []
    for each in rounds:
        inclusion, stratum = np.full(len(ids), np.nan), np.zeros(len(ids), dtype=np.int64)
        for document, drawn in ledger.eligible(each).items():
            if document in position:
                inclusion[position[document]], stratum[position[document]] = drawn
        chosen = np.zeros(len(ids), dtype=np.bool_)
        chosen[[position[document] for document in each.ids if document in position]] = True
        waves.append(Wave(inclusion, stratum, chosen, each.strategy in RANDOMISED))
    return waves


def weigh(waves: Sequence[Wave], answered: Mask) -> Weights:
    """Weights of the answers, see above.

    Rounds count in proportion to their answers, which are as many as their documents once all are answered. A round
    counts 0 when it was not drawn by chance, or when some document of the corpus was neither possible in it nor
    chosen before it. Of the documents chosen, those with an answer stand for all of their round and stratum: answers
    are taken to be missing at random there, as when people are half through a random asking order.

    Args:
        waves: The T rounds, in order.
        answered: (N,) whether there is an answer that counts: not for a document that was skipped or flagged.
    """
    waves = _first_choices(waves)
    reasons = _unusable(waves, answered)
    usable = np.array([reason is None for reason in reasons], dtype=np.bool_)
    answers = np.array([(wave.chosen & answered).sum() for wave in waves])
    if not usable.any():
        said = list(dict.fromkeys(reason for reason in reasons if reason)) or ["no documents were chosen"]
        return Weights(None, np.zeros(len(waves)), "; ".join(said))
    round_weight = np.where(usable, answers, 0) / answers[usable].sum()
    weight = np.where(answered, _design(waves, round_weight), 0.0)
    for wave in waves:
        for group in _groups(np.flatnonzero(wave.chosen), wave.stratum, answered, 1):
            weight[group] *= len(group) / max(answered[group].sum(), 1)
    return Weights(weight, round_weight)


def mean(weights: Weights, waves: Sequence[Wave], answered: Mask, values: npt.ArrayLike) -> Estimate:
    """Mean of something over the corpus, and how far it may be off.

    Its variance is sum_t w_t^2 V_t, where V_t is Hájek's approximation for draws of high entropy (Hájek 1964; Berger
    1998, Rate of convergence for asymptotic variance of the Horvitz-Thompson estimator), summed over strata:
    n/(n-1) sum (1 - pi_i) (y_i/pi_i - B)^2 with B the mean of y_i/pi_i weighted by 1 - pi_i. Where only some of the
    chosen documents have answers, the variance of a simple random part of them is added (two-phase sampling,
    Särndal, Swensson & Wretman 1992, chapter 9). A stratum with one answer is taken together with the next.

    Args:
        weights: Of `weigh`, for the same waves and answers.
        waves: The T rounds, in order.
        answered: (N,) whether there is an answer that counts.
        values: (N,) or (N, C); only those of documents with an answer are read.

    Raises:
        ValueError: When there are no weights.
    """
    if weights.weight is None:
        raise ValueError(f"no estimate can be made: {weights.why}")
    given = np.asarray(values, dtype=np.float64)
    n = len(given)
    y = np.zeros((n, given[0].size))
    y[answered] = given[answered].reshape(-1, y.shape[1])
    waves = _first_choices(waves)
    design = _design(waves, weights.round_weight)
    variance = np.zeros(y.shape[1])
    for wave, share in zip(waves, weights.round_weight, strict=True):
        if share > 0:
            variance += share**2 * _of_the_draw(wave, answered, y)
        variance += _of_the_answers(wave, answered, design[:, None] * y)
    shape = given.shape[1:]
    value = weights.weight @ y / n
    return Estimate(value.reshape(shape), np.sqrt(variance).reshape(shape) / n)


def unit_variance(weights: Weights, waves: Sequence[Wave], answered: Mask) -> Floats:
    """How much each document adds to the variance of an estimated total, for every unit of its squared value.

    That is sum_t w_t^2 (1/pi_t - 1) over the rounds in which it could still be chosen (Poisson sampling: Särndal,
    Swensson & Wretman 1992, section 3.5), with pi_t times the share of the round that has answers in place of pi_t.
    Unlike the variance of `mean` it is known for every document, before anything is answered.

    Args:
        weights: Of `weigh`, for the same waves and answers.
        waves: The T rounds, in order.
        answered: (N,) whether there is an answer that counts.

    Returns:
        (N,) 0 or more.
    """
    found = np.zeros(len(answered))
    left = np.ones(len(answered), dtype=np.bool_)
    for wave, share in zip(_first_choices(waves), weights.round_weight, strict=True):
        if share > 0:
            reached = wave.inclusion[left] * answered[wave.chosen].mean()
            found[left] += share**2 * (1 / reached - 1)
        left &= ~wave.chosen
    return found


def _first_choices(waves: Sequence[Wave]) -> list[Wave]:
    """A document that is chosen again has its answer already, so only its first choice counts."""
    before = np.zeros(len(waves[0].chosen), dtype=np.bool_) if waves else np.zeros(0, dtype=np.bool_)
    found = []
    for wave in waves:
        found.append(Wave(wave.inclusion, wave.stratum, wave.chosen & ~before, wave.randomised))
        before = before | wave.chosen
    return found


def _unusable(waves: Sequence[Wave], answered: Mask) -> list[str | None]:
    """Why each round by itself gives no estimate; None where it does."""
    reasons: list[str | None] = []
    before = np.zeros(len(answered), dtype=np.bool_)
    silent = False  # a whole earlier round, for which no answer can stand
    for wave in waves:
        impossible = int((~before & ~(wave.inclusion > 0)).sum())
        unanswered = not (wave.chosen & answered).any()
        if not wave.randomised:
            reasons.append("the choice of documents was deterministic")
        elif impossible:
            reasons.append(f"{impossible} documents of the corpus could not be chosen")
        else:
            reasons.append("a round has no answers yet" if silent or unanswered else None)
        silent = silent or (unanswered and bool(wave.chosen.any()))
        before = before | wave.chosen
    return reasons


def _design(waves: Sequence[Wave], round_weight: Floats) -> Floats:
    """(N,) sum_t w_t a_t of the chosen documents, 0 for all others."""
    weight = np.zeros(len(waves[0].chosen))
    for t, wave in enumerate(waves):
        weight[wave.chosen] = round_weight[t + 1 :].sum()
        if round_weight[t] > 0:
            weight[wave.chosen] += round_weight[t] / wave.inclusion[wave.chosen]
    return weight


def _of_the_draw(wave: Wave, answered: Mask, y: Floats) -> Floats:
    """(C,) Hájek's variance of the total of 1/pi-weighted values; documents with pi = 1 have no part in it."""
    variance = np.zeros(y.shape[1])
    uncertain = np.flatnonzero(wave.chosen & (wave.inclusion < 1))
    for group in _groups(uncertain, wave.stratum, answered, 2):
        known = group[answered[group]]
        if len(known) < 2:
            return np.full(y.shape[1], np.nan)
        pi = wave.inclusion[known, None]
        expanded = y[known] / pi
        middle = ((1 - pi) * expanded).sum(axis=0) / (1 - pi).sum()
        spread = ((1 - pi) * (expanded - middle) ** 2).sum(axis=0)
        variance += len(group) / (len(known) - 1) * spread
    return variance


def _of_the_answers(wave: Wave, answered: Mask, z: Floats) -> Floats:
    """(C,) variance of the total of the chosen documents' z, of which only a simple random part is known."""
    variance = np.zeros(z.shape[1])
    for group in _groups(np.flatnonzero(wave.chosen), wave.stratum, answered, 2):
        known = group[answered[group]]
        if len(known) < len(group) and z[known].any():
            if len(known) < 2:
                return np.full(z.shape[1], np.nan)
            unknown = 1 - len(known) / len(group)
            variance += len(group) ** 2 * unknown * z[known].var(axis=0, ddof=1) / len(known)
    return variance


def _groups(chosen: Ints, stratum: Ints, answered: Mask, least: int) -> list[Ints]:
    """Documents by stratum; strata with fewer than `least` answers join the next one, the last the one before."""
    groups: list[Ints] = []
    short = np.empty(0, dtype=np.int64)
    for number in np.unique(stratum[chosen]):
        short = np.concatenate([short, chosen[stratum[chosen] == number]])
        if answered[short].sum() >= least:
            groups.append(short)
            short = short[:0]
    if len(short):
        groups.append(np.concatenate([groups.pop(), short]) if groups else short)
    return groups
