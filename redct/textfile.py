"""Text files as lines: their encoding is found by looking through them once, then they are read line by line."""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from redct.errors import InputError

BLOCK = 1 << 20


@dataclass(frozen=True)
class TextFile:
    r"""A text file, maybe gzipped.

    Attributes:
        path: The file.
        encoding: `utf-8` (a byte-order mark is left out) or `cp1252`.
        newline: What ends a line: `\n`, or `\r` in a file without any `\n`.
    """

    path: str
    encoding: str
    newline: str

    def lines(self) -> Iterator[str]:
        r"""Yields the lines, each with the `\n` that ends it."""
        with self._text() as text:
            for line in text:
                yield line if self.newline == "\n" else line.replace("\r", "\n")

    def read(self) -> str:
        """Returns the whole text."""
        with self._text() as text:
            return text.read()

    @contextmanager
    def _text(self) -> Iterator[io.TextIOWrapper]:
        codec = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
        with _opened(self.path) as file, io.TextIOWrapper(file, codec, newline=self.newline) as text:
            yield text


def look_through(path: str) -> TextFile:
    """Finds out how a file is encoded and where its lines end, in a pass over its bytes.

    Raises:
        InputError: When it cannot be read, or is neither UTF-8 nor cp1252.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    encoding, newline, start = "utf-8", "\r", b""
    for block in _blocks(path):
        start = (start + block[:2])[:2]
        newline = "\n" if b"\n" in block else newline
        if encoding == "utf-8" and not _decodes(decoder, block):
            encoding = "cp1252"
    if encoding == "utf-8" and not _decodes(decoder, b"", final=True):
        encoding = "cp1252"
    if start in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path}: found UTF-16, expected UTF-8 or cp1252; save it as UTF-8")
    if encoding == "cp1252":
        _check_cp1252(path)
    return TextFile(path, encoding, newline)


def _decodes(decoder: codecs.IncrementalDecoder, data: bytes, final: bool = False) -> bool:
    try:
        decoder.decode(data, final)
    except UnicodeDecodeError:
        return False
    return True


def _check_cp1252(path: str) -> None:
    line, offset = 1, 0
    for block in _blocks(path):
        try:
            block.decode("cp1252")
        except UnicodeDecodeError as error:
            line += block.count(b"\n", 0, error.start)
            found = f"byte 0x{block[error.start]:02x} at offset {offset + error.start}"
            raise InputError(f"{path}, line {line}: {found} is neither UTF-8 nor cp1252") from None
        line, offset = line + block.count(b"\n"), offset + len(block)


def _blocks(path: str) -> Iterator[bytes]:
    with _opened(path) as file:
        while block := file.read(BLOCK):
            yield block


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        with cast("BinaryIO", gzip.open(path)) if path.lower().endswith(".gz") else Path(path).open("rb") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
