"""Which of very many texts occur again, or elsewhere, found in memory that does not grow with their number."""

import hashlib
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

SIZE = 16  # bytes of a digest
BLOCK = 1 << 16  # digests that are read at a time
PART = 1 << 18  # digests that are sorted at a time, about 15 MB ...
MOST_PARTS = 64  # ... but the file is read at most so often

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


class Digests:
    """The 128-bit BLAKE2b digests of N texts, in their order.

    They stand for the texts: that among 1e8 different texts any two share a digest has a probability of 1.5e-23
    (N^2 / 2^129), less than that of a memory error meanwhile. They lie in a temporary file, 16 bytes each, which
    is gone with the object; all comparisons sort one part of them after the other.

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
        parts = self._parts_for(self._count)
        for number in range(parts):
            rows, keys = self._part(number, parts, among)
            order = _sorted(keys)
            mask[rows[order[1:][_equal_to_previous(keys[order])[1:]]]] = True
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
        parts = self._parts_for(max(self._count, len(other)))
        for number in range(parts if self._count and len(other) else 0):
            rows, keys = self._part(number, parts)
            other_rows, other_keys = other._part(number, parts, among)
            both = np.concatenate([other_keys, keys])
            order = _sorted(both)
            place = np.arange(len(order))
            # The sort is stable: of equal texts, those of the other come first.
            is_other = order < len(other_keys)
            group = np.maximum.accumulate(np.where(_equal_to_previous(both[order]), 0, place))
            last = np.maximum.accumulate(np.where(is_other, place, -1))
            hit = ~is_other & (last >= group)
            yield rows[order[hit] - len(other_keys)], other_rows[order[last[hit]]]

    @staticmethod
    def _parts_for(count: int) -> int:
        return min(MOST_PARTS, -(-count // PART))

    def _blocks(self, start: int = 0) -> Iterator[tuple[int, Keys]]:
        """Yields blocks of digests as two numbers each, with the row of the first."""
        for row in range(start, self._count, BLOCK):
            self._file.seek(row * SIZE)
            yield row, np.frombuffer(self._file.read(BLOCK * SIZE), dtype=np.uint64).reshape(-1, 2)

    def _part(self, number: int, parts: int, among: Mask | None = None) -> tuple[Rows, Keys]:
        """Returns the digests that leave the remainder `number`, with their rows."""
        rows: list[Rows] = [np.zeros(0, dtype=np.int64)]
        keys: list[Keys] = [np.zeros((0, 2), dtype=np.uint64)]
        for start, block in self._blocks():
            chosen = block[:, 0] % np.uint64(parts) == number
            if among is not None:
                chosen &= among[start : start + len(block)]
            at = np.flatnonzero(chosen)
            rows.append(at + start)
            keys.append(block[at])
        return np.concatenate(rows), np.concatenate(keys)


def _sorted(keys: Keys) -> Rows:
    order: Rows = np.lexsort((keys[:, 1], keys[:, 0]))
    return order


def _equal_to_previous(keys: Keys) -> Mask:
    equal = np.zeros(len(keys), dtype=bool)
    equal[1:] = (keys[1:] == keys[:-1]).all(axis=1)
    return equal
