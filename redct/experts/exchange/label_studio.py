"""Label Studio's JSON: tasks with predictions and annotations, as it imports and exports them.

Written are, for each document, `data` with id, text, context and round; the LLM's suggestion as a prediction; and the
label or skip that stands of each annotator as an annotation. Label Studio keeps `meta` as it is: there lie all rows of
the ledger, also those that it has no place for (undone answers, flags, resolutions, notes). Annotators are named in
`completed_by` only where they are e-mail addresses, since Label Studio refuses a file with others; the rest
become the importing user's there, and their own again when the export is read.
Format: https://labelstud.io/guide/task_format and https://labelstud.io/guide/predictions
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from redct.experts.exchange.entries import Entry, said_in
from redct.experts.exchange.intake import Row
from redct.experts.exchange.nested import Object, part, parts, read_list, texts, write_list
from redct.experts.records import Answer
from redct.task import Task

CONTROL: Final = "label"
OBJECT: Final = "text"


def interface(task: Task) -> str:
    """Returns the labeling interface of a task as Label Studio's XML, with definitions as hints."""
    view = ET.Element("View")
    if task.columns.context:
        ET.SubElement(view, "Text", name="context", value="$context")
    ET.SubElement(view, "Text", name=OBJECT, value=f"${OBJECT}")
    choices = ET.SubElement(view, "Choices", name=CONTROL, toName=OBJECT, choice="single", required="true")
    for label in task.labels:
        choice = ET.SubElement(choices, "Choice", value=label)
        if label in task.definitions:
            choice.set("hint", task.definitions[label])
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Writes the file that Label Studio imports."""
    write_list(path, map(_task, entries))


def read(path: str, task: Task) -> Iterator[Row]:
    """Yields the ledger's rows that redct left in each task, then the annotations that are not among them.

    An annotation that was redct's and has another label now is a new answer.
    """
    for number, record in read_list(path, "data"):
        data, where = part(record, "data"), f"task {number}"
        document = data.get("id", data.get(task.columns.id or "id"))
        known: dict[str, str] = {}
        for row in parts(part(record, "meta"), "redct"):
            values = texts({"id": document, **row})
            known[values.get("ledger_row", "")] = values.get("label", "")
            yield Row(where, values)
        for annotation in sorted(parts(record, "annotations"), key=lambda each: str(each.get("created_at", ""))):
            values = texts({"id": document, **_said(annotation)})
            # Label Studio gives an imported annotation an id of its own and keeps the first one.
            ours = [str(annotation.get(name)) for name in ("import_id", "id")]
            if not any(known.get(each) == values["label"] for each in ours):
                yield Row(where, values)


def _task(entry: Entry) -> Object:
    document = entry.document
    data = {"id": document.id, OBJECT: document.text, "context": document.context_text(), "round": entry.round}
    suggested = [] if entry.suggestion is None else [entry.suggestion]
    return {
        "data": data,
        "meta": {"redct": [said_in(answer) for answer in entry.answers]},
        "annotations": [_annotation(answer) for answer in entry.standing()],
        "predictions": [{"model_version": "redct", "result": _result(label)} for label in suggested],
    }


def _annotation(answer: Answer) -> Object:
    who = {"completed_by": {"email": answer.annotator}} if "@" in answer.annotator else {}
    return {
        "id": answer.number,
        **who,
        "result": [] if answer.label is None else _result(answer.label),
        "was_cancelled": answer.kind == "skip",
        "ground_truth": False,
        "created_at": answer.answered_at,
        "lead_time": answer.duration_seconds,
    }


def _result(label: str) -> list[Object]:
    return [{"from_name": CONTROL, "to_name": OBJECT, "type": "choices", "value": {"choices": [label]}}]


def _said(annotation: Object) -> Object:
    """Returns what an annotation says, as columns; several choices are one label that the task will not have."""
    chosen = [
        str(label)
        for result in parts(annotation, "result")
        if result.get("type") == "choices"
        for label in _choices(part(result, "value"))
    ]
    skipped = bool(annotation.get("was_cancelled"))
    return {
        "label": "" if skipped else " + ".join(chosen),
        "kind": "skip" if skipped else "label",
        "annotator": _who(annotation.get("completed_by")),
        "answered_at": annotation.get("created_at"),
        "duration_seconds": annotation.get("lead_time"),
    }


def _choices(value: Object) -> list[object]:
    choices = value.get("choices")
    return choices if isinstance(choices, list) else []


def _who(completed_by: object) -> str:
    """Returns a user's e-mail address, or `user 7` where the file holds only a number."""
    if isinstance(completed_by, dict):
        return str(completed_by.get("email") or _who(completed_by.get("id")))
    return "" if completed_by is None else f"user {completed_by}"
