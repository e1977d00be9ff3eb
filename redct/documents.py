"""Documents: what is labeled, read from the files of a corpus."""

import glob
import hashlib
import json
import string
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

import numpy as np

from redct.digests import Digests, Mask
from redct.errors import InputError
from redct.tables import HUB, Row, data_suffix, open_table
from redct.task import Task

DROPS = ("empty", "duplicates", "overlap")


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

    def digest(self) -> str:
        """Returns 16 hexadecimal digits that tell what it says, text and context, from what others do."""
        said = json.dumps([self.text, self.context], sort_keys=True).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(said, digest_size=8).hexdigest()

    def context_text(self) -> str:
        """Returns lines of `field: value`, an encoder's second segment; empty without context."""
        return "\n".join(f"{name}: {value}" for name, value in self.context.items())


class Documents(Protocol):
    """Documents that can be counted, and read as often as need be: a list, or a corpus that lies in files."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Document]: ...


@dataclass(frozen=True)
class Joined:
    """Documents one after the other.

    Attributes:
        parts: What they are made of.
    """

    parts: Sequence[Documents]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[Document]:
        return chain.from_iterable(self.parts)


def in_batches(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    """Yields lists of `size` documents; the last one may be shorter."""
    reading = iter(documents)
    while batch := list(islice(reading, size)):
        yield batch


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


@dataclass(frozen=True, eq=False)
class Corpus:
    """The documents of one source, and what was noticed about them.

    Its length is their number; every iteration reads the files anew, in their order, so that the memory it
    takes is a byte per row.

    Attributes:
        files: How each file was read.
        empty: Documents without text; they are left out, or reading would have been refused.
        duplicates: Documents whose text and context stand earlier in this source too, see `same_text`.
        drop: What was left out.
        keep: (R,) which of the files' R rows are documents of the corpus.
        ids: Digests of the ids of all R rows.
        texts: Digests of what they say, see `same_text`.
    """

    files: list[FileReading] = field(default_factory=list)
    empty: int = 0
    duplicates: int = 0
    drop: frozenset[str] = frozenset()
    keep: Mask = field(default_factory=lambda: np.zeros(0, dtype=bool))
    ids: Digests = field(default_factory=Digests)
    texts: Digests = field(default_factory=Digests)
    _sources: list["_Source"] = field(default_factory=list)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.keep))

    def __iter__(self) -> Iterator[Document]:
        start = 0
        for source, file in zip(self._sources, self.files, strict=True):
            kept = self.keep[start : start + file.rows]
            start += file.rows
            try:
                for row, (values, is_kept) in enumerate(zip(source.table, kept, strict=True), 1):
                    if is_kept:
                        yield source.document(row, values)
            except ValueError:
                raise self._changed(file) from None

    @cached_property
    def documents(self) -> list[Document]:
        """All documents in memory."""
        return list(self)

    def columns(self, names: Sequence[str]) -> dict[str, list[str | None]]:
        """Returns further columns of the files, such as a document's date or source.

        Args:
            names: Columns that every file has; a context field stands for its column.

        Returns:
            Each name with a value for each document; None where JSON or Parquet holds null.

        Raises:
            InputError: When a file lacks one, or has changed since it was checked.
        """
        found: dict[str, list[str | None]] = {name: [] for name in names}
        start = 0
        for source, file in zip(self._sources, self.files, strict=True):
            kept = self.keep[start : start + file.rows]
            start += file.rows
            column = {name: source.task.columns.context.get(name, name) for name in names}
            table = open_table(file.path, list(column.values()))
            try:
                for values, is_kept in zip(table, kept, strict=True):
                    if is_kept:
                        row = dict(zip(table.names, values, strict=True))
                        for name in names:
                            found[name].append(row[column[name]])
            except ValueError:
                raise self._changed(file) from None
        return found

    @staticmethod
    def _changed(file: FileReading) -> InputError:
        return InputError(f"{file.path}: changed since it was checked, expected {file.rows:,} rows")

    def select(self, chosen: Mask) -> "Corpus":
        """Returns the corpus of some of the documents.

        Args:
            chosen: (R,) which rows may stay; those that are left out already stay out.
        """
        return replace(self, keep=self.keep & chosen)

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


def missing(documents: Documents, stored: Digests) -> Mask:
    """Returns (N,) which of N documents have an id that is not stored."""
    if isinstance(documents, Corpus):
        return ~documents.ids.found_in(stored)[documents.keep]
    if isinstance(documents, Joined):
        return np.concatenate([missing(part, stored) for part in documents.parts])
    return ~Digests(document.id for document in documents).found_in(stored)


def read_documents(source: str | Sequence[str], task: Task, *, drop: Collection[str] = ()) -> Corpus:
    """Reads a corpus.

    Args:
        source: A file, a glob, `hf://name[:split]`, or several of them. Read are CSV, TSV, JSONL, JSON and
            Parquet; the text forms also as .gz, in UTF-8 or else cp1252. The files must stay as they are while the
            corpus is used.
        task: Says which columns hold what, and which labels there are.
        drop: `empty` leaves out documents without text, `duplicates` all but the first of each text and
            context; `overlap` means nothing here.

    Returns:
        The corpus, of which the files were read once to check them. Without an id column, a document's id is its
        file's name and row, such as `train:17`.

    Raises:
        InputError: When a file or a row is not as it must be.
    """
    for name in drop:
        if name not in DROPS:
            raise InputError(f"data.drop: found {name!r}, expected {', '.join(DROPS)}")
    columns = task.columns
    wanted = [c for c in (columns.text, columns.gold, columns.id, *columns.context.values()) if c is not None]
    paths = _find_files([source] if isinstance(source, str) else source)
    sources = [_Source(path, stem, wanted, task) for path, stem in zip(paths, _stems(paths), strict=True)]
    corpus, filled = _read_once(sources)
    if not len(filled):
        raise InputError(f"{', '.join(paths)}: no rows, expected documents")
    _check_ids(corpus)
    return _screened(corpus, filled, frozenset(drop))


def _read_once(sources: list["_Source"]) -> tuple[Corpus, Mask]:
    """Returns all rows as a corpus, and which of them have text."""
    files, ids, texts, filled = [], Digests(), Digests(), bytearray()
    for source in sources:
        before = len(filled)
        for document in source.check():
            ids.add(document.id)
            texts.add(repr(same_text(document)))
            filled.append(bool(document.text.strip()))
        files.append(FileReading(source.table.path, len(filled) - before, source.table.encoding))
    corpus = Corpus(files, keep=np.ones(len(filled), dtype=bool), ids=ids, texts=texts, _sources=sources)
    return corpus, np.frombuffer(filled, dtype=bool)


def _screened(corpus: Corpus, filled: Mask, drop: frozenset[str]) -> Corpus:
    empty = len(filled) - int(np.count_nonzero(filled))
    if empty and ("empty" not in drop or empty == len(filled)):
        path, row = _place(corpus, int(np.argmin(filled)))
        advice = "leave them out with data.drop: [empty]" if filled.any() else "expected documents with text"
        raise InputError(f"{path}, row {row}: empty text ({empty:,} in all); {advice}")
    repeated = corpus.texts.repeated(among=filled)
    keep = filled & ~repeated if "duplicates" in drop else filled
    return replace(corpus, drop=drop, keep=keep, empty=empty, duplicates=int(np.count_nonzero(repeated)))


def _check_ids(corpus: Corpus) -> None:
    repeated = corpus.ids.repeated()
    if not repeated.any():
        return
    later = int(np.argmax(repeated))
    document = next(islice(corpus, later, None))
    (earlier, at), (path, row) = _place(corpus, corpus.ids.first(later)), _place(corpus, later)
    other = f"row {at}" if earlier == path else f"{earlier}, row {at}"
    raise InputError(f"{path}, row {row}: id {document.id!r} stands in {other} too, expected unique ids")


def _place(corpus: Corpus, number: int) -> tuple[str, int]:
    """Returns the file of one of all rows, and the row in it, counted from 1 without the header."""
    for file in corpus.files:
        if number < file.rows:
            return file.path, number + 1
        number -= file.rows
    raise AssertionError("no such row")


_NEITHER = bytes(sorted(set(range(128)) - set((string.ascii_letters + string.digits).encode())))


def same_text(document: Document) -> tuple[object, ...]:
    """Returns what is equal for documents that say the same, to find duplicates.

    That is the context, and the text's letters and digits in small letters: copies of a post or a sentence
    differ in spaces, quotes and broken characters. Where at least nine in ten letters and digits are ASCII,
    the others are left out too.
    """
    text = unicodedata.normalize("NFKC", document.text).casefold()
    kept = text.encode("ascii", "ignore").translate(None, _NEITHER).decode()
    if not text.isascii():
        # Marks count as letters: in many scripts they are the vowels.
        every = "".join(c for c in text if unicodedata.category(c)[0] in "LMN")
        kept = kept if len(kept) >= 0.9 * len(every) else every
    return (kept or document.text, *sorted(document.context.items()))


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
    for path, times in Counter(paths).items():
        if times > 1:
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


class _Source:
    """A file of a corpus, and how its rows become documents."""

    def __init__(self, path: str, stem: str, wanted: Sequence[str], task: Task) -> None:
        self.table = open_table(path, wanted)
        self.stem, self.task = stem, task
        place = self.table.names.index
        columns = task.columns
        self._text = place(columns.text)
        self._id = place(columns.id) if columns.id is not None else None
        self._gold = place(columns.gold) if columns.gold is not None else None
        self._context = [(field, place(column)) for field, column in columns.context.items()]

    def document(self, row: int, values: Row) -> Document:
        """Returns the document of a row, counted from 1."""
        name = f"{self.stem}:{row}" if self._id is None else values[self._id]
        if name is None or not name.strip():
            column = self.task.columns.id
            raise InputError(f"{self.table.path}, row {row}: no id in column {column!r}, expected one")
        context = {field: values[place] or "" for field, place in self._context}
        gold = _gold(self.table.path, row, values[self._gold], self.task) if self._gold is not None else None
        return Document(name, values[self._text] or "", context, gold)

    def check(self) -> Iterator[Document]:
        """Yields all documents; the first row that is none is refused only if nothing is wrong with the file itself."""
        refusal: InputError | None = None
        for row, values in enumerate(self.table, 1):
            try:
                document = self.document(row, values)
            except InputError as error:
                refusal = refusal or error
            else:
                yield document
        if refusal:
            raise refusal


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
