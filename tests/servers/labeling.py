"""Labels documents through a server, by the whole path from the trainer to the label store."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from servers.proxy import FaultProxy

from redct.documents import Document
from redct.hub.api import ApiLabeler
from redct.hub.store import LabelStore
from redct.task import Task

WORDS = {"agree": 0.6, " Agree": 0.1, "disagree": 0.2, "nothing": 0.1}
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


def asked(proxy: FaultProxy) -> Counter[str]:
    """How often each document was asked about, probes left out."""
    return Counter({content: n for content, n in proxy.per_content.items() if "Text:" in content})


def check(found: dict[str, dict], given: list) -> None:
    """Every document ends with a distribution or a typed error, once."""
    assert sorted(found) == sorted(document.id for document in given)
    for row in found.values():
        if row["error"] is None:
            assert row["label"] in TASK.labels
            assert sum(row["probs"]) == pytest.approx(1, abs=1e-5)
        else:
            kind = row["error"].split(":")[0]
            assert kind in {"refused", "filtered", "malformed", "unlabeled", "rejected", "unreachable"}
