"""Rows of comma- and tab-separated files, one after the other and to the byte."""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from redct.errors import InputError
from redct.textfile import TextFile

LONGEST_FIELD = 2**31 - 1  # the csv module refuses texts of more than 131,072 characters by default

Record = tuple[int, list[str]]
"""The line (1-based) on which a row begins, and its fields."""


@dataclass(frozen=True)
class DelimitedFile:
    """A file of rows with a header.

    Attributes:
        text: The file.
        delimiter: What stands between fields.
        quoted: Whether quotes enclose fields, or are characters like others.
    """

    text: TextFile
    delimiter: Literal["\t", ","]
    quoted: bool

    def records(self) -> Iterator[Record]:
        """Yields the header, then the rows; blank lines at the end are none.

        Raises:
            InputError: When the file is empty, or a row has not as many fields as the header.
        """
        width = -1
        for line, fields in _without_blank_end(self._quoted() if self.quoted else self._literal()):
            if width < 0:
                width = len(fields)
            found = fields or [""] if width == 1 else fields  # an empty line of a single column is an empty value
            if len(found) != width:
                what = f"{len(found)} fields" if len(found) != 1 else "1 field"
                raise InputError(f"{self.text.path}, line {line}: found {what}, expected {width} as in the header")
            yield line, found
        if width < 0:
            raise InputError(f"{self.text.path}: the file is empty, expected a header and rows")

    def _literal(self) -> Iterator[Record]:
        for number, line in enumerate(self.text.lines(), 1):
            yield number, line.removesuffix("\n").removesuffix("\r").split(self.delimiter)

    def _quoted(self) -> Iterator[Record]:
        reader = csv.reader(self.text.lines(), delimiter=self.delimiter, strict=True)
        line = 1
        while True:
            limit = csv.field_size_limit(LONGEST_FIELD)  # of the whole process: others find it as it was
            try:
                fields = next(reader, None)
            except csv.Error as error:
                where = f"{self.text.path}, line {line}"
                raise InputError(f"{where}: {error}; expected quotes doubled inside a quoted field") from None
            finally:
                csv.field_size_limit(limit)
            if fields is None:
                return
            yield line, fields
            line = reader.line_num + 1


def delimited(text: TextFile, comma_by_name: bool) -> DelimitedFile:
    """Finds out how the fields of a file are separated.

    A tab in the header decides, not the name: there are .txt files with tabs and .tsv files with commas.

    Args:
        text: The file.
        comma_by_name: Whether a header without tab and comma is that of a comma-separated file.
    """
    header = next(text.lines(), "")
    if "\t" in header or not (comma_by_name or "," in header):
        return DelimitedFile(text, "\t", quotes_enclose(text.lines()))
    return DelimitedFile(text, ",", quoted=True)


def quotes_enclose(lines: Iterable[str]) -> bool:
    """Tells whether quotes in a tab-separated text enclose fields, or are just characters of the texts.

    They enclose fields only if every quote belongs to a well-formed quoted field and some field needed it. The
    first quote that encloses nothing answers.

    Args:
        lines: The lines of the text, each with its end.
    """
    widths: set[int] = set()
    needed = spanning = False
    for held in _quoted_fields(_measured(lines, widths)):
        if "stray" in held or {"\t", "\n"} <= held:
            return False
        needed |= bool(held)
        spanning |= "\n" in held
    # Two stray quotes in different rows look like one long field: never swallow the rows between them.
    return needed and not (spanning and len(widths) == 1)


_CLOSING = re.compile(r'(?:[^"]|"")*+"')
_END_OF_FIELD = re.compile(r"\t|\r?\n|\r?\Z")


def _quoted_fields(lines: Iterable[str]) -> Iterator[set[str]]:
    """Yields for each field in quotes what it holds of tab, line end and doubled quotes, or that it is the first.

    At a quote that encloses nothing it yields `stray` and ends.
    """
    held: set[str] | None = None  # by the field that is open
    for number, line in enumerate(lines):
        at = 0
        while held is not None or (at := line.find('"', at)) >= 0:
            if held is None:
                if at and line[at - 1] != "\t":
                    yield {"stray"}
                    return
                held = {"first"} if number == at == 0 else set()
                at += 1
            closing = _CLOSING.match(line, at)
            inside = line[at : closing.end() - 1] if closing else line[at:]
            held |= {mark for mark in ("\t", "\n", '""') if mark in inside}
            if closing is None:  # it goes on in the next line
                break
            at = closing.end()
            if not _END_OF_FIELD.match(line, at):
                yield {"stray"}
                return
            yield held
            held = None
    if held is not None:
        yield {"stray"}


def _measured(lines: Iterable[str], widths: set[int]) -> Iterator[str]:
    for line in lines:
        if content := line.removesuffix("\n").removesuffix("\r"):
            widths.add(content.count("\t"))
        yield line


def _without_blank_end(records: Iterable[Record]) -> Iterator[Record]:
    blank: list[Record] = []
    for record in records:
        if record[1] in ([], [""]):
            blank.append(record)
            continue
        yield from blank
        blank.clear()
        yield record
