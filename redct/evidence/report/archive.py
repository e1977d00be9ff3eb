"""The evidence of a study in one file, from which its report can be made again elsewhere."""

import io
import json
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from redct.errors import InputError
from redct.evidence.edge_labels import IN_SAMPLE, OUT_OF_FOLD
from redct.evidence.predictions import FILE
from redct.evidence.report.again import ANSWERS, DOCUMENTS, again, differing, study_of
from redct.evidence.report.inventory import inventory
from redct.experts.exchange import form_of, read, write
from redct.files import sha256, whole
from redct.hub.store import LabelStore
from redct.training.corpus import LabeledCorpus

MANIFEST: Final = "evidence.json"
SCHEMA: Final = 2
_LEDGER: Final = "experts.sqlite"
_DATE: Final = (1980, 1, 1, 0, 0, 0)  # of all files, so that equal evidence gives equal archives
_FILES: Final = ("targets.parquet", FILE, "edge/bundle.json", "calibration.json", "agreement.json", "estimates.json")


def pack(corpus: LabeledCorpus, content: Mapping[str, Any], path: Path, texts: bool = False) -> list[str]:
    """Writes an archive: configuration, labels and probabilities, experts' answers, scores, versions, and all hashes.

    Which numbers of the report follow from the files of the archive is tried here, and written down in it.

    Args:
        corpus: The study.
        content: Of its `report.json`.
        path: The archive, a ZIP file.
        texts: Whether the documents' texts are in it; else only their ids, parts, gold labels and digests.

    Returns:
        The places in `report.json` of numbers that should follow from these files and do not, as answers have come
        since they were computed.
    """
    told, study = dict(content) if texts else _without_texts(content), study_of(corpus)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="evidence-") as made:
        folder = Path(made)
        for inside, entry in _entries(corpus, told, texts):
            _put(entry, folder / inside)
        found = again(folder, study, told)
        stale = differing(found, told)
        follows = [name for name in found if name not in stale]
        (folder / "README.md").write_text(inventory(folder, told, follows, stale, texts), encoding="utf-8")
        names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        about = {"schema": SCHEMA, "redct": content["redct"], "texts": texts, "study": study, "follows": follows}
        manifest = {**about, "files": {name: sha256(folder / name) for name in names}}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")
        with whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as zipped:
            for name in (MANIFEST, *names):
                info = zipfile.ZipInfo(name, _DATE)
                info.compress_type = zipfile.ZIP_DEFLATED
                with zipped.open(info, "w", force_zip64=True) as target, (folder / name).open("rb") as source:
                    shutil.copyfileobj(source, target)
    return stale


def unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """Unpacks an archive and returns the numbers of its report.

    Those that follow from its files are computed again, and must be the same; the others are as they were.

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
    yield "report.json", json.dumps(content, indent=2, ensure_ascii=False).encode()
    yield DOCUMENTS, _documents(corpus, texts)
    for name, text in content["configs"].items():
        yield f"configs/{name}", text.encode()
    of_edge = {"in_sample": IN_SAMPLE, "out_of_fold": OUT_OF_FOLD}
    for name in (*_FILES, _LEDGER, *(file for how, file in of_edge.items() if content["edge"][how] is not None)):
        if (file := corpus.folder / name).is_file():
            yield name, file
    if corpus.experts is not None and corpus.experts.answers not in ("gold", "ledger"):
        yield ANSWERS, _answers(corpus, corpus.experts.answers)
    for n, store in enumerate(map(LabelStore, corpus.label_folders)):
        for file in [*sorted(store.folder.glob("*.json")), *sorted(store.folder.glob("part-*.parquet"))]:
            yield f"labels-{n}/{file.name}", file


def _put(entry: Path | bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(entry, bytes):
        path.write_bytes(entry)
    elif entry.name == _LEDGER:  # a page that is open may keep answers in a file beside it
        with closing(sqlite3.connect(entry)) as ledger, closing(sqlite3.connect(path)) as copy:
            ledger.backup(copy)
    else:
        shutil.copyfile(entry, path)


def _answers(corpus: LabeledCorpus, path: str) -> bytes:
    """The answers of a file, without what else stands in it."""
    ids = [document.id for document in corpus.splits().train.documents]
    given = read(path, form_of(path), corpus.task, ids, annotator="expert").answers
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / ANSWERS, "csv", [], given, corpus.task)
        return (Path(folder) / ANSWERS).read_bytes()


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
    """Returns the numbers of an unpacked archive, after a look at all hashes and at what follows from its files."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if manifest["schema"] != SCHEMA:
        raise InputError(f"{archive}: found schema {manifest['schema']}, expected {SCHEMA}, as this redct writes it")
    for name, digest in manifest["files"].items():
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            raise InputError(f"{archive}: {name} was altered since it was written (SHA-256 differs)")
    content: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    found = again(folder, manifest["study"], content)
    other = [name for name in manifest["follows"] if name not in found]
    if other := [*other, *(name for name in differing(found, content) if name in manifest["follows"])]:
        raise InputError(f"{archive}: {', '.join(other)} in report.json do not follow from the other files")
    return content
