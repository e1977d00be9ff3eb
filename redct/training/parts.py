"""Parts of a study's documents: to train on, to validate or test on, or kept aside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from transformers import DataCollatorWithPadding

from redct.documents import Document
from redct.files import whole


@dataclass(frozen=True)
class Part:
    """Documents with what a stage needs of them, M rows.

    Attributes:
        documents: M documents.
        target: (M, K) float32, what the loss compares with.
        label: (M,) int64, what the metrics compare with.
        weight: (M,) float32 weight in the loss.
        source: (M,) who gave the label: llm, expert or gold.
    """

    documents: list[Document]
    target: npt.NDArray[np.float32]
    label: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float32]
    source: list[str]

    def rows(self, positions: npt.ArrayLike) -> "Part":
        """Returns some of the rows."""
        at = np.asarray(positions, dtype=np.int64)
        documents = [self.documents[i] for i in at]
        return Part(documents, self.target[at], self.label[at], self.weight[at], [self.source[i] for i in at])

    @classmethod
    def known(cls, documents: Sequence[Document], label: npt.ArrayLike, n_labels: int, source: str) -> "Part":
        """Returns documents whose labels are known, each of weight 1."""
        index = np.asarray(label, dtype=np.int64)
        target = np.eye(n_labels, dtype=np.float32)[index]
        return cls(list(documents), target, index, np.ones(len(index), dtype=np.float32), [source] * len(index))


class EncodedPart(TorchDataset[dict[str, Tensor]]):
    """Yields padded batches of a part; an item is addressed by the positions of a batch."""

    def __init__(self, part: Part, tokens: Dataset, tokenizer: Any) -> None:  # noqa: ANN401
        self.part, self.tokens = part, tokens
        self.pad = DataCollatorWithPadding(tokenizer)

    def __getitem__(self, positions: list[int]) -> dict[str, Tensor]:
        """Returns the batch of the given positions."""
        rows = self.tokens[positions]
        batch = self.pad([{name: rows[name][n] for name in rows} for n in range(len(positions))])
        return {
            **batch,
            "target": torch.from_numpy(self.part.target[positions]),
            "label": torch.from_numpy(self.part.label[positions]),
            "weight": torch.from_numpy(self.part.weight[positions]),
            "index": torch.tensor(positions),
        }

    def __len__(self) -> int:
        """Returns the number of documents."""
        return len(self.part.documents)

    def lengths(self) -> list[int]:
        """Returns the length of each document in tokens."""
        return [len(row) for row in self.tokens["input_ids"]]


def write_targets(path: Path, parts: Mapping[str, Part], labels: Sequence[str]) -> None:
    """Writes which part each document belongs to, and where its target comes from.

    Args:
        path: A Parquet file with the columns id, part, source, label, target and weight.
        parts: By name.
        labels: The K labels of the task.
    """
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "part", "source", "label", "target", "weight")}
    for name, part in parts.items():
        columns["id"] += [document.id for document in part.documents]
        columns["part"] += [name] * len(part.documents)
        columns["source"] += part.source
        columns["label"] += [labels[k] for k in part.label]
        columns["target"] += part.target.tolist()
        columns["weight"] += part.weight.tolist()
    with whole(path) as temporary:
        pq.write_table(pa.table(columns), temporary)
