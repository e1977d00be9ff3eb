"""Tables with one row per answer, or per document without one, as CSV and JSONL."""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from redct.errors import InputError
from redct.experts.exchange.entries import COLUMNS, Entry, Value
from redct.experts.exchange.intake import Row
from redct.tables import open_table
from redct.task import Task

# What a spreadsheet may run: = + - @ (also in full width) behind any white space, invisible signs and quotes, or a
# tab or line end in front. A match stays one with an apostrophe more or less before it: that makes `guarded` exact.
_RISKY: Final = re.compile(r"""'*[\t\r\n]|[\s"'\u200b-\u200f\u2060\ufeff\0]*[=+\-@\uff1d\uff0b\uff0d\uff20]""")


def guarded(text: str) -> str:
    """Returns a text as it may stand in a CSV cell: with an apostrophe before what a spreadsheet might run.

    It is also put before what would read as guarded already, such as '=1, and nowhere else; so `unguarded` gives back
    every text exactly, those that begin with an apostrophe too.
    """
    return f"'{text}" if _RISKY.match(text) else text


def unguarded(cell: str) -> str:
    """Returns the text of a cell, see `guarded`."""
    return cell[1:] if cell.startswith("'") and _RISKY.match(cell) else cell


def write_csv(path: Path, entries: Iterable[Entry]) -> None:
    """Writes a CSV file as spreadsheets take it: UTF-8 with a byte-order mark, lines that end with CR LF."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for entry in entries:
            writer.writerows([_cell(value) for value in row.values()] for row in entry.rows())


def read_csv(path: str, task: Task) -> Iterator[Row]:
    """Yields the rows of a delimited file, see `redct.tables.open_table`."""
    for row in _read(path, task, header_rows=1):
        yield Row(row.where, {name: unguarded(value) for name, value in row.values.items()})


def write_jsonl(path: Path, entries: Iterable[Entry]) -> None:
    """Writes a JSON object a line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for entry in entries:
            file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in entry.rows())


def read_jsonl(path: str, task: Task) -> Iterator[Row]:
    """Yields the rows of a JSONL file, counted from 1."""
    return _read(path, task, header_rows=0)


def columns_of(path: str, names: Sequence[str], task: Task) -> dict[str, int]:
    """Returns where the columns that redct knows stand in a header; white space around them and case do not matter.

    Raises:
        InputError: When there is no column of ids or of labels, or one stands twice.
    """
    plain = [name.strip().casefold() for name in names]
    for name in COLUMNS:
        if plain.count(name) > 1:
            raise InputError(f"{path}: column {name!r} stands {plain.count(name)} times in the header, expected once")
    places: dict[str, int] = {name: plain.index(name) for name in COLUMNS if name in plain}
    if "id" not in places and task.columns.id in names:
        places["id"] = names.index(task.columns.id)
    for name in ("id", "label"):
        if name not in places:
            there = ", ".join(map(repr, names)) or "none"
            advice = (
                "; separate columns by comma or tab, or save as xlsx" if len(names) == 1 and ";" in names[0] else ""
            )
            raise InputError(f"{path}: no column {name!r}; there are {there}{advice}")
    return places


def _read(path: str, task: Task, header_rows: int) -> Iterator[Row]:
    table = open_table(path)
    places = columns_of(path, table.names, task)
    for number, values in enumerate(table, header_rows + 1):
        yield Row(f"row {number}", {name: values[place] or "" for name, place in places.items()})


def _cell(value: Value) -> Value:
    return guarded(value) if isinstance(value, str) else value
