#!/usr/bin/env python3
"""Fetches the data sets of the RED-CT studies, and says how to obtain what cannot be fetched.

    python scripts/download_data.py                           # into data/
    python scripts/download_data.py --mirror /srv/redct       # from a folder, or a file: or http: address

Every file is checked against its SHA-256 before it gets its name: what is there is complete and right.
"""

import argparse
import hashlib
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Commits of the RED-CT authors' repository: what stands under a commit never changes.
_AUTHORS = "https://raw.githubusercontent.com/davidthfarr/REDCT"
_FIRST = f"{_AUTHORS}/f80d1b2739983a34bff6f3c27ed70c6a56ea495a/data"
_SECOND = f"{_AUTHORS}/d4af5a27fef81330701ff0efd741f30046af9bdd/data"
_SEMEVAL = "https://www.saifmohammad.com/WebPages/StanceDataset.htm (the archive with all annotations)"


class DownloadError(Exception):
    """A file cannot be fetched, or is not what it must be; the message is one line."""


@dataclass(frozen=True)
class File:
    """A published file.

    Attributes:
        path: Where it lies under the target folder and under a mirror.
        sha256: Its checksum (hex).
        url: A public address that serves it; none where it must be obtained by hand.
        page: Where it is obtained by hand.
    """

    path: str
    sha256: str
    url: str | None = None
    page: str | None = None


FILES = (
    File(
        "SemEval2016/trainingdata-all-annotations.txt",
        "0d0d15631457b21be65a0bc6902f633a962ba8c1ad030ab9b634bcb4fad3ef16",
        page=_SEMEVAL,
    ),
    File(
        "SemEval2016/testdata-taskA-all-annotations.txt",
        "4c3dd19b0a4916afabd74061f96eacc6e4da9735e42ee6511959b10d82179121",
        page=_SEMEVAL,
    ),
    File(
        "IBC/train_ibc.csv",
        "d078a2c0f16cd667fc0c04b74679023db49c0580365ec5d897f860778fa448af",
        url=f"{_FIRST}/IBC/train_ibc.csv",
    ),
    File(
        "IBC/test_ibc.csv",
        "ebe02195b2b1d041cf15d59f9f1e170deac89758619a6ac52c4d51dc08c211a7",
        url=f"{_SECOND}/IBC/test_ibc.csv",
    ),
    File(
        "humour/test.csv",
        "f93d1d5580dc8ccf8a6b1b4d2c1610d9f2e0645af8be8cfca62e30ce804bef81",
        url=f"{_FIRST}/humour/test.csv",
    ),
    File(
        "misinfo/test.tsv",
        "da34fdb92d8ffd928eaef33987b9da6c8e08299d76e79318cfeea5787537f28b",
        url=f"{_SECOND}/misinfo/test.tsv",
    ),
)

NOT_PUBLIC = """\
Not to be had as the authors used them: the train files of humour and misinfo. The studies split the published
test files instead. The corpora that they come from:
  humour   https://github.com/orionw/RedditHumorDetection
  misinfo  https://github.com/skgabriel/mrf-modeling
  ibc      https://github.com/SALT-NLP/LLMs_for_CSS (css_data/ibc holds train and test in one file)"""


def main(argv: Sequence[str] | None = None, files: Sequence[File] = FILES) -> int:
    """Fetches the files and prints what was done.

    Args:
        argv: The command line; by default that of the process.
        files: What to fetch.

    Returns:
        0; or 2 when a file could not be fetched or is not what it must be.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--mirror", help="folder, or file: or http(s): address, that holds the files by their paths")
    parser.add_argument("--to", type=Path, default=Path("data"), help="target folder (default: %(default)s)")
    options = parser.parse_args(argv)
    by_hand: list[File] = []
    failed = False
    for file in files:
        try:
            done = provide(file, options.to / file.path, address(file, options.mirror))
        except DownloadError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
            continue
        if done:
            print(f"{options.to / file.path}: {done}")
        else:
            by_hand.append(file)
    if by_hand:
        print("To be obtained by hand (free of charge, but without an address that surely serves these bytes):")
        for file in by_hand:
            print(f"  {options.to / file.path}\n    from {file.page}\n    sha256 {file.sha256}")
    print(NOT_PUBLIC)
    return 2 if failed else 0


def address(file: File, mirror: str | None) -> str | None:
    """Returns where a file is fetched from; None where it must be obtained by hand."""
    if mirror is None:
        return file.url
    base = mirror if "://" in mirror or mirror.startswith("file:") else Path(mirror).resolve().as_uri()
    return f"{base.rstrip('/')}/{file.path}"


def provide(file: File, target: Path, source: str | None) -> str:
    """Brings a file to its place, unless it is there.

    Args:
        file: The file.
        target: Its place.
        source: Where to fetch it; None where it cannot be.

    Returns:
        What was done; empty when the file is still to be obtained by hand.

    Raises:
        DownloadError: When it cannot be fetched, or what was fetched or lies there has another checksum.
    """
    found = checksum(target) if target.is_file() else None
    if found == file.sha256:
        return "already there"
    if source is None and found is not None:
        # Put there by hand, so it is not this script's to delete.
        raise DownloadError(f"{target}: found sha256 {found}, expected {file.sha256}; obtain it from {file.page}")
    if source is None:
        return ""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as folder:
        part = Path(folder) / target.name
        _fetch(source, part)
        found = checksum(part)
        if found != file.sha256:
            raise DownloadError(f"{source}: found sha256 {found}, expected {file.sha256}; the file was deleted")
        part.replace(target)
    return f"fetched from {source}"


def checksum(path: Path) -> str:
    """Returns the SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(source: str, target: Path) -> None:
    if not source.startswith(("https://", "http://", "file:")):
        raise DownloadError(f"{source}: expected an address that begins with https:, http: or file:")
    try:
        with urllib.request.urlopen(source, timeout=60) as answer, target.open("wb") as file:
            while block := answer.read(1 << 20):
                file.write(block)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise DownloadError(f"{source}: cannot be fetched: {reason}") from None


if __name__ == "__main__":
    sys.exit(main())
