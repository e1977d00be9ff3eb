"""A corpus lies in its files: it is read as often as need be, and hardly takes memory."""

import gzip
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redct.digests import Digests
from redct.documents import Joined, in_batches, missing, read_documents
from redct.errors import InputError
from redct.task import Columns, Task

TASK = Task(["a", "b"], Columns(gold="label", id="id"))
FORMS = ["x.jsonl", "x.csv", "x.tsv", "quoted.tsv", "x.json", "x.csv.gz", "x.parquet"]


def write(folder: Path, name: str, count: int, length: int = 1) -> Path:
    """Writes documents of which every fifth is a duplicate of the one before, and every seventh is empty."""
    path = folder / name
    texts = ["" if n % 7 == 6 else f"text {n - (n % 5 == 4)} " * length for n in range(count)]
    rows = [{"id": f"d{n}", "text": text, "label": "ab"[n % 2]} for n, text in enumerate(texts)]
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if ".json" in name:
        lines = [json.dumps(row) for row in rows]
        content = "\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]"
    else:
        mark = "\t" if ".tsv" in name else ","
        header = mark.join(['"id"' if name.startswith("quoted") else "id", "text", "label"])
        content = "".join(line + "\n" for line in [header, *(mark.join(row.values()) for row in rows)])
    path.write_bytes(gzip.compress(content.encode()) if name.endswith("gz") else content.encode())
    return path


@pytest.mark.parametrize("name", FORMS)
def test_a_corpus_is_read_as_often_as_need_be(tmp_path: Path, name: str) -> None:
    corpus = read_documents(str(write(tmp_path, name, 70)), TASK, drop=["empty", "duplicates"])
    once = list(corpus)
    kept = [n for n in range(70) if n % 7 != 6 and (n % 5 != 4 or (n - 1) % 7 == 6)]
    assert [d.id for d in once] == [f"d{n}" for n in kept]
    assert once == list(corpus) == corpus.documents
    assert len(corpus) == len(once) == 70 - corpus.empty - corpus.duplicates
    pairs = zip(corpus, corpus, strict=True)  # two readings at a time
    assert all(left == right for left, right in pairs)
    assert [len(batch) for batch in in_batches(corpus, 30)] == [30, len(once) - 30]


def test_several_files_and_selections(tmp_path: Path) -> None:
    (tmp_path / "header.csv").write_text("text\n")
    paths = [str(tmp_path / "header.csv"), str(write(tmp_path, "one.jsonl", 20))]
    corpus = read_documents(paths, Task(["a", "b"]), drop=["empty"])
    even = np.arange(20) % 2 == 0
    assert [d.id for d in corpus.select(even)] == [f"one:{n + 1}" for n in range(0, 20, 2) if n % 7 != 6]
    both = Joined([corpus.select(even), corpus.select(~even)])
    assert len(both) == len(list(both)) == len(corpus)
    stored = Digests(["one:1", "one:4", "elsewhere"])
    for documents in (both, list(both)):
        left = missing(documents, stored)
        assert [d.id for d, out in zip(documents, left, strict=True) if not out] == ["one:1", "one:4"]


def test_a_file_that_changes_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path, "x.jsonl", 5)
    corpus = read_documents(str(path), TASK)
    write(tmp_path, "x.jsonl", 4)
    with pytest.raises(InputError, match=r"changed since it was checked, expected 5 rows"):
        list(corpus)


@pytest.mark.parametrize("name", [name for name in FORMS if name != "x.json"])
def test_memory_stays(tmp_path: Path, name: str) -> None:
    def peak(count: int) -> int:
        path = write(tmp_path, name, count, length=40)
        tracemalloc.start()
        try:
            corpus = read_documents(str(path), TASK, drop=["empty"])
            assert sum(len(d.id) > 0 for d in corpus) == len(corpus)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = peak(3_000), peak(13_000)
    # Masks take 3 bytes a document, and up to 65,536 are sorted at once; the texts alone are 400 bytes each.
    assert large - small < 10_000 * 200
