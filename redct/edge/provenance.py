"""Where a classifier comes from: its task, documents, labels, experts, training and scores."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from redct.documents import Corpus
from redct.files import sha256
from redct.hub.store import LabelStore
from redct.training.classifier import EdgeClassifier
from redct.training.datamodule import LabeledTextDataModule


def provenance(data: LabeledTextDataModule, model: EdgeClassifier, checkpoint: Path) -> dict[str, Any]:
    """Returns all that a reader of the bundle may want to know, as JSON values.

    Args:
        data: The study's documents, set up.
        model: The classifier.
        checkpoint: The file that it was read from.
    """
    digest = sha256(checkpoint)
    return {
        "study": data.corpus.folder.name,
        "created": datetime.now(UTC).date().isoformat(),
        "task": asdict(data.corpus.task) | {"sha256": data.corpus.task.hash()},
        "data": _data(data),
        "labelers": [_labeler(LabelStore(folder)) for folder in data.corpus.label_folders],
        "experts": _experts(data),
        "training": dict(model.hparams) | {"encoder": _public(model.encoder), "checkpoint_sha256": digest},
        "test": _test(data.corpus.folder / "metrics.json", digest),
    }


def _public(encoder: str) -> str:
    """A hub's id, or the name of a folder: a path says where somebody keeps files."""
    if encoder == "minilm":
        return "sentence-transformers/all-MiniLM-L6-v2"
    return Path(encoder).name if Path(encoder).exists() else encoder


def _data(data: LabeledTextDataModule) -> dict[str, Any]:
    train, validation = data.parts["train"].part, data.parts["validation"].part
    splits = data.corpus.splits()
    corpora = {
        "train": splits.train,
        "test": splits.test,
        "validation": splits.validation,
        "reserve": splits.reserve,
    }
    return {
        "files": [file for part, corpus in corpora.items() for file in _files(part, corpus)],
        "train": {source: train.source.count(source) for source in ("llm", "expert")},
        "validation": {"documents": len(validation.source), "source": validation.source[0]},
        "targets": data.corpus.targets,
    }


def _files(part: str, corpus: Corpus) -> Iterator[dict[str, Any]]:
    for file in corpus.files:
        path = Path(file.path)
        digest = sha256(path) if path.is_file() else None  # a hub's data set is none
        yield {"part": part, "name": path.name, "rows": file.rows, "sha256": digest}


def _labeler(store: LabelStore) -> dict[str, Any]:
    manifest = store.manifest()
    return {**manifest["fingerprint"], "counts": manifest.get("counts")}


def _experts(data: LabeledTextDataModule) -> dict[str, Any] | None:
    """Who answered, how the documents of each round were chosen (as recorded, whatever the study says now)."""
    answers = sum(encoded.part.source.count("expert") for encoded in data.parts.values())
    if data.corpus.experts is None or not answers:
        return None
    asked = Path(data.corpus.experts.answers).name  # of a file, nobody needs to know where it lay
    return {"asked": asked, "strategies": [*data.corpus.provenance.strategies], "answers": answers}


# What else stands there may be texts of documents, which are not to be handed on.
_SCORES: Final = ("checkpoint_sha256", "documents", "labels", "gold", "scores", "confusion")


def _test(path: Path, checkpoint: str) -> dict[str, Any] | None:
    """The scores in metrics.json, if they are this checkpoint's."""
    if not path.exists():
        return None
    metrics: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if metrics.get("checkpoint_sha256") != checkpoint:
        return None
    return {name: metrics[name] for name in _SCORES}
