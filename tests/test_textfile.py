"""Text files read in blocks and lines against the whole file decoded at once."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redct import textfile
from redct.errors import InputError
from redct.textfile import look_through


@pytest.fixture(params=[1, 7, 1 << 20], scope="module")
def block_size(request):
    before, textfile.BLOCK = textfile.BLOCK, request.param
    yield request.param
    textfile.BLOCK = before


def at_once(data: bytes) -> tuple[str, str] | int:
    """Returns text and encoding, or the offset of a byte that is neither UTF-8 nor cp1252."""
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), "cp1252"
    except UnicodeDecodeError as error:
        return error.start


pieces = [
    b"a",
    b"\n",
    b"\r\n",
    b"\r",
    '"é"'.encode(),
    "😀".encode(),
    b"\xe9",
    b"\x81",
    b"\xef\xbb\xbf",
    "\u2028".encode(),
]
contents = st.lists(st.sampled_from(pieces), max_size=12).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(data=contents, zipped=st.booleans())
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, block_size: int, data: bytes, zipped: bool) -> None:
    path = tmp_path_factory.mktemp("any") / ("x.csv.gz" if zipped else "x.csv")
    path.write_bytes(gzip.compress(data) if zipped else data)
    expected = at_once(data)
    if isinstance(expected, int):
        with pytest.raises(InputError) as caught:
            look_through(str(path))
        line = data.count(b"\n", 0, expected) + 1
        assert f"line {line}: byte 0x{data[expected]:02x} at offset {expected} is neither" in str(caught.value)
        return
    text, encoding = expected
    file = look_through(str(path))
    assert file.encoding == encoding
    assert file.read() == text
    joined = text if "\n" in text else text.replace("\r", "\n")
    lines = joined.split("\n")
    assert [line.removesuffix("\n") for line in file.lines()] == (lines if lines[-1] else lines[:-1])
    assert "".join(file.lines()) == joined


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_refused(tmp_path: Path, block_size: int, encoding: str) -> None:
    (tmp_path / "x.txt").write_bytes("\ufefftext".encode(encoding))
    with pytest.raises(InputError, match="UTF-16"):
        look_through(str(tmp_path / "x.txt"))
