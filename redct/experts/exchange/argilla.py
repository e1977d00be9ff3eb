"""Argilla's records, in the JSON of `Dataset.records.to_json` and `from_json`.

Written are, for each document, a record with the fields `text` and `context`; the LLM's suggestion to the question
`label`; and the label that stands of each annotator as a response. Argilla knows users by UUID and takes
responses of its own users only, so an annotator's name is turned into the UUID (version 5) that it always gets. The
metadata value `redct` holds all rows of the ledger as JSON, also those that Argilla has no place for.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from redct.experts.exchange.entries import Entry, said_in
from redct.experts.exchange.intake import Row
from redct.experts.exchange.nested import Object, part, parts, read_list, texts, write_list
from redct.task import Task

QUESTION: Final = "label"


def user_id(annotator: str) -> str:
    """Returns the UUID that stands for an annotator; a name that is a UUID stands for itself."""
    try:
        return str(UUID(annotator))
    except ValueError:
        return str(uuid5(NAMESPACE_URL, f"redct:annotator:{annotator}"))


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Writes the file that `Dataset.records.from_json` reads."""
    write_list(path, map(_record, entries))


def read(path: str, _: Task) -> Iterator[Row]:
    """Yields the ledger's rows that redct left in each record, then the responses that are not among them."""
    names: dict[str, str] = {}
    for number, record in read_list(path, "fields"):
        where, document = f"record {number}", record.get("id")
        known: dict[str, str] = {}  # the label that stands of each annotator
        for row in _left(record):
            values = texts({"id": document, **row})
            annotator = values.get("annotator", "")
            names[user_id(annotator)] = annotator
            if values.get("kind") == "label":
                known[annotator] = values.get("label", "")
            elif values.get("kind") not in ("resolution", "reopen"):
                known.pop(annotator, None)
            yield Row(where, values)
        for response in _responses(record):
            values = texts({"id": document, **_said(response)})
            values["annotator"] = names.get(values["annotator"], values["annotator"])
            if known.get(values["annotator"]) != values["label"]:
                yield Row(where, values)


def _record(entry: Entry) -> Object:
    said = [said_in(answer) for answer in entry.answers]
    metadata: Object = {"redct": json.dumps(said, ensure_ascii=False)}
    if entry.round is not None:
        metadata["round"] = entry.round
    suggestion = {"value": entry.suggestion, "score": None, "agent": "redct"}
    responses = [
        {"value": answer.label, "user_id": user_id(answer.annotator), "status": "submitted"}
        for answer in entry.standing()
        if answer.kind == "label"
    ]
    return {
        "id": entry.document.id,
        "fields": {"text": entry.document.text, "context": entry.document.context_text()},
        "metadata": metadata,
        "suggestions": {} if entry.suggestion is None else {QUESTION: suggestion},
        "responses": {QUESTION: responses} if responses else {},
        "vectors": {},
        "_server_id": None,
    }


def _left(record: Object) -> list[Object]:
    try:
        return parts({"rows": json.loads(part(record, "metadata").get("redct", "[]"))}, "rows")
    except (TypeError, ValueError):
        return []


def _responses(record: Object) -> list[Object]:
    """Returns the responses to the question `label`, or to the only one; drafts are no answers."""
    questions = part(record, "responses")
    name = QUESTION if QUESTION in questions or len(questions) != 1 else next(iter(questions))
    return [each for each in parts(questions, name) if each.get("status") != "draft"]


def _said(response: Object) -> Object:
    skipped = response.get("status") == "discarded"
    return {
        "label": "" if skipped else response.get("value"),
        "kind": "skip" if skipped else "label",
        "annotator": response.get("user_id"),
    }
