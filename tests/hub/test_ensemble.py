import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from redct.confidence import log_floored, margins
from redct.errors import InputError
from redct.hub.ensemble import Ensemble, agreement, agreement_of_all, combine, notes
from redct.hub.rows import LabelRow
from redct.hub.store import LabelStore, LabelTable

LABELS = ["a", "b", "c"]


def table(rows: dict[str, list[float] | None]) -> LabelTable:
    """Label table of distributions; None is an error row."""
    probs = np.array([[np.nan] * 3 if p is None else p for p in rows.values()], np.float32).reshape(-1, 3)
    label = np.array([-1 if p is None else int(np.argmax(p)) for p in rows.values()], dtype=np.int64)
    logprobs = np.full_like(probs, np.nan)
    margin = np.full(len(rows), np.nan, np.float32)
    logprobs[label >= 0] = log_floored(probs[label >= 0]) - 2  # as an LLM gives them: not normalised
    margin[label >= 0] = margins(logprobs[label >= 0])
    return LabelTable(LABELS, list(rows), label, probs, logprobs, margin)


distribution = st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any).map(lambda v: [x / sum(v) for x in v])
tables = st.lists(
    st.dictionaries(st.sampled_from([f"d{i}" for i in range(8)]), st.none() | distribution), min_size=2, max_size=4
)


@settings(deadline=None)
@given(tables, st.sampled_from(["average", "votes", "last"]))
def test_combinations_document_by_document(given_rows: list[dict[str, list[float] | None]], how: str) -> None:
    parts = [table(rows) for rows in given_rows]
    joint = combine(parts, how)
    assert joint.ids == list(dict.fromkeys(i for rows in given_rows for i in rows))
    for n, document_id in enumerate(joint.ids):
        have = [rows[document_id] for rows in given_rows if rows.get(document_id) is not None]
        if not have:
            assert joint.label[n] == -1
            assert np.isnan([*joint.probs[n], *joint.logprobs[n], joint.margin[n]]).all()
            continue
        expected = {
            "average": np.mean(have, axis=0),
            "votes": np.mean([np.eye(3)[np.argmax(p)] for p in have], axis=0),
            "last": np.array(have[-1]),
        }[how]
        np.testing.assert_allclose(joint.probs[n], expected, atol=1e-6)
        best = [k for k in range(3) if expected[k] >= max(expected) - 1e-6]
        said = [int(np.argmax(p)) for p in (have[-1:] if how == "last" else have)]
        assert joint.label[n] == next((s for s in said if s in best), best[0])
        offset = -2 if how == "last" else 0
        np.testing.assert_allclose(joint.logprobs[n] - offset, log_floored(expected), atol=1e-3)
        top = sorted(log_floored(expected))
        np.testing.assert_allclose(joint.margin[n], top[-1] - top[-2], atol=1e-3)


def test_a_single_table_stays_as_it_is() -> None:
    only = table({"x": [0.1, 0.2, 0.7]})
    assert combine([only], "votes") is only


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(-1, 3), min_size=3, max_size=3), min_size=1, max_size=30))
@pytest.mark.filterwarnings("ignore")
def test_agreement_is_that_of_scikit_learn(rows: list[list[int]]) -> None:
    said = np.array(rows).T
    kappas = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        found = agreement(said[i], said[j])
        both = [(x, y) for x, y in zip(said[i], said[j], strict=True) if min(x, y) >= 0]
        assert found.documents == len(both)
        if both:
            assert found.share == pytest.approx(np.mean([x == y for x, y in both]))
            expected = cohen_kappa_score(*zip(*both, strict=True))
            assert found.kappa == pytest.approx(expected, nan_ok=True)
            kappas += [] if np.isnan(expected) else [expected]
    everyone = agreement_of_all(said)
    full = [row for row in rows if min(row) >= 0]
    assert everyone.documents == len(full)
    assert everyone.share == pytest.approx(np.mean([len(set(r)) == 1 for r in full]) if full else np.nan, nan_ok=True)
    assert everyone.kappa == pytest.approx(np.mean(kappas) if kappas else np.nan, nan_ok=True)


def store(folder, rows: dict[str, list[float] | None], labels=LABELS) -> LabelStore:
    made = LabelStore(folder)
    made.begin({"model": folder.name}, labels)
    t = table(rows)
    for n, i in enumerate(t.ids):  # a part for each row
        error = t.label[n] < 0
        label = None if error else labels[t.label[n]]
        numbers = [None] * 3 if error else [t.probs[n].tolist(), t.logprobs[n].tolist(), float(t.margin[n])]
        made.write_part([LabelRow(i, label, *numbers, error="no label" if error else None)])
    return made


def test_stores_are_read_and_their_agreement_told(tmp_path) -> None:
    store(tmp_path / "one", {"d0": [0.8, 0.1, 0.1], "d1": [0.1, 0.8, 0.1], "d2": None, "other": [1, 0, 0]})
    store(tmp_path / "two", {"d0": [0.6, 0.4, 0.0], "d1": [0.5, 0.4, 0.1], "d2": [0, 0, 1]})
    store(tmp_path / "three", {"d1": [0.1, 0.9, 0.0]})
    names = [tmp_path / name for name in ("one", "two", "three")]
    ensemble = Ensemble(names, LABELS)
    assert ensemble.table.aligned(["d0", "d1", "d2"]).label.tolist() == [0, 1, 2]
    record = ensemble.record(["d0", "d1", "d2"])
    assert record["documents_by_number_of_stores"] == {"1": 1, "2": 1, "3": 1}
    assert record["agreement"][0] == {"stores": [str(n) for n in names[:2]], "documents": 2, "share": 0.5, "kappa": 0.0}
    assert record["agreement_of_all"]["documents"] == 1
    lines = notes(record)
    assert lines[0].endswith(
        "labels of 3 stores (average); documents by the number that labeled them: 1 by 1, 1 by 2, 1 by 3"
    )
    assert "agree on 50.0% of 2 documents, kappa 0.00" in lines[1]
    assert notes(Ensemble(names[:1], LABELS).record(["d0"])) == []


def test_stores_of_another_task_are_refused(tmp_path) -> None:
    store(tmp_path / "one", {"d0": [0.8, 0.1, 0.1]})
    store(tmp_path / "two", {"d0": [0.8, 0.1, 0.1]}, labels=["b", "a", "c"])
    with pytest.raises(InputError, match=r"two: labels are \['b', 'a', 'c'\]"):
        Ensemble([tmp_path / "one", tmp_path / "two"], LABELS)
    with pytest.raises(InputError, match="found an empty list, expected folders"):
        Ensemble([], LABELS)
