"""A corpus that a machine has labeled, and experts in part: on documents that were drawn by chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.errors import InputError
from redct.experts import Wave, Weights, mean, unit_variance, weigh

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_SAME: Final = 1e-9


def no_estimate(why: str) -> InputError:
    """Returns the error that says why answers allow no valid estimate."""
    return InputError(
        f"no valid estimate can be made from the experts' answers: {why}; expected answers to documents drawn by "
        "chance, as data.experts.strategy random or margin_randomised draws them"
    )


class Design:
    """How the experts' documents were drawn from the N documents of the corpus.

    Attributes:
        answered: (N,) whether there is an answer that counts.
        weight: (N,) how many documents an answered one stands for, 0 for all others.
        unit: (N,) what each document adds to the variance of an estimated total, see `unit_variance`.

    Args:
        waves: The rounds, in order.
        answered: (N,) see above.

    Raises:
        InputError: When no valid estimate can be made from the answers.
    """

    def __init__(self, waves: Sequence[Wave], answered: Mask) -> None:
        self.waves, self.answered = list(waves), answered
        self._weights: Weights = weigh(self.waves, answered)
        if self._weights.weight is None:
            raise no_estimate(str(self._weights.why))
        self.weight = self._weights.weight
        self.unit = unit_variance(self._weights, self.waves, answered)

    def __len__(self) -> int:
        return len(self.answered)

    @cached_property
    def at(self) -> Ints:
        """(n,) positions of the answered documents that count, ascending."""
        return np.flatnonzero(self.weight > 0)

    @cached_property
    def uniform(self) -> bool:
        """Whether all answers weigh the same."""
        return bool(np.ptp(self.weight[self.at]) <= _SAME * self.weight.max())

    def variance(self, values: Floats) -> Floats:
        """(C,) variance of the weighted sums of (N, C) values over N; only those of answered documents are read."""
        return mean(self._weights, self.waves, self.answered, values).standard_error ** 2


@dataclass(frozen=True)
class Sample:
    """One label of a corpus: what the machine says of every document, and what experts say of some.

    Args:
        design: How these were drawn.
        expert: (N,) share of the votes for the label, 0 to 1; only those of answered documents are read.
        machine: (N,) the machine's probability of the label.
        said: (N,) 1 where the label is the machine's, else 0: what a study counts that trusts it.
    """

    design: Design
    expert: Floats
    machine: Floats
    said: Floats

    @cached_property
    def known(self) -> Floats:
        """(N,) the experts' answers, 0 where there is none."""
        return np.where(self.design.weight > 0, self.expert, 0.0)
