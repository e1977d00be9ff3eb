"""A row of the label store: a label distribution for one document, or the reason why there is none."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from redct.confidence import margins, normalise
from redct.documents import Document
from redct.task import Task

EQUAL = 1e-9  # difference of two probabilities below which neither label is the more probable one


@dataclass(frozen=True, slots=True)
class LabelRow:
    """What the hub said about one document: a distribution, or an error.

    Attributes:
        id: The document's id.
        label: The most probable label; None in an error row.
        probs: Probabilities over the task's labels, sum 1.
        logprobs: Log-probabilities as the LLM gave them, not normalised over the labels.
        margin: Difference of the two largest label log-probabilities, >= 0.
        unlabeled_mass: Probability of replies that are no label, 0 to 1; also kept in the error rows that it causes.
        source: Where the probabilities come from: logprobs, samples, stated or imported.
        error: Why there is no label, as `kind: what`; None where there is one.
        digest: Of the text and context that were labeled, see `Document.digest`; None where they are unknown.
    """

    id: str
    label: str | None = None
    probs: list[float] | None = None
    logprobs: list[float] | None = None
    margin: float | None = None
    unlabeled_mass: float | None = None
    source: str | None = None
    reply: str | None = None
    rationale: str | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    digest: str | None = None


def error_row(document: Document, error: str, **more: Any) -> LabelRow:  # noqa: ANN401 - fields of LabelRow
    """Returns the row of a document without a label.

    Args:
        document: The document.
        error: Why, as `kind: what`.
        more: Further fields of the row, such as `reply`.
    """
    return LabelRow(document.id, error=error, digest=document.digest(), **more)


def labeled_row(
    document: Document,
    task: Task,
    logprobs: npt.ArrayLike,
    unlabeled_mass: float,
    max_unlabeled_mass: float = 1.0,
    **more: Any,  # noqa: ANN401 - fields of LabelRow
) -> LabelRow:
    """Returns the row of a document; an error row where the distribution gives no label, see `no_label`.

    Args:
        document: The document.
        task: Its labels are the ones of the distribution.
        logprobs: (K,) log-probabilities, not normalised; -inf marks a label that cannot be.
        unlabeled_mass: Probability of replies that are no label, 0 to 1.
        max_unlabeled_mass: The most of it that a labeled document may have.
        more: Further fields of the row, such as `reply` and `source`.
    """
    values = np.asarray(logprobs, dtype=np.float64)
    if (error := no_label(values, task.labels, unlabeled_mass, max_unlabeled_mass)) is not None:
        return error_row(document, error, unlabeled_mass=unlabeled_mass, **more)
    return LabelRow(
        id=document.id,
        label=task.labels[int(values.argmax())],
        probs=normalise(values[None])[0].tolist(),
        logprobs=values.tolist(),
        margin=float(margins(values[None])[0]),
        unlabeled_mass=unlabeled_mass,
        digest=document.digest(),
        **more,
    )


def no_label(
    logprobs: npt.ArrayLike, labels: list[str], unlabeled_mass: float, max_unlabeled_mass: float
) -> str | None:
    """Returns why a distribution gives no label, as `kind: what`, or None where it gives one.

    The kinds: `not finite`; `no label`, where more of the probability than allowed is that of other replies; `tie`,
    where no label is more probable than all others.

    Args:
        logprobs: (K,) log-probabilities of the labels, not normalised.
        labels: The K labels.
        unlabeled_mass: Probability of replies that are no label, 0 to 1.
        max_unlabeled_mass: The most of it that a labeled document may have.
    """
    values = np.asarray(logprobs, dtype=np.float64)
    if np.isnan(values).any() or (values == np.inf).any() or not np.isfinite(values).any():
        return "not finite: the log-probabilities of the labels are not numbers"
    if unlabeled_mass > max_unlabeled_mass:
        return (
            f"no label: {unlabeled_mass:.3f} of the probability belongs to replies that are no label, "
            f"expected at most {max_unlabeled_mass:g} (labeler.max_unlabeled_mass)"
        )
    probs = normalise(values[None])[0]
    best = np.flatnonzero(probs >= probs.max() - EQUAL)
    if len(best) > 1:
        tied = " and ".join(repr(labels[k]) for k in best[:2])
        return f"tie: {tied} are equally probable ({probs.max():.3f})"
    return None
