"""Rows of delimited files, read line by line, against rules for the whole text."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redct.delimited import delimited, quotes_enclose
from redct.errors import InputError
from redct.textfile import look_through

QUOTED_FIELD = re.compile(r'(?:(?<=[\t\n])|\A)"(?:[^"]|"")*+"(?=\t|\r?\n|\r?\Z)')


def encloses(text: str) -> bool:
    """The rule as it reads for a whole text."""
    rows = [line.removesuffix("\r").split("\t") for line in text.split("\n")]
    fields: list[str] = QUOTED_FIELD.findall(text)
    if not fields or '"' in QUOTED_FIELD.sub("", text):
        return False
    spanning = [field for field in fields if "\n" in field]
    whole = len({len(row) for row in rows if row != [""]}) == 1
    if spanning and (whole or any("\t" in field for field in spanning)):
        return False
    return text.startswith('"') or any(re.search(r'""|[\t\n]', field[1:-1]) for field in fields)


tab_texts = st.lists(st.sampled_from(['"', '""', "a", "\t", "\n", "\r\n", "\r", '"a"', '"\t', '\t"']), max_size=14)


@settings(max_examples=1500, deadline=None)
@given(tab_texts.map("".join))
@example('a\tb\n"x\ny"\tz\n')
@example('"a"\tb\n')
def test_quotes_between_tabs(text: str) -> None:
    assert quotes_enclose(io.StringIO(text, newline="\n")) == encloses(text)


def records_of(text: str, delimiter: str) -> list[list[str]] | None:
    """All rows from the whole text; None where it is broken."""
    text = text if "\n" in text else text.replace("\r", "\n")
    if delimiter == "," or encloses(text):
        try:
            rows = list(csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True))
        except csv.Error:
            return None
    else:
        rows = [line.removesuffix("\r").split("\t") for line in text.split("\n")]
    while rows and rows[-1] in ([], [""]):
        rows.pop()
    if rows and len(rows[0]) == 1:
        rows = [row or [""] for row in rows]
    return rows if rows and len({len(row) for row in rows}) == 1 else None


@settings(max_examples=300, deadline=None)
@given(body=tab_texts.map("".join), delimiter=st.sampled_from("\t,"))
def test_records(tmp_path_factory: pytest.TempPathFactory, body: str, delimiter: str) -> None:
    path = tmp_path_factory.mktemp("any") / "x.csv"
    text = f"n{delimiter}text\n" + body.replace("\t", delimiter)
    path.write_bytes(text.encode())
    file = delimited(look_through(str(path)), comma_by_name=True)
    assert file.delimiter == ("\t" if "\t" in text.split("\n", 1)[0] else ",")
    expected = records_of(text, file.delimiter)
    if expected is None:
        with pytest.raises(InputError):
            list(file.records())
    else:
        assert [fields for _, fields in file.records()] == expected


def test_readings_do_not_disturb_each_other(tmp_path: Path) -> None:
    long = "x" * 200_000
    (tmp_path / "x.csv").write_text(f"n,text\n1,{long}\n2,{long}\n")
    file = delimited(look_through(str(tmp_path / "x.csv")), comma_by_name=True)
    limit = csv.field_size_limit()
    pairs = zip(file.records(), file.records(), strict=True)
    assert all(left == right for left, right in pairs)
    assert csv.field_size_limit() == limit
