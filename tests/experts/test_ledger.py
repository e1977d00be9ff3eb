import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from redct.documents import Document
from redct.errors import InputError, RedctError
from redct.experts import Answer, Choice, Ledger, Round
from redct.experts.records import Asked, OutdatedError

IDS = [f"doc-{i}" for i in range(6)]
CHOICE = Choice(np.array([4, 1, 5]), np.array([0.25, 0.75, 0.1, 0.2, 1.0, 0.7]), np.array([0, 0, 1, 1, 2, 2]))


def add(ledger: Ledger, seed: int = 7, asked: Asked = "gold", choice: Choice = CHOICE, ids: list[str] = IDS) -> Round:
    return ledger.add_round(asked, "margin", seed, {"budget": 0.1}, ids, choice)


def dump(path: Path) -> list[str]:
    with sqlite3.connect(path) as connection:
        return list(connection.iterdump())


def test_a_round_is_read_back_as_recorded(tmp_path: Path) -> None:
    path = tmp_path / "study" / "experts.sqlite"
    with Ledger(path) as ledger:
        added = ledger.add_round("experts", "entropy", 3, {"b": [1, None], "a": "x"}, IDS, CHOICE)
    with Ledger(path) as ledger:
        assert ledger.round("experts", "entropy", 3, {"a": "x", "b": [1, None]}) == added
        assert ledger.rounds() == [added] == ledger.rounds("experts")
        assert ledger.rounds("gold") == []
        assert (added.number, added.asked, added.strategy, added.seed) == (1, "experts", "entropy", 3)
        assert added.parameters == {"a": "x", "b": [1, None]}
        assert added.ids == ["doc-4", "doc-1", "doc-5"]
        assert added.inclusion == {"doc-4": 1.0, "doc-1": 0.75, "doc-5": 0.7}
        pairs = zip(CHOICE.inclusion.tolist(), CHOICE.strata().tolist(), strict=True)
        assert ledger.eligible(added) == dict(zip(IDS, pairs, strict=True))


def test_only_exactly_the_same_choice_finds_a_round(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        add(ledger)
        for other in (
            ("experts", "margin", 7, {"budget": 0.1}),
            ("gold", "Margin", 7, {"budget": 0.1}),
            ("gold", "margin", 8, {"budget": 0.1}),
            ("gold", "margin", 7, {"budget": 0.2}),
            ("gold", "margin", 7, {"budget": 0.1, "extra": None}),
        ):
            assert ledger.round(*other) is None
        assert add(ledger, seed=8).number == 2


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        add(ledger)
        before = dump(path)
        with pytest.raises(InputError, match="expected none yet"):
            add(ledger)
        assert dump(path) == before
        ledger.record(Answer("doc-4", "ann", label="FAVOR"))
        ledger.record(Answer("doc-4", "ann", "undo"))
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT document, annotator, kind, label FROM answers ORDER BY number").fetchall()
        assert rows == [("doc-4", "ann", "label", "FAVOR"), ("doc-4", "ann", "undo", None)]
        for table in ("rounds", "eligible", "answers"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(f"DELETE FROM {table}")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("UPDATE answers SET label = 'FAVOR'")


def test_an_answer_is_read_back_as_recorded(tmp_path: Path) -> None:
    said = Answer("doc-1", "ann", "flag", None, "two posts\n= in one", "2026-01-02T03:04:05.678+01:00", 12.5, "page")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        add(ledger)
        first = ledger.record(said)
        assert first.number == 1
        second = ledger.record(Answer("doc-5", "bob", "resolution", "AGAINST", origin="a.csv"))
        assert ledger.answers() == [first, second]
        assert ledger.answers(after=1) == [second]
    assert first == Answer(**{**{f: getattr(said, f) for f in said.__slots__}, "number": 1})
    assert second.answered_at.endswith("+00:00")
    assert second.duration_seconds is None


def test_only_chosen_documents_are_answered_and_a_batch_is_all_or_none(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        add(ledger)
        with pytest.raises(InputError, match=r"'doc-0' by ann: the document was never chosen"):
            ledger.record_all([Answer("doc-1", "ann", label="a"), Answer("doc-0", "ann", label="b")])
        assert ledger.answers() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "label"},
        {"kind": "skip", "label": "a"},
        {"kind": "lable", "label": "a"},
        {"annotator": " ", "label": "a"},
    ],
)
def test_an_answer_that_contradicts_itself_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(InputError, match="answer to 'd'"):
        Answer(**{"document": "d", "annotator": "ann", **wrong})


def test_people_are_never_asked_twice(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        add(ledger, 1, "gold")
        add(ledger, 2, "gold")  # the gold column may be asked as often as one likes
        add(ledger, 3, "experts")
        with pytest.raises(InputError, match=r"'doc-1' was chosen in round 3 already"):
            add(ledger, 4, "experts", Choice(np.array([0, 1]), np.ones(6)))
        assert add(ledger, 4, "experts", Choice(np.array([0, 2]), np.ones(6))).number == 4


def test_an_answer_upon_an_older_one_is_refused(tmp_path: Path) -> None:
    """As in a double click, or in two tabs that show the same document."""
    with Ledger(tmp_path / "l.sqlite") as ledger:
        add(ledger)
        first = ledger.record(Answer("doc-4", "ann", label="a"), seen=0)
        with pytest.raises(OutdatedError) as caught:
            ledger.record(Answer("doc-4", "ann", label="b"), seen=0)
        assert caught.value.latest == first
        ledger.record(Answer("doc-4", "bob", label="b"), seen=0)  # another annotator's is none of hers
        ledger.record(Answer("doc-4", "ann", label="b"), seen=first.number)
        resolved = ledger.record(Answer("doc-4", "ann", "resolution", "a"), seen=0)
        with pytest.raises(OutdatedError):  # a resolution is one, whoever makes it
            ledger.record(Answer("doc-4", "bob", "resolution", "b"), seen=0)
        ledger.record(Answer("doc-4", "bob", "reopen"), seen=resolved.number)
        assert [answer.label for answer in ledger.answers()] == ["a", "b", "b", "a", None]


@pytest.mark.parametrize(
    ("ids", "choice", "error"),
    [
        (["a", "a"], Choice(np.array([0]), np.ones(2)), InputError),
        (["a", "b"], Choice(np.array([0]), np.ones(3)), ValueError),
        (["a", "b"], Choice(np.array([0, 0]), np.ones(2)), ValueError),
        (["a", "b"], Choice(np.array([2]), np.ones(2)), ValueError),
        (["a", "b"], Choice(np.array([0]), np.array([0.5, 1.5])), sqlite3.IntegrityError),
    ],
)
def test_a_choice_that_does_not_fit_leaves_no_trace(
    tmp_path: Path, ids: list[str], choice: Choice, error: type[Exception]
) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        with pytest.raises(error):
            add(ledger, ids=ids, choice=choice)
        assert ledger.rounds() == []
        assert add(ledger).number == 1


def test_an_empty_choice_is_a_round(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        empty = add(ledger, choice=Choice(np.empty(0, dtype=np.int64), np.zeros(6)))
        assert empty.ids == []
        assert ledger.rounds() == [empty]


WRITER = """
import sys
from pathlib import Path
import numpy as np
from redct.experts import Answer, Choice, Ledger

with Ledger(Path(sys.argv[1])) as ledger:
    for i in range(25):
        ledger.add_round("gold", sys.argv[2], i, {}, ["a", "b"], Choice(np.array([1]), np.array([0.5, 0.5])))
        ledger.record(Answer("b", sys.argv[2], label=str(i)))
"""


def test_two_processes_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("ann", "bob")]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    with Ledger(path) as ledger:
        assert [each.number for each in ledger.rounds()] == list(range(1, 51))
        answers = ledger.answers()
        assert [answer.number for answer in answers] == list(range(1, 51))
        for name in ("ann", "bob"):
            assert [a.label for a in answers if a.annotator == name] == [str(i) for i in range(25)]
        assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("version", [0, 1, 3])
def test_another_schema_is_refused_and_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "l.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (x)")
        connection.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"found schema version {version}, expected a ledger of schema version 2"):
        Ledger(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("table", ["answers", "eligible", "rounds"])
def test_a_ledger_without_one_of_its_tables_is_said_to_be_damaged(tmp_path: Path, table: str) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        add(ledger)
    with sqlite3.connect(path) as connection:
        connection.execute(f"DROP TABLE {table}")
    with Ledger(path) as ledger, pytest.raises(InputError, match="found a damaged ledger"):
        assert ledger.rounds() == ledger.answers()


def test_a_text_that_changed_since_it_was_chosen_is_noticed(tmp_path: Path) -> None:
    documents = [Document(i, f"Text of {i}.", {"target": "tea"}, None) for i in IDS]
    with Ledger(tmp_path / "l.sqlite") as ledger:
        digests = [document.digest() for document in documents]
        ledger.add_round("experts", "margin", 7, {}, IDS, CHOICE, digests)
        never_chosen = replace(documents[0], text="Another.")
        ledger.check_texts([never_chosen, *documents[1:], replace(documents[2], id="new")])
        for changed in (
            replace(documents[4], text="Text of doc-4!"),
            replace(documents[4], context={"target": "milk"}),
        ):
            with pytest.raises(InputError, match=r"1 documents say something else .*'doc-4'.* new ids for new texts"):
                ledger.check_texts([changed, *documents[:4]])


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    path.write_text("id,label\n" * 100)
    with pytest.raises(InputError, match="expected a ledger"):
        Ledger(path)
    with pytest.raises(InputError, match="expected a ledger"):
        Ledger(tmp_path)


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        add(ledger, asked="experts")
        ledger.record(Answer("doc-1", "ann", label="a"))
        (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own "database or disk is full"
        with pytest.raises(RedctError, match=r"l\.sqlite: cannot be used now \(.* full\), and nothing was"):
            ledger.record_all([Answer("doc-4", "ann", "flag", note="x" * 50_000)])
        assert [answer.document for answer in ledger.answers()] == ["doc-1"]


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from redct.experts import Answer, Choice, Ledger

ledger = Ledger(Path(sys.argv[1]))
ledger.add_round("experts", "random", 0, {}, ["a", "b"], Choice(np.array([1]), np.array([0.5, 0.5])))
ledger.record(Answer("b", "ann", label="x"))
# A cache of one page drives the rows of the open transaction into the file before it ends.
ledger._connection.execute("PRAGMA cache_size = 1")
seen = 0
def kill_late(statement):
    global seen
    seen += statement.startswith("INSERT INTO eligible")
    if seen == 4000:
        os.kill(os.getpid(), signal.SIGKILL)
ledger._connection.set_trace_callback(kill_late)
ids = [str(i) for i in range(5000)]
ledger.add_round("experts", "random", 1, {}, ids, Choice(np.arange(9), np.full(5000, 0.5)))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_round_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert path.with_name("l.sqlite-wal").stat().st_size > 100_000  # the kill came in the middle of a transaction
    with Ledger(path) as ledger:
        (first,) = ledger.rounds()
        assert first.ids == ["b"]
        assert [(a.document, a.label) for a in ledger.answers()] == [("b", "x")]
        again = ledger.add_round("experts", "random", 1, {}, IDS, CHOICE)
        assert again.number == 2
        assert len(ledger.eligible(again)) == len(IDS)
