"""What to compare a study's edge classifier with: the same one, taught by the LLM or by experts alone. Needs no torch.

Each learns from the documents that the study's own was trained on, in the same way; only its targets are others.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from redct.files import sha256, write_json
from redct.hub.store import LabelTable
from redct.training.parts import Part, fingerprint

NAIVE: Final = "naive"
EXPERTS_ONLY: Final = "experts_only"
TITLES: Final = {NAIVE: "naive edge classifier", EXPERTS_ONLY: "experts-only edge classifier"}
_LABEL: Final = {NAIVE: "a label of the LLM", EXPERTS_ONLY: "an expert's answer"}

Parts = Mapping[str, Part]


def naive_parts(study: Parts, llm: LabelTable) -> dict[str, Part]:
    """Returns the study's documents with the LLM's own labels as hard targets: no answer of an expert, no correction.

    Documents that the LLM could not label are left out. Validation documents with gold labels keep these.

    Args:
        study: What the study's own classifier was trained and validated on.
        llm: What the LLM said about the corpus.
    """
    return {name: _by_llm(study[name], llm) for name in ("train", "validation")}


def _by_llm(part: Part, llm: LabelTable) -> Part:
    if "gold" in part.source:
        return part
    label = llm.aligned([document.id for document in part.documents]).label.astype(np.int64)
    kept = np.flatnonzero(label >= 0)
    known = Part.known([part.documents[n] for n in kept], label[kept], part.target.shape[1], "llm")
    return replace(known, weight=part.weight[kept])


def experts_only_parts(study: Parts) -> dict[str, Part]:
    """Returns the training documents that experts answered, with the study's targets.

    They are validated on themselves where the study validates on the LLM's labels, as they are too few to set some
    aside.

    Args:
        study: What the study's own classifier was trained and validated on.
    """
    train, validation = study["train"], study["validation"]
    answered = train.rows([n for n, source in enumerate(train.source) if source == "expert"])
    return {"train": answered, "validation": answered if "llm" in validation.source else validation}


def nothing_new(name: str, own: Parts, study: Parts) -> str | None:
    """Returns why a baseline cannot be trained, or need not be; None where it can."""
    if not all(part.documents for part in own.values()):
        return f"no document of the training has {_LABEL[name]}"
    return "its targets are the study's own" if taught(own, None) == taught(study, None) else None


def taught(parts: Parts, settings: Any) -> str:  # noqa: ANN401 - any JSON value
    """Returns a fingerprint of what a classifier is trained and validated on, and of its settings."""
    return fingerprint(parts["train"], [settings, fingerprint(parts["validation"], [])])


@dataclass(frozen=True)
class Record:
    """What a file beside a baseline's checkpoint says about it.

    Attributes:
        study: SHA-256 of the study's checkpoint that the same `fit` made.
        taught: Fingerprint of its targets and settings.
        checkpoint: SHA-256 of its own checkpoint; None where there is nothing to train.
        why: Why there is not; None where there is.
    """

    study: str
    taught: str
    checkpoint: str | None
    why: str | None

    def write(self, checkpoint: Path) -> None:
        """Writes the file beside a checkpoint."""
        write_json(checkpoint.with_suffix(".json"), asdict(self))

    @classmethod
    def read(cls, checkpoint: Path) -> "Record | None":
        """Reads the file beside a checkpoint; None where there is none, or one of another version."""
        try:
            return cls(**json.loads(checkpoint.with_suffix(".json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def holds(self, checkpoint: Path) -> bool:
        """Returns whether the checkpoint is the one that this is about."""
        return checkpoint.is_file() and sha256(checkpoint) == self.checkpoint

    def left_out(self, checkpoint: Path, study: Path) -> str | None:
        """Returns why the baseline is not compared with a checkpoint of the study; None where it is."""
        again = "train it with `redct fit --baselines`"
        if sha256(study) != self.study:
            return f"it was not trained together with {study}; {again}"
        if self.why is None and not self.holds(checkpoint):
            return f"{checkpoint} is not what was trained; {again}"
        return self.why
