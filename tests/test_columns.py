"""Further columns of a corpus, beside text, gold and context."""

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest

from redct.documents import read_documents
from redct.errors import InputError
from redct.task import Columns, Task

TASK = Task(["a", "b"], Columns(gold="label", id="id", context={"target": "about"}))


def test_further_columns_follow_the_documents_that_are_kept(tmp_path: Path) -> None:
    rows = [
        ("1", "one", "a", "x", "30"),
        ("2", "", "b", "x", "31"),
        ("3", "one", "a", "x", ""),
        ("4", "two", "b", "y", "33"),
    ]
    names = ("id", "text", "label", "about", "age")
    first = io.StringIO()
    csv.writer(first).writerows([names, *rows])
    (tmp_path / "a.csv").write_text(first.getvalue())
    other = [
        {"id": "5", "text": "five", "label": "a", "about": "z", "age": 35},
        {"id": "6", "text": "six", "label": "b"},
    ]
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, other)).encode()))
    corpus = read_documents([f"{tmp_path}/a.csv", f"{tmp_path}/b.jsonl.gz"], TASK, drop=["empty", "duplicates"])
    assert [document.id for document in corpus] == ["1", "4", "5", "6"]
    # A context field stands for its column.
    assert corpus.columns(["age", "target"]) == {"age": ["30", "33", "35", None], "target": ["x", "y", "z", None]}
    some = corpus.select(corpus.keep & (np.arange(6) != 3))
    assert some.columns(["age"]) == {"age": ["30", "35", None]}
    with pytest.raises(InputError, match=r"a\.csv: no column 'wage'; there are 'id', 'text', 'label', 'about', 'age'"):
        corpus.columns(["wage"])
    (tmp_path / "a.csv").write_text(first.getvalue() + "7,seven,a,x,40\n")
    with pytest.raises(InputError, match="changed since it was checked, expected 4 rows"):
        corpus.columns(["age"])
