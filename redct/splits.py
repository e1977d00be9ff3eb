"""The three corpora of a study: train, validation and test."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from redct.assets import resolve_documents
from redct.documents import Document, check_ids_disjoint, overlap, read_documents, same_text, split_documents
from redct.errors import InputError
from redct.task import Task

Files = str | Sequence[str]


@dataclass(frozen=True)
class Splits:
    """The documents of a study and what was noticed when they were read.

    Attributes:
        train: The corpus to label and to train on.
        test: Held-out documents; empty where the study has none.
        validation: Documents of a validation file; empty where validation is a share of train.
        notes: One line for each thing that the user should know.
    """

    train: list[Document]
    test: list[Document] = field(default_factory=list)
    validation: list[Document] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_splits(
    task: Task,
    train: Files,
    test: float | Files | None = None,
    validation: Files | None = None,
    drop: Collection[str] = (),
    seed: int = 0,
) -> Splits:
    """Reads the corpora of a study.

    Args:
        task: The task.
        train: Files of the corpus.
        test: Held-out files, or the share (0 to 1) of train to hold out.
        validation: Files to validate on.
        drop: What to leave out: `empty` texts, `duplicates` within train, and train texts in `overlap` with test.
        seed: Draws the share.

    Raises:
        InputError: When a file or a row is not as it must be.
    """
    notes: list[str] = []

    def read(source: Files) -> list[Document]:
        names = [source] if isinstance(source, str) else list(source)
        corpus = read_documents([resolve_documents(name) for name in names], task, drop=drop)
        notes.extend(corpus.notes())
        return corpus.documents

    documents = read(train)
    held_out: list[Document] = []
    if isinstance(test, float | int):
        if not 0 < test < 1:
            raise InputError(f"data.test: found {test}, expected files or a share between 0 and 1")
        documents, held_out = split_documents(documents, test, seed)
    elif test is not None:
        held_out = read(test)
    validating = read(validation) if validation is not None else []
    for name, part in (("train", documents), ("test", held_out), ("validation", validating)):
        if part:
            notes.append(f"data.{name}: {len(part):,} documents")
    for name, others in (("test", held_out), ("validation", validating)):
        check_ids_disjoint(documents, others)
        shared = overlap(documents, others)
        if not shared:
            continue
        texts = len({same_text(document) for document in documents if document.id in shared})
        found = f"in {name} too: {texts} of the training texts ({len(shared)} documents)"
        if "overlap" in drop:
            documents = [document for document in documents if document.id not in shared]
            notes.append(f"{found}; left out of training")
        else:
            notes.append(f"{found}; leave them out with data.drop: [overlap]")
    return Splits(documents, held_out, validating, notes)
