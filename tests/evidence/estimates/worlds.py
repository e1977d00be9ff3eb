"""Made-up corpora with known labels, and documents drawn from them for experts."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from redct.evidence.estimates import Design, Sample
from redct.experts import Pool, Wave, choose


@dataclass(frozen=True)
class World:
    """N documents: intercept, a group and a covariate; labels; and a machine that errs with both."""

    columns: np.ndarray
    label: np.ndarray
    machine: np.ndarray

    @property
    def group(self) -> np.ndarray:
        return self.columns[:, 1] > 0

    def design(self, strategy: str, n: int, seed: int) -> Design:
        probs = np.column_stack([1 - self.machine, self.machine])
        margin = np.abs(np.log(probs[:, 1]) - np.log(probs[:, 0]))
        pool = Pool((self.machine > 0.5).astype(np.int64), probs, margin)
        choice = choose(strategy, pool, n, seed)
        chosen = np.isin(np.arange(len(self.label)), choice.chosen)
        return Design([Wave(choice.inclusion, choice.strata(), chosen, True)], chosen)

    def sample(self, strategy: str, n: int, seed: int, machine: np.ndarray | None = None) -> Sample:
        design = self.design(strategy, n, seed)
        probs = self.machine if machine is None else machine
        known = np.where(design.answered, self.label, np.nan)  # nothing may read an answer that nobody gave
        return Sample(design, known, probs, (probs > 0.5).astype(float))


def world(seed: int, n: int) -> World:
    rng = np.random.default_rng(seed)
    group = (rng.random(n) < 0.4).astype(float)
    x = rng.normal(size=n) + 0.3 * group
    label = (rng.random(n) < expit(-0.5 + 0.8 * group + 0.5 * x)).astype(float)
    seen = 2 * label - 1 + 0.4 * group + 0.2 * x + rng.normal(size=n)
    return World(np.column_stack([np.ones(n), group, x]), label, expit(1.8 * seen))
