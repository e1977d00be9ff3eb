"""Documents: what is labeled, read from the files of a corpus."""

import glob
import unicodedata
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from redct.errors import InputError
from redct.tables import HUB, Table, data_suffix, read_table
from redct.task import Task

DROPS = ("empty", "duplicates", "overlap")

Place = tuple[str, int]
"""A file and a row of it, counted from 1 without the header."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text to label.

    Attributes:
        id: Unique within a study, and the same whenever the files are read.
        text: The text, to the byte as published.
        context: Context fields, such as the target of a stance.
        gold: The reference label, one of the task's; None where the file has none.
    """

    id: str
    text: str
    context: dict[str, str]
    gold: str | None

    def context_text(self) -> str:
        """Returns lines of `field: value`, an encoder's second segment; empty without context."""
        return "\n".join(f"{name}: {value}" for name, value in self.context.items())


@dataclass(frozen=True)
class FileReading:
    """How a file was read.

    Attributes:
        path: The file, or `hf://name:split`.
        rows: Rows in it, the header not counted.
        encoding: `utf-8` or `cp1252`.
    """

    path: str
    rows: int
    encoding: str


@dataclass(frozen=True)
class Corpus:
    """The documents of one source, and what was noticed about them.

    Attributes:
        documents: In the order of the files.
        files: How each file was read.
        empty: Documents without text; they are left out, or reading would have been refused.
        duplicates: Documents whose text and context stand earlier in this source too, see `same_text`.
        drop: What was left out.
    """

    documents: list[Document]
    files: list[FileReading]
    empty: int = 0
    duplicates: int = 0
    drop: frozenset[str] = frozenset()

    def notes(self) -> list[str]:
        """Returns one line for each thing that the user should know."""
        lines = [
            f"{file.path}: not UTF-8, read as {file.encoding} ({file.rows:,} rows)"
            for file in self.files
            if file.encoding != "utf-8"
        ]
        where = self.files[0].path + (f" and {len(self.files) - 1} more" if len(self.files) > 1 else "")
        if self.empty:
            lines.append(f"{where}: {self.empty:,} documents dropped: their text is empty")
        if self.duplicates and "duplicates" in self.drop:
            lines.append(f"{where}: {self.duplicates:,} documents dropped: their text stands earlier too")
        elif self.duplicates:
            lines.append(
                f"{where}: {self.duplicates:,} documents have the letters and digits of an earlier one; "
                "leave them out with data.drop: [duplicates]"
            )
        return lines


def read_documents(source: str | Sequence[str], task: Task, *, drop: Collection[str] = ()) -> Corpus:
    """Reads a corpus.

    Args:
        source: A file, a glob, `hf://name[:split]`, or several of them. Read are CSV, TSV, JSONL, JSON and
            Parquet; the text forms also as .gz, in UTF-8 or else cp1252.
        task: Says which columns hold what, and which labels there are.
        drop: `empty` leaves out documents without text, `duplicates` all but the first of each text and
            context; `overlap` means nothing here.

    Returns:
        The corpus. Without an id column, a document's id is its file's name and row, such as `train:17`.

    Raises:
        InputError: When a file or a row is not as it must be.
    """
    for name in drop:
        if name not in DROPS:
            raise InputError(f"data.drop: found {name!r}, expected {', '.join(DROPS)}")
    columns = task.columns
    wanted = [c for c in (columns.text, columns.gold, columns.id, *columns.context.values()) if c is not None]
    paths = _find_files([source] if isinstance(source, str) else source)
    documents: list[Document] = []
    files: list[FileReading] = []
    places: list[Place] = []
    for path, stem in zip(paths, _stems(paths), strict=True):
        table = read_table(path, wanted)
        documents.extend(_documents_of(table, stem, task))
        files.append(FileReading(table.path, table.rows, table.encoding))
        places.extend((table.path, row) for row in range(1, table.rows + 1))
    if not documents:
        raise InputError(f"{', '.join(paths)}: no rows, expected documents")
    _check_ids(documents, places)
    return _screened(documents, places, files, frozenset(drop))


def _screened(documents: list[Document], places: list[Place], files: list[FileReading], drop: frozenset[str]) -> Corpus:
    filled = [document for document in documents if document.text.strip()]
    empty = len(documents) - len(filled)
    if empty and ("empty" not in drop or not filled):
        path, row = next(p for p, d in zip(places, documents, strict=True) if not d.text.strip())
        advice = "leave them out with data.drop: [empty]" if filled else "expected documents with text"
        raise InputError(f"{path}, row {row}: empty text ({empty:,} in all); {advice}")
    firsts: dict[Hashable, Document] = {}
    for document in filled:
        firsts.setdefault(same_text(document), document)
    kept = list(firsts.values()) if "duplicates" in drop else filled
    return Corpus(kept, files, empty=empty, duplicates=len(filled) - len(firsts), drop=drop)


def same_text(document: Document) -> Hashable:
    """Returns what is equal for documents that say the same, to find duplicates.

    That is the context, and the text's letters and digits in small letters: copies of a post or a sentence
    differ in spaces, quotes and broken characters. Where at least nine in ten letters and digits are ASCII,
    the others are left out too.
    """
    text = unicodedata.normalize("NFKC", document.text).casefold()
    kept = "".join(c for c in text if c.isascii() and c.isalnum())
    if not text.isascii():
        # Marks count as letters: in many scripts they are the vowels.
        every = "".join(c for c in text if unicodedata.category(c)[0] in "LMN")
        kept = kept if len(kept) >= 0.9 * len(every) else every
    return (kept or document.text, *sorted(document.context.items()))


def overlap(train: list[Document], test: list[Document]) -> set[str]:
    """Returns the ids of training documents whose text and context stand in test too, see `same_text`."""
    seen = {same_text(document) for document in test}
    return {document.id for document in train if same_text(document) in seen}


def check_ids_disjoint(train: list[Document], test: list[Document]) -> None:
    """Checks that no id stands for two documents.

    Raises:
        InputError: When an id stands in both.
    """
    shared = sorted({document.id for document in train} & {document.id for document in test})
    if shared:
        raise InputError(
            f"id {shared[0]!r} stands in two files of the study ({len(shared):,} ids in all), expected "
            "different ids; name a column of unique ids (task.columns.id), or rename a file"
        )


def split_documents(documents: list[Document], share: float, seed: int) -> tuple[list[Document], list[Document]]:
    """Splits documents at random, stratified by gold label where every document has one.

    Args:
        documents: N documents.
        share: Size of the second part, as a share of N.
        seed: Draws it.

    Returns:
        The rest, and exactly round(share * N) documents; both in the order of the file.

    Raises:
        InputError: When a part would be empty.
    """
    total = round(share * len(documents)) if 0 < share < 1 else 0
    if not 0 < total < len(documents):
        raise InputError(f"a share of {share} of {len(documents):,} documents leaves a part empty")
    rng = np.random.default_rng(seed)
    labels = [document.gold for document in documents if document.gold is not None]
    if len(labels) < len(documents):
        labels = [""] * len(documents)
    strata = np.unique(labels, return_inverse=True)[1]
    drawn = np.zeros(len(documents), dtype=bool)
    for stratum, size in enumerate(_apportion(np.bincount(strata), share, total, rng)):
        drawn[rng.permutation(np.flatnonzero(strata == stratum))[:size]] = True
    rest = [document for document, taken in zip(documents, drawn, strict=True) if not taken]
    return rest, [document for document, taken in zip(documents, drawn, strict=True) if taken]


def _apportion(
    counts: npt.NDArray[np.int64], share: float, total: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Shares `total` out by largest remainder; equal ones in random order, so that no name is favoured."""
    quotas = share * counts
    sizes: npt.NDArray[np.int64] = np.floor(quotas).astype(np.int64)
    order = np.lexsort((rng.permutation(len(counts)), -(quotas - sizes)))
    sizes[order[: total - int(sizes.sum())]] += 1
    return sizes


def _find_files(sources: Iterable[str]) -> list[str]:
    paths: list[str] = []
    for source in sources:
        if source.startswith(HUB) or not glob.has_magic(source) or Path(source).exists():
            found = [source]
        else:
            matching = glob.glob(source, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
            found = sorted(path for path in matching if Path(path).is_file())
        if not found:
            raise InputError(f"{source}: no file matches")
        paths.extend(found)
    if not paths:
        raise InputError("no files given, expected at least one")
    for path in paths:
        if paths.count(path) > 1:
            raise InputError(f"{path}: named twice, expected each file once")
    return paths


def _stems(paths: Sequence[str]) -> list[str]:
    """Names each file by its stem, with as many folders before it as it takes to tell the files apart."""
    plain = [path.removeprefix(HUB) if path.startswith(HUB) else _without_suffix(path) for path in paths]
    hub = [path.startswith(HUB) for path in paths]
    for names in (plain, paths):
        for depth in range(1, max(len(Path(name).parts) for name in names) + 1):
            stems = [n if h else "/".join(Path(n).parts[-depth:]) for n, h in zip(names, hub, strict=True)]
            if len(set(stems)) == len(stems):
                return stems
    return list(paths)


def _without_suffix(path: str) -> str:
    suffix = data_suffix(path)
    return path[: path.lower().rindex(suffix)]


def _documents_of(table: Table, stem: str, task: Task) -> list[Document]:
    columns = task.columns
    nothing: list[str | None] = [None] * table.rows
    texts = table.columns[columns.text]
    ids = table.columns[columns.id] if columns.id is not None else nothing
    golds = table.columns[columns.gold] if columns.gold is not None else nothing
    context = {field: table.columns[column] for field, column in columns.context.items()}
    documents = []
    for i in range(table.rows):
        name = f"{stem}:{i + 1}" if columns.id is None else ids[i]
        if name is None or not name.strip():
            raise InputError(f"{table.path}, row {i + 1}: no id in column {columns.id!r}, expected one")
        fields = {field: values[i] or "" for field, values in context.items()}
        documents.append(Document(name, texts[i] or "", fields, _gold(table.path, i + 1, golds[i], task)))
    return documents


def _gold(path: str, row: int, value: str | None, task: Task) -> str | None:
    if value is None or not value.strip():
        return None
    try:
        return task.label_of(value)
    except KeyError:
        column, known = task.columns.gold, ", ".join(task.gold_choices())
        raise InputError(
            f"{path}, row {row}: gold value {value!r} in column {column!r}, expected one of {known}"
        ) from None


def _check_ids(documents: Sequence[Document], places: Sequence[Place]) -> None:
    first: dict[str, Place] = {}
    for document, (path, row) in zip(documents, places, strict=True):
        earlier, at = first.setdefault(document.id, (path, row))
        if (earlier, at) != (path, row):
            other = f"row {at}" if earlier == path else f"{earlier}, row {at}"
            raise InputError(f"{path}, row {row}: id {document.id!r} stands in {other} too, expected unique ids")
