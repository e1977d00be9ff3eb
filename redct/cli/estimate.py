"""`redct estimate`: shares of labels, and regressions on them, with valid intervals. Needs torch only for the edge."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from redct.cli.show import show_table
from redct.cli.studyfile import read_study
from redct.errors import InputError
from redct.evidence.estimates.inquiry import EstimateOptions, Inquiry
from redct.evidence.estimates.intervals import Estimate
from redct.evidence.estimates.results import REPORTED, Row, conclusions
from redct.files import write_json

DESCRIPTION = (
    "Estimates shares of labels, overall and by group, and regressions of a label on columns of the corpus, from all "
    "labels of the LLM or the edge classifier and the experts' answers. The answers correct the labels, each by the "
    "chance with which its document was drawn, so that the 95 % intervals hold whatever the machine gets wrong."
)


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    corpus, given = read_study(args, DESCRIPTION, add_options)
    options = read_options(given)
    if options.labels == "edge":
        from redct.cli import study  # noqa: PLC0415 - torch, which all else does without

        study.run(args)
    elif given.plan:
        show_plan(Inquiry(corpus, options, planning=True))
    else:
        show_estimates(Inquiry(corpus, options))


def add_options(parser: Any) -> None:  # noqa: ANN401 - jsonargparse's parser
    """Adds the command's options to a parser."""
    parser.add_class_arguments(EstimateOptions)
    parser.add_argument(
        "--plan", action="store_true", help="say how many answers an interval of half_width needs, and estimate nothing"
    )


def read_options(given: Any) -> EstimateOptions:  # noqa: ANN401 - jsonargparse's namespace
    """Returns the options that were given.

    Raises:
        InputError: When they do not fit each other.
    """
    options = EstimateOptions(**{field.name: given[field.name] for field in fields(EstimateOptions)})
    if given["plan"] and (options.formula is not None or options.cluster is not None or options.labels == "edge"):
        raise InputError("--plan: plans shares by the LLM's labels; expected no --formula, --cluster or --labels edge")
    return options


def show_estimates(inquiry: Inquiry, probs: npt.NDArray[np.float64] | None = None) -> None:
    """Estimates what is asked, prints it and writes it to a file.

    Args:
        inquiry: The study, and what is asked.
        probs: (N, K) the edge classifier's label distributions, where its labels are meant.
    """
    options = inquiry.options
    found, machine = inquiry.rows(probs), "the LLM" if probs is None else "the edge classifier"
    about, shown = "a wider population" if options.wider else "the corpus", _shown(found, options)
    what = f"[95 % interval], from {len(inquiry):,} documents, about {about}"
    if options.by is None and options.formula is None:
        _show(
            f"share of each label, % {what}", "label", [replace(row, figure=row.label) for row in found], machine, shown
        )
    else:
        unit = ", %" if options.by is not None else ""
        for label, rows in groupby(found, lambda row: row.label):
            _show(f"{label}{unit} {what}", options.by or "term", list(rows), machine, shown)
    notes = [*inquiry.notes, *conclusions(found, machine, shown)]
    for line in notes:
        print(line)
    path, asked = (
        inquiry.corpus.folder / "estimates.json",
        {**asdict(options), "about": about, "documents": len(inquiry)},
    )
    write_json(path, {"asked": asked, "estimates": [asdict(row) for row in found], "notes": notes})
    print(f"all figures: {path}")


def show_plan(inquiry: Inquiry) -> None:
    """Says how many answers are needed for an interval of the half-width, for every label."""
    options = inquiry.options
    plans, first = inquiry.plans(), inquiry.answers is None
    groups = f" in each group of {options.by}" if options.by is not None else ""
    rows = [[label, *(_count(n) for n in (plan.answers, plan.without)[: 1 + first])] for label, plan in plans.items()]
    header = ["label", "answers", *(["if the LLM were of no help"] if first else [])]
    show_table(f"Answers in all for shares +- {100 * options.half_width:g} points{groups}", header, rows)
    for line in inquiry.notes:
        print(line)
    if first:
        print("planned by the LLM's probabilities: too few where it is too sure of itself; plan again after 50 answers")
    else:
        print("planned by how far the answers so far are from the LLM's probabilities")


def _count(answers: int | None) -> str:
    return "more than all documents" if answers is None else f"{answers:,}"


def _shown(found: Sequence[Row], options: EstimateOptions) -> Callable[[Estimate | None], str]:
    """Returns what writes figures: shares in percent, coefficients with two digits of the smallest standard error."""
    least = min(row.best.standard_error for row in found)
    unit, digits = (100, 1) if options.formula is None else (1, max(0, 1 - math.floor(math.log10(max(least, 1e-9)))))

    def shown(estimate: Estimate | None) -> str:
        if estimate is None:
            return "-"
        value, low, high = (f"{unit * each:.{digits}f}" for each in (estimate.value, estimate.low, estimate.high))
        return f"{value} [{low}, {high}]"

    return shown


def _show(title: str, first: str, found: Sequence[Row], machine: str, shown: Callable[[Estimate | None], str]) -> None:
    header = [first, f"{machine} alone", "experts only", "DSL", REPORTED, "answers: worth"]
    rows = [[row.figure, *map(shown, row.others.values()), shown(row.best), _worth(row)] for row in found]
    show_table(title, header, rows)


def _worth(row: Row) -> str:
    return f"{row.answers:,}: " + ("-" if row.gain is None else f"{row.gain * row.answers:,.0f}")
