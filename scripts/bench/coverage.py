"""How often the 95 % intervals of `redct test` cover the truth, on simulated studies.

Two raters label 300 documents of three labels (60, 30 and 10 %); they err on the same hard documents, and their
probabilities are overconfident. The truth is the mean over 10 times 20,000 documents. Then the same with documents in
clusters of 5 that are alike, once taken into account and once not; and with documents sampled with unequal
probabilities that depend on how hard they are, once weighted and once not.

    python scripts/bench/coverage.py --studies 1000
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from redct.evidence import Design, Interval
from redct.evidence.comparison import Comparison, compare
from redct.evidence.probabilities import judge

SHARES = (0.6, 0.3, 0.1)
POPULATIONS, SIZE = 10, 20_000

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def probabilities(gold: Ints, hardness: Floats, skill: float, rng: np.random.Generator) -> Floats:
    """Returns label distributions of a rater, which know gold the less the harder a document is."""
    logits = rng.normal(size=(len(gold), len(SHARES)))
    logits[np.arange(len(gold)), gold] += skill * (1 - hardness)
    weights = np.exp(1.8 * logits)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def documents(n: int, rng: np.random.Generator, cluster: int = 1) -> tuple[Ints, list[Floats], Floats]:
    """Returns gold labels, the distributions of two raters, and how hard the documents are, alike in clusters."""
    gold = np.repeat(rng.choice(len(SHARES), n // cluster, p=SHARES), cluster)
    hardness = np.repeat(rng.random(n // cluster), cluster)
    return gold, [probabilities(gold, hardness, skill, rng) for skill in (3.5, 2.5)], hardness


def of_labels(gold: Ints, probs: list[Floats], design: Design, seed: int = 0, resamples: int = 2000) -> Comparison:
    """Compares the raters by their labels."""
    said = {name: each.argmax(axis=1) for name, each in zip("ab", probs, strict=True)}
    return compare(gold, said, len(SHARES), design, resamples, seed)


def shown(found: Comparison) -> dict[str, Interval]:
    """Returns the intervals that are looked at."""
    difference = found.differences[0].metrics
    return {
        **found.scores["a"],
        "recall of the rare label": found.classes["a"][2]["recall"],
        "precision of the rare label": found.classes["a"][2]["precision"],
        "difference of accuracy": difference["accuracy"],
        "difference of macro F1": difference["macro_f1"],
    }


def plain_study(n: int, seed: int) -> Iterator[tuple[str, Interval]]:
    """Yields the intervals of a study whose documents were drawn one by one."""
    gold, probs, _ = documents(n, np.random.default_rng(seed))
    yield from shown(of_labels(gold, probs, Design(), seed)).items()
    yield from judge(gold, probs[0], Design(), 1000, seed).metrics.items()


def clustered_study(n: int, seed: int) -> Iterator[tuple[str, Interval]]:
    """Yields the intervals of a study of clusters."""
    gold, probs, _ = documents(n, np.random.default_rng(seed), 5)
    for name, design in (("clusters", Design(cluster=np.arange(n) // 5)), ("clusters, ignored", Design())):
        found = shown(of_labels(gold, probs, design, seed))
        yield from ((f"{name}: {metric}", found[metric]) for metric in ("accuracy", "macro_f1"))


def weighted_study(n: int, seed: int) -> Iterator[tuple[str, Interval]]:
    """Yields the intervals of a study that has more hard documents than the corpus."""
    rng = np.random.default_rng(seed)
    gold, probs, hardness = documents(40 * n, rng)
    inclusion = (0.2 + hardness) / (0.2 + hardness).sum() * n
    chosen = np.flatnonzero(rng.random(len(gold)) < inclusion)
    for name, design in (("weighted", Design(weight=1 / inclusion[chosen])), ("unequal, not weighted", Design())):
        found = shown(of_labels(gold[chosen], [each[chosen] for each in probs], design, seed))
        yield from ((f"{name}: {metric}", found[metric]) for metric in ("accuracy", "macro_f1"))


def truths() -> dict[str, float]:
    """Returns what the intervals should cover."""
    sums = Counter[str]()
    for seed in range(POPULATIONS):
        gold, probs, _ = documents(SIZE, np.random.default_rng(10**6 + seed))
        found = {**shown(of_labels(gold, probs, Design(), resamples=1)), **judge(gold, probs[0], resamples=1).metrics}
        for name, interval in found.items():
            sums[name] += interval.value  # type: ignore[assignment] - a Counter of floats
    return {name: total / POPULATIONS for name, total in sums.items()}


def run(
    study: Callable[[int, int], Iterator[tuple[str, Interval]]], size: int, studies: int, truth: Mapping[str, float]
) -> None:
    """Prints coverage, mean width and the share of BCa of each interval over many studies."""
    covered, width, bca = Counter[str](), Counter[str](), Counter[str]()
    for seed in range(studies):
        for name, interval in study(size, seed):
            covered[name] += interval.low <= truth[name.rpartition(": ")[2]] <= interval.high
            width[name] += interval.high - interval.low  # type: ignore[assignment] - a Counter of floats
            bca[name] += interval.method == "bca"
    for name, times in covered.items():
        values = (truth[name.rpartition(": ")[2]], times / studies, width[name] / studies, bca[name] / studies)
        print(f"| {name} | {values[0]:.3f} | {values[1]:.1%} | {values[2]:.3f} | {values[3]:.0%} |", flush=True)


def main() -> None:
    """Runs the simulation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--documents", type=int, default=300)
    given = parser.parse_args()
    truth = truths()
    print("| interval of | truth | coverage | mean width | BCa |\n|---|---|---|---|---|")
    for study in (plain_study, clustered_study, weighted_study):
        run(study, given.documents, given.studies, truth)


if __name__ == "__main__":
    main()
