"""Choosing options by cross-fitted loss on experts' answers: a race against the defaults. Needs no torch."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import log2

import numpy as np
import numpy.typing as npt

from redct.training.held_out import Difference, Judges, log_losses, paired

Floats = npt.NDArray[np.float64]

_RATES = (1.0, 2.0, 0.5, 4.0, 0.25)  # of the default learning rate
_LENGTHS = (1.0, 2.0, 0.5)  # of the default number of epochs
_LIKELIER = 1.96  # standard errors behind the best at which a candidate is given up


@dataclass(frozen=True)
class Candidate:
    """Options to try.

    Attributes:
        learning_rate: Peak learning rate.
        epochs: How often to see all documents; None to leave the length of training as it is.
    """

    learning_rate: float
    epochs: int | None

    def __str__(self) -> str:
        length = "" if self.epochs is None else f", {self.epochs} epochs"
        return f"learning rate {self.learning_rate:.2g}{length}"


@dataclass(frozen=True)
class Choice:
    """What a search came to.

    Attributes:
        chosen: The options to train with; the defaults where nothing is better by more than noise.
        best: The ones of lowest loss among those tried.
        loss: Cross-fitted, weighted log loss of `best`, in nats.
        default_loss: The same of the defaults.
        difference: Of the losses of `best` and defaults, paired over answers.
        tried: How many candidates were judged by all answers.
    """

    chosen: Candidate
    best: Candidate
    loss: float
    default_loss: float
    difference: Difference
    tried: int


def candidates(learning_rate: float, epochs: int | None) -> list[Candidate]:
    """Returns the defaults and what to try beside them, the nearest first.

    Args:
        learning_rate: The default.
        epochs: The default; None where the length of training is not to be changed.
    """
    lengths = _LENGTHS if epochs is not None else (1.0,)
    grid = sorted(product(_RATES, lengths), key=lambda each: abs(log2(each[0])) + abs(log2(each[1])))
    found = [
        Candidate(float(f"{learning_rate * rate:.6g}"), None if epochs is None else max(1, round(epochs * length)))
        for rate, length in grid
    ]
    return list(dict.fromkeys(found))  # half of one epoch is one epoch


def race(
    asked: Sequence[Candidate],
    judges: Judges,
    predict: Callable[[Candidate, int], Floats],
    seconds: float,
    say: Callable[[str], None],
    now: Callable[[], float] = time.monotonic,
) -> Choice | None:
    """Tries candidates fold by fold, and gives up those that fall behind the best by more than noise.

    Args:
        asked: The defaults first.
        judges: The answers, with F folds.
        predict: Gives (n_f, K) probabilities of the documents of fold f, by a classifier that was trained without them.
        seconds: After this time nothing new is started.
        say: Gets a line for each candidate.
        now: The clock, in seconds.

    Returns:
        None when time was up before the defaults were judged.
    """
    end, losses = now() + seconds, dict[Candidate, Floats]()
    for candidate in asked:
        best = min(losses.values(), key=lambda each: float(judges.weight @ each), default=None)
        found = np.full(len(judges.label), np.nan)
        for fold in range(len(judges.taught)):
            if now() >= end:
                say("time is up" + (f": {len(losses)} of {len(asked)} candidates tried" if losses else ""))
                return _choose(asked[0], losses, judges.weight)
            at = judges.fold == fold
            found[at] = log_losses(predict(candidate, fold), judges.label[at])
            if best is not None and _is_hopeless(found, best, judges.weight):
                break
        seen = ~np.isnan(found)
        mean = float(np.average(found[seen], weights=judges.weight[seen]))
        if seen.all():
            losses[candidate] = found
            say(f"{candidate}: log loss {mean:.4f}")
        else:
            say(f"{candidate}: log loss {mean:.4f} on {seen.sum()} of {len(seen)} answers, given up")
    return _choose(asked[0], losses, judges.weight)


def _is_hopeless(found: Floats, best: Floats, weight: Floats) -> bool:
    seen = ~np.isnan(found)
    if seen.all():
        return False
    behind = paired(found[seen] - best[seen], weight[seen])
    return behind.value > _LIKELIER * behind.standard_error


def _choose(default: Candidate, losses: dict[Candidate, Floats], weight: Floats) -> Choice | None:
    """The best, where it is better than the defaults by more than one standard error of the difference."""
    if default not in losses:
        return None
    mean = {candidate: float(np.average(each, weights=weight)) for candidate, each in losses.items()}
    best = min(mean, key=lambda each: mean[each])
    difference = paired(losses[best] - losses[default], weight)
    chosen = best if difference.value + difference.standard_error < 0 else default
    return Choice(chosen, best, mean[best], mean[default], difference, len(losses))
