"""Labels that somebody has already, brought into the label store."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch.utils.data import DataLoader

from redct.confidence import log_floored, margins
from redct.documents import Document
from redct.errors import InputError
from redct.hub.labeler import DocumentBatches, Labeler
from redct.hub.rows import LabelRow
from redct.sources import Source

BATCH = 1000


class ImportedLabels(Labeler):
    """Takes labels from a file instead of asking a model.

    Args:
        path: CSV, TSV, JSONL or Parquet files with a row per document.
        label_column: Column with the label, as the task or its gold values name it.
        probs_column: Column with the probabilities: a list in the order of the task's labels, or an object
            label -> probability; without it the labels are hard.
        id_column: Column with the document ids.
    """

    def __init__(
        self, path: Source | list[Source], label_column: str, probs_column: str | None = None, id_column: str = "id"
    ) -> None:
        super().__init__()
        self.paths = [path] if isinstance(path, str) else list(path)
        self.label_column = label_column
        self.probs_column, self.id_column = probs_column, id_column
        self._records: dict[str, tuple[int, Any, Any]] = {}

    def source_fingerprint(self) -> dict[str, Any]:
        """Returns the file's name and columns."""
        columns = {"label_column": self.label_column, "probs_column": self.probs_column}
        return {"path": [Path(path).name for path in self.paths], **columns, "seed": self.seed}

    def setup(self, stage: str) -> None:
        """Reads the file."""
        for path in self.paths:
            table = _read(path)
            wanted = [self.id_column, self.label_column, *([self.probs_column] if self.probs_column else [])]
            for column in wanted:
                if column not in table:
                    raise InputError(f"{path}: no column {column!r}; expected one of {', '.join(map(str, table))}")
            probs = table[self.probs_column] if self.probs_column else [None] * len(table)
            triples = zip(table[self.id_column], table[self.label_column], probs, strict=True)
            for row, (document_id, label, distribution) in enumerate(triples, 1):
                if str(document_id) in self._records:
                    raise InputError(f"{path}: row {row} repeats id {str(document_id)!r}; expected each once")
                self._records[str(document_id)] = (row, label, distribution)

    def predict_dataloader(self) -> DataLoader[list[Document]]:
        """Returns batches of the documents that this process has to label."""
        return DataLoader(DocumentBatches(self.my_share(), BATCH), batch_size=None, collate_fn=_unchanged)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:  # noqa: ANN401
        """Leaves the batch alone: it holds no tensors."""
        return batch

    def predict_step(self, batch: list[Document], batch_idx: int, dataloader_idx: int = 0) -> list[LabelRow]:
        """Looks the documents up; one that the file does not name becomes an error row."""
        return [self._row(document.id) for document in batch]

    def _row(self, document_id: str) -> LabelRow:
        row, label, distribution = self._records.get(document_id, (0, None, None))
        if _absent(label) and _absent(distribution):
            return LabelRow(document_id, source="imported", error=f"no label in {', '.join(self.paths)}")
        where = f"{', '.join(self.paths)}: row {row}, id {document_id!r}"
        if _absent(distribution):
            probs = np.zeros(len(self.task.labels))
            probs[self._position(label, where)] = 1.0
        else:
            probs = self._distribution(distribution, where)
        logprobs = log_floored(probs)
        return LabelRow(
            id=document_id,
            label=self.task.labels[self._best(probs, document_id, label, where)],
            probs=probs.tolist(),
            logprobs=logprobs.tolist(),
            margin=float(margins(logprobs[None])[0]),
            unlabeled_mass=0.0,
            source="imported",
            reply=None if _absent(label) else str(label),
        )

    def _best(self, probs: np.ndarray[Any, Any], document_id: str, label: object, where: str) -> int:
        """Returns the most probable label; of several, the file's own, else one drawn by seed and id."""
        best = np.flatnonzero(probs >= probs.max() - 1e-9)
        if not _absent(label) and self._position(label, where) in best:
            return self._position(label, where)
        return int(np.random.default_rng([self.seed, zlib.crc32(document_id.encode())]).choice(best))

    def _position(self, label: object, where: str) -> int:
        try:
            return self.task.index()[self.task.label_of(str(label))]
        except KeyError:
            choices = ", ".join(self.task.gold_choices())
            raise InputError(f"{where}: unknown label {str(label)!r}; expected one of {choices}") from None

    def _distribution(self, value: object, where: str) -> np.ndarray[Any, Any]:
        probs = np.zeros(len(self.task.labels))
        try:
            given = json.loads(value) if isinstance(value, str) else value
            if isinstance(given, Mapping):
                for label, p in given.items():
                    probs[self._position(label, where)] += 0.0 if p is None else float(p)
            else:
                probs = np.asarray(given, dtype=float)
        except (TypeError, ValueError):
            probs = np.array([])
        size = len(self.task.labels)
        if probs.shape != (size,) or not np.isfinite(probs).all() or probs.min() < 0 or not probs.any():
            raise InputError(f"{where}: found {value} as probabilities; expected {size} numbers >= 0, not all 0")
        normalised: np.ndarray[Any, Any] = probs / probs.sum()
        return normalised


def _unchanged(batch: list[Document]) -> list[Document]:
    return batch


def _read(path: str) -> pd.DataFrame:
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file, expected labels to import")
    try:
        if path.endswith((".jsonl", ".jsonl.gz")):
            return pd.read_json(path, lines=True, dtype=False)
        if path.endswith(".parquet"):
            return pd.read_parquet(path)
        separator = "\t" if ".tsv" in Path(path).name else ","
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except ValueError as error:
        raise InputError(f"{path}: {str(error).splitlines()[0]}") from error


def _absent(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and np.isnan(value))
