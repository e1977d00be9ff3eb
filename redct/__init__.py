"""redct: train an edge classifier on documents labeled by a large language model and corrected by experts."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> module. Loaded on first use, so that `import redct` needs no torch.
_PUBLIC = {
    "ApiLabeler": "redct.hub",
    "Document": "redct.documents",
    "EdgeClassifier": "redct.training",
    "ImportedLabels": "redct.hub",
    "InputError": "redct.errors",
    "LabelStore": "redct.hub",
    "LabeledTextDataModule": "redct.training",
    "Ledger": "redct.experts",
    "LocalLabeler": "redct.hub",
    "RedctError": "redct.errors",
    "Task": "redct.task",
    "evaluate": "redct.evidence",
    "load_task": "redct.task",
    "read_documents": "redct.documents",
}

__all__ = sorted(_PUBLIC)  # noqa: PLE0605 - one list of the names


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute may be anything
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'redct' has no attribute {name!r}")
