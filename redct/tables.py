"""Reads tables from files and data-set hubs: every row, every value as the text that stands there."""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redct.delimited import delimited
from redct.errors import InputError
from redct.textfile import TextFile, look_through

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet")
HUB = "hf://"
BATCH = 1024  # rows of Parquet files and hub data sets that are turned into Python's texts at a time
BUFFER = 1 << 20  # bytes of a Parquet column that are read at a time

Row = tuple[str | None, ...]
Object = dict[str, Any]


@dataclass(frozen=True)
class TableFile:
    """A file whose rows are read anew by every iteration, and never held all at once.

    Only JSON lists are: they are parsed as a whole.

    Attributes:
        path: The file, or `hf://name:split`.
        names: The columns.
        encoding: `utf-8` or `cp1252`.
        rows: Begins to read; a row holds a value for each name, None where JSON or Parquet holds null.
    """

    path: str
    names: list[str]
    encoding: str
    rows: Callable[[], Iterator[Row]]

    def __iter__(self) -> Iterator[Row]:
        return self.rows()


@dataclass(frozen=True)
class Table:
    """The columns of one file.

    Attributes:
        path: The file, or `hf://name:split`.
        columns: Each column with its values, one a row; None where JSON or Parquet holds null.
        rows: Number of rows.
        encoding: `utf-8` or `cp1252`.
    """

    path: str
    columns: dict[str, list[str | None]]
    rows: int
    encoding: str


def read_table(path: str, wanted: Sequence[str] | None = None) -> Table:
    """Reads a whole table into memory, see `open_table`."""
    file = open_table(path, wanted)
    columns: dict[str, list[str | None]] = {name: [] for name in file.names}
    rows = 0
    for row in file:
        rows += 1
        for values, value in zip(columns.values(), row, strict=True):
            values.append(value)
    return Table(file.path, columns, rows, file.encoding)


def open_table(path: str, wanted: Sequence[str] | None = None) -> TableFile:
    """Opens CSV, TSV, JSONL, JSON, Parquet or a hub data set (`hf://name[:split]`).

    Text is kept to the byte: nothing is stripped, and no value means "missing" but null. Numbers and booleans
    of JSON and Parquet become their JSON text; a hub data set's class numbers become the classes' names. Half a
    surrogate pair, which JSON may hold where an emoji was cut, becomes U+FFFD.

    Args:
        path: The file; all but Parquet may be gzipped (`.gz`). CSV, TSV and TXT are tab-separated where the
            header holds a tab, whatever the name.
        wanted: The columns to read; without it all that hold plain values.

    Raises:
        InputError: When the file is missing or broken, or a wanted column is missing; what only a row shows is
            found when it is read.
    """
    if path.startswith(HUB):
        return _open_hub(path, wanted)
    kind = data_suffix(path)
    if not Path(path).exists():
        raise InputError(f"{path}: no such file")
    if not Path(path).is_file():
        raise InputError(f"{path}: is a folder, expected a file or a pattern such as {path}/*.csv")
    if kind == ".parquet":
        return _open_parquet(path, wanted)
    text = look_through(path)
    if kind in {".jsonl", ".json"}:
        return _open_objects(text, kind, wanted)
    return _open_delimited(text, kind, wanted)


def data_suffix(path: str) -> str:
    """Returns what tells the format of a file: its suffix in small letters, `.gz` left off.

    Raises:
        InputError: When it is none that redct reads.
    """
    name = Path(path).name.lower()
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES or (suffix == ".parquet" and name.endswith(".gz")):
        known = ", ".join(SUFFIXES)
        raise InputError(f"{path}: unknown kind of file, expected {known} or .gz of a text form")
    return suffix


def _open_delimited(text: TextFile, kind: str, wanted: Sequence[str] | None) -> TableFile:
    file = delimited(text, comma_by_name=kind == ".csv")
    header = next(file.records())[1]
    names = _chosen(text.path, header, wanted)
    for name in names:
        if (times := header.count(name)) > 1:
            raise InputError(f"{text.path}: column {name!r} stands {times} times in the header, expected once")
    places = [header.index(name) for name in names]

    def rows() -> Iterator[Row]:
        records = file.records()
        next(records)
        for _, fields in records:
            yield tuple([fields[place] for place in places])

    return TableFile(text.path, names, text.encoding, rows)


def _open_objects(text: TextFile, kind: str, wanted: Sequence[str] | None) -> TableFile:
    text = replace(text, newline="\n")  # \r is white space in JSON
    objects = _lines_of_json if kind == ".jsonl" else _list_of_json
    names = list(dict.fromkeys(wanted)) if wanted is not None else _plain_names(objects(text))

    def rows() -> Iterator[Row]:
        absent = set(names)
        number = 0
        for number, row in enumerate(objects(text), 1):
            if absent:
                absent -= row.keys()
            yield tuple([_text(text.path, number, name, row.get(name)) for name in names])
        if number and absent:
            _chosen(text.path, list(dict.fromkeys(name for row in objects(text) for name in row)), names)

    return TableFile(text.path, names, text.encoding, rows)


def _plain_names(objects: Iterator[Object]) -> list[str]:
    """Returns the names that never hold a list or an object, in the order in which they first stand."""
    plain: dict[str, bool] = {}
    for row in objects:
        for name, value in row.items():
            plain[name] = plain.get(name, True) and not isinstance(value, dict | list)
    return [name for name, is_plain in plain.items() if is_plain]


# Numbers stay the text they are: 1.0 and 1 may be different gold values, and long ids lose no digit.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def _lines_of_json(text: TextFile) -> Iterator[Object]:
    row = 0
    # Only \n ends a line: JSON strings may hold other line separators as they are.
    for number, line in enumerate(text.lines(), 1):
        if line.strip():
            row += 1
            yield _object(text.path, row, _decoded(text.path, line.removesuffix("\n"), number))


def _list_of_json(text: TextFile) -> Iterator[Object]:
    found = _decoded(text.path, text.read())
    if not isinstance(found, list):
        raise InputError(f"{text.path}: found a JSON {type(found).__name__}, expected a list of objects")
    for row, value in enumerate(found, 1):
        yield _object(text.path, row, value)


def _decoded(path: str, text: str, line: int | None = None) -> Any:  # noqa: ANN401 - JSON may be anything
    try:
        return _DECODER.decode(text)
    except (json.JSONDecodeError, RecursionError) as error:
        hint = "; name a file with one object a line .jsonl" if "Extra data" in str(error) else ""
        where = path if line is None else f"{path}, line {line}"
        raise InputError(f"{where}: not JSON: {error}{hint}") from None


def _object(path: str, row: int, value: object) -> Object:
    if not isinstance(value, dict):
        raise InputError(f"{path}, row {row}: found a JSON {type(value).__name__}, expected an object")
    return value


def _chosen(path: str, present: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    for name in wanted or ():
        if name not in present:
            there = ", ".join(repr(column) for column in present)
            raise InputError(f"{path}: no column {name!r}; there are {there or 'none'}")
    return list(dict.fromkeys(present if wanted is None else wanted))


# A JSON escape such as \ud83d without its other half: no text, so neither a tokenizer nor a file takes it.
_HALF_PAIR = re.compile("[\ud800-\udfff]")


def _text(path: str, row: int, column: str, value: object) -> str | None:
    if isinstance(value, str):
        return value if value.isascii() else _HALF_PAIR.sub("\ufffd", value)
    if isinstance(value, dict | list | tuple | bytes):
        kind = type(value).__name__
        raise InputError(f"{path}, row {row}: column {column!r} holds a {kind}, expected a text")
    if isinstance(value, bool):
        return json.dumps(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value)


def _open_parquet(path: str, wanted: Sequence[str] | None) -> TableFile:
    import pyarrow as pa  # noqa: PLC0415 - other files are read without it
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        schema = pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _no_parquet(path, error) from None
    nested = {name for name in schema.names if pa.types.is_nested(schema.field(name).type)}
    names = _chosen(path, [n for n in schema.names if wanted is not None or n not in nested], wanted)

    def batches() -> Iterator[dict[str, Sequence[Any]]]:
        try:
            # A file object: of a path, pyarrow would take folders named like key=value for further columns.
            # Without a buffer's size, or with a buffer read ahead, whole row groups would be held.
            with Path(path).open("rb") as file, pq.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False) as parquet:
                for batch in parquet.iter_batches(BATCH, columns=names, use_threads=False):
                    yield {name: batch.column(name).to_pylist() for name in names}
        except (pa.ArrowException, OSError) as error:
            raise _no_parquet(path, error) from None

    return TableFile(path, names, "utf-8", lambda: _rows_of_batches(path, batches()))


def _no_parquet(path: str, error: Exception) -> InputError:
    return InputError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())}")


def _rows_of_batches(path: str, batches: Iterator[dict[str, Sequence[Any]]]) -> Iterator[Row]:
    number = 0
    for batch in batches:
        for values in zip(*batch.values(), strict=True):
            number += 1
            yield tuple([_text(path, number, name, value) for name, value in zip(batch, values, strict=True)])


def _open_hub(source: str, wanted: Sequence[str] | None) -> TableFile:
    import datasets  # noqa: PLC0415 - seconds to import, and only hub data sets need it

    name, _, split = source.removeprefix(HUB).partition(":")
    split = split or "train"
    path = f"{HUB}{name}:{split}"
    try:
        data = datasets.load_dataset(name, split=split)
    except Exception as error:  # the hub, the network and a data set's own code each raise their own
        raise InputError(f"{path}: cannot be loaded: {' '.join(str(error).split())}") from None
    nested = datasets.List | datasets.LargeList | dict | list
    plain = [n for n, kind in data.features.items() if wanted is not None or not isinstance(kind, nested)]
    names = _chosen(path, plain, wanted)
    classes = {n: data.features[n] for n in names if isinstance(data.features[n], datasets.ClassLabel)}

    def batches() -> Iterator[dict[str, Sequence[Any]]]:
        for batch in data.select_columns(names).iter(BATCH):
            # -1 is the hub's sign for "no label".
            named = {n: [None if v is None or v < 0 else c.int2str(v) for v in batch[n]] for n, c in classes.items()}
            yield {name: named.get(name, batch[name]) for name in names}

    return TableFile(path, names, "utf-8", lambda: _rows_of_batches(path, batches()))
