"""Training targets from the LLM's labels and the experts' answers, and the split for validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from redct.errors import InputError
from redct.experts import majority

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from redct.hub.store import LabelTable

TargetKind = Literal["hard", "soft", "expit"]
KINDS: Final[tuple[TargetKind, ...]] = ("hard", "soft", "expit")

# An expert's row in RED-CT's code, whatever the number of labels.
_EXPIT_EXPERT: Final = 0.9998
_EXPIT_ELSEWHERE: Final = 0.0001


@dataclass(frozen=True)
class Targets:
    """What the classifier is trained towards: M of the documents, with where each target comes from.

    Args:
        keep: (M,) int64 positions of the documents that have a target, ascending.
        probs: (M, K) float32; rows sum to 1, except those of the kind expit.
        source: (M,) "llm" or "expert".
        weight: (M,) float32 weight in the loss.
        label: (M,) int64 the expert's label where there is one, else the LLM's.
    """

    keep: npt.NDArray[np.int64]
    probs: npt.NDArray[np.float32]
    source: list[str]
    weight: npt.NDArray[np.float32]
    label: npt.NDArray[np.int64]


def build_targets(
    table: LabelTable,
    answers: Mapping[int, Sequence[float] | npt.NDArray[np.float64]],
    kind: TargetKind,
    expert_eps: float = 0.0002,
    left_out: Collection[int] = (),
) -> Targets:
    """Joins the LLM's labels and the experts' answers; an expert's answer replaces the LLM's label.

    hard: all on the label with most votes. soft: the LLM's distribution; for each vote of an expert 1 - eps on its
    label and the rest spread evenly, averaged over the votes. expit: p / (1 + p) of the LLM's unnormalised
    probabilities, as RED-CT's code has it; its rows do not sum to 1 and uncertain documents weigh more than certain
    ones: only for reproduction.

    Args:
        table: The LLM's labels, aligned to the documents.
        answers: Position of a document -> (K,) shares of the experts' votes, sum 1.
        kind: hard, soft or expit.
        expert_eps: Probability that a soft target leaves for the labels the expert did not give.
        left_out: Positions of documents that get no target, whatever the LLM said.

    Raises:
        InputError: When the kind is unknown or expert_eps is not in [0, 1).
        ValueError: When an answer's position or shares are out of range.
    """
    _check_options(kind, expert_eps)
    n, k = table.probs.shape
    label = np.array(table.label, dtype=np.int64)
    expert = np.zeros(n, dtype=bool)
    shares = np.zeros((n, k))
    for position, votes in answers.items():
        if not (0 <= position < n and len(votes) == k and np.isclose(np.sum(votes), 1)):
            raise ValueError(
                f"answers: found {position}: {votes}, expected position below {n}, {k} shares that sum to 1"
            )
        shares[position] = votes
        label[position] = majority(votes, table.probs[position])
        expert[position] = True
    label[list(left_out)] = -1
    keep = np.flatnonzero(label >= 0)
    probs = _llm_rows(table, label, kind)
    probs[expert] = _expert_rows(label[expert], shares[expert], kind, expert_eps)
    return Targets(
        keep=keep,
        probs=probs[keep].astype(np.float32),
        source=["expert" if is_expert else "llm" for is_expert in expert[keep]],
        weight=np.ones(len(keep), dtype=np.float32),
        label=label[keep],
    )


def choose_validation(
    label: npt.ArrayLike, source: Sequence[str], share: float, seed: int, min_expert: int = 50
) -> tuple[npt.NDArray[np.int64], Literal["expert", "llm"]]:
    """Sets targets aside for validation, stratified by label.

    Experts' targets, where a share of them is enough to judge by; else the LLM's. A label with two or more
    targets keeps at least one for training; a single target stays in training.

    Args:
        label: (M,) label of each target.
        source: (M,) "llm", "expert", or something else for targets that only train.
        share: Share of the experts' (or the LLM's) targets to set aside, in [0, 1).
        seed: Of the draw.
        min_expert: Smallest number of experts' targets to validate on.

    Returns:
        Ascending positions into the targets, and whose labels they carry.

    Raises:
        InputError: When the share is out of range.
    """
    if not 0 <= share < 1:
        raise InputError(f"validation share: found {share}, expected 0 or more and below 1")
    labels = np.asarray(label, dtype=np.int64)
    is_expert = np.array([s == "expert" for s in source], dtype=bool)
    if labels.shape != is_expert.shape:
        raise ValueError(f"found {labels.shape} labels and {is_expert.shape} sources, expected one per target")
    n_expert = round(share * int(is_expert.sum()))
    use_expert = n_expert >= max(min_expert, 1)
    pool = np.flatnonzero(is_expert if use_expert else np.array([s == "llm" for s in source], dtype=bool))
    wanted = n_expert if use_expert else round(share * len(pool))
    n_labels = int(labels.max(initial=-1)) + 1
    available = np.bincount(labels[pool], minlength=n_labels)
    # Targets outside the pool stay in training anyway, so only the last target of a label is held back.
    spare = np.minimum(available, np.maximum(np.bincount(labels, minlength=n_labels) - 1, 0))
    sizes = _proportional(available, spare, wanted)
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(pool[labels[pool] == c])[:size] for c, size in enumerate(sizes)]
    positions = np.sort(np.concatenate([np.empty(0, dtype=np.int64), *drawn]))
    return positions, "expert" if use_expert else "llm"


def _check_options(kind: str, expert_eps: float) -> None:
    if kind not in KINDS:
        raise InputError(f"targets: found {kind!r}, expected one of {', '.join(KINDS)}")
    if not 0 <= expert_eps < 1:
        raise InputError(f"expert_eps: found {expert_eps}, expected 0 or more and below 1")


def _llm_rows(table: LabelTable, label: npt.NDArray[np.int64], kind: TargetKind) -> npt.NDArray[np.float64]:
    """(N, K); rows without a label are not to be used."""
    if kind == "hard":
        return _spread(label, table.probs.shape[1], on=1.0, elsewhere=0.0)
    if kind == "soft":
        return np.array(table.probs, dtype=np.float64)
    logprobs = np.asarray(table.logprobs, dtype=np.float64)
    # expit(x) = exp(-log(1 + exp(-x))), which neither overflows at -inf nor loses digits at 0.
    with np.errstate(invalid="ignore"):  # error rows are nan
        expit: npt.NDArray[np.float64] = np.exp(-np.logaddexp(0.0, -logprobs))
    return expit


def _expert_rows(
    label: npt.NDArray[np.int64], shares: npt.NDArray[np.float64], kind: TargetKind, eps: float
) -> npt.NDArray[np.float64]:
    k = shares.shape[1]
    if kind == "hard":
        return _spread(label, k, on=1.0, elsewhere=0.0)
    if kind == "soft":
        rows: npt.NDArray[np.float64] = shares * (1 - eps) + (1 - shares) * eps / (k - 1)
        return rows
    return _spread(label, k, on=_EXPIT_EXPERT, elsewhere=_EXPIT_ELSEWHERE)


def _spread(label: npt.NDArray[np.int64], k: int, on: float, elsewhere: float) -> npt.NDArray[np.float64]:
    return np.where(label[:, None] == np.arange(k), on, elsewhere)


def _proportional(counts: npt.NDArray[np.int64], limits: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """Divides n in proportion to the counts by largest remainders, none above its limit."""
    quota = n * counts / max(int(counts.sum()), 1)
    sizes = np.minimum(np.floor(quota).astype(np.int64), limits)
    for _ in range(min(n, int(limits.sum())) - int(sizes.sum())):
        sizes[np.argmax(np.where(sizes < limits, quota - sizes, -np.inf))] += 1
    return sizes
