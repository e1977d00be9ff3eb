"""The evidence of a study in one file, from which its report can be made again elsewhere."""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from redct.errors import InputError
from redct.evidence.predictions import FILE, read_predictions
from redct.files import sha256, whole
from redct.hub.store import LabelStore
from redct.training.corpus import LabeledCorpus

MANIFEST: Final = "evidence.json"
_DATE: Final = (1980, 1, 1, 0, 0, 0)  # of all files, so that equal evidence gives equal archives
_FILES: Final = ("targets.parquet", FILE, "experts.sqlite", "edge/bundle.json", "calibration.json", "agreement.json",
                 "estimates.json")  # fmt: skip


def pack(corpus: LabeledCorpus, content: Mapping[str, Any], path: Path, texts: bool = False) -> None:
    """Writes an archive: configuration, labels and probabilities, experts' answers, scores, versions, and all hashes.

    Args:
        corpus: The study.
        content: Of its `report.json`.
        path: The archive, a ZIP file.
        texts: Whether the documents' texts are in it; else only their ids, parts, gold labels and digests.
    """
    entries = dict(_entries(corpus, content, texts))
    hashes = {name: sha256(each) if isinstance(each, Path) else _hash(each) for name, each in entries.items()}
    manifest = json.dumps({"schema": 1, "redct": content["redct"], "texts": texts, "files": hashes}, indent=2).encode()
    with whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, each in {MANIFEST: manifest, **entries}.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            opened = each.open("rb") if isinstance(each, Path) else io.BytesIO(each)
            with zipped.open(info, "w", force_zip64=True) as target, opened as source:
                shutil.copyfileobj(source, target)


def unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """Unpacks an archive and returns the numbers of its report.

    Those that rest on the labels and probabilities of held-out documents are computed again, and must be the same; the
    others are as they were, beside the answers and labels that they rest on.

    Args:
        archive: Of `pack`.
        folder: Where to; must not be there yet.

    Raises:
        InputError: When it is no such archive, was altered, or a number comes out otherwise.
    """
    if folder.exists():
        raise InputError(f"{folder}: is there already, expected a new folder (--to)")
    try:
        with zipfile.ZipFile(archive) as zipped, whole(folder) as temporary:
            zipped.extractall(temporary)  # stays in the folder, whatever the names are
            content = _checked(archive, temporary)
    except (zipfile.BadZipFile, json.JSONDecodeError, OSError, KeyError) as error:
        raise InputError(f"{archive}: no archive of `redct report --bundle_evidence` ({error})") from error
    return content


def _entries(corpus: LabeledCorpus, content: Mapping[str, Any], texts: bool) -> Iterator[tuple[str, Path | bytes]]:
    report = dict(content) if texts else _without_texts(content)
    yield "report.json", json.dumps(report, indent=2, ensure_ascii=False).encode()
    yield "documents.parquet", _documents(corpus, texts)
    for name, text in content["configs"].items():
        yield f"configs/{name}", text.encode()
    for name in _FILES:
        if (file := corpus.folder / name).is_file():
            yield name, file
    for n, store in enumerate(map(LabelStore, corpus.label_folders)):
        for file in [*sorted(store.folder.glob("*.json")), *sorted(store.folder.glob("part-*.parquet"))]:
            yield f"labels-{n}/{file.name}", file


def _documents(corpus: LabeledCorpus, texts: bool) -> bytes:
    splits = corpus.splits()
    parts = {"train": splits.train, "test": splits.test, "validation": splits.validation, "reserve": splits.reserve}
    rows = [
        {"id": each.id, "part": part, "gold": each.gold, "digest": each.digest(), "text": each.text if texts else None}
        for part, documents in parts.items()
        for each in documents
    ]
    schema = pa.schema([(name, pa.string()) for name in ("id", "part", "gold", "digest", "text")])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink)
    return sink.getvalue()


def _without_texts(content: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers, without what `redct test` quotes of documents."""
    if content["metrics"] is None:
        return dict(content)
    mistakes = [{**each, "text": "", "context": {}} for each in content["metrics"]["mistakes"]]
    return {**content, "metrics": {**content["metrics"], "mistakes": mistakes}}


def _checked(archive: Path, folder: Path) -> dict[str, Any]:
    """Returns the numbers of an unpacked archive, after a look at all hashes and what follows from the predictions."""
    listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    for name, digest in listed.items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise InputError(f"{archive}: {name} was altered since it was written (SHA-256 differs)")
    content: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    if content["metrics"] is not None and (folder / FILE).is_file():
        again = read_predictions(folder / FILE).scores()
        if other := [name for name, value in again.items() if value != content["metrics"][name]]:
            raise InputError(f"{archive}: {', '.join(other)} in report.json do not follow from {FILE}")
        content["metrics"] |= again
    return content


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
