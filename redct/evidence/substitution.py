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


@dataclass(frozen=True)
class AgainstAnnotator:
    """The machine in the place of one annotator.

    Args:
        annotator: Who.
        documents: How many that annotator, another one and the machine labeled.
        advantage: Share of them on which the machine agrees with the other annotators at least as well.
        p_value: Of the t test that its advantage falls short of the annotator's by epsilon or more.
        wins: Whether that is rejected, with the false discovery rate over all annotators at 0.05
            (Benjamini & Yekutieli).
    """

    annotator: str
    documents: int
    advantage: float
    p_value: float
    wins: bool


@dataclass(frozen=True)
class Substitution:
    """The outcome of the test; plain values only.

    Args:
        winning_rate: Share of annotators whom the machine could replace, omega.
        advantage: Mean of its advantages, by which machines are compared.
        passes: Whether omega is at least a half: then the machine may stand in for an annotator.
        epsilon: The cost-benefit allowance.
        annotators: Each annotator with at least 30 documents.
        left_out: Annotators with fewer, and with how many.
    """

    winning_rate: float
    advantage: float
    passes: bool
    epsilon: float
    annotators: list[AgainstAnnotator]
    left_out: dict[str, int]


def stand_in_test(
    votes: Mapping[str, Mapping[str, str]], machine: Mapping[str, str], epsilon: float = EPSILON
) -> Substitution | None:
    """The test of Calderon, Reichart & Dror (2025), The Alternative Annotator Test for LLM-as-a-Judge.

    Each annotator in turn is left out. On each document, the machine and the annotator are scored by the share of the
    remaining annotators who say the same; the machine has the advantage where its score is at least as high, and
    likewise the annotator. A one-sided t test asks whether the annotator has it less than epsilon more often.

    Args:
        votes: Of each document, the label that each annotator gave it.
        machine: Its label of each document; documents without one are left out.
        epsilon: See `EPSILON`.

    Returns:
        The outcome; None where fewer than 3 annotators have labels in common, or none has enough.
    """
    shared = {document: each for document, each in votes.items() if len(each) > 1 and document in machine}
    names = sorted({name for each in shared.values() for name in each})
    if len(names) < FEWEST_ANNOTATORS:
        return None
    found = {name: _advantages(name, shared, machine) for name in names}
    enough = {name: pair for name, pair in found.items() if len(pair) >= FEWEST_DOCUMENTS}
    if not enough:
        return None
    p_values = [_p_value(pair[:, 1] - pair[:, 0], epsilon) for pair in enough.values()]
    wins = false_discovery_control(p_values, method="by") <= _FALSE_DISCOVERIES
    against = [
        AgainstAnnotator(name, len(pair), float(pair[:, 0].mean()), p_value, bool(won))
        for (name, pair), p_value, won in zip(enough.items(), p_values, wins, strict=True)
    ]
    rate = float(np.mean(wins))
    left_out = {name: len(pair) for name, pair in found.items() if name not in enough}
    return Substitution(rate, float(np.mean([a.advantage for a in against])), rate >= 0.5, epsilon, against, left_out)


def _advantages(
    name: str, votes: Mapping[str, Mapping[str, str]], machine: Mapping[str, str]
) -> npt.NDArray[np.float64]:
    """(D, 2) of each document of an annotator, whether the machine and whether the annotator has the advantage."""
    rows = []
    for document, each in votes.items():
        if name in each:
            others = [label for who, label in each.items() if who != name]
            by_machine, by_annotator = others.count(machine[document]), others.count(each[name])
            rows.append((by_machine >= by_annotator, by_annotator >= by_machine))
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _p_value(difference: npt.NDArray[np.float64], epsilon: float) -> float:
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
