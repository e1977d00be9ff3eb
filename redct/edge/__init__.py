"""The edge: a classifier as a folder that needs neither torch nor a network."""

from importlib import import_module
from typing import Any

# Public name -> module. Loaded on first use: exporting brings torch, classifying must not.
_PUBLIC = {
    "Bundle": "redct.edge.runtime",
    "BundleError": "redct.edge.runtime",
    "Classified": "redct.edge.runtime",
    "ExportOptions": "redct.edge.export",
    "export_bundle": "redct.edge.export",
}

__all__ = ["Bundle", "BundleError", "Classified", "ExportOptions", "export_bundle"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute may be anything
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'redct.edge' has no attribute {name!r}")
