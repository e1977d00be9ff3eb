"""Memory, parts and resuming of `predict` on very many short documents, with an engine that answers at once.

For every number of documents a fresh process labels them through the trainer, the data module and the label
store, as `redct predict` does, with a labeler that draws distributions at random. Reported are the process'
largest resident memory, the time, and the parts; then some parts are removed, and a second process is timed until
it knows what is missing.

    python scripts/bench/streaming.py --documents 100000 1000000 --form jsonl
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lightning as L
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch.utils.data import DataLoader

from redct.cli.results import show_labels
from redct.documents import Document
from redct.hub.labeler import DocumentBatches, Labeler, Share
from redct.hub.rows import LabelRow
from redct.task import Columns, Task
from redct.training.corpus import LabeledCorpus

LABELS = ["against", "for", "neutral"]
WORDS = ["bus", "tea", "rain", "fair", "school", "council", "river", "ice", "plan", "vote", "price", "pond", "train"]
MIB = 2**20


def rows(count: int) -> Iterator[dict[str, str]]:
    """Yields rows whose texts are all different."""
    for n in range(count):
        words = " ".join(WORDS[n // 13**k % 13] for k in range(6))
        yield {"id": f"post-{n:09d}", "text": f"No. {n}: what about {words}?", "stance": LABELS[n % 3]}


def write_corpus(path: Path, count: int) -> None:
    """Writes JSONL, CSV or Parquet, as the name says."""
    if path.suffix == ".parquet":
        write_parquet(path, count)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(row) + "\n" for row in rows(count))
        else:
            writer = csv.DictWriter(file, ["id", "text", "stance"])
            writer.writeheader()
            writer.writerows(rows(count))


def write_parquet(path: Path, count: int) -> None:
    """Writes one row group, as pandas would."""
    pq.write_table(pa.Table.from_pylist(list(rows(count))), path)


class InstantLabeler(Labeler):
    """Draws distributions at random, and notes how long it took to find what is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(0)
        self.times: dict[str, float] = {}

    def source_fingerprint(self) -> dict[str, str]:
        """Names itself."""
        return {"model": "random"}

    def my_share(self) -> Share:
        """Notes the time."""
        before = time.perf_counter()
        share = super().my_share()
        self.times = {"share_s": time.perf_counter() - before, "found_at": time.time()}
        return share

    def predict_dataloader(self) -> DataLoader[list[Document]]:
        """Yields a thousand documents at a time."""
        return DataLoader(DocumentBatches(self.my_share(), 1000), batch_size=None, collate_fn=list)

    def transfer_batch_to_device(self, batch: list[Document], device: object, dataloader_idx: int) -> list[Document]:
        """Leaves the batch alone."""
        return batch

    def predict_step(self, batch: list[Document], batch_idx: int, dataloader_idx: int = 0) -> list[LabelRow]:
        """Draws."""
        logprobs = np.log(self.rng.dirichlet(np.ones(len(LABELS)), len(batch)))
        return [drawn(document, row) for document, row in zip(batch, logprobs, strict=True)]


def drawn(document: Document, logprobs: np.ndarray) -> LabelRow:
    """Returns a row as a model would give it."""
    ordered = sorted(logprobs.tolist())
    return LabelRow(
        id=document.id,
        label=LABELS[int(logprobs.argmax())],
        probs=np.exp(logprobs).tolist(),
        logprobs=logprobs.tolist(),
        margin=ordered[-1] - ordered[-2],
        unlabeled_mass=0.0,
        source="logprobs",
        reply="x",
        prompt_tokens=50,
        completion_tokens=0,
    )


def label(corpus: Path, folder: Path) -> None:
    """Labels the corpus, or what is missing, in this process, and prints what it took as JSON."""
    task = Task(LABELS, Columns(gold="stance", id="id"))
    study = LabeledCorpus(task, str(corpus), folder=folder)
    before = time.perf_counter()
    documents = study.documents_to_label()
    screen_s = time.perf_counter() - before
    labeler = InstantLabeler()
    labeler.assign(task, documents, study.store)
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    L.Trainer(accelerator="cpu", devices=1, **silent).predict(labeler, return_predictions=False)
    before_summary = peak_mib()
    show_labels(task, documents, study.store)
    figures = {"labeled": labeler.documents_left, "peak": peak_mib(), "before_summary": before_summary}
    print(json.dumps({**figures, "screen_s": screen_s, **labeler.times}))


def peak_mib() -> float:
    """Returns the largest resident memory of this process so far; `ru_maxrss` would count its parent's too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def in_process(corpus: Path, folder: Path) -> dict[str, float]:
    """Runs `label` in a process of its own and returns what it printed last."""
    words = [sys.executable, "-W", "ignore", __file__, "--corpus", str(corpus), "--folder", str(folder)]
    started = time.time()
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"found_s": found["found_at"] - started, "total_s": time.time() - started}


def measure(folder: Path, form: str, count: int) -> float:
    """Labels `count` documents, resumes, prints both and returns the peak in MiB."""
    corpus, study = folder / f"{count}.{form}", folder / f"study-{form}-{count}"
    write_corpus(corpus, count)
    run = in_process(corpus, study)
    parts = sorted((study / "labels").glob("*.parquet"))
    largest = max(path.stat().st_size for path in parts)
    print(
        f"{form} {count:>9,}: peak {run['peak']:.0f} MiB ({run['before_summary']:.0f} before the summary), "
        f"{run['total_s']:.1f} s in all, {run['screen_s']:.1f} s to check the files; {len(parts)} parts, "
        f"the largest {largest / MIB:.2f} MiB"
    )
    removed = parts[:: max(1, len(parts) // 3)][:3]
    for path in removed:
        path.with_suffix(".json").unlink()
        path.unlink()
    again = in_process(corpus, study)
    print(
        f"{form} {count:>9,}: after {len(removed)} parts were removed, {again['labeled']:,} documents found missing in "
        f"{again['share_s']:.1f} s ({again['screen_s']:.1f} s more to check the files, {again['found_s']:.1f} s since "
        f"the start of the process), peak {again['peak']:.0f} MiB",
        flush=True,
    )
    return run["peak"]


def main() -> None:
    """Runs all sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--form", nargs="+", choices=["jsonl", "csv", "parquet"], default=["jsonl"])
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.corpus:
        label(options.corpus, options.folder)
        return
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        for form in options.form:
            peaks = [measure(Path(folder), form, count) for count in options.documents]
            print(f"{form}: the last peak is {peaks[-1] / peaks[0]:.3f} times the first")


if __name__ == "__main__":
    main()
