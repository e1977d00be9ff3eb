"""The published files of RED-CT, and the tasks that are shipped for them."""

import os
import re
from pathlib import Path

import pytest

from redct.documents import read_documents, same_text
from redct.splits import check_ids_disjoint, overlap
from redct.task import Task, load_task

ROOT = Path(__file__).resolve().parents[1]
RAW = Path(os.environ.get("REDCT_DATA", ROOT.parent / "shared" / "data")) / "redct_raw"
published = pytest.mark.skipif(not RAW.is_dir(), reason=f"no published files in {RAW} (REDCT_DATA)")

SEMEVAL_TRAIN = "SemEval2016/trainingdata-all-annotations.txt"
SEMEVAL_TEST = "SemEval2016/testdata-taskA-all-annotations.txt"


def shipped(name: str) -> Task:
    return load_task(ROOT / "configs" / "tasks" / f"{name}.yaml")


@published
@pytest.mark.parametrize(
    ("file", "name", "rows", "encoding", "duplicates"),
    [
        (SEMEVAL_TRAIN, "stance", 2814, "cp1252", 3),
        (SEMEVAL_TEST, "stance", 1249, "utf-8", 0),
        ("SemEval2016/testdata-taskB-all-annotations.txt", "stance", 707, "utf-8", None),
        ("SemEval2016/trialdata-all-annotations.txt", "stance", 100, "utf-8", None),
        ("IBC/train_ibc.csv", "ibc", 3460, "utf-8", 48),
        ("IBC/test_ibc.csv", "ibc", 866, "utf-8", 4),
        ("humour/test.csv", "humour", 607, "utf-8", None),
        ("misinfo/test.tsv", "misinfo", 2133, "utf-8", None),
    ],
)
def test_published_files(file: str, name: str, rows: int, encoding: str, duplicates: int | None) -> None:
    task = shipped(name)
    corpus = read_documents(str(RAW / file), task)
    assert len(corpus.documents) == rows
    assert [(f.rows, f.encoding) for f in corpus.files] == [(rows, encoding)]
    assert {document.gold for document in corpus.documents} == set(task.labels)
    assert corpus.empty == 0
    assert duplicates in (None, corpus.duplicates)
    assert any("cp1252" in note for note in corpus.notes()) == (encoding == "cp1252")
    kept = read_documents(str(RAW / file), task, drop=["duplicates"]).documents
    assert len(kept) == rows - corpus.duplicates


def by_hand(data: bytes, delimiter: bytes, column: bytes) -> list[bytes]:
    """Parses quoted fields byte by byte, as RFC 4180 has them, by other means than the csv module."""
    field = rb'(?:"((?:[^"]|"")*)"|([^' + delimiter + rb'\r\n"]*))(' + delimiter + rb"|\r?\n|\Z)"
    rows, row = [], []
    for match in re.finditer(field, data):
        if match.end() == match.start() == len(data):
            break
        quoted, plain, end = match.groups()
        row.append(plain if quoted is None else quoted.replace(b'""', b'"'))
        if end != delimiter:
            rows.append(row)
            row = []
    at = rows[0].index(column)
    return [row[at] for row in rows[1:]]


@published
@pytest.mark.parametrize(
    ("file", "name", "delimiter"),
    [
        ("IBC/train_ibc.csv", "ibc", b","),
        ("IBC/test_ibc.csv", "ibc", b","),
        ("humour/test.csv", "humour", b","),
        ("misinfo/test.tsv", "misinfo", b"\t"),
    ],
)
def test_quoted_files_are_read_to_the_byte(file: str, name: str, delimiter: bytes) -> None:
    task = shipped(name)
    expected = by_hand((RAW / file).read_bytes(), delimiter, task.columns.text.encode())
    assert [document.text.encode() for document in read_documents(str(RAW / file), task)] == expected


@published
@pytest.mark.parametrize(("file", "encoding"), [(SEMEVAL_TRAIN, "cp1252"), (SEMEVAL_TEST, "utf-8")])
def test_tweets_are_read_to_the_byte(file: str, encoding: str) -> None:
    data = (RAW / file).read_bytes()
    expected = [line.split(b"\t") for line in data.split(b"\r\n")[1:-1]]
    documents = read_documents(str(RAW / file), shipped("stance")).documents
    assert [
        (d.id.encode(), d.context["target"].encode(), d.text.encode(encoding), (d.gold or "").encode())
        for d in documents
    ] == [tuple(fields[:4]) for fields in expected]
    assert any(d.text.count('"') % 2 for d in documents)  # unbalanced quotes do stand in these files


@published
@pytest.mark.parametrize(
    ("name", "train", "test", "distinct", "in_test"),
    [
        ("ibc", "IBC/train_ibc.csv", "IBC/test_ibc.csv", 24, 25),
        ("stance", SEMEVAL_TRAIN, SEMEVAL_TEST, 1, 1),
    ],
)
def test_published_overlap(name: str, train: str, test: str, distinct: int, in_test: int) -> None:
    task = shipped(name)
    left, right = (read_documents(str(RAW / file), task) for file in (train, test))
    shared = overlap(left, right)
    assert len({same_text(d) for d in left.select(shared)}) == distinct
    assert overlap(right, left).sum() == in_test
    assert not overlap(left.select(~shared), right).any()
    check_ids_disjoint(left, right)


@pytest.mark.parametrize("name", ["stance", "misinfo", "ibc", "humour"])
def test_shipped_tasks(name: str) -> None:
    task = shipped(name)
    assert set(task.definitions) == set(task.labels)
    assert task.codebook
    assert task.question
    assert "source" not in task.columns.context.values()
