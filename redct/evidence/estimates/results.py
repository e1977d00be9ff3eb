"""All estimators side by side, and what to conclude from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.errors import InputError
from redct.evidence.estimates.estimators import dsl, experts_only, naive, ppi
from redct.evidence.estimates.intervals import Estimate, estimates, naive_estimates
from redct.evidence.estimates.questions import FEWEST_ANSWERS, Question
from redct.evidence.estimates.sample import Design, Sample

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

OTHERS: Final = {"naive": naive, "experts only": experts_only, "DSL": dsl}
REPORTED: Final = "PPI++"
"""The column to report, whatever the figures are: the narrowest of several valid intervals would not be valid."""


@dataclass(frozen=True)
class Row:
    """A figure about a label, by every estimator.

    Args:
        label: The label.
        figure: What is estimated: a group's share, a difference or a term of a regression.
        answers: Answers that have a part in it.
        best: The estimate to report, that of PPI++.
        others: Those of naive, experts only and DSL; None where there is none, as a logistic regression may have no
            finite solution.
        gain: As many times more answers would experts alone need for the interval of PPI++; None where experts alone
            have no estimate.
    """

    label: str
    figure: str
    answers: int
    best: Estimate
    others: dict[str, Estimate | None]
    gain: float | None


def samples(design: Design, votes: Floats, machine: Floats) -> list[Sample]:
    """Returns a sample for each of K labels.

    Documents that the machine gave no label get its mean distribution: what stands there needs no truth, as answers
    correct it like all else.

    Args:
        design: Of the experts' documents.
        votes: (N, K) shares of the experts' votes; only rows of answered documents are read.
        machine: (N, K) label distributions, rows of nan where there is none.

    Raises:
        InputError: When the machine gave no label at all, or there are fewer than 10 answers.
    """
    if len(design.at) < FEWEST_ANSWERS:
        raise InputError(f"found {len(design.at)} answers of experts that count, expected {FEWEST_ANSWERS} or more")
    probs = known_probs(machine)
    said = known_probs(np.where(np.isnan(machine), np.nan, np.eye(probs.shape[1])[probs.argmax(axis=1)]))
    return [Sample(design, votes[:, k], probs[:, k], said[:, k]) for k in range(probs.shape[1])]


def known_probs(machine: npt.ArrayLike) -> Floats:
    """Returns (N, K) label distributions, with the mean distribution in rows of nan.

    Raises:
        InputError: When there are only rows of nan.
    """
    probs = np.array(machine, dtype=np.float64)
    none = np.isnan(probs).any(axis=1)
    if none.all():
        raise InputError("label store: no document has a label, only errors; expected labels to correct")
    probs[none] = probs[~none].mean(axis=0)
    return probs


def rows(label: str, sample: Sample, question: Question, wider: bool, cluster: Ints | None = None) -> list[Row]:
    """Answers a question about a label by every estimator.

    Args:
        label: Its name.
        sample: What machine and experts say of it.
        question: The figures.
        wider: Whether they are about a wider population, of which the corpus is a sample; else about the corpus. The
            naive interval always is about a wider one: about the corpus it would have no width.
        cluster: (N,) the cluster of each document, 0 to G-1, of which that population consists.

    Raises:
        InputError: When there is no estimate, as where terms of a regression cannot be told apart.
    """
    best = estimates(ppi(sample, question), sample, question, wider, cluster)
    others: dict[str, Sequence[Estimate | None]] = {}
    for name, estimator in OTHERS.items():
        try:
            solution = estimator(sample, question)
        except InputError:
            others[name] = [None] * len(best)
            continue
        if estimator is naive:
            others[name] = naive_estimates(solution, question, cluster)
        else:
            others[name] = estimates(solution, sample, question, wider, cluster)
    found = []
    for n, (figure, contrast) in enumerate(zip(question.names, question.contrast, strict=True)):
        part = (question.columns[sample.design.at] @ np.abs(contrast)) != 0
        each = {name: values[n] for name, values in others.items()}
        found.append(Row(label, figure, int(part.sum()), best[n], each, _gain(each["experts only"], best[n])))
    return found


def _gain(classical: Estimate | None, best: Estimate) -> float | None:
    """Ratio of their variances; 1 where nothing is left to chance."""
    if classical is None:
        return None
    return (classical.standard_error / best.standard_error) ** 2 if best.standard_error > 0 else 1.0


def conclusions(found: Sequence[Row], machine: str, shown: Callable[[Estimate], str]) -> list[str]:
    """Says in words which column to report, and where the machine alone would mislead.

    Args:
        found: All figures, at least one.
        machine: What labels the documents, in words.
        shown: Writes an estimate with its interval.
    """
    gains = [row.gain for row in found if row.gain is not None]
    lines = [f"report the column {REPORTED}: its 95 % intervals hold whatever {machine} gets wrong"]
    if gains:
        worth = f"an answer is worth {np.median(gains):.1f} answers without"
        lines[0] += f", and with {machine} {worth} (in the median of these figures)"
    trusted = [(row, row.others["naive"]) for row in found]
    wrong = [(row, said) for row, said in trusted if said and not row.best.low <= said.value <= row.best.high]
    if wrong:
        row, said = max(wrong, key=lambda each: abs(each[1].value - each[0].best.value))
        lines.append(
            f"{machine} alone misleads in {len(wrong)} of {len(found)} figures, most in '{row.label}, {row.figure}': "
            f"{shown(said)} instead of {shown(row.best)}"
        )
    else:
        lines.append(f"no figure of {machine} alone is outside these intervals; its own ones leave out its errors")
    return lines
