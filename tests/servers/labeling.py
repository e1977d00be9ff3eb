"""Labels documents through a server, by the whole path from the trainer to the label store."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq

from redct.documents import Document
from redct.hub.api import ApiLabeler
from redct.hub.store import LabelStore
from redct.task import Task

TASK = Task(labels=["agree", "disagree", "neutral"])


def documents(n: int, text: str = "text") -> list[Document]:
    return [Document(f"d{i}", f"{text} {i}", {}, None) for i in range(n)]


def labeler(address: str, model: str = "toy", **options) -> ApiLabeler:
    return ApiLabeler(model, f"{address}/v1", **options)


def label(labeler: ApiLabeler, given: Iterable[Document], folder: Path, task: Task = TASK, **trainer_options) -> None:
    import lightning as L

    labeler.assign(task, list(given), LabelStore(folder))
    options = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False}
    L.Trainer(**options | trainer_options).predict(labeler, return_predictions=False)


def rows(folder: Path) -> dict[str, dict]:
    """Returns the stored rows by id; no id may be there twice."""
    stored = [row for sidecar in folder.glob("part-*.json") for row in _part(sidecar.with_suffix(".parquet"))]
    found = {row["id"]: row for row in stored}
    assert len(found) == len(stored)
    return found


def _part(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()
