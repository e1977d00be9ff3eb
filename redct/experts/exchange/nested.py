"""What Label Studio's and Argilla's files have in common: a JSON list of records."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from redct.errors import InputError

Object = dict[str, Any]


def write_list(path: Path, records: Iterable[Object]) -> None:
    """Writes a JSON list, a record a line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        before = "[\n"
        for record in records:
            file.write(before + json.dumps(record, ensure_ascii=False))
            before = ",\n"
        file.write("[]\n" if before == "[\n" else "\n]\n")


def read_list(path: str, needed: str) -> Iterator[tuple[int, Object]]:
    """Yields the records of a JSON list, counted from 1.

    Args:
        path: The file.
        needed: An object that each record of this form has within it.

    Raises:
        InputError: When the file cannot be read or is no list of such records.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {' '.join(str(error).split())}") from None
    if not isinstance(found, list):
        raise InputError(f"{path}: found a JSON {type(found).__name__}, expected a list of objects")
    for number, record in enumerate(found, 1):
        if not isinstance(record, dict):
            raise InputError(f"{path}, record {number}: found a JSON {type(record).__name__}, expected an object")
        if not isinstance(record.get(needed), dict):
            there = ", ".join(map(repr, list(record)[:8])) or "nothing"
            raise InputError(f"{path}, record {number}: no {needed!r} in it, only {there}; is it of another --form?")
        yield number, record


def part(record: object, name: str) -> Object:
    """Returns an object within a record; an empty one where there is none."""
    value = record.get(name) if isinstance(record, dict) else None
    return value if isinstance(value, dict) else {}


def parts(record: object, name: str) -> list[Object]:
    """Returns the objects of a list within a record."""
    value = record.get(name) if isinstance(record, dict) else None
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def texts(values: Mapping[str, object]) -> dict[str, str]:
    """Returns plain values as texts; half a surrogate pair, which JSON may hold, becomes a question mark."""
    return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(value).encode("utf-8", "replace").decode()
