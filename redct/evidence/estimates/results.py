"""All estimators side by side, and what to conclude from them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.errors import InputError
from redct.evidence.estimates.estimators import dsl, experts_only, naive, ppi
from redct.evidence.estimates.intervals import Estimate, estimates, naive_estimates, precision
from redct.evidence.estimates.questions import FEWEST_ANSWERS, Question
from redct.evidence.estimates.sample import Design, Sample

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ESTIMATORS: Final = {"experts only": experts_only, "DSL": dsl, "PPI++": ppi}
REPORTED: Final = "PPI++"
NAIVE: Final = "naive"


@dataclass(frozen=True)
class Row:
    """A figure about a label, by every estimator.

    Args:
        label: The label.
        figure: What is estimated: a group's share, a difference or a term of a regression.
        share: Whether it is a share.
        answers: Answers that have a part in it.
        by: Each estimator's estimate: naive, experts only, DSL and PPI++.
        gain: As many times more answers would experts alone need for the interval of PPI++.
    """

    label: str
    figure: str
    share: bool
    answers: int
    by: dict[str, Estimate]
    gain: float


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
    by = {NAIVE: naive_estimates(naive(sample, question), cluster)}
    for name, estimator in ESTIMATORS.items():
        solution = estimator(sample, question)
        found = precision(solution, sample, wider, cluster)
        by[name] = estimates(solution, question, found)
    share = question.share or [False] * len(question.names)
    each = zip(question.names, share, found.answers.astype(int).tolist(), *by.values(), strict=True)
    return [
        Row(label, figure, is_share, n, dict(zip(by, found_by, strict=True)), _gain(*found_by))
        for figure, is_share, n, *found_by in each
    ]


def _gain(_: Estimate, classical: Estimate, __: Estimate, reported: Estimate) -> float:
    """Variance of the experts' estimate by that of PPI++; 1 where nothing is left to chance."""
    return (classical.standard_error / reported.standard_error) ** 2 if reported.standard_error > 0 else 1.0


def conclusions(found: Sequence[Row], machine: str, shown: Callable[[Estimate], str]) -> list[str]:
    """Says in words which column to report, and where the machine alone would mislead.

    Args:
        found: All figures, at least one.
        machine: What labels the documents, in words.
        shown: Writes an estimate with its interval.
    """
    gain, answers = float(np.median([row.gain for row in found])), max(row.answers for row in found)
    lines = [
        f"report the column {REPORTED}: its 95 % intervals hold whatever {machine} gets wrong, and {answers:,} answers "
        f"serve like {round(gain * answers):,} without it (in the median of these figures)"
    ]
    wrong = [row for row in found if not row.by[REPORTED].low <= row.by[NAIVE].value <= row.by[REPORTED].high]
    if wrong:
        worst = max(wrong, key=lambda row: abs(row.by[NAIVE].value - row.by[REPORTED].value))
        where, instead = f"{worst.label}, {worst.figure}", shown(worst.by[REPORTED])
        lines.append(
            f"{machine} alone misleads in {len(wrong)} of {len(found)} figures, most in {where!r}: "
            f"{shown(worst.by[NAIVE])} instead of {instead}"
        )
    else:
        lines.append(f"no figure of {machine} alone is outside these intervals, but its own intervals are too narrow")
    return lines
