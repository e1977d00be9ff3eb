"""The queue and the answers as files that other programs read and write, and back.

Every form holds every row of the ledger's answers, so that a ledger with the same rounds takes all of them back. What a
form has no place of its own for, such as an undone answer in Label Studio, lies where that program leaves it alone.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redct.documents import Document
from redct.errors import InputError
from redct.experts.exchange import argilla, flat, label_studio, spreadsheet
from redct.experts.exchange.entries import Entry, entries
from redct.experts.exchange.intake import Imported, Row, Taken, UnmatchedError, matched, missing_from
from redct.experts.ledger import Ledger
from redct.experts.records import Answer
from redct.files import whole
from redct.task import Task

__all__ = ["FORMS", "Form", "Imported", "Taken", "UnmatchedError", "form_of", "read", "take", "write"]


@dataclass(frozen=True)
class Form:
    """A way to lay out queue and answers in a file.

    Args:
        suffixes: Of its files; the first is what redct writes.
        write: Writes the entries to a path.
        read: Yields the rows of a file that may hold an answer.
        settles: Whether a row without an answer can say that one settles the document (kind resolution).
    """

    suffixes: tuple[str, ...]
    write: Callable[[Path, Iterable[Entry]], None]
    read: Callable[[str, Task], Iterator[Row]]
    settles: bool


FORMS: Final[Mapping[str, Form]] = {
    "csv": Form((".csv", ".tsv", ".txt"), flat.write_csv, flat.read_csv, settles=True),
    "xlsx": Form((".xlsx",), spreadsheet.write, spreadsheet.read, settles=True),
    "jsonl": Form((".jsonl",), flat.write_jsonl, flat.read_jsonl, settles=True),
    "label_studio": Form((".json",), label_studio.write, label_studio.read, settles=False),
    "argilla": Form((".json",), argilla.write, argilla.read, settles=False),
}


def form_of(path: str, form: str | None = None) -> str:
    """Returns the name of a file's form.

    Args:
        path: The file; its suffix tells the form where only one has it.
        form: The form as the user named it, if at all.

    Raises:
        InputError: When the form is unknown, or not named and not told by the suffix.
    """
    if form is not None:
        if form not in FORMS:
            raise InputError(f"form: found {form!r}, expected {', '.join(FORMS)}")
        return form
    name = path.lower().removesuffix(".gz")
    fitting = [known for known, each in FORMS.items() if name.endswith(each.suffixes)]
    if len(fitting) != 1:
        raise InputError(f"{path}: its name does not tell the form, name it: {', '.join(fitting or FORMS)}")
    return fitting[0]


def write(
    path: Path,
    form: str,
    documents: Iterable[Document],
    answers: Sequence[Answer],
    task: Task,
    rounds: Mapping[str, int] | None = None,
    suggestions: Mapping[str, str] | None = None,
    again: Collection[str] = (),
) -> None:
    """Writes documents with their answers, in the order of the documents; the file is there whole or not at all.

    A Label Studio file gets the labeling interface that fits it beside it, as `.xml`.

    Args:
        path: The file; one of that name is replaced.
        form: One of `FORMS`.
        documents: The chosen documents, answered or not.
        answers: The answers to write, mostly all of the ledger. Those to a document that is not given are written
            without its text.
        task: Its labels go into the labeling interface.
        rounds: The round in which each document was chosen.
        suggestions: The LLM's label of each document; by default annotators do not see one.
        again: Ids of documents whose answers are looked at again: a table says in their rows that an answer settles
            them (kind resolution).

    Raises:
        InputError: When the form is unknown or has no room for a document.
        RedctError: When the file cannot be written.
    """
    laid_out = FORMS[form_of(str(path), form)]
    with whole(path) as temporary:
        laid_out.write(temporary, entries(documents, answers, rounds or {}, suggestions or {}, again))
    if form == "label_studio":
        with whole(path.with_suffix(".xml")) as temporary:
            temporary.write_text(label_studio.interface(task), encoding="utf-8")


def read(
    path: str,
    form: str,
    task: Task,
    chosen: Iterable[str],
    annotator: str | None = None,
    known: Iterable[str] = (),
) -> Imported:
    """Reads the answers of a file.

    Args:
        path: The file. Of a table only the columns `id` (or the task's id column) and `label` are needed. Rows are
            counted as a spreadsheet does: the header is row 1. In CSV an apostrophe before what a spreadsheet might run
            is taken off, see `flat.guarded`.
        form: One of `FORMS`.
        task: Its labels are the ones an answer may have.
        chosen: Ids of the documents that were chosen for experts.
        annotator: Who answered, where the file does not say.
        known: Names of annotators as they are spelled already.

    Raises:
        InputError: When the file as a whole is not as it must be.
    """
    return matched(path, FORMS[form_of(path, form)].read(path, task), task, chosen, annotator, known)


def take(
    ledger: Ledger, path: str, form: str, task: Task, annotator: str | None = None, partial: bool = False
) -> Taken:
    """Records the answers of a file that the ledger does not hold yet; all or none, in one transaction.

    An answer without a time is there already when a file of this name brought it before, or when it is what the
    annotator said last about the document.

    Args:
        ledger: Where to.
        path: The file, see `read`.
        form: One of `FORMS`.
        task: Its labels are the ones an answer may have.
        annotator: Who answered, where the file does not say.
        partial: Whether to take what can be matched although other rows cannot.

    Raises:
        UnmatchedError: When rows cannot be matched and `partial` is not set.
        InputError: When the file as a whole is not as it must be.
    """
    chosen = (document for each in ledger.rounds() for document in each.ids)
    recorded = ledger.answers()
    known = dict.fromkeys(answer.annotator for answer in recorded)
    found = read(path, form, task, chosen, annotator, known)
    if found.problems and not partial:
        raise UnmatchedError(path, found.problems)
    new = missing_from(found.answers, recorded)
    ledger.record_all(new)
    return Taken(path, len(new), len(found.answers) - len(new), found.unanswered, found.problems)
