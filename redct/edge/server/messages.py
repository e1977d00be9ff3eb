"""What is asked and answered over HTTP, in JSON.

A request is one document, `{"text": ..., "context": {...}, "id": ...}`, or many, `{"documents": [...]}`; the id may be
left out, the context where the task has no context fields. What breaks this form is refused as a whole (422), except
that each of `documents` is judged for itself: one that cannot be read has an `error` in its answer.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from redct.edge.server.queue import Answer, Document

NOT_A_DOCUMENT, NOT_A_TEXT, TOO_LONG = "not a document", "not a text", "too long"


class MessageError(Exception):
    """A request is not as it must be; the message says what was expected."""


@dataclass(frozen=True)
class Form:
    """What a request may hold.

    Attributes:
        fields: Context fields that a document must have.
        documents: Documents of a request at most.
        characters: Characters of a text or a context field at most.
    """

    fields: Sequence[str]
    documents: int
    characters: int


class Item(NamedTuple):
    """One document of a request: either what is to be classified, or why it cannot be."""

    given: dict[str, str | int]  # the id, as it came, where one was given
    document: Document | None
    error: str | None = None


class Question(NamedTuple):
    """What a request asks."""

    many: bool
    items: list[Item]


def read_question(body: bytearray, form: Form) -> Question:
    """Reads a request's body.

    Raises:
        MessageError: When it is not as it must be.
    """
    value = _parse(body)
    if not isinstance(value, dict) or ("documents" in value) == ("text" in value):
        raise MessageError('expected an object with either "text" or "documents"')
    if "documents" not in value:
        item = _read_item(value, form)
        if item.error:
            raise MessageError(f"{item.error}: {_explain(item.error, form)}")
        return Question(many=False, items=[item])
    documents = value["documents"]
    if len(value) > 1 or not isinstance(documents, list):
        raise MessageError('expected "documents" to be an array, and the only key')
    if len(documents) > form.documents:
        raise MessageError(f"found {len(documents)} documents, expected at most {form.documents}")
    return Question(many=True, items=[_read_item(each, form) for each in documents])


def _parse(body: bytearray) -> Any:  # noqa: ANN401 - JSON may be anything
    try:
        return json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise MessageError(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise MessageError(f"not JSON: {error}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, a thousand brackets
        raise MessageError("not JSON of a usable size and depth") from None


def _read_item(value: object, form: Form) -> Item:
    if not isinstance(value, dict):
        return Item({}, None, NOT_A_DOCUMENT)
    given: dict[str, str | int] = {"id": value["id"]} if type(value.get("id")) in {str, int} else {}
    context = value.get("context", {})
    known = "text" in value and value.keys() <= {"text", "context", *given}
    if not known or not isinstance(context, dict):
        return Item(given, None, NOT_A_DOCUMENT)
    document = Document(value["text"], {field: context[field] for field in form.fields if field in context})
    parts = [document.text, *document.context.values()]
    if not all(isinstance(part, str) for part in parts):
        return Item(given, None, NOT_A_TEXT)
    if max(map(len, parts)) > form.characters:
        return Item(given, None, TOO_LONG)
    return Item(given, document)


def _explain(error: str, form: Form) -> str:
    return {
        NOT_A_DOCUMENT: 'expected an object with "text", a string, and perhaps "context", an object, '
        'and "id", a string or an integer',
        NOT_A_TEXT: "expected text and context fields to be strings",
        TOO_LONG: f"expected at most {form.characters} characters in text and in each context field",
    }[error]


def write_answers(question: Question, answers: Sequence[Answer], labels: Sequence[str]) -> bytes:
    """Returns the answer's body.

    Args:
        question: The request.
        answers: One per item.
        labels: The K labels, in the order of the probabilities.
    """
    rows = [item.given | _row(answer, labels) for item, answer in zip(question.items, answers, strict=True)]
    return json.dumps({"documents": rows} if question.many else rows[0]).encode()


def _row(answer: Answer, labels: Sequence[str]) -> dict[str, Any]:
    digits = [float(f"{each:.7g}") for each in answer.probs or []]  # all that a float32 knows
    return {
        "label": answer.label,
        "probabilities": dict(zip(labels, digits, strict=True)) if answer.probs else None,
        "abstained": answer.abstained,
        "error": answer.error,
    }
