import json
from collections import Counter
from math import log

import numpy as np
import pytest

from redct.documents import Document, read_documents
from redct.errors import InputError
from redct.hub.imported import ImportedLabels
from redct.hub.store import LabelStore, read_labels
from redct.task import Columns, Task

TASK = Task(labels=["a", "b", "c"], gold_values={"A": "a"})


def imported(folder, rows, n=None, seed=0, **options):
    import lightning as L

    folder.mkdir(exist_ok=True)
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    documents = [Document(f"d{i}", "x", {}, None) for i in range(n or len(rows))]
    labeler = ImportedLabels(str(path), "label", **options)
    labeler.assign(TASK, documents, LabelStore(folder / "store"), seed)
    trainer = L.Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False)
    trainer.predict(labeler, return_predictions=False)
    return read_labels(folder / "store", TASK.labels).aligned([d.id for d in documents])


def test_hard_labels_get_the_floored_margin(tmp_path) -> None:
    table = imported(tmp_path, [{"id": "d0", "label": "A"}, {"id": "d1", "label": "c"}], n=3)
    assert table.label.tolist() == [0, 2, -1]
    np.testing.assert_allclose(table.probs[:2], [[1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(table.margin[:2], -log(1e-6), rtol=1e-6)


def test_probabilities_as_object_and_as_list(tmp_path) -> None:
    rows = [{"id": "d0", "label": "b", "p": {"b": 3, "A": 1}}]
    table = imported(tmp_path / "object", rows, probs_column="p")
    np.testing.assert_allclose(table.probs, [[0.25, 0.75, 0]])
    np.testing.assert_allclose(table.margin, [log(3)], rtol=1e-6)
    table = imported(tmp_path / "list", [{"id": "d0", "label": None, "p": [0.2, 0.5, 0.3]}], probs_column="p")
    assert table.label.tolist() == [1]


def test_ties_are_broken_by_the_seed(tmp_path) -> None:
    rows = [{"id": f"d{i}", "label": None, "p": [0.5, 0.5, 0]} for i in range(200)]
    one = imported(tmp_path / "1", rows, probs_column="p", seed=1).label
    again = imported(tmp_path / "2", rows, probs_column="p", seed=1).label
    other = imported(tmp_path / "3", rows, probs_column="p", seed=2).label
    assert one.tolist() == again.tolist() != other.tolist()
    assert 70 < Counter(one.tolist())[0] < 130


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "d0", "label": "z"}, "unknown label 'z'"),
        ({"id": "d0", "label": "a", "p": [0.5, 0.5]}, "expected 3 numbers"),
        ({"id": "d0", "label": "a", "p": [0, 0, 0]}, "expected 3 numbers >= 0, not all 0"),
        ({"id": "d0", "label": "a", "p": [1, -1, 1]}, "expected 3 numbers"),
        ({"id": "d0", "label": "a", "p": 0.5}, "found 0.5 as probabilities"),
        ({"id": "d0", "label": "a", "p": "surely a"}, "found surely a as probabilities"),
    ],
)
def test_wrong_rows_are_named(tmp_path, row, message) -> None:
    options = {"probs_column": "p"} if "p" in row else {}
    with pytest.raises(InputError, match=f"row 1.*{message}"):
        imported(tmp_path, [row], **options)
    assert not (tmp_path / "store" / "part-00000-000000.parquet").exists()


def test_missing_file_and_column(tmp_path) -> None:
    with pytest.raises(InputError, match="no column 'label'"):
        imported(tmp_path, [{"id": "d0", "other": 1}])
    with pytest.raises(InputError, match="repeats id"):
        imported(tmp_path, [{"id": "d0", "label": "a"}] * 2)


@pytest.mark.parametrize("name", ["isear", "sentiment", "hate", "global_warming"])
def test_real_llm_labels(real_data, tmp_path, name) -> None:
    import lightning as L

    path = real_data / "llm_labeled" / f"{name}.test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    task = Task(labels=sorted(rows[0]["llm_probs"]), columns=Columns(gold="gold", id="id"))
    documents = read_documents(str(path), task).documents
    labeler = ImportedLabels(str(path), "llm_label", "llm_probs")
    labeler.assign(task, documents, LabelStore(tmp_path))
    trainer = L.Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False)
    trainer.predict(labeler, return_predictions=False)
    table = read_labels(tmp_path, task.labels).aligned([row["id"] for row in rows])
    assert len(table.ids) == len(rows)
    accuracy = np.mean([task.labels[k] == row["gold"] for k, row in zip(table.label, rows, strict=True)])
    published = np.mean([row["llm_label"] == row["gold"] for row in rows])
    assert accuracy == pytest.approx(published, abs=0.02)
