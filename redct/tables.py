"""Reads tables from files and data-set hubs: every row, every value as the text that stands there."""

import csv
import gzip
import io
import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redct.errors import InputError

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".json", ".parquet")
HUB = "hf://"

Record = tuple[int, list[str]]
"""The line (1-based) on which a row of a delimited file begins, and its fields."""


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
    """Reads CSV, TSV, JSONL, JSON, Parquet or a hub data set (`hf://name[:split]`).

    Text is kept to the byte: nothing is stripped, and no value means "missing" but null. Numbers and booleans
    of JSON and Parquet become their JSON text; a hub data set's class numbers become the classes' names.

    Args:
        path: The file; all but Parquet may be gzipped (`.gz`). CSV, TSV and TXT are tab-separated where the
            header holds a tab, whatever the name.
        wanted: The columns to read; without it all that hold plain values.

    Raises:
        InputError: When the file is missing or broken, or a wanted column is missing.
    """
    if path.startswith(HUB):
        return _read_hub(path, wanted)
    kind = data_suffix(path)
    if not Path(path).exists():
        raise InputError(f"{path}: no such file")
    if not Path(path).is_file():
        raise InputError(f"{path}: is a folder, expected a file or a pattern such as {path}/*.csv")
    if kind == ".parquet":
        return _read_parquet(path, wanted)
    text, encoding = _decode(path, _read_bytes(path))
    if kind in {".jsonl", ".json"}:
        columns, rows = _columns_of_objects(path, _parse_objects(path, text, kind), wanted)
    else:
        columns, rows = _columns_of_records(path, _parse_delimited(path, text, kind), wanted)
    return Table(path, columns, rows, encoding)


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


def _read_bytes(path: str) -> bytes:
    try:
        if path.lower().endswith(".gz"):
            with gzip.open(path) as file:
                return file.read()
        return Path(path).read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _decode(path: str, data: bytes) -> tuple[str, str]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path}: found UTF-16, expected UTF-8 or cp1252; save it as UTF-8")
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), "cp1252"
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise InputError(f"{path}, line {line}: {found} is neither UTF-8 nor cp1252") from None


def _parse_delimited(path: str, text: str, kind: str) -> list[Record]:
    if "\n" not in text:  # old Macintosh programs end lines so
        text = text.replace("\r", "\n")
    header = text.split("\n", 1)[0]
    # A tab in the header decides, not the name: there are .txt files with tabs and .tsv files with commas.
    if "\t" in header or (kind != ".csv" and "," not in header):
        records = _tab_records(text)
    else:
        try:
            records = list(_quoted_records(text, ","))
        except csv.Error as error:
            raise InputError(f"{path}, {error}; expected quotes doubled inside a quoted field") from None
    while records and records[-1][1] in ([], [""]):
        records.pop()
    if not records:
        raise InputError(f"{path}: the file is empty, expected a header and rows")
    width = len(records[0][1])
    if width == 1:  # an empty line of a single column is an empty value
        records = [(line, fields or [""]) for line, fields in records]
    for line, fields in records:
        if len(fields) != width:
            found = f"{len(fields)} fields" if len(fields) != 1 else "1 field"
            raise InputError(f"{path}, line {line}: found {found}, expected {width} as in the header")
    return records


_QUOTED_FIELD = re.compile(r'(?:(?<=[\t\n])|\A)"(?:[^"]|"")*+"(?=\t|\r?\n|\r?\Z)')


def _tab_records(text: str) -> list[Record]:
    lines = enumerate(text.split("\n"), 1)
    literal = [(number, line.removesuffix("\r").split("\t")) for number, line in lines]
    return list(_quoted_records(text, "\t")) if _is_quoted(text, literal) else literal


def _is_quoted(text: str, literal: list[Record]) -> bool:
    """Tells whether quotes in a tab-separated text enclose fields, or are just characters of the texts.

    They enclose fields only if every quote belongs to a well-formed quoted field and some field needed it.
    """
    fields: list[str] = _QUOTED_FIELD.findall(text)
    if not fields or '"' in _QUOTED_FIELD.sub("", text):
        return False
    spanning = [field for field in fields if "\n" in field]
    whole = len({len(row) for _, row in literal if row != [""]}) == 1
    # Two stray quotes in different rows look like one long field: never swallow the rows between them.
    if spanning and (whole or any("\t" in field for field in spanning)):
        return False
    return text.startswith('"') or any(re.search(r'""|[\t\n]', field[1:-1]) for field in fields)


def _quoted_records(text: str, delimiter: str) -> Iterator[Record]:
    limit = csv.field_size_limit(2**31 - 1)  # the default refuses texts of more than 131,072 characters
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
    line = 1
    try:
        for fields in reader:
            yield line, fields
            line = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"line {line}: {error}") from None
    finally:
        csv.field_size_limit(limit)


Columns = dict[str, list[str | None]]


def _columns_of_records(path: str, records: list[Record], wanted: Sequence[str] | None) -> tuple[Columns, int]:
    header, rows = records[0][1], [fields for _, fields in records[1:]]
    names = _chosen(path, header, wanted)
    for name in names:
        if (times := header.count(name)) > 1:
            raise InputError(f"{path}: column {name!r} stands {times} times in the header, expected once")
    return {name: [row[header.index(name)] for row in rows] for name in names}, len(rows)


def _parse_objects(path: str, text: str, kind: str) -> list[dict[str, Any]]:
    # Numbers stay the text they are: 1.0 and 1 may be different gold values, and long ids lose no digit.
    decode = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str).decode
    if kind == ".jsonl":
        # Only \n ends a line: JSON strings may hold other line separators as they are.
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        found = [_decoded(f"{path}, line {number}", line, decode) for number, line in lines]
    else:
        found = _decoded(path, text, decode)
        if not isinstance(found, list):
            raise InputError(f"{path}: found a JSON {type(found).__name__}, expected a list of objects")
    for row, value in enumerate(found, 1):
        if not isinstance(value, dict):
            raise InputError(f"{path}, row {row}: found a JSON {type(value).__name__}, expected an object")
    return found


def _decoded(where: str, text: str, decode: Callable[[str], Any]) -> Any:  # noqa: ANN401 - JSON may be anything
    try:
        return decode(text)
    except (json.JSONDecodeError, RecursionError) as error:
        hint = "; name a file with one object a line .jsonl" if "Extra data" in str(error) else ""
        raise InputError(f"{where}: not JSON: {error}{hint}") from None


def _columns_of_objects(path: str, objects: list[dict[str, Any]], wanted: Sequence[str] | None) -> tuple[Columns, int]:
    present = dict.fromkeys(name for row in objects for name in row)
    nested = {name for row in objects for name, value in row.items() if isinstance(value, dict | list)}
    if not objects:
        return {name: [] for name in wanted or ()}, 0
    names = _chosen(path, [n for n in present if wanted is not None or n not in nested], wanted)
    return {name: _texts(path, name, [row.get(name) for row in objects]) for name in names}, len(objects)


def _chosen(path: str, present: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    for name in wanted or ():
        if name not in present:
            there = ", ".join(repr(column) for column in present)
            raise InputError(f"{path}: no column {name!r}; there are {there or 'none'}")
    return list(dict.fromkeys(present if wanted is None else wanted))


def _texts(path: str, column: str, values: Sequence[Any]) -> list[str | None]:
    texts: list[str | None] = []
    for row, value in enumerate(values, 1):
        if isinstance(value, dict | list | tuple | bytes):
            kind = type(value).__name__
            raise InputError(f"{path}, row {row}: column {column!r} holds a {kind}, expected a text")
        if isinstance(value, bool):
            texts.append(json.dumps(value))
        elif value is None or (isinstance(value, float) and math.isnan(value)):
            texts.append(None)
        else:
            texts.append(str(value))
    return texts


def _read_parquet(path: str, wanted: Sequence[str] | None) -> Table:
    import pyarrow as pa  # noqa: PLC0415 - other files are read without it
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        schema = pq.read_schema(path)
        nested = {name for name in schema.names if pa.types.is_nested(schema.field(name).type)}
        names = _chosen(path, [n for n in schema.names if wanted is not None or n not in nested], wanted)
        # A file object: of a path, pyarrow would take folders named like key=value for further columns.
        with Path(path).open("rb") as file:
            table = pq.read_table(file, columns=names)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())}") from None
    columns = {name: _texts(path, name, table.column(name).to_pylist()) for name in names}
    return Table(path, columns, table.num_rows, "utf-8")


def _read_hub(source: str, wanted: Sequence[str] | None) -> Table:
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
    columns = {}
    for column in _chosen(path, plain, wanted):
        values, kind = list(data[column]), data.features[column]
        if isinstance(kind, datasets.ClassLabel):  # -1 is the hub's sign for "no label"
            values = [None if value is None or value < 0 else kind.int2str(value) for value in values]
        columns[column] = _texts(path, column, values)
    return Table(path, columns, len(data), "utf-8")
