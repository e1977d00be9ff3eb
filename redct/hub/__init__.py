"""The hub: where a large language model, or somebody before us, labels the documents."""

from importlib import import_module
from typing import Any

from redct.hub.ensemble import Ensemble
from redct.hub.rows import LabelRow
from redct.hub.store import LabelStore, LabelTable, read_labels

_NEED_TORCH = {
    "ApiLabeler": "redct.hub.api",
    "ImportedLabels": "redct.hub.imported",
    "Labeler": "redct.hub.labeler",
    "LocalLabeler": "redct.hub.local",
}

__all__ = [
    "ApiLabeler",
    "Ensemble",
    "ImportedLabels",
    "LabelRow",
    "LabelStore",
    "LabelTable",
    "Labeler",
    "LocalLabeler",
    "read_labels",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute may be anything
    if name in _NEED_TORCH:
        return getattr(import_module(_NEED_TORCH[name]), name)
    raise AttributeError(f"module 'redct.hub' has no attribute {name!r}")
