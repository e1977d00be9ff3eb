import json
import threading

import numpy as np
import pytest

from redct.digests import Digests
from redct.errors import InputError
from redct.hub.rows import LabelRow
from redct.hub.store import LabelStore, read_labels

LABELS = ["a", "b"]
PRINT = {"model": "m", "prompt": "p" * 64}


def row(number: int, label: str = "a") -> LabelRow:
    p = [0.75, 0.25] if label == "a" else [0.25, 0.75]
    return LabelRow(
        f"d{number}", label, p, [float(np.log(x)) for x in p], float(np.log(3)), 0.0, "logprobs", "A", prompt_tokens=7
    )


def filled(folder, rows=10) -> LabelStore:
    store = LabelStore(folder)
    store.begin(PRINT, LABELS)
    store.write_part([row(n, LABELS[n % 2]) for n in range(rows)])
    return store


def test_round_trip(tmp_path) -> None:
    store = filled(tmp_path)
    store.write_part([LabelRow("bad", error="no label")], rank=3)
    table = read_labels(tmp_path, LABELS)
    assert table.ids == [*(f"d{n}" for n in range(10)), "bad"]
    assert table.label.tolist() == [0, 1] * 5 + [-1]
    np.testing.assert_allclose(table.probs[:2], [[0.75, 0.25], [0.25, 0.75]])
    assert np.isnan(table.margin[-1])
    assert np.isnan(table.probs[-1]).all()
    assert table.aligned(["d3", "d0"]).label.tolist() == [1, 0]
    manifest = store.finish()
    assert manifest["counts"] == {"documents": 11, "errors": 1, "labels": {"a": 5, "b": 5}}
    assert manifest["complete"]
    assert {part["rows"] for part in manifest["parts"].values()} == {10, 1}


def test_unfinished_parts_are_invisible_and_their_numbers_stay_free(tmp_path) -> None:
    store = filled(tmp_path)
    (tmp_path / "part-00000-000001.parquet").write_bytes(b"half")  # killed before its sidecar
    (tmp_path / "part-00000-000002.tmp").write_bytes(b"half")
    assert len(store.ids()) == store.rows() == 10
    store = LabelStore(tmp_path)  # of the next process
    path = store.write_part([row(10)])
    assert path.name == "part-00000-000003.parquet"
    assert len(store.ids()) == 11


def test_errors_are_counted_by_kind(tmp_path) -> None:
    store = filled(tmp_path)
    for rank in (1, 2):
        messages = [f"too long: {rank} tokens", "too long: 9 tokens", "no label"]
        store.write_part([LabelRow(f"{rank} {m}", error=m) for m in messages], rank)
    assert store.errors() == {"too long": (4, "too long: 1 tokens"), "no label": (2, "no label")}


def test_another_fingerprint_is_refused_by_name(tmp_path) -> None:
    store = filled(tmp_path)
    store.begin(PRINT, LABELS)
    with pytest.raises(InputError, match="prompt"):
        store.begin({**PRINT, "prompt": "q" * 64}, LABELS)
    with pytest.raises(InputError, match="made with model 'm', this run has 'other'"):
        store.check({**PRINT, "model": "other"})


def test_wrong_reads_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="redct predict"):
        read_labels(tmp_path / "none", LABELS)
    filled(tmp_path)
    with pytest.raises(InputError, match="label 'c' of the task is missing"):
        read_labels(tmp_path, ["a", "b", "c"])
    with pytest.raises(InputError, match="1 of 2 documents have no label"):
        read_labels(tmp_path, LABELS).aligned(["d1", "nope"])


def test_an_altered_part_is_refused(tmp_path) -> None:
    filled(tmp_path)
    part = next(tmp_path.glob("*.parquet"))
    part.write_bytes(part.read_bytes() + b"x")
    with pytest.raises(InputError, match="altered"):
        read_labels(tmp_path, LABELS)
    part.unlink()
    with pytest.raises(InputError, match="missing"):
        LabelStore(tmp_path).ids()


def test_a_broken_manifest_is_refused(tmp_path) -> None:
    store = filled(tmp_path)
    store.manifest_path.write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        store.manifest()


def test_ranks_write_at_the_same_time(tmp_path) -> None:
    store = LabelStore(tmp_path)
    store.begin(PRINT, LABELS)
    threads = [
        threading.Thread(target=lambda r=rank: [store.write_part([row(100 * r + n)], rank=r) for n in range(20)])
        for rank in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.ids()) == 80
    sidecars = [json.loads(path.read_text()) for path in tmp_path.glob("part-*.json")]
    assert sum(side["rows"] for side in sidecars) == 80


def test_unsure_documents_are_those_with_a_small_margin_or_none(tmp_path) -> None:
    store = LabelStore(tmp_path)
    store.begin(PRINT, LABELS)
    margins = np.random.default_rng(0).exponential(1, 30).astype(np.float32)
    for start in (0, 20):
        store.write_part(
            [
                LabelRow(f"d{n}", "a", [0.9, 0.1], [0.0, -1.0], float(margins[n]))
                for n in range(start, min(start + 20, 30))
            ]
        )
    store.write_part([LabelRow("bad", error="no label")])
    expected = {f"d{n}" for n in range(30) if margins[n] < 0.7}
    assert 0 < len(expected) < 30
    ids = [*(f"d{n}" for n in range(30)), "bad"]
    found = Digests(ids).found_in(store.unsure(LABELS, 0.7))
    assert {i for i, is_unsure in zip(ids, found, strict=True) if is_unsure} == {*expected, "bad"}
    assert len(store.unsure(LABELS, np.inf)) == 31
    with pytest.raises(InputError, match="only_below: found 0, expected a margin above 0"):
        store.unsure(LABELS, 0)
    with pytest.raises(InputError, match="missing"):
        store.unsure(["a", "c"], 1)


def test_one_run_at_a_time(tmp_path) -> None:
    one, other = LabelStore(tmp_path), LabelStore(tmp_path)
    one.lock()
    with pytest.raises(InputError, match="another run is labeling into it"):
        other.lock()
    one.unlock()
    other.lock()
    other.unlock()


def test_a_second_run_is_not_complete_before_it_ends(tmp_path) -> None:
    store = filled(tmp_path)
    assert store.finish()["complete"]
    store.begin(PRINT, LABELS)
    assert not store.manifest()["complete"]
    assert store.manifest()["counts"]["documents"] == 10


def test_errors_are_dropped_and_nothing_else(tmp_path) -> None:
    store = filled(tmp_path)
    store.write_part([row(10), LabelRow("bad", error="unreachable: x"), row(11), LabelRow("worse", error="refused: y")])
    store.write_part([LabelRow("alone", error="refused: z")])
    before = read_labels(tmp_path, LABELS).aligned([f"d{n}" for n in range(12)])
    assert list(store.drop_errors()) == [["bad", "worse"], ["alone"]]
    assert sorted(read_labels(tmp_path, LABELS).ids) == sorted(before.ids)
    np.testing.assert_array_equal(read_labels(tmp_path, LABELS).aligned(before.ids).probs, before.probs)
    assert store.errors() == {}
    assert list(LabelStore(tmp_path).drop_errors()) == []
    store.write_part([row(12)])
    assert len(read_labels(tmp_path, LABELS).ids) == 13


@pytest.mark.parametrize("left", ["sidecar and part", "part"])
def test_errors_are_dropped_whole_or_not_at_all(tmp_path, left) -> None:
    store = filled(tmp_path)
    part = store.write_part([row(10), LabelRow("bad", error="unreachable: x")])
    sidecar, kept = part.with_suffix(".json").read_bytes(), part.read_bytes()
    dropping = store.drop_errors()
    next(dropping)
    assert len(store.ids()) == 12  # killed before the new part is there
    list(dropping)
    part.write_bytes(kept)  # killed while the old one is removed
    if left == "sidecar and part":
        part.with_suffix(".json").write_bytes(sidecar)
    assert sorted(read_labels(tmp_path, LABELS).ids) == sorted(f"d{n}" for n in range(11))
