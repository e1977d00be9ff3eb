"""Where the edge classifier fails: parts of the documents, confident mistakes, labels in doubt, leaks."""

from collections.abc import Iterator
from typing import Any, Final

from redct.evidence.report.charts import Mark, dots
from redct.evidence.report.drawing import Alt, around
from redct.evidence.report.parts import Figure, Section, Table, Values, known, p_value, percent, share, tick_percent
from redct.evidence.slices import FALSE_DISCOVERIES

_SHOWN: Final = 12
_LONGEST: Final = 400  # characters of a text


def failures(content: dict[str, Any]) -> Section:
    """Returns the section about errors."""
    metrics = content["metrics"]
    if metrics is None:
        return Section("failures", "Where it fails")
    tables = [*_mistakes(metrics), *_confused(metrics), *_doubts(metrics), *_groups(metrics)]
    return Section("failures", "Where it fails", [*_leaks(metrics)], [*_slices(metrics)], tables)


def _leaks(metrics: Values) -> Iterator[str]:
    leakage = metrics["leakage"]
    if leakage is None:
        return
    exact, near = len(leakage["exact"]), len(leakage["near"])
    searched = f" (searched in {leakage['searched']:.0%} of them)" if leakage["searched"] < 1 else ""
    if not exact + near:
        yield f"No held-out document stands among the training documents, exactly or nearly{searched}."
        return
    first = next(iter(metrics["scores"]))
    clean = f"; macro-F1 without them: {percent(metrics['unleaked'][first]['macro_f1'])}" if metrics["unleaked"] else ""
    yield (
        f"{exact + near:,} held-out documents stand among the training documents too, {exact:,} exactly and {near:,} "
        f"nearly{searched}: scores are too good by what was learned by heart{clean}."
    )


def _slices(metrics: Values) -> Iterator[Figure]:
    found = metrics["slices"][:_SHOWN]
    if not found:
        return
    marks = [
        Mark(
            f"{each['column']}: {each['value'] or '(none)'}",
            each["error"]["value"],
            f"{percent(each['error'])}{' *' if each['q_value'] <= FALSE_DISCOVERIES else ''}",
            each["error"]["low"],
            each["error"]["high"],
            series=int(each["q_value"] <= FALSE_DISCOVERIES),
        )
        for each in found
        if known(each["error"])
    ]
    edge = next(iter(metrics["scores"]))
    overall = 1 - metrics["scores"][edge]["accuracy"]["value"]
    axis = around(
        "share of errors, 95 % interval",
        [overall, *(v for m in marks for v in (m.low or 0, m.high or 0))],
        tick_percent,
    )
    desc = f"All documents {100 * overall:.1f} %; " + "; ".join(f"{mark.name} {mark.text}" for mark in marks)
    svg = dots(Alt("slices", f"Errors of the {edge} in parts of the documents", desc), marks, axis, reference=overall)
    worse = [each for each in found if each["q_value"] <= FALSE_DISCOVERIES]
    total = f"{len(metrics['slices'])} parts tested"
    if worse:
        named = ", ".join(f"{each['column']} {each['value'] or '(none)'}" for each in worse)
        yield Figure(
            svg, f"Significantly more errors (*, 5 % false discoveries over {total}): {named}. Dashed: all documents."
        )
    else:
        yield Figure(svg, f"None of {total} has significantly more errors than the others. Dashed: all documents.")


def _mistakes(metrics: Values) -> Iterator[Table]:
    found = metrics["mistakes"]
    if found:
        rows = [
            [each["id"], each["gold"], f"{each['said']} ({100 * each['confidence']:.0f} %)", _excerpt(each)]
            for each in found
        ]
        yield Table(
            f"The {len(found)} errors it was surest of: odd cases, rules it missed, or wrong gold labels",
            ["id", "gold", "given (confidence)", "text"],
            rows,
            prose=True,
        )


def _excerpt(mistake: Values) -> str:
    context = "".join(f"[{name}: {value}] " for name, value in mistake["context"].items())
    line = context + " ".join(mistake["text"].split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _confused(metrics: Values) -> Iterator[Table]:
    if found := metrics["confused"]:
        first = sum(each["share_of_errors"] for each in found[:3])
        rows = [
            [
                f"{_quoted(each['said'])} for {_quoted(each['gold'])}",
                f"{each['documents']:,}",
                share(each["share_of_gold"], 1),
                share(each["share_of_errors"], 1),
            ]
            for each in found[:_SHOWN]
        ]
        yield Table(
            f"Kinds of errors; the first {min(3, len(found))} are {share(first, 1)} of all",
            ["error", "documents", "of that gold label", "of all errors"],
            rows,
        )


def _quoted(label: str | None) -> str:
    return "none" if label is None else f"'{label}'"


def _doubts(metrics: Values) -> Iterator[Table]:
    for key, what in (("doubts", "gold labels"), ("doubted_answers", "experts' answers")):
        if found := metrics[key]:
            rows = [[each["id"], each["label"], each["likelier"]] for each in found[:_SHOWN]]
            more = f", the first {_SHOWN}" if len(found) > _SHOWN else ""
            caption = f"{len(found):,} {what} that may be wrong{more}: look at them before the classifier is blamed"
            yield Table(caption, ["id", "label", "likelier"], rows, prose=True)


def _groups(metrics: Values) -> Iterator[Table]:
    for column, groups in metrics["groups"].items():
        edge = next(iter(metrics["scores"]))
        rows = [
            [
                value or "(none)",
                f"{each['documents']:,}",
                *(percent(each["scores"][edge][m], "") for m in ("accuracy", "macro_f1")),
                *([_gap(each)] if each["differences"] else []),
            ]
            for value, each in groups.items()
        ]
        header = [column, "documents", "accuracy", "macro-F1"]
        other = next((each["differences"][0]["other"] for each in groups.values() if each["differences"]), None)
        yield Table(f"By {column}, % [95 % interval]", header + ([f"minus {other}, p"] if other else []), rows)


def _gap(each: Values) -> str:
    first = each["differences"][0]
    return f"{percent(first['metrics']['macro_f1'], '')}, {p_value(first['p_value'])}"
