"""Which of very many texts occur again, or elsewhere, found in memory that does not grow with their number."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

SIZE = 16  # bytes of a digest
BLOCK = 1 << 16  # digests that are read at a time
PART = 1 << 16  # digests that are sorted at a time, about 13 MB ...
MOST_PARTS = 256  # ... and more where this many parts are not enough: 80 MB for 1e8
RECORD = 3 * 8  # bytes of a row number and its digest

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


class Digests:
    """The 128-bit BLAKE2b digests of N texts, in their order.

    They stand for the texts: that among 1e8 different texts any two share a digest has a probability of 1.5e-23
    (N^2 / 2^129), less than that of a memory error meanwhile. They lie in a temporary file (in TMPDIR, 16
    bytes each), which is gone with the object. Comparisons deal them out by their remainders to the parts of a
    second one (24 bytes each), and sort one part after the other.

    Args:
        texts: The first texts; `add` takes more.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._file = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed with the object
        self._count = 0
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Adds a text."""
        self._file.write(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=SIZE).digest())
        self._count += 1

    def __len__(self) -> int:
        """Returns the number of texts."""
        return self._count

    def repeated(self, among: Mask | None = None) -> Mask:
        """Returns (N,) whether an earlier text is the same.

        Args:
            among: (N,) the texts that count; the others are False. By default all count.
        """
        mask = np.zeros(self._count, dtype=bool)
        # First block by block, so that a text that stands very often does not fill a part.
        for rows, keys in self._records(among):
            _mark_repeated(mask, rows, keys)
        first = ~mask if among is None else among & ~mask
        for rows, keys in self._parts(_number_of_parts(self._count), first):
            _mark_repeated(mask, rows, keys)
        return mask

    def first(self, row: int) -> int:
        """Returns the first row whose text is the same as that of a row."""
        wanted = next(iter(self._blocks(row)))[1][0]
        for start, block in self._blocks():
            at = np.flatnonzero((block == wanted).all(axis=1))
            if len(at):
                return start + int(at[0])
        raise AssertionError("the row itself was not found")

    def found_in(self, other: "Digests", among: Mask | None = None) -> Mask:
        """Returns (N,) whether the text is one of the other's, among those of them that count."""
        mask = np.zeros(self._count, dtype=bool)
        for rows, _ in self.matches(other, among):
            mask[rows] = True
        return mask

    def matches(self, other: "Digests", among: Mask | None = None) -> Iterator[tuple[Rows, Rows]]:
        """Yields pairs of rows, part by part: one of this, and the last one of the other with the same text.

        Args:
            other: M texts.
            among: (M,) those of the other that count; by default all.
        """
        parts = _number_of_parts(max(self._count, len(other)))
        both_parts = zip(self._parts(parts), other._parts(parts, among), strict=True)
        for (rows, keys), (other_rows, other_keys) in both_parts:
            both = np.concatenate([other_keys, keys])
            order = _sorted(both)
            place = np.arange(len(order))
            # The sort is stable: of equal texts, those of the other come first.
            is_other = order < len(other_keys)
            group = np.maximum.accumulate(np.where(_equal_to_previous(both[order]), 0, place))
            last = np.maximum.accumulate(np.where(is_other, place, -1))
            hit = ~is_other & (last >= group)
            yield rows[order[hit] - len(other_keys)], other_rows[order[last[hit]]]

    def _blocks(self, start: int = 0) -> Iterator[tuple[int, Keys]]:
        """Yields blocks of digests as two numbers each, with the row of the first."""
        self._file.flush()
        for row in range(start, self._count, BLOCK):
            # Not seek and read: forked processes have one position in the file.
            block = os.pread(self._file.fileno(), BLOCK * SIZE, row * SIZE)
            yield row, np.frombuffer(block, dtype=np.uint64).reshape(-1, 2)

    def _parts(self, parts: int, among: Mask | None = None) -> Iterator[tuple[Rows, Keys]]:
        """Yields the digests of each remainder, with their rows."""
        sizes = np.zeros(parts, dtype=np.int64)
        for _, keys in self._records(among):
            sizes += np.bincount(_remainders(keys, parts), minlength=parts)
        ends = np.cumsum(sizes)
        places = ends - sizes
        with tempfile.TemporaryFile() as file:
            for rows, keys in self._records(among):
                records = np.column_stack([rows.astype(np.uint64), keys])
                remainders = _remainders(keys, parts)
                for part in np.unique(remainders):
                    chosen = records[remainders == part]
                    file.seek(int(places[part]) * RECORD)
                    file.write(chosen.tobytes())
                    places[part] += len(chosen)
            file.seek(0)
            for size in sizes.tolist():
                records = np.frombuffer(file.read(size * RECORD), dtype=np.uint64).reshape(-1, 3)
                yield records[:, 0].astype(np.int64), records[:, 1:]

    def _records(self, among: Mask | None) -> Iterator[tuple[Rows, Keys]]:
        """Yields blocks of rows and their digests."""
        for start, block in self._blocks():
            at = np.arange(len(block)) if among is None else np.flatnonzero(among[start : start + len(block)])
            yield at + start, block[at]


def _number_of_parts(count: int) -> int:
    return max(1, min(MOST_PARTS, -(-count // PART)))


def _remainders(keys: Keys, parts: int) -> Rows:
    return (keys[:, 0] % np.uint64(parts)).astype(np.int64)


def _mark_repeated(mask: Mask, rows: Rows, keys: Keys) -> None:
    order = _sorted(keys)
    mask[rows[order[_equal_to_previous(keys[order])]]] = True


def _sorted(keys: Keys) -> Rows:
    order: Rows = np.lexsort((keys[:, 1], keys[:, 0]))
    return order


def _equal_to_previous(keys: Keys) -> Mask:
    equal = np.zeros(len(keys), dtype=bool)
    equal[1:] = (keys[1:] == keys[:-1]).all(axis=1)
    return equal
