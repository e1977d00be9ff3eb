import time

import pytest

from redct.hub.rows import LabelRow
from redct.hub.store import LabelStore
from redct.hub.times import Clock, labeling_time, time_in_words


def part(rows: int, run: str, rank: int, processes: int, seconds: float) -> dict:
    return {"rows": rows, "time": {"run": run, "rank": rank, "processes": processes, "seconds": seconds}}


def test_processes_work_at_once_and_runs_one_after_the_other() -> None:
    first = [part(10, "1", 0, 2, 3.0), part(10, "1", 0, 2, 4.0), part(18, "1", 1, 2, 5.0)]
    second = [part(2, "2", 0, 1, 1.0)]
    found = labeling_time([*first, *second, {"rows": 5}])
    counts = {"documents": 40, "documents_per_second": 5.0, "runs": 2, "processes": 2}
    assert found == {"seconds": 8.0, **counts}
    told = "8 seconds, 5.0 documents a second, 2 runs, 2 processes"
    assert time_in_words(found, 40) == told
    assert time_in_words(found, 45) == f"{told}; that of 5 documents was not recorded"


def test_without_a_time_there_is_none() -> None:
    assert labeling_time([{"rows": 5}]) is None
    assert time_in_words(None, 5) == "time not recorded"
    at_once = labeling_time([part(5, "1", 0, 1, 0.0)])
    assert at_once is not None
    assert at_once["documents_per_second"] is None
    assert time_in_words(at_once, 5) == "less than a second"


def test_a_lap_lasts_from_part_to_part() -> None:
    clock = Clock("run", 1, 2)
    begin = time.monotonic()
    time.sleep(0.02)
    first, second = clock.lap(), clock.lap()
    assert 0.02 <= first["seconds"] <= time.monotonic() - begin + 0.001
    assert second["seconds"] < first["seconds"]
    assert (first["run"], first["rank"], first["processes"]) == ("run", 1, 2)


def test_labeling_errors_again_takes_the_first_time_too(tmp_path) -> None:
    store = LabelStore(tmp_path)
    store.begin({"model": "m"}, ["a"])
    error, right = LabelRow("x", error="refused"), LabelRow("y", "a", [1.0], [0.0], 1.0)
    store.write_part([error, right], time=part(2, "1", 0, 1, 6.0)["time"])
    assert [*store.drop_errors()] == [["x"]]
    store.write_part([LabelRow("x", "a", [1.0], [0.0], 1.0)], time=part(1, "2", 0, 1, 2.0)["time"])
    found = store.finish()["time"]
    assert (found["seconds"], found["documents"]) == (pytest.approx(8.0), 2)
