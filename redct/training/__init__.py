"""From labels and expert answers to a trained edge classifier."""

from importlib import import_module
from typing import Any

# Public name -> module. Loaded on first use: some bring torch.
_PUBLIC = {
    "Calibration": "redct.training.corrections",
    "EdgeClassifier": "redct.training.classifier",
    "LabeledTextDataModule": "redct.training.datamodule",
    "build_targets": "redct.training.relabeling",
}

__all__ = ["Calibration", "EdgeClassifier", "LabeledTextDataModule", "build_targets"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute may be anything
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'redct.training' has no attribute {name!r}")
