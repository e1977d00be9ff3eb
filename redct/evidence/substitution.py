"""Whether a machine may stand in for an expert: the alternative annotator test, and how often experts agree."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import false_discovery_control, ttest_1samp

from redct.evidence.resampling import Interval, Units, intervals

Floats = npt.NDArray[np.float64]

FEWEST_DOCUMENTS: Final = 30
"""Documents that an annotator must have in common with others; the test's t statistic rests on so many."""
FEWEST_ANNOTATORS: Final = 3
EPSILON: Final = 0.2
"""How much less often than the expert the machine may be as good and still be worth it: 0.2 for experts, 0.15 for
trained and 0.1 for untrained annotators, as the paper proposes, since these cost less."""
_FALSE_DISCOVERIES: Final = 0.05
_ALL: Final = -1  # key of the mean over all annotators


@dataclass(frozen=True)
class AgainstAnnotator:
    """The machine in the place of one annotator.

    Args:
        annotator: Who.
        documents: How many that annotator, another one and the machine labeled.
        advantage: Share of them on which the machine agrees with the other annotators at least as well; its interval is
            a bootstrap over documents.
        p_value: Of the paired, one-sided t test that its advantage falls short of the annotator's by epsilon or more.
        wins: Whether that is rejected, with the false discovery rate over all annotators at 0.05
            (Benjamini & Yekutieli).
    """

    annotator: str
    documents: int
    advantage: Interval
    p_value: float
    wins: bool


@dataclass(frozen=True)
class Substitution:
    """The outcome of the test; plain values only.

    Args:
        winning_rate: Share of annotators whom the machine could replace, omega.
        advantage: Mean of its advantages, by which machines are compared; resamples draw documents, each with the
            labels of all annotators.
        passes: Whether omega is at least a half: then the machine may stand in for an annotator.
        epsilon: The cost-benefit allowance.
        annotators: Each annotator with at least 30 documents.
        left_out: Annotators with fewer, and with how many.
    """

    winning_rate: float
    advantage: Interval
    passes: bool
    epsilon: float
    annotators: list[AgainstAnnotator]
    left_out: dict[str, int]


def stand_in_test(
    votes: Mapping[str, Mapping[str, str]],
    machine: Mapping[str, str],
    epsilon: float = EPSILON,
    resamples: int = 2000,
    seed: int = 0,
) -> Substitution | None:
    """The test of Calderon, Reichart & Dror (2025), The Alternative Annotator Test for LLM-as-a-Judge.

    Each annotator in turn is left out. On each document, the machine and the annotator are scored by the share of the
    remaining annotators who say the same; the machine has the advantage where its score is at least as high, and
    likewise the annotator. A one-sided t test asks whether the annotator has it less than epsilon more often.

    Args:
        votes: Of each document, the label that each annotator gave it.
        machine: Its label of each document, of which it must not have seen these; documents without one are left out.
        epsilon: See `EPSILON`.
        resamples: Number of bootstrap samples.
        seed: Of the resampling.

    Returns:
        The outcome; None where fewer than 3 annotators have labels in common, or none has enough.
    """
    shared = {document: each for document, each in votes.items() if len(each) > 1 and document in machine}
    names = sorted({name for each in shared.values() for name in each})
    if len(names) < FEWEST_ANNOTATORS:
        return None
    pairs = np.stack([_advantages(name, shared, machine) for name in names], axis=1)
    documents = np.isfinite(pairs[:, :, 0]).sum(axis=0)
    enough = np.flatnonzero(documents >= FEWEST_DOCUMENTS)
    if not len(enough):
        return None
    p_values = [_p_value(each[np.isfinite(each)], epsilon) for each in (pairs[:, enough, 1] - pairs[:, enough, 0]).T]
    wins = false_discovery_control(p_values, method="by") <= _FALSE_DISCOVERIES
    advantage = _resampled(pairs[:, enough, 0], resamples, seed)
    against = [
        AgainstAnnotator(names[j], int(documents[j]), advantage[n], p_values[n], bool(wins[n]))
        for n, j in enumerate(enough)
    ]
    rate = float(np.mean(wins))
    left_out = {name: int(n) for name, n in zip(names, documents, strict=True) if n < FEWEST_DOCUMENTS}
    return Substitution(rate, advantage[_ALL], rate >= 0.5, epsilon, against, left_out)


def _advantages(name: str, votes: Mapping[str, Mapping[str, str]], machine: Mapping[str, str]) -> Floats:
    """(D, 2) whether the machine and whether an annotator has the advantage; nan where the annotator gave no label."""
    rows = []
    for document, each in votes.items():
        others = [label for who, label in each.items() if who != name]
        by_machine, by_annotator = others.count(machine[document]), others.count(each.get(name, ""))
        known = name in each
        rows.append((by_machine >= by_annotator, by_annotator >= by_machine) if known else (np.nan, np.nan))
    return np.array(rows, dtype=np.float64)


def _resampled(advantage: Floats, resamples: int, seed: int) -> dict[int, Interval]:
    """Intervals of the J annotators' means of (D, J) advantages, nan where there is none, and of the mean of these."""
    rows, count = np.unique(advantage, axis=0, return_counts=True)
    known, has = np.isfinite(rows).astype(np.float64), np.nan_to_num(rows)

    def statistic(times: Floats) -> dict[int, Floats]:
        counted = times * count
        with np.errstate(invalid="ignore"):  # a resample may lack an annotator
            means = (counted @ has) / (counted @ known)
        return {_ALL: means.mean(axis=1), **dict(enumerate(means.T))}

    return intervals(Units(count, np.zeros(len(count), dtype=np.int64)), statistic, resamples, seed)


def _p_value(difference: Floats, epsilon: float) -> float:
    if np.ptp(difference) == 0:  # no spread, no t
        return 0.0 if difference[0] < epsilon else 1.0
    return float(ttest_1samp(difference, epsilon, alternative="less").pvalue)


@dataclass(frozen=True)
class Ceiling:
    """How often somebody says what an expert says, on documents that several experts labeled.

    Args:
        documents: Those with labels of two or more experts, and of the machine.
        experts: Share of pairs of experts who say the same, in the mean over documents: no machine can be expected to
            agree with a single expert more often than experts do.
        machine: Share of experts who say what the machine says, in the mean over documents.
        difference: The machine's share minus the experts'.
    """

    documents: int
    experts: Interval
    machine: Interval
    difference: Interval


def human_ceiling(
    votes: Mapping[str, Mapping[str, str]], machine: Mapping[str, str], resamples: int = 2000, seed: int = 0
) -> Ceiling | None:
    """Compares how often experts agree with each other and with a machine, on the same documents.

    Args:
        votes: Of each document, the label that each expert gave it.
        machine: Its label of each document; documents without one are left out.
        resamples: Number of bootstrap samples.
        seed: Of the resampling.

    Returns:
        The comparison; None where no document has labels of two experts and the machine.
    """
    rows = []
    for document, each in votes.items():
        if len(each) > 1 and document in machine:
            counts = np.array(list(Counter(each.values()).values()))
            same = float((counts * (counts - 1)).sum() / (len(each) * (len(each) - 1)))
            rows.append((same, sum(label == machine[document] for label in each.values()) / len(each)))
    if not rows:
        return None
    shares, count = np.unique(rows, axis=0, return_counts=True)
    units = Units(count, np.zeros(len(count), dtype=np.int64))

    def statistic(times: Floats) -> dict[str, Floats]:
        counted = times * count
        experts, by_machine = (counted @ shares / counted.sum(axis=1, keepdims=True)).T
        return {"experts": experts, "machine": by_machine, "difference": by_machine - experts}

    found = intervals(units, statistic, resamples, seed)
    return Ceiling(len(rows), found["experts"], found["machine"], found["difference"])
