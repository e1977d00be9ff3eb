"""Labels documents with an exported bundle; a bundle holds a copy of this file as `classify.py`.

It needs numpy, onnxruntime and tokenizers (and pyarrow for Parquet files), but no torch, no network and no redct.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

SCHEMA = 1
FILES = ("model.onnx", "tokenizer.json")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class BundleError(Exception):
    """A bundle, a file or an option is not as it must be; the message is one line for the user."""


@dataclass(frozen=True)
class Classified:
    """What was found out about N documents, in the order in which they were given.

    Attributes:
        labels: The likeliest label of each, also where the classifier abstains; None where there is an error.
        probs: (N, K) probabilities in the order of the bundle's labels; nan where there is an error.
        abstained: (N,) whether the probability is below the label's threshold: somebody else should decide.
        errors: Why a document has no label, one of a few constant texts; None where it has one.
        lengths: (N,) tokens, special ones included, after cutting.
        unknown: (N,) how many of them stand for something that the tokenizer does not know.
    """

    labels: list[str | None]
    probs: npt.NDArray[np.float32]
    abstained: npt.NDArray[np.bool_]
    errors: list[str | None]
    lengths: npt.NDArray[np.int64]
    unknown: npt.NDArray[np.int64]


# ---- The bundle ------------------------------------------------------------------------------------------------------


class Bundle:
    """A classifier, loaded from its folder after every file was checked. Threads may share it.

    Every document is a call of its own, without padding: int8 activations are quantised call by call, and an answer
    must not depend on what else was asked.

    Attributes:
        folder: The folder.
        info: What `bundle.json` holds.
        labels: The K labels, in the order of every probability vector.
        columns: Which columns of a table hold what: `text`, `id` and `gold` (a name or None), `context` (field -> name).
        context_fields: Fields that a document must have beside its text, such as the target of a stance.
        max_length: Tokens after which a document is cut.
        temperature: What the logits are divided by.
        threads: How many documents are worked on at a time.

    Args:
        folder: The folder.
        threads: By default, one per usable core.

    Raises:
        BundleError: When a file is absent, altered, or not as it must be.
    """

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise BundleError(f"threads: found {threads}, expected 1 or more")
        self.folder, self.threads = Path(folder), threads or _cores()
        self.info, contents = read_bundle(self.folder, keep=FILES)
        self.labels: list[str] = self.info["labels"]
        self.columns: dict[str, Any] = self.info["columns"]
        self.context_fields = list(self.columns["context"])
        self.max_length: int = self.info["max_length"]
        self.temperature: float = self.info["temperature"]
        self._thresholds: list[float | None] | None = (self.info["abstention"] or {}).get("thresholds")
        self._tokenizer, self._unknown = _tokenizer(contents["tokenizer.json"], self.max_length)
        self._session = _session(contents["model.onnx"], 1)
        self._quick: Any = self._session if self.threads == 1 else None  # all cores for one document, made at need
        self._making = Lock()
        self._inputs = [each.name for each in self._session.get_inputs()]
        if not set(self._inputs) <= set(INPUTS):
            raise BundleError(f"{self.folder / FILES[0]}: found inputs {self._inputs}, expected some of {INPUTS}")

    def classify(self, texts: Sequence[str], contexts: Sequence[Mapping[str, str]] | None = None) -> Classified:
        """Labels N documents.

        Args:
            texts: Their texts.
            contexts: The context fields of each, where the task has such.
        """
        size = len(texts)
        result = Classified(
            labels=[None] * size,
            probs=np.full((size, len(self.labels)), np.nan, dtype=np.float32),
            abstained=np.zeros(size, dtype=bool),
            errors=[self._refusal(text, contexts[row] if contexts else {}) for row, text in enumerate(texts)],
            lengths=np.zeros(size, dtype=np.int64),
            unknown=np.zeros(size, dtype=np.int64),
        )
        # The longest first, so that no thread is left alone with one at the end.
        rows = deque(sorted((r for r, e in enumerate(result.errors) if e is None), key=lambda r: -len(texts[r])))

        session = self._session if size > 1 else self._single()

        def work() -> None:
            while rows:
                try:
                    row = rows.popleft()
                except IndexError:  # another thread took the last one
                    return
                self._answer(session, texts[row], contexts[row] if contexts else {}, row, result)

        workers = min(self.threads, len(rows))
        if workers < 2:
            work()
            return result
        with ThreadPoolExecutor(workers) as pool:
            try:
                for done in [pool.submit(work) for _ in range(workers)]:
                    done.result()
            finally:
                rows.clear()
        return result

    def _refusal(self, text: object, context: Mapping[str, object]) -> str | None:
        """Returns why a document cannot be read, or None."""
        for field in self.context_fields:
            if field not in context:
                return f"no context field {field!r}"
        parts = [text, *(context[field] for field in self.context_fields)]
        if not all(isinstance(part, str) for part in parts):
            return "not a text"
        if any(_HALF_PAIR.search(str(part)) for part in parts):
            return "not UTF-8"
        return None if str(text).strip() else "empty text"

    def _single(self) -> Any:  # noqa: ANN401 - onnxruntime has no types
        with self._making:
            if self._quick is None:
                contents = read_bundle(self.folder, keep=FILES[:1])[1]
                self._quick = _session(contents[FILES[0]], self.threads)
            return self._quick

    def _answer(self, session: Any, text: str, context: Mapping[str, str], row: int, result: Classified) -> None:  # noqa: ANN401
        """Fills one row of the result."""
        pair = "\n".join(f"{field}: {context[field]}" for field in self.context_fields)
        # Unlike `encode`, this one lets other threads run meanwhile.
        encoding = self._tokenizer.encode_batch_fast([(text, pair) if self.context_fields else text])[0]
        ids = np.array([encoding.ids], dtype=np.int64)
        if not ids.size:
            result.errors[row] = "empty text"
            return
        types = np.array([encoding.type_ids], dtype=np.int64)
        given = dict(zip(INPUTS, (ids, np.ones_like(ids), types), strict=True))
        logits = session.run(["logits"], {name: given[name] for name in self._inputs})[0][0]
        if not np.isfinite(logits).all():
            result.errors[row] = "no finite logits"
            return
        weights = np.exp((logits - logits.max()).astype(np.float64) / self.temperature)
        result.probs[row] = weights / weights.sum()
        best = int(result.probs[row].argmax())
        result.labels[row] = self.labels[best]
        if self._thresholds is not None:
            least = self._thresholds[best]
            result.abstained[row] = least is None or float(result.probs[row, best]) < least
        result.lengths[row], result.unknown[row] = ids.size, np.count_nonzero(ids == self._unknown)


_HALF_PAIR = re.compile("[\ud800-\udfff]")  # also what stands for a byte that is not UTF-8


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _tokenizer(content: bytes, max_length: int) -> tuple[Any, int | None]:
    """Returns the tokenizer, and the id of the token that stands for what it does not know."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - drift needs none

    try:
        tokenizer = Tokenizer.from_str(content.decode())
        tokenizer.enable_truncation(max_length, strategy="longest_first", direction="right")
    except Exception as error:  # the library raises nothing more special
        raise BundleError(f"{FILES[1]}: cannot be loaded: {_first_line(error)}") from None
    tokenizer.no_padding()
    unknown = getattr(tokenizer.model, "unk_token", None) or "<unk>"  # Unigram models do not tell
    return tokenizer, tokenizer.token_to_id(unknown)


def _session(model: bytes, threads: int) -> Any:  # noqa: ANN401 - onnxruntime has no types
    import onnxruntime  # noqa: PLC0415 - drift needs none

    if _names_other_files(memoryview(model)):
        raise BundleError(f"{FILES[0]}: names data outside of it, expected a model in one file")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # done at export
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    # Documents differ in length: an arena keeps the longest's memory, and patterns grow with every new length.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting must not burn a small CPU
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of many classes of its own
        raise BundleError(f"{FILES[0]}: cannot be loaded: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


# ---- Verification ----------------------------------------------------------------------------------------------------

_SELF = re.compile(rb'\{\s*"sha256":\s*"([0-9a-f]{64})"')


def read_bundle(folder: Path, keep: Sequence[str] = ()) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Checks every file of a bundle against the SHA-256 that `bundle.json` names.

    Args:
        folder: The bundle.
        keep: Files whose very bytes that were checked are returned.

    Returns:
        What `bundle.json` holds, and the contents of the files to keep.

    Raises:
        BundleError: When a file is absent, altered, or lies outside of the folder, or the schema is another.
    """
    path = folder / "bundle.json"
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder, expected a bundle")
    content = _regular(folder, "bundle.json").read_bytes()
    stated = _SELF.match(content)
    if not stated:
        raise BundleError(f"{path}: does not begin with its own sha256")
    found = hashlib.sha256(content[: stated.start(1)] + b"0" * 64 + content[stated.end(1) :]).hexdigest()
    _compare(path, found, stated[1].decode())
    try:
        info = json.loads(content)
        _check_schema(path, info)
        files = {str(name): str(digest) for name, digest in info["files"].items()}
        _check_shape(info)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{path}: not as schema {SCHEMA} wants it: {_first_line(error)}") from None
    for name in keep:
        if name not in files:
            raise BundleError(f"{path}: lists no {name}")
    return info | {"sha256": found}, _contents(folder, files, keep)


def _check_schema(path: Path, info: dict[str, Any]) -> None:
    if info["schema"] != SCHEMA:
        raise BundleError(f"{path}: schema {info['schema']!r}, but this runtime knows {SCHEMA}; use the bundle's own")


def _check_shape(info: dict[str, Any]) -> None:
    labels, columns, abstention = info["labels"], info["columns"], info["abstention"]
    _need(len(set(labels)) == len(labels) > 1 and all(isinstance(label, str) for label in labels), "labels")
    _need(isinstance(columns["text"], str) and isinstance(columns["context"], dict), "columns")
    _need(type(info["max_length"]) is int and info["max_length"] > 0, "max_length")
    _need(0 < info["temperature"] < float("inf"), "temperature")
    _need(abstention is None or len(abstention["thresholds"]) == len(labels), "abstention")


def _need(condition: bool, key: str) -> None:
    if not condition:
        raise ValueError(f"unexpected {key}")


def _contents(folder: Path, files: Mapping[str, str], keep: Sequence[str]) -> dict[str, bytes]:
    contents = {}
    for name, stated in files.items():
        path = _regular(folder, name)
        try:
            with path.open("rb") as file:
                if name in keep:
                    contents[name] = file.read()
                    found = hashlib.sha256(contents[name]).hexdigest()
                else:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise BundleError(f"{path}: cannot be read: {error.strerror}") from None
        _compare(path, found, stated)
    return contents


def _compare(path: Path, found: str, stated: str) -> None:
    if found != stated:
        raise BundleError(f"{path}: altered: SHA-256 is {found}, expected {stated}")


def _regular(folder: Path, name: str) -> Path:
    """Returns the path of a file that lies in the folder and nowhere else."""
    parts = name.split("/")
    if not {"", ".", ".."}.isdisjoint(parts) or any(c in name for c in "\\:\0"):
        raise BundleError(f"{folder / 'bundle.json'}: lists {name!r}, expected a path inside the bundle")
    for depth in range(1, len(parts) + 1):
        path = folder.joinpath(*parts[:depth])
        if path.is_symlink():
            raise BundleError(f"{path}: is a link, expected a file of the bundle itself")
    if not path.is_file():
        raise BundleError(f"{path}: no such file, expected one of the bundle")
    return path


# What of a model may hold tensors, as field numbers of onnx.proto; a tensor's field 13 names a file outside.
_HOLDS = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "outside"},
}


def _names_other_files(message: memoryview, kind: str = "model") -> bool:
    """Tells whether a serialised ONNX model has external data; onnxruntime reads such from the working directory."""
    if kind == "outside":
        return True
    holds = _HOLDS[kind]
    return any(_names_other_files(part, holds[field]) for field, part in _fields(message) if field in holds)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yields the fields of a protobuf message that have a length: number and content."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            _, at = _varint(message, at)
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        elif wire == 2:
            size, at = _varint(message, at)
            yield key >> 3, message[at : at + size]
            at += size
        else:
            raise BundleError(f"{FILES[0]}: not an ONNX model")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in message[at : at + 10]:
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at
    raise BundleError(f"{FILES[0]}: not an ONNX model")
