"""The label store: what the hub said about each document, in Parquet parts that are complete or absent."""

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from redct import __version__
from redct.digests import Digests
from redct.errors import InputError
from redct.files import sha256, whole, write_json
from redct.hub.rows import LabelRow
from redct.hub.times import Lap, labeling_time

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("digest", pa.string()),
        ("label", pa.string()),
        ("probs", pa.list_(pa.float32())),
        ("logprobs", pa.list_(pa.float32())),
        ("margin", pa.float32()),
        ("unlabeled_mass", pa.float32()),
        ("source", pa.string()),
        ("reply", pa.string()),
        ("rationale", pa.string()),
        ("error", pa.string()),
        ("prompt_tokens", pa.int32()),
        ("completion_tokens", pa.int32()),
    ]
)


@dataclass(frozen=True)
class LabelTable:
    """Stored labels as arrays, N rows and K labels.

    Attributes:
        labels: The K labels, in the order of the columns.
        ids: The N document ids.
        label: (N,) int64, position of the most probable label; -1 in error rows.
        probs: (N, K) float32, rows sum to 1; NaN in error rows.
        logprobs: (N, K) float32, not normalised; NaN in error rows.
        margin: (N,) float32, >= 0; NaN in error rows.
    """

    labels: list[str]
    ids: list[str]
    label: npt.NDArray[np.int64]
    probs: npt.NDArray[np.float32]
    logprobs: npt.NDArray[np.float32]
    margin: npt.NDArray[np.float32]

    def aligned(self, ids: Sequence[str]) -> "LabelTable":
        """Returns the rows of the given ids, in their order.

        Raises:
            InputError: When an id has no row.
        """
        row_of = {document_id: row for row, document_id in enumerate(self.ids)}
        missing = [document_id for document_id in ids if document_id not in row_of]
        if missing:
            raise InputError(
                f"label store: {len(missing)} of {len(ids)} documents have no label (the first: "
                f"{missing[0]!r}); label them with `redct predict`"
            )
        rows = np.array([row_of[document_id] for document_id in ids], dtype=np.int64)
        return LabelTable(
            self.labels, list(ids), self.label[rows], self.probs[rows], self.logprobs[rows], self.margin[rows]
        )


class LabelStore:
    """A folder of labels that grows part by part and survives being killed at any moment.

    A part is visible only when complete: it is written under a temporary name, synced and renamed, and then
    gets a sidecar with its rows, SHA-256 and fingerprint.

    Args:
        folder: The store's folder, `runs/<study>/labels`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.manifest_path = self.folder / "manifest.json"
        self._next_part: dict[int, int] = {}  # by rank
        self._lock: FileLock | None = None

    def manifest(self) -> dict[str, Any]:
        """Returns the manifest.

        Raises:
            InputError: When there is none, or it cannot be read.
        """
        try:
            manifest: dict[str, Any] = json.loads(self.manifest_path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{self.folder}: no label store there; make one with `redct predict`") from None
        except ValueError as error:
            raise InputError(f"{self.manifest_path}: not valid JSON ({error})") from None
        return manifest

    def check(self, fingerprint: dict[str, Any]) -> None:
        """Refuses a store that was made in another way; an absent store is fine.

        Raises:
            InputError: Naming what differs, with both values.
        """
        if not self.manifest_path.exists() or self._is_empty():
            return
        stored = self.manifest()["fingerprint"]
        for key in sorted({*stored, *fingerprint}):
            if stored.get(key) != fingerprint.get(key):
                raise InputError(
                    f"{self.folder}: labels there were made with {key} {_short(stored.get(key))}, this run has "
                    f"{_short(fingerprint.get(key))}; use another --trainer.default_root_dir or remove the folder"
                )

    def lock(self) -> None:
        """Keeps other runs from writing to the store until `unlock`, or the end of the process. For one process a run.

        Raises:
            InputError: When another run has locked it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self.folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{self.folder}: another run is labeling into it; expected one run at a time") from None

    def unlock(self) -> None:
        """Lets other runs write to the store."""
        if self._lock is not None:
            self._lock.release()

    def begin(self, fingerprint: dict[str, Any], labels: Sequence[str]) -> None:
        """Writes the manifest of a new store; checks that of an old one. To be called by one process."""
        self.check(fingerprint)
        new = {"redct": __version__, "labels": list(labels), "fingerprint": fingerprint}
        manifest = self.manifest() if self.manifest_path.exists() and not self._is_empty() else new
        if manifest.get("complete", True):
            write_json(self.manifest_path, manifest | {"complete": False})

    def _is_empty(self) -> bool:
        """Tells whether nothing was labeled or paid for: then another way of labeling is no contradiction."""
        if next(self.folder.glob("part-*.json"), None) is not None:
            return False
        for path in self.folder.glob("journal-*.sqlite"):
            with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=60)) as journal:
                tables = journal.execute("SELECT 1 FROM sqlite_master WHERE name = 'replies'").fetchone()
                if tables and journal.execute("SELECT 1 FROM replies WHERE document != '' LIMIT 1").fetchone():
                    return False
        return True

    def rows(self) -> int:
        """Returns how many documents have a row, as the sidecars say."""
        return sum(sidecar["rows"] for _, sidecar in self._parts())

    def ids(self) -> Digests:
        """Returns the ids of all documents that have a row, as digests."""
        found = Digests()
        for path, _ in self._parts():
            for document_id in _read_columns(path, ["id"]).column("id").to_pylist():
                found.add(document_id)
        return found

    def unsure(self, labels: Sequence[str], below: float) -> Digests:
        """Returns the ids, as digests, that a better labeler should look at: those with a small margin or no label.

        Args:
            labels: The task's labels.
            below: Margins below it are small, in nats, above 0.

        Raises:
            InputError: When there is no store, it holds other labels, or `below` is not above 0.
        """
        if not below > 0:
            raise InputError(f"only_below: found {below}, expected a margin above 0")
        self.check_labels(labels)
        found = Digests()
        for path, _ in self._parts():
            table = _read_columns(path, ["id", "margin"])
            margin = table.column("margin").to_numpy()  # nan in error rows, which is not sure either
            for document_id in table.column("id").filter(pa.array(~(margin >= below))).to_pylist():
                found.add(document_id)
        return found

    def errors(self) -> dict[str, tuple[int, str]]:
        """Counts the error rows of each kind, the part of a message before a colon, and gives one of the messages."""
        found: dict[str, tuple[int, str]] = {}
        for path, _ in self._parts():
            for message, count in _counts(_read_columns(path, ["error"]).column("error")).items():
                kind = message.partition(":")[0]
                so_far, example = found.get(kind, (0, message))
                found[kind] = so_far + count, example
        return found

    def write_part(self, rows: Sequence[LabelRow], rank: int = 0, time: Lap | None = None) -> Path:
        """Adds rows as one part and returns its path; the rows are on disk when it returns.

        Args:
            rows: The rows; no id may be in the store already.
            rank: The writing process; processes of different ranks may write at the same time.
            time: What it took to label them, see `Clock.lap`.
        """
        columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
        return self._write(pa.table(columns, schema=SCHEMA), rank, **({"time": time} if time else {}))

    def drop_errors(self) -> Iterator[list[str]]:
        """Takes the error rows out, part by part, and yields the ids of their documents, which may be labeled again.

        A part with errors is replaced by one without; whichever of the two is whole after a kill counts alone.
        """
        for path, sidecar in self._parts():
            table = self._read_part(path, sidecar)
            failed = table.column("error").is_valid()
            if sidecar["rows"] and (ids := table.column("id").filter(failed).to_pylist()):
                yield ids
                time = {"time": sidecar["time"]} if "time" in sidecar else {}
                self._write(table.filter(pc.invert(failed)), replaces=path.name, **time)
                path.with_suffix(".json").unlink()
                path.unlink()

    def _write(self, table: pa.Table, rank: int = 0, **more: str | Lap) -> Path:
        path = self._new_part(rank)
        with whole(path) as temporary:
            pq.write_table(table, temporary)
            digest = sha256(temporary)
        fingerprint = _hash(self.manifest()["fingerprint"])
        write_json(
            path.with_suffix(".json"), {"rows": len(table), "sha256": digest, "fingerprint": fingerprint, **more}
        )
        return path

    def _new_part(self, rank: int) -> Path:
        """Returns a free path; the folder is listed once, for there may be thousands of parts."""
        if rank not in self._next_part:
            taken = [int(p.name.split("-")[2].split(".")[0]) for p in self.folder.glob(f"part-{rank:05d}-*")]
            self._next_part[rank] = max(taken, default=-1) + 1
        while True:
            path = self.folder / f"part-{rank:05d}-{self._next_part[rank]:06d}.parquet"
            self._next_part[rank] += 1
            if not path.exists():
                return path

    def finish(self, **facts: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
        """Writes counts and parts into the manifest and returns it. To be called by one process."""
        manifest = self.manifest()
        labels: Counter[str] = Counter()
        parts = {}
        rows, errors, complete = 0, 0, list(self._parts())
        for path, sidecar in complete:
            table = _read_columns(path, ["label", "error"])
            rows += len(table)
            labels.update(_counts(table.column("label")))
            errors += len(table) - table.column("error").null_count
            parts[path.name] = {"rows": sidecar["rows"], "sha256": sidecar["sha256"]}
        counts = {"documents": rows, "errors": errors, "labels": {name: labels[name] for name in manifest["labels"]}}
        time = labeling_time(sidecar for _, sidecar in complete)
        manifest |= {"complete": True, "counts": counts, "parts": parts, "time": time, **facts}
        write_json(self.manifest_path, manifest)
        return manifest

    def read(self, labels: Sequence[str]) -> LabelTable:
        """Reads every row.

        Args:
            labels: The task's labels.

        Raises:
            InputError: When there is no store, a label of the task is missing in it, or a part was altered.
        """
        return _joined(list(labels), list(self.read_parts(labels)))

    def read_parts(self, labels: Sequence[str]) -> Iterator[LabelTable]:
        """Reads one part after the other, see `read`."""
        self.check_labels(labels)
        for path, sidecar in self._parts():
            yield _to_arrays(self._read_part(path, sidecar), list(labels))

    def check_labels(self, labels: Sequence[str]) -> None:
        """Refuses a store of other labels, or in another order.

        Raises:
            InputError: When there is no store, or a label of the task is missing in it.
        """
        stored = self.manifest()["labels"]
        if stored != list(labels):
            missing = [label for label in labels if label not in stored]
            what = f"label {missing[0]!r} of the task is missing" if missing else f"labels are {stored}"
            raise InputError(f"{self.folder}: {what}; the task has {list(labels)}, the store {stored}")

    def _read_part(self, path: Path, sidecar: dict[str, Any]) -> pa.Table:
        if sha256(path) != sidecar["sha256"]:
            raise InputError(f"{path}: altered since it was written (SHA-256 differs from {path.stem}.json)")
        return _read_columns(path, SCHEMA.names)

    def _parts(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yields complete parts, each with its sidecar; a part without sidecar was never finished, or is replaced."""
        sidecars = {path: json.loads(path.read_text(encoding="utf-8")) for path in self.folder.glob("part-*.json")}
        replaced = {sidecar.get("replaces") for sidecar in sidecars.values()}
        for path in sorted(path.with_suffix(".parquet") for path in sidecars):
            if path.name in replaced:
                continue
            if not path.exists():
                raise InputError(f"{path}: missing, though {path.stem}.json says that it was written")
            yield path, sidecars[path.with_suffix(".json")]


def read_labels(folder: str | Path, labels: Sequence[str]) -> LabelTable:
    """Reads a label store, see `LabelStore.read`."""
    return LabelStore(folder).read(labels)


def _to_arrays(table: pa.Table, labels: list[str]) -> LabelTable:
    index = {label: k for k, label in enumerate(labels)}
    rows, width = len(table), len(labels)
    nothing = [float("nan")] * width

    def matrix(name: str) -> npt.NDArray[np.float32]:
        values = [row if row is not None else nothing for row in table.column(name).to_pylist()]
        return np.array(values, dtype=np.float32).reshape(rows, width)

    margins = table.column("margin").to_numpy(zero_copy_only=False).astype(np.float32)
    label = [index[value] if value is not None else -1 for value in table.column("label").to_pylist()]
    ids = table.column("id").to_pylist()
    return LabelTable(labels, ids, np.array(label, dtype=np.int64), matrix("probs"), matrix("logprobs"), margins)


def _joined(labels: list[str], tables: list[LabelTable]) -> LabelTable:
    tables = tables or [_to_arrays(SCHEMA.empty_table(), labels)]
    arrays = [
        np.concatenate([getattr(table, name) for table in tables]) for name in ("label", "probs", "logprobs", "margin")
    ]
    return LabelTable(labels, [document_id for table in tables for document_id in table.ids], *arrays)


def _read_columns(path: Path, names: list[str]) -> pa.Table:
    table = pq.read_table(path, columns=names, use_threads=False)  # a part is small, and threads keep memory
    # Parts of earlier versions lack columns that came later.
    for name in set(names) - set(table.column_names):
        table = table.append_column(SCHEMA.field(name), pa.nulls(len(table), SCHEMA.field(name).type))
    return table.select(names)


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {str(pair["values"]): pair["counts"] for pair in column.drop_null().value_counts().to_pylist()}


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _short(value: object) -> str:
    text = str(value)
    return text[:12] + "..." if len(text) == 64 else repr(value)
