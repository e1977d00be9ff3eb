"""Writes the bundle: the folder that labels documents where there is neither torch nor network."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from redct import __version__
from redct.edge import runtime
from redct.files import sha256

RUNTIME: Final = "classify.py"
_UNKNOWN: Final = "0" * 64


def copy_runtime(folder: Path) -> None:
    """Copies the runtime into a bundle."""
    shutil.copyfile(runtime.__file__, folder / RUNTIME)


def seal(folder: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Writes `bundle.json`, with the hashes of all other files of the folder and of itself; written last.

    Args:
        folder: Holds everything else.
        content: What the runtime and the reader need to know: labels, columns, max_length, temperature, ...

    Returns:
        What stands in the file.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "bundle.json")
    hashes = {path.relative_to(folder).as_posix(): sha256(path) for path in files}
    whole = {"sha256": _UNKNOWN, "schema": runtime.SCHEMA, "redct": __version__, **content, "files": hashes}
    path = folder / "bundle.json"
    path.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    # The hash of the file with zeros in its place: the first of two passes writes them.
    path.write_bytes(path.read_bytes().replace(_UNKNOWN.encode(), sha256(path).encode(), 1))
    return {**whole, "sha256": json.loads(path.read_text(encoding="utf-8"))["sha256"]}
