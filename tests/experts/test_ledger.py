import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from redct.errors import InputError
from redct.experts import Choice, Ledger

IDS = [f"doc-{i}" for i in range(6)]
CHOICE = Choice(np.array([4, 1, 5]), np.array([0.25, 0.75, 0.1, 0.2, 1.0, 0.7]))
PARAMETERS = {"strategy": "margin", "budget": 0.1, "seed": 7}


def dump(path: Path) -> list[str]:
    with sqlite3.connect(path) as connection:
        return list(connection.iterdump())


def test_a_round_is_read_back_as_recorded(tmp_path: Path) -> None:
    path = tmp_path / "study" / "experts.sqlite"
    with Ledger(path) as ledger:
        added = ledger.add_round(PARAMETERS, IDS, CHOICE)
    with Ledger(path) as ledger:
        found = ledger.round({"seed": 7, "budget": 0.1, "strategy": "margin"})
        assert found == added
        assert added.number == 1
        assert added.parameters == PARAMETERS
        assert added.ids == ["doc-4", "doc-1", "doc-5"]
        assert added.inclusion == {"doc-4": 1.0, "doc-1": 0.75, "doc-5": 0.7}
        assert ledger.eligible(added) == dict(zip(IDS, CHOICE.inclusion, strict=True))


def test_only_exactly_equal_parameters_find_a_round(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.add_round(PARAMETERS, IDS, CHOICE)
        for change in ({"seed": 8}, {"budget": 0.2}, {"extra": None}, {"strategy": "Margin"}):
            assert ledger.round({**PARAMETERS, **change}) is None
        assert ledger.round({}) is None
        second = ledger.add_round({**PARAMETERS, "seed": 8}, IDS, CHOICE)
        assert second.number == 2


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        recorded = ledger.add_round(PARAMETERS, IDS, CHOICE)
        before = dump(path)
        with pytest.raises(InputError, match="expected none yet"):
            ledger.add_round(PARAMETERS, IDS, CHOICE)
        assert dump(path) == before
        ledger.add_answers(recorded, {"doc-4": "FAVOR", "doc-1": "NONE"}, "ann")
        ledger.add_answers(recorded, {"doc-4": "AGAINST"}, "bob")
        assert ledger.answers(recorded) == {"doc-4": "AGAINST", "doc-1": "NONE"}
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT document, label, annotator FROM answers ORDER BY number").fetchall()
        assert rows == [("doc-4", "FAVOR", "ann"), ("doc-1", "NONE", "ann"), ("doc-4", "AGAINST", "bob")]
        for table in ("rounds", "eligible", "answers"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(f"DELETE FROM {table}")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("UPDATE answers SET label = 'FAVOR'")


def test_answers_stay_with_their_round(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        first = ledger.add_round({"seed": 1}, IDS, CHOICE)
        second = ledger.add_round({"seed": 2}, IDS, CHOICE)
        ledger.add_answers(first, {"doc-4": "a"}, "ann")
        assert ledger.answers(second) == {}
        with pytest.raises(InputError, match="'doc-0', expected a document chosen in round 1"):
            ledger.add_answers(first, {"doc-1": "a", "doc-0": "b"}, "ann")
        assert ledger.answers(first) == {"doc-4": "a"}


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
            ledger.add_round(PARAMETERS, ids, choice)
        assert ledger.round(PARAMETERS) is None
        assert ledger.add_round(PARAMETERS, IDS, CHOICE).number == 1


def test_an_empty_choice_is_a_round(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        empty = ledger.add_round(PARAMETERS, IDS, Choice(np.empty(0, dtype=np.int64), np.zeros(6)))
        assert empty.ids == []
        assert ledger.round(PARAMETERS) == empty


def test_two_connections_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    failures: list[BaseException] = []

    def write(writer: int) -> None:
        try:
            with Ledger(path) as ledger:
                for i in range(15):
                    added = ledger.add_round({"writer": writer, "i": i}, IDS, CHOICE)
                    ledger.add_answers(added, {"doc-4": f"{writer}-{i}"}, f"writer {writer}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(w,)) for w in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Ledger(path) as ledger:
        rounds = [ledger.round({"writer": w, "i": i}) for w in range(2) for i in range(15)]
        found = [r for r in rounds if r is not None]
        assert sorted(r.number for r in found) == list(range(1, 31))
        for r in found:
            assert ledger.answers(r) == {"doc-4": f"{r.parameters['writer']}-{r.parameters['i']}"}


@pytest.mark.parametrize("version", [0, 2])
def test_another_schema_is_refused_and_left_alone(tmp_path: Path, version: int) -> None:
    path = tmp_path / "l.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (x)")
        connection.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"found schema version {version}, expected a ledger of schema version 1"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    path.write_text("id,label\n" * 100)
    with pytest.raises(InputError, match="expected a ledger"):
        Ledger(path)
    with pytest.raises(InputError, match="expected a ledger"):
        Ledger(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from redct.experts import Choice, Ledger

ledger = Ledger(Path(sys.argv[1]))
ledger.add_round({"seed": 0}, ["a", "b"], Choice(np.array([1]), np.array([0.5, 0.5])))
# A cache of one page drives the rows of the open transaction into the file before it ends.
ledger._connection.execute("PRAGMA cache_size = 1")
seen = 0
def kill_late(statement):
    global seen
    seen += statement.startswith("INSERT INTO eligible")
    if seen == 4000:
        os.kill(os.getpid(), signal.SIGKILL)
ledger._connection.set_trace_callback(kill_late)
ledger.add_round({"seed": 1}, [str(i) for i in range(5000)], Choice(np.arange(9), np.full(5000, 0.5)))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_round_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert path.with_name("l.sqlite-journal").exists()  # the kill came in the middle of a transaction
    with Ledger(path) as ledger:
        first = ledger.round({"seed": 0})
        assert first is not None
        assert first.ids == ["b"]
        assert ledger.round({"seed": 1}) is None
        again = ledger.add_round({"seed": 1}, IDS, CHOICE)
        assert again.number == 2
        assert len(ledger.eligible(again)) == len(IDS)
