"""Parts of a study's documents: to train on, to validate or test on, or kept aside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from redct.documents import Document
from redct.files import whole

_SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),
        ("part", pa.string()),
        ("source", pa.string()),
        ("label", pa.string()),
        ("target", pa.list_(pa.float64())),
        ("weight", pa.float64()),
        ("annotators", pa.list_(pa.string())),
        ("decided", pa.string()),
    ]
)


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


def write_targets(
    path: Path,
    parts: Mapping[str, Part],
    labels: Sequence[str],
    answered_by: Mapping[str, tuple[list[str], str]],
    left_out: Mapping[str, str],
) -> None:
    """Writes which part each document belongs to, and where its target comes from.

    Args:
        path: A Parquet file with the columns id, part, source, label, target, weight, annotators and decided. Documents
            that experts saw and that serve nothing have the part `left out`, and as source the reason.
        parts: By name.
        labels: The K labels of the task.
        answered_by: Of a document, the experts who labeled it, and what decided: answer, votes or resolution.
        left_out: Of a document, why it serves nothing.
    """
    rows: list[dict[str, Any]] = []
    for name, part in parts.items():
        for n, document in enumerate(part.documents):
            is_experts = part.source[n] == "expert"
            annotators, decided = answered_by.get(document.id, ([], None)) if is_experts else ([], None)
            rows.append(
                {
                    "id": document.id,
                    "part": name,
                    "source": part.source[n],
                    "label": labels[part.label[n]],
                    "target": part.target[n].tolist(),
                    "weight": float(part.weight[n]),
                    "annotators": annotators,
                    "decided": decided,
                }
            )
    rows += [
        {"id": document, "part": "left out", "source": why, "annotators": []} for document, why in left_out.items()
    ]
    with whole(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), temporary)
