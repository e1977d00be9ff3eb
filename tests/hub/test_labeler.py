import json
import threading
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest

from redct.documents import Document, Documents, Joined, read_documents
from redct.hub.imported import ImportedLabels
from redct.hub.labeler import DocumentBatches, Share
from redct.hub.rows import LabelRow
from redct.hub.store import LabelStore, read_labels
from redct.hub.writer import LabelWriter
from redct.task import Columns, Task

TASK = Task(labels=["a", "b"], columns=Columns(id="id"))


def corpus(folder: Path, count: int = 100) -> Documents:
    """A corpus that lies in files."""
    path = folder / "corpus.jsonl"
    rows = ({"id": f"d{n}", "text": f"text {n}", "label": "ab"[n % 2]} for n in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_documents(str(path), TASK)


def label(folder: Path, documents: Documents, rows_per_part: int = 10) -> ImportedLabels:
    class SmallParts(ImportedLabels):
        def configure_callbacks(self):
            return [LabelWriter(self.store, rows_per_part)]

        def predict_dataloader(self):
            loader = super().predict_dataloader()
            loader.dataset.size = 10
            return loader

    labeler = SmallParts(str(folder / "corpus.jsonl"), "label")
    labeler.assign(TASK, documents, LabelStore(folder / "store"))
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    L.Trainer(accelerator="cpu", devices=1, **silent).predict(labeler, return_predictions=False)
    return labeler


@pytest.mark.parametrize("as_list", [True, False])
def test_a_resume_labels_what_is_missing_and_nothing_else(tmp_path: Path, as_list: bool) -> None:
    documents = corpus(tmp_path)
    documents = list(documents) if as_list else documents
    label(tmp_path, documents)
    parts = sorted((tmp_path / "store").glob("*.parquet"))
    assert len(parts) == 10
    for path in parts[3:5]:
        path.with_suffix(".json").unlink()
        path.unlink()
    parts[7].with_suffix(".json").unlink()  # killed between a part and its sidecar
    kept = {path.name: path.read_bytes() for path in parts if path not in parts[3:5]}
    assert label(tmp_path, documents).documents_left == 30
    table = read_labels(tmp_path / "store", TASK.labels)
    assert sorted(table.ids) == sorted(d.id for d in documents)
    assert all((tmp_path / "store" / name).read_bytes() == content for name, content in kept.items())
    assert label(tmp_path, documents).documents_left == 0


def test_times_add_up_over_runs_and_parts_without_one_are_no_harm(tmp_path: Path) -> None:
    documents, store = corpus(tmp_path), LabelStore(tmp_path / "store")
    label(tmp_path, documents)
    first = store.manifest()["time"]
    assert (first["documents"], first["runs"], first["processes"]) == (100, 1, 1)
    sidecars = sorted((tmp_path / "store").glob("part-*.json"))
    for path in sidecars[:2]:  # killed before these
        path.with_suffix(".parquet").unlink()
        path.unlink()
    old = json.loads(sidecars[2].read_text())
    del old["time"]  # of an earlier version
    sidecars[2].write_text(json.dumps(old))
    label(tmp_path, documents)
    both = store.manifest()["time"]
    assert (both["documents"], both["runs"]) == (90, 2)
    laps = [json.loads(path.read_text()).get("time") for path in (tmp_path / "store").glob("part-*.json")]
    assert both["seconds"] == pytest.approx(sum(lap["seconds"] for lap in laps if lap), abs=1e-3)
    assert both["documents_per_second"] == pytest.approx(90 / both["seconds"], abs=0.01)
    label(tmp_path, documents)
    assert store.manifest()["time"] == both, "where nothing is left to label, nothing was measured"


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_shares_are_disjoint_and_complete(tmp_path: Path, processes: int) -> None:
    class Process(ImportedLabels):
        """One of several that ask for their share while the first ones write already."""

        def __init__(self, rank: int, wait) -> None:
            super().__init__(str(tmp_path / "corpus.jsonl"), "label")
            self.rank, self.wait = rank, wait

        @property
        def trainer(self):
            strategy = SimpleNamespace(barrier=self.wait)
            return SimpleNamespace(
                is_global_zero=self.rank == 0, global_rank=self.rank, world_size=processes, strategy=strategy
            )

    documents = corpus(tmp_path)
    store = LabelStore(tmp_path / "store")
    first = Process(0, lambda name: None)
    first.assign(TASK, documents, store)
    store.begin(first.fingerprint(), TASK.labels)
    store.write_part([LabelRow(f"d{n}", error="none") for n in range(0, 100, 9)], rank=7)
    barrier = threading.Barrier(processes)
    shares: dict[int, list[str]] = {}

    def work(rank: int) -> None:
        process = Process(rank, lambda name: barrier.wait())
        process.assign(TASK, documents if rank else list(documents), LabelStore(tmp_path / "store"))
        share = process.my_share()
        for batch in DocumentBatches(share, 10):
            LabelStore(tmp_path / "store").write_part([LabelRow(d.id, error="none") for d in batch], rank)
        shares[rank] = [document.id for document in share]
        assert len(share) == process.documents_left == len(shares[rank])

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = [f"d{n}" for n in range(100) if n % 9]
    assert [shares[rank] for rank in range(processes)] == [left[rank::processes] for rank in range(processes)]
    assert sorted(chain(*shares.values())) == sorted(left)
    assert store.rows() == len(store.ids()) == 100


def test_a_share_is_read_as_often_as_need_be() -> None:
    documents = [Document(f"d{n}", "x", {}, None) for n in range(10)]
    share = Share(Joined([documents[:4], documents[4:]]), np.arange(10) % 3 != 0, 1, 2)
    assert [d.id for d in share] == [d.id for d in share] == ["d2", "d5", "d8"]
    assert len(share) == 3
