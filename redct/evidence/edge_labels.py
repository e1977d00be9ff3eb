"""What the edge classifier says about every document of the corpus, kept on disk: in sample, and out of fold."""

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
from redct.files import sha256, whole
from redct.training.answers import Answers
from redct.training.corpus import LabeledCorpus
from redct.training.parts import Part

IN_SAMPLE: Final = "edge_labels.parquet"
"""The checkpoint's, most of whose documents it was trained on: too sure, and too often right."""
OUT_OF_FOLD: Final = "out_of_fold.parquet"
"""Those of classifiers with the checkpoint's options, each taught by LLM and experts on other documents.

The LLM's distributions teach them as they came, since what corrects these rests on all answers."""
NOTHING: Final = "nothing"
_ABOUT: Final = b"redct"  # key of the file's metadata
_SCHEMA: Final = pa.schema(
    [("id", pa.string()), ("label", pa.string()), ("probs", pa.list_(pa.float32())), ("served", pa.string())]
)


@dataclass(frozen=True)
class EdgeLabels:
    """Label distributions of the N documents of the corpus.

    Args:
        labels: The task's K labels.
        ids: N ids.
        probs: (N, K).
        served: (N,) what each document was to the classifier that labels it: `train`, `validation`, `reserve` or
            `nothing`; None where that cannot be told.
        about: What the distributions depend on, JSON values: the encoder, and the hash of checkpoint or targets.
    """

    labels: list[str]
    ids: list[str]
    probs: npt.NDArray[np.float64]
    served: Sequence[str | None]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> list[str]:
        """The likeliest label of each document."""
        return [self.labels[k] for k in self.probs.argmax(axis=1).tolist()]

    def is_of(self, documents: Sequence[Document]) -> bool:
        """Tells whether these are the documents, in this order."""
        return self.ids == [document.id for document in documents]

    def write(self, path: Path) -> None:
        """Writes a Parquet file with a row for each document, see `read_edge_labels`."""
        columns = [self.ids, self.label, self.probs.tolist(), [*self.served]]
        table = pa.table(dict(zip(_SCHEMA.names, columns, strict=True)), schema=_SCHEMA)
        about = json.dumps({"labels": self.labels, **self.about})
        with whole(path) as temporary:
            pq.write_table(table.replace_schema_metadata({_ABOUT: about}), temporary)


def read_edge_labels(path: Path) -> EdgeLabels | None:
    """Reads what `EdgeLabels.write` wrote; None where there is no such file.

    Raises:
        InputError: When it is another kind of file.
    """
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[_ABOUT])
        columns = table.to_pydict()
        probs = np.array(columns["probs"], dtype=np.float64).reshape(-1, len(about["labels"]))
        return EdgeLabels(about.pop("labels"), columns["id"], probs, columns["served"], about)
    except (pa.ArrowInvalid, KeyError, TypeError) as error:
        raise InputError(f"{path}: no file of `redct test` or `redct estimate --labels edge` ({error})") from error


def out_of_fold_labels(corpus: LabeledCorpus) -> EdgeLabels | None:
    """Returns what `redct estimate --labels edge` or `redct sample` kept; None where that is of other targets.

    Args:
        corpus: A study, as it stands.

    Raises:
        InputError: When its labels or answers cannot be read.
    """
    found = read_edge_labels(corpus.folder / OUT_OF_FOLD)
    if found is None:
        return None
    documents = corpus.splits().train.documents
    answers = corpus.asking.standing(documents, corpus.own_labels()) or Answers()
    is_current = found.is_of(documents) and found.about["targets"] == hash_of(corpus.targets_so_far(answers))
    return found if is_current else None


def served_by(corpus: LabeledCorpus, trained_on: str | None) -> list[str | None]:
    """Returns (N,) what each document of the corpus was to a checkpoint, see `EdgeLabels`.

    Args:
        corpus: The study.
        trained_on: SHA-256 of the targets.parquet that the checkpoint was trained with, as the checkpoint has it.
    """
    documents, targets = corpus.splits().train.documents, corpus.folder / "targets.parquet"
    if not targets.is_file() or sha256(targets) != trained_on:
        return [None] * len(documents)
    parts = corpus.written_parts()
    place = {document.id: name for name, part in parts.items() for document in part.documents}
    return [place.get(document.id, NOTHING) for document in documents]


def hash_of(targets: Part) -> str:
    """Returns the SHA-256 (hex) of what classifiers learn: documents, targets and weights."""
    digest = hashlib.sha256()
    for array in (targets.target, targets.label, targets.weight):
        digest.update(array.tobytes())
    digest.update(json.dumps([[document.id, document.digest()] for document in targets.documents]).encode())
    return digest.hexdigest()


def counted(found: EdgeLabels) -> Mapping[str, Any]:
    """Returns how often each label was given, in all and by what the documents served, and what that depends on."""
    said = found.label
    return {
        "documents": len(said),
        "labels": {label: said.count(label) for label in found.labels},
        "served": {str(name): [*found.served].count(name) for name in dict.fromkeys(found.served)},
        "about": found.about,
    }
