"""Files that are there whole or not at all."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redct.errors import RedctError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write a file or a folder to; it gets its name, on disk, when the block ends well.

    Args:
        path: The name. A file or folder of that name is replaced.

    Raises:
        RedctError: When it cannot be written, as on a full disk; what was half-written is deleted.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        yield temporary
        for file in [temporary, *temporary.rglob("*")] if temporary.is_dir() else [temporary]:
            _sync(file)
        if path.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError):
            raise RedctError(f"{path}: cannot be written: {error.strerror or error}") from error
        raise


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file, see `whole`."""
    with whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Returns the SHA-256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
