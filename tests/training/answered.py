"""Experts' answers, as tests need them."""

import numpy as np

from redct.experts import Round
from redct.training.answers import Answers


def one_hot(label: dict[int, int], k: int) -> dict[int, np.ndarray]:
    return {n: np.eye(k)[index] for n, index in label.items()}


def answered(
    label: dict[int, int], weight: dict[int, float], k: int, strategy: str = "random", why: str | None = None
) -> Answers:
    """One answer to each of some documents, by somebody called ann."""
    who, decided = {n: ["ann"] for n in label}, dict.fromkeys(label, "answer")
    round_ = Round(1, "experts", strategy, 0, {}, [], {})
    return Answers(one_hot(label, k), {} if why else weight, why, who, decided, rounds=(round_,))
