"""How often the intervals of `redct estimate` hold, how wide they are, and how good its plans, by simulated studies.

A corpus of 10,000 documents is made up for each study: a group g (40 %), a covariate x, a label, and a language model
that is right on about 85 % and errs towards the label in group g and with larger x. Some hundred documents are drawn
for experts, as `redct sample` draws them. Asked are the label's share and the difference between the groups, about the
corpus at hand; and the coefficient of x in a linear and a logistic regression on g and x, about the population. Among
the machines is a classifier trained on the same experts' answers: judged on its own training documents, which is
wrong, and cross-fitted.

    python scripts/bench/estimates.py --studies 1000
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from redct.errors import InputError
from redct.evidence.estimates import (
    Design,
    Question,
    Sample,
    dsl,
    estimates,
    experts_only,
    naive,
    naive_estimates,
    overall,
    ppi,
    precision,
)
from redct.evidence.estimates.planner import after, before
from redct.experts import Pool, Wave, choose
from redct.folds import deal

Floats = npt.NDArray[np.float64]

SIZE = 10_000
ESTIMATORS = {"naive": naive, "experts only": experts_only, "DSL": dsl, "PPI++": ppi}
FIGURES = ("share", "difference", "linear", "logistic")
HEAD = (
    "machine | draw | answers | estimator | " + " | ".join(f"{name}: covered, %" for name in FIGURES) + " | least gain"
)


@dataclass(frozen=True)
class World:
    """What documents are like.

    Args:
        intercept: Log odds of the label where all else is 0.
        signal: How clearly the language model sees the label.
    """

    intercept: float = -0.5
    signal: float = 1.0

    def columns(self, rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
        """Returns (n, 3) intercept, group and covariate, and (n,) labels."""
        group = (rng.random(n) < 0.4).astype(float)
        x = rng.normal(size=n) + 0.3 * group
        label = rng.random(n) < expit(self.intercept + 0.8 * group + 0.5 * x)
        return np.column_stack([np.ones(n), group, x]), label.astype(float)

    def machine(self, rng: np.random.Generator, columns: Floats, label: Floats) -> Floats:
        """Returns (n,) the model's probabilities, too sure of themselves."""
        seen = self.signal * (2 * label - 1) + 0.4 * columns[:, 1] + 0.2 * columns[:, 2]
        return np.asarray(expit(1.8 * (seen + rng.normal(size=len(label)))))

    def population(self) -> tuple[float, float]:
        """Returns the linear and logistic coefficient of x in the population."""
        columns, label = self.columns(np.random.default_rng(0), 4_000_000)
        return float(np.linalg.lstsq(columns, label, rcond=None)[0][2]), 0.5


def draw(way: str, probs: Floats, n: int, seed: int) -> list[Wave]:
    """Draws n documents, in `two rounds` by halves."""
    both = np.column_stack([1 - probs, probs])
    margin = np.abs(np.diff(np.log(np.clip(both, 1e-12, 1)), axis=1)[:, 0])
    pool = Pool((probs > 0.5).astype(np.int64), both, margin)
    strategy, sizes = ("margin_randomised", (n // 2, n - n // 2)) if way == "two rounds" else (way, (n,))
    waves, left = [], np.arange(len(probs))
    for number, size in enumerate(sizes):
        choice = choose(strategy, pool.rows(left), size, 2 * seed + number)
        inclusion, stratum, chosen = (
            np.full(len(probs), np.nan),
            np.zeros(len(probs), np.int64),
            np.zeros(len(probs), bool),
        )
        inclusion[left], stratum[left] = choice.inclusion, choice.strata()
        chosen[left[choice.chosen]] = True
        waves.append(Wave(inclusion, stratum, chosen, True))
        left = left[~chosen[left]]
    return waves


def classifier(rng: np.random.Generator, design: Design, label: Floats, columns: Floats, folds: int) -> Floats:
    """Returns (n,) probabilities of a classifier trained on the answers; with one fold judged on its own documents."""
    signal = 0.75 * (2 * label - 1)[:, None] + 0.4 * columns[:, 2:] + rng.normal(size=(len(label), 2))
    features = np.hstack([signal, rng.normal(size=(len(label), 38))])
    at, probs = design.at, np.empty(len(label))
    fold = deal(np.where(design.answered, label, -1), folds, rng)
    for number in range(folds):
        train = at[fold[at] != number] if folds > 1 else at
        model = LogisticRegression(C=1.0).fit(features[train], label[train], design.weight[train])
        out = fold == number
        probs[out] = model.predict_proba(features[out])[:, 1]
    return probs


def figures(columns: Floats) -> Iterator[tuple[Question, int, bool]]:
    """Yields questions, which figure of it is meant, and whether it is about the population."""
    group = columns[:, 1] > 0
    yield overall(len(columns)), 0, False
    yield (
        Question(["difference"], np.column_stack([~group, group]).astype(float), np.array([[-1.0, 1.0]]), True),
        0,
        False,
    )
    for link in ("linear", "logistic"):
        yield Question(["c", "g", "x"], columns, np.eye(3), False, link), 2, True  # type: ignore[arg-type]


def judge(sample: Sample, columns: Floats, truth: list[float]) -> dict[str, list[tuple[float, float]]]:
    """Returns whether each estimator's intervals hold, and their standard errors; nan where there is none."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for (question, at, wider), true in zip(figures(columns), truth, strict=True):
        for name, estimator in ESTIMATORS.items():
            try:
                solution = estimator(sample, question)
            except InputError:
                found[name].append((np.nan, np.nan))
                continue
            trusting = name == "naive"
            each = naive_estimates(solution, question) if trusting else estimates(solution, sample, question, wider)
            found[name].append((float(each[at].low <= true <= each[at].high), each[at].standard_error))
    return found


def coverage(world: World, way: str, n: int, studies: int, trained: bool) -> None:
    """Prints a line for each machine and estimator."""
    kept: dict[str, dict[str, list[list[tuple[float, float]]]]] = defaultdict(lambda: defaultdict(list))
    population, right = world.population(), []
    for study in range(studies):
        rng = np.random.default_rng([study, n])
        columns, label = world.columns(rng, SIZE)
        probs = world.machine(rng, columns, label)
        right.append(np.mean((probs > 0.5) == label))
        waves = draw(way, probs, n, study)
        design = Design(waves, np.any([wave.chosen for wave in waves], axis=0))
        group = columns[:, 1] > 0
        truth = [float(label.mean()), float(label[group].mean() - label[~group].mean()), *population]
        machines = {"LLM": probs}
        if trained:
            seed = rng.integers(2**32)
            for name, folds in (("classifier, cross-fitted", 5), ("classifier, NOT cross-fitted", 1)):
                machines[name] = classifier(np.random.default_rng(seed), design, label, columns, folds)
        for name, machine in machines.items():
            sample = Sample(design, label, machine, (machine > 0.5).astype(float))
            for estimator, values in judge(sample, columns, truth).items():
                kept[name][estimator].append(values)
    for name, by in kept.items():
        classical = np.array(by["experts only"])[:, :, 1]
        for estimator, each in by.items():
            held, error = np.moveaxis(np.array(each), 2, 0)
            gain = "-" if estimator == "naive" else f"{np.nanmedian((classical / error) ** 2, axis=0).min():.2f}"
            shares = " | ".join(f"{100 * share:.1f}" for share in np.nanmean(held, axis=0))
            none = f" (no solution: {np.isnan(held[:, 3]).sum()})" if np.isnan(held).any() else ""
            print(f"{name} | {way} | {n} | {estimator} | {shares}{none} | {gain}")
    print(f"(the LLM is right on {100 * np.mean(right):.1f} %)", flush=True)


def plans(way: str, pilot: int, studies: int, half_width: float) -> None:
    """Prints how the half-width that a plan led to differs from the one that was asked for."""
    world, ratios, wanted = World(), [], []
    for study in range(studies):
        rng = np.random.default_rng([study, pilot])
        columns, label = world.columns(rng, SIZE)
        probs = world.machine(rng, columns, label)
        if pilot:
            first = share(way, probs, label, pilot, 2 * study)
            plan = after(np.array([first[0]]), half_width, first[1], pilot, SIZE)
        else:

            def inclusion(n: int, way: str = way, probs: Floats = probs, study: int = study) -> Floats:
                return np.maximum(draw(way, probs, n, study)[0].inclusion, 1e-9)

            plan = before(probs, np.ones((SIZE, 1)), half_width, inclusion)
        if plan.answers is not None:
            value, found = share(way, probs, label, plan.answers, 2 * study + 1)
            low, high = found.of_shares(np.array([value]))
            ratios.append(float(high[0] - low[0]) / 2 / half_width)
            wanted.append(plan.answers)
    within = np.mean(np.abs(np.array(ratios) - 1) <= 0.2)
    spread = " to ".join(f"{x:.2f}" for x in np.quantile(ratios, [0.1, 0.9]))
    when = f"after {pilot} answers" if pilot else "before any answer"
    print(
        f"{when} | {way} | {np.median(wanted):.0f} | {np.median(ratios):.2f} | {spread} | {100 * within:.0f} %",
        flush=True,
    )


def share(way: str, probs: Floats, label: Floats, n: int, seed: int):  # noqa: ANN201
    """Returns the estimated share and its precision."""
    waves = draw(way, probs, n, seed)
    design = Design(waves, waves[0].chosen)
    sample, question = Sample(design, label, probs, (probs > 0.5).astype(float)), overall(SIZE)
    solution = ppi(sample, question)
    return float(solution.value[0]), precision(solution, sample, False)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--planned", type=int, default=200)
    options = parser.parse_args()
    with threadpool_limits(1):
        print(HEAD)
        for way in ("random", "margin_randomised", "two rounds"):
            coverage(World(), way, 300, options.studies, trained=way != "two rounds")
        for n, way in product((100, 50), ("random", "margin_randomised")):
            coverage(World(), way, n, options.studies, trained=False)
        print("\na rare label (3 %), which the LLM gives far too often\n" + HEAD)
        for n, way in product((300, 100, 50), ("random", "margin_randomised")):
            coverage(World(intercept=-4.0), way, n, options.studies, trained=False)
        print("\nplanned | draw | answers | half-width by the planned one | 10 % to 90 % of studies | within 20 %")
        for way, pilot in product(("random", "margin_randomised"), (0, 50, 100)):
            plans(way, pilot, options.planned, 0.03)


if __name__ == "__main__":
    main()
