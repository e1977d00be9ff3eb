"""The table of `flat` as an Excel file, every text in it a text, never a formula."""

import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from redct.errors import InputError
from redct.experts.exchange.entries import COLUMNS, Entry, Value
from redct.experts.exchange.flat import columns_of
from redct.experts.exchange.intake import Row
from redct.task import Task

# Excel's limits; openpyxl would cut a longer text silently.
_ROWS: Final = 1_048_576
_CHARACTERS: Final = 32_767

# XML has no place for these, and a reader of XML takes \r for \n. Excel writes them as _xHHHH_ (ECMA-376 part 1,
# 22.9.2.19), and what looks like that with _x005F_ for its first character.
_UNFIT: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
_ESCAPED: Final = re.compile("_x([0-9A-Fa-f]{4})_")

_BROKEN: Final = (
    OSError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    LookupError,
    TypeError,
    ValueError,
    NotImplementedError,
    ParseError,
)


def write(path: Path, entries: Iterable[Entry]) -> None:
    """Writes an Excel file with one sheet.

    Raises:
        InputError: When a text or the table is longer than Excel allows.
    """
    from openpyxl import Workbook  # noqa: PLC0415 - only for this form
    from openpyxl.cell import WriteOnlyCell  # noqa: PLC0415

    book = Workbook(write_only=True)
    sheet = book.create_sheet("answers")
    sheet.freeze_panes = "A2"
    sheet.append(COLUMNS)

    def cell(value: Value) -> object:
        if not isinstance(value, str) or not value.startswith(("=", "#")):
            return value  # a text already, whatever it looks like
        text = WriteOnlyCell(sheet, value)
        text.data_type = "s"  # not a formula, nor an error value
        return text

    try:
        for number, row in enumerate((row for entry in entries for row in entry.rows()), 2):
            if number > _ROWS:
                raise InputError(f"xlsx: more than {_ROWS - 1:,} rows, which Excel does not allow; write csv or jsonl")
            sheet.append([cell(_escaped(row, name)) for name in COLUMNS])
    except BaseException:
        sheet.close()  # or openpyxl complains on standard error later
        raise
    book.save(path)


def read(path: str, task: Task) -> Iterator[Row]:
    """Yields the rows of the first sheet, as Excel counts them; blank ones are left out.

    Raises:
        InputError: When the file is missing, no Excel file, or lacks a column.
    """
    sheet = _rows(path)
    header = next(sheet, ())
    places = columns_of(path, [_text(value) for value in header], task)
    for number, values in enumerate(sheet, 2):
        texts = {name: _text(values[place]) if place < len(values) else "" for name, place in places.items()}
        if any(texts.values()):
            yield Row(f"row {number}", texts)


def _rows(path: str) -> Iterator[tuple[Any, ...]]:
    from openpyxl import load_workbook  # noqa: PLC0415 - only for this form

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        # An open file: of a path, openpyxl would judge the name.
        with Path(path).open("rb") as file:
            book = load_workbook(file, read_only=True, data_only=True)
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # what the file says about its size may be wrong
            yield from sheet.iter_rows(values_only=True)
    except _BROKEN as error:
        raise InputError(f"{path}: cannot be read as an Excel file: {' '.join(str(error).split())}") from None


def _escaped(row: dict[str, Value], name: str) -> Value:
    value = row[name]
    if isinstance(value, float) and float(f"{value:.16g}") != value:
        return repr(value)  # a spreadsheet would round it
    if not isinstance(value, str):
        return value
    text = _UNFIT.sub(lambda found: f"_x{ord(found[0]):04X}_", value)
    if len(text) > _CHARACTERS // 2 and len(text.encode("utf-16-le")) // 2 > _CHARACTERS:
        raise InputError(
            f"xlsx: {name} of document {str(row['id'])[:60]!r} has more than the {_CHARACTERS:,} characters that Excel "
            "allows in a cell; write csv or jsonl"
        )
    return text


def _text(value: object) -> str:
    """Returns a cell as text: 12 for the number that Excel made of the id 12, ISO 8601 for a date."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), value)
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value.isoformat() if isinstance(value, date) else str(value)
