"""Parts of a study's documents: to train on, to validate or test on, or kept aside."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from redct.documents import Document
from redct.errors import InputError
from redct.files import whole

LEFT_OUT: Final = "left out"
_ABOUT: Final = b"redct"  # key of the file's metadata
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


def fingerprint(part: Part, settings: Sequence[Any]) -> str:
    """Returns what tells training on a part, with settings as JSON values, from training on another, or otherwise."""
    digest = hashlib.sha256(json.dumps(settings).encode())
    for array in (part.target, part.label, part.weight):
        digest.update(array.tobytes())
    for document in part.documents:
        digest.update(json.dumps([document.id, document.text, document.context_text()]).encode())
    return digest.hexdigest()[:32]


@dataclass(frozen=True)
class Provenance:
    """Where the experts' part of the targets comes from.

    Attributes:
        answered_by: Of a document, the experts who labeled it, and what decided: answer, votes or resolution.
        left_out: Of a document that experts saw and that serves nothing, the reason.
        strategies: How the experts' documents were chosen, round by round.
        unrepresentative: Why they do not stand for the corpus; None where they do.
    """

    answered_by: Mapping[str, tuple[list[str], str]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    strategies: Sequence[str] = ()
    unrepresentative: str | None = None


def write_targets(path: Path, parts: Mapping[str, Part], labels: Sequence[str], provenance: Provenance) -> None:
    """Writes which part each document belongs to, and where its target comes from.

    Args:
        path: A Parquet file with the columns id, part, source, label, target, weight, annotators and decided. Documents
            that experts saw and that serve nothing have the part `left out`, and as source the reason.
        parts: By name.
        labels: The K labels of the task.
        provenance: Who answered, and how the documents were chosen.
    """
    rows: list[dict[str, Any]] = []
    for name, part in parts.items():
        for n, document in enumerate(part.documents):
            is_experts = part.source[n] == "expert"
            annotators, decided = provenance.answered_by.get(document.id, ([], None)) if is_experts else ([], None)
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
    for document_id, why in provenance.left_out.items():
        rows.append({"id": document_id, "part": LEFT_OUT, "source": why, "annotators": []})
    about = {"strategies": [*provenance.strategies], "unrepresentative": provenance.unrepresentative}
    schema = _SCHEMA.with_metadata({_ABOUT: json.dumps(about)})
    with whole(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), temporary)


def read_targets(
    path: Path, documents: Mapping[str, Document], labels: Sequence[str]
) -> tuple[dict[str, Part], Provenance]:
    """Reads what `write_targets` wrote, apart from who answered what.

    Args:
        path: The file.
        documents: Those of the study by id.
        labels: The K labels of the task.

    Raises:
        InputError: When there is no such file, or it is of other documents or labels.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; make it with `redct fit`")
    table = pq.read_table(path)
    index = {label: k for k, label in enumerate(labels)}
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        if row["part"] != LEFT_OUT:
            if row["id"] not in documents or row["label"] not in index:
                found = f"found document {row['id']!r} with label {row['label']!r}"
                raise InputError(f"{path}: {found}, which this study has not; run `redct fit` again")
            rows.setdefault(row["part"], []).append(row)
    parts = {
        name: Part(
            [documents[row["id"]] for row in of_part],
            np.array([row["target"] for row in of_part], dtype=np.float32),
            np.array([index[row["label"]] for row in of_part], dtype=np.int64),
            np.array([row["weight"] for row in of_part], dtype=np.float32),
            [row["source"] for row in of_part],
        )
        for name, of_part in rows.items()
    }
    about = json.loads((table.schema.metadata or {}).get(_ABOUT, b"{}"))
    return parts, Provenance(strategies=about.get("strategies", ()), unrepresentative=about.get("unrepresentative"))
