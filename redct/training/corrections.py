"""Corrections of the LLM's label distributions, before the classifier is trained on them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from redct.calibration import (
    LARGEST_TEMPERATURE,
    SMALLEST_TEMPERATURE,
    Reliability,
    cross_fit,
    divide_prior,
    mean_distribution,
    reliability,
    scale,
)
from redct.confidence import margins
from redct.documents import Document
from redct.experts import majority
from redct.hub.content_free import content_free_priors
from redct.hub.store import LabelTable
from redct.training import error_model
from redct.training.answers import Answers
from redct.training.relabeling import TargetKind

Floats = npt.NDArray[np.float64]

FEWEST_ANSWERS: Final = 50
_BOUNDS: Final = {
    SMALLEST_TEMPERATURE: ", the smallest allowed: every answer is the LLM's label",
    LARGEST_TEMPERATURE: ", the largest allowed: the LLM's probabilities do not tell its errors, targets are near even",
}
# Log-probabilities are stored as float32: of labels that differ by less, the LLM's own stays.
_EQUAL: Final = 1e-6


@dataclass(frozen=True)
class Calibration:
    """How the LLM's label distributions are corrected before the classifier is trained on them.

    Args:
        prior: Which label prior to divide out, without any gold: none; `batch`, the mean distribution over the
            corpus; or `content_free`, what the LLM answers to texts that say nothing, which
            `redct predict --data.predict content_free` asks it.
        experts: What the experts' answers do for all other documents, where at least 50 of them come from a randomised
            choice. `regression` models how the LLM errs, see `redct.training.error_model`; `temperature` makes soft
            targets as sure as the LLM is right; `none`.
    """

    prior: Literal["none", "batch", "content_free"] = "none"
    experts: Literal["regression", "temperature", "none"] = "regression"


def correct(
    stored: LabelTable,
    documents: Sequence[Document],
    kind: TargetKind,
    options: Calibration,
    answers: Answers,
    seed: int,
    embeddings: Callable[[], npt.NDArray[np.float32]] | None = None,
) -> tuple[LabelTable, dict[str, Any]]:
    """Divides the label prior out and applies what the answers say about the LLM, as far as options and answers allow.

    Args:
        stored: Labels of all documents, and of the content-free ones where their prior is asked for.
        documents: The N documents of the corpus.
        kind: What targets the labels are for: a temperature is only for soft ones, expit ones stay as they are.
        options: What is asked for.
        answers: The experts' answers.
        seed: Deals documents and answers out to folds.
        embeddings: Gives (N, D) embeddings of the documents to the regression, which else does without them.

    Returns:
        The N labels, and what was done, as JSON values.

    Raises:
        InputError: When a document has no row, or the content-free prior no labels.
    """
    own = stored.aligned([document.id for document in documents])
    asked = {"prior": options.prior, "experts": "none" if kind == "expit" else options.experts}
    nothing = dict.fromkeys(("prior", "temperature", "regression", "why", "reliability"))
    record: dict[str, Any] = {"asked": asked, **nothing}
    if kind == "expit":
        return own, record | {"why": "targets: expit reproduces RED-CT's code"}
    table, prior = _without_prior(own, stored, documents, options)
    record["prior"] = prior
    if why := _unusable(own, answers):
        return table, record | {"why": why}
    at = np.array(_usable(own, answers), dtype=np.int64)
    judged = [majority(answers.shares[n], own.probs[n]) for n in at], [answers.weight[n] for n in at]
    steps = {"llm": reliability(own.logprobs[at], *judged)}
    if prior:
        steps["prior"] = reliability(table.logprobs[at], *judged)
    if options.experts != "none":
        scaling = cross_fit(table.logprobs[at], *judged, seed)
        steps["temperature"] = scaling.held_out
    if options.experts == "regression":
        found, steps["regression"] = _with_regression(table, at, answers, judged, seed, embeddings)
        record["regression"] = {"labels_changed": int((found.label != table.label).sum())}
        table = found
    elif options.experts == "temperature" and kind == "soft":
        table = _with(table, scale(table.logprobs[table.label >= 0], scaling.temperature))
        record["temperature"] = {"value": scaling.temperature, "folds": scaling.folds}
    record["reliability"] = {"answers": len(at), **{name: asdict(found) for name, found in steps.items()}}
    return table, record


def _with_regression(
    table: LabelTable,
    at: npt.NDArray[np.int64],
    answers: Answers,
    judged: tuple[list[int], list[float]],
    seed: int,
    embeddings: Callable[[], npt.NDArray[np.float32]] | None,
) -> tuple[LabelTable, Reliability]:
    """Returns the labels corrected by a model of the LLM's errors, and how that does on answers it has not seen."""
    known = np.flatnonzero(table.label >= 0)
    vectors = None if embeddings is None else embeddings()[known]
    evidence = error_model.gather(table.logprobs[known], vectors, seed)
    answered = evidence.rows(np.searchsorted(known, at))
    shares = np.array([answers.shares[n] for n in at.tolist()])
    model = error_model.fit_errors(answered, shares, judged[1])
    unseen = error_model.cross_fit_errors(answered, shares, *judged, seed)
    return _with(table, error_model.corrected(model, evidence)), unseen


def notes(record: dict[str, Any]) -> list[str]:
    """Returns lines for the user about a record of `correct`."""
    asked, prior, temperature = record["asked"], record["prior"], record["temperature"]
    lines = []
    if prior:
        shares = ", ".join(f"{label} {p:.2f}" for label, p in prior["mean"].items())
        changed = f"{prior['labels_changed']:,} of {prior['documents']:,} labels changed"
        lines.append(f"label prior divided out ({asked['prior']}): {shares}; {changed}")
    elif asked["prior"] != "none":
        lines.append(f"label prior not divided out: {record['why']}")
    if regression := record["regression"]:
        lines.append(
            "the LLM's label distributions are corrected by a regression of the experts' answers on them and the "
            f"documents; {regression['labels_changed']:,} likeliest labels changed"
        )
    elif temperature:
        bound = _BOUNDS.get(temperature["value"], "")
        lines.append(f"soft targets scaled by a temperature of {temperature['value']:.2f}{bound}")
    elif record["why"] and asked["experts"] != "none":
        lines.append(f"the LLM's label distributions stay uncorrected: {record['why']}")
    if prior or regression or temperature:
        lines += _judgement(record["reliability"])
    return lines


def _judgement(found: dict[str, Any] | None) -> list[str]:
    if not found:
        return []
    steps = {
        "llm": "LLM",
        "prior": "prior divided out",
        "temperature": "temperature, cross-fitted",
        "regression": "regression, cross-fitted",
    }
    values = " -> ".join(
        f"{found[step]['ece']:.3f} and {found[step]['log_loss']:.3f} ({name})"
        for step, name in steps.items()
        if step in found
    )
    where = f"on {found['answers']:,} answers of a randomised choice, weighted"
    return [f"calibration error and log loss {where}: {values}"]


def _without_prior(
    table: LabelTable, stored: LabelTable, documents: Sequence[Document], options: Calibration
) -> tuple[LabelTable, dict[str, Any] | None]:
    known = table.label >= 0
    if options.prior == "none" or not known.any():
        return table, None
    if options.prior == "batch":
        prior = mean_distribution(table.logprobs[known])
    else:
        prior = content_free_priors(stored, documents)[known]
    corrected = _with(table, divide_prior(table.logprobs[known], prior))
    return corrected, {
        "mean": dict(zip(table.labels, np.atleast_2d(prior).mean(axis=0).tolist(), strict=True)),
        "documents": int(known.sum()),
        "labels_changed": int((corrected.label != table.label).sum()),
    }


def _unusable(table: LabelTable, answers: Answers) -> str | None:
    """Says why no temperature can be fitted to the answers; None where one can."""
    if answers.why is not None:
        return answers.why
    usable = len(_usable(table, answers))
    if usable < FEWEST_ANSWERS:
        found = f"{usable} answers of a randomised choice to documents with an LLM label"
        return f"{found}, expected at least {FEWEST_ANSWERS}"
    return None


def _usable(table: LabelTable, answers: Answers) -> list[int]:
    return [n for n in answers.weight if table.label[n] >= 0]


def _with(table: LabelTable, logprobs: Floats) -> LabelTable:
    """Returns the table with other log-probabilities of its labeled rows, normalised ones."""
    known = table.label >= 0
    likeliest, own = logprobs.argmax(axis=1), table.label[known]
    stays = np.take_along_axis(logprobs, own[:, None], axis=1)[:, 0] >= logprobs.max(axis=1) - _EQUAL

    def filled(old: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
        values = old.copy()
        values[known] = new
        return values

    return replace(
        table,
        label=filled(table.label, np.where(stays, own, likeliest)),
        probs=filled(table.probs, np.exp(logprobs)),
        logprobs=filled(table.logprobs, logprobs),
        margin=filled(table.margin, margins(logprobs)),
    )
