"""Labels documents with an exported bundle; a bundle holds a copy of this file as `classify.py`.

It needs numpy, onnxruntime and tokenizers (and pyarrow for Parquet files), but no torch, no network and no redct.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple, NoReturn, cast

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

SCHEMA = 1
FILES = ("model.onnx", "tokenizer.json")
LONG = 50_000  # characters
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
        columns: Which columns of a table hold what: `text`, `id`, `gold` (a name or None), `context` (field -> name).
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
        self._session = _session(contents["model.onnx"])
        self._inputs = [each.name for each in self._session.get_inputs()]
        if not set(self._inputs) <= set(INPUTS):
            raise BundleError(f"{self.folder / FILES[0]}: found inputs {self._inputs}, expected some of {INPUTS}")
        answers = {each.name: each.shape for each in self._session.get_outputs()}.get("logits", [0])[-1]
        if isinstance(answers, int) and answers != len(self.labels):
            raise BundleError(f"{self.folder / FILES[0]}: found {answers} logits, expected {len(self.labels)}")

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

        def work() -> None:
            while rows:
                try:
                    row = rows.popleft()
                except IndexError:  # another thread took the last one
                    return
                self._answer(texts[row], contexts[row] if contexts else {}, row, result)

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

    def _encode(self, text: str | tuple[str, str]) -> Any:  # noqa: ANN401 - tokenizers' Encoding
        return self._tokenizer.encode_batch_fast([text])[0]  # unlike `encode`, it lets other threads run meanwhile

    def _beginning(self, text: str) -> str:
        """Returns the words of a very long text that can matter: its tokens would take a hundred times its memory."""
        if len(text) <= 2 * LONG:
            return text
        words = text[:LONG].rsplit(" ", 1)[0]
        return words if len(self._encode(words).overflowing) > 1 else text

    def _answer(self, text: str, context: Mapping[str, str], row: int, result: Classified) -> None:
        """Fills one row of the result."""
        pair = "\n".join(f"{field}: {context[field]}" for field in self.context_fields)
        text = self._beginning(text)
        encoding = self._encode((text, pair) if self.context_fields else text)
        ids = np.array([encoding.ids], dtype=np.int64)
        if not ids.size:
            result.errors[row] = "empty text"
            return
        types = np.array([encoding.type_ids], dtype=np.int64)
        given = dict(zip(INPUTS, (ids, np.ones_like(ids), types), strict=True))
        logits = self._session.run(["logits"], {name: given[name] for name in self._inputs})[0][0]
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


def _session(model: bytes) -> Any:  # noqa: ANN401 - onnxruntime has no types
    import onnxruntime  # noqa: PLC0415 - drift needs none

    if b"location" in model and _OUTSIDE.search(model):
        raise BundleError(f"{FILES[0]}: names data outside of it, expected a model in one file")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # done at export
    # A document's products are too small for two threads to be faster than one, and slower where a core is busy.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Documents differ in length: an arena keeps the longest's memory, and patterns grow with every new length.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of many classes of its own
        raise BundleError(f"{FILES[0]}: cannot be loaded: {_first_line(error)}") from None


# In every way in which protobuf can encode it, the key that a tensor must have to lie in another file; onnxruntime
# would read that file from the working directory.
_OUTSIDE = re.compile(rb"(?:\n|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")


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
    with _reading(str(path)):
        content = _regular(folder, "bundle.json").read_bytes()
    stated = _SELF.match(content)
    if not stated:
        raise BundleError(f"{path}: does not begin with its own sha256")
    found = hashlib.sha256(content[: stated.start(1)] + b"0" * 64 + content[stated.end(1) :]).hexdigest()
    _compare(path, found, stated[1].decode())
    try:
        info = json.loads(content)
        if (schema := info["schema"]) != SCHEMA:
            raise BundleError(f"{path}: schema {schema!r}, but this runtime knows {SCHEMA}; use the bundle's own")
        files = {str(name): str(digest) for name, digest in info["files"].items()}
        _check_shape(info)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(f"{path}: not as schema {SCHEMA} wants it: {_first_line(error)}") from None
    for name in keep:
        if name not in files:
            raise BundleError(f"{path}: lists no {name}")
    return info | {"sha256": found}, _contents(folder, files, keep)


def _check_shape(info: dict[str, Any]) -> None:
    labels, columns, abstention = info["labels"], info["columns"], info["abstention"]
    fine = {
        "labels": len(set(labels)) == len(labels) > 1 and all(isinstance(label, str) for label in labels),
        "columns": isinstance(columns["text"], str) and isinstance(columns["context"], dict),
        "max_length": type(info["max_length"]) is int and info["max_length"] > 0,
        "temperature": 0 < info["temperature"] < float("inf"),
        "abstention": abstention is None or len(abstention["thresholds"]) == len(labels),
    }
    for key, holds in fine.items():
        if not holds:
            raise ValueError(f"unexpected {key}")


def _contents(folder: Path, files: Mapping[str, str], keep: Sequence[str]) -> dict[str, bytes]:
    contents = {}
    for name, stated in files.items():
        path = _regular(folder, name)
        with _reading(str(path)), path.open("rb") as file:
            if name in keep:
                contents[name] = file.read()
                found = hashlib.sha256(contents[name]).hexdigest()
            else:
                found = hashlib.file_digest(file, "sha256").hexdigest()
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


# ---- Drift -----------------------------------------------------------------------------------------------------------

# Upper ends of the bins; a last bin holds what is longer, or more.
LENGTHS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024)  # tokens of a document
UNKNOWN = (0.0, 0.05, 0.2)  # share of unknown tokens in a document
CONFIDENCE_BINS = 20  # of equal width, from 0 to 1
FEATURES = ("labels", "confidence", "length", "unknown")
REAUDIT = 0.2  # the population stability index from which practice calls a population another one
CHI2_NORMAL = 2.3263478740  # the normal distribution's 99th percentile

Summary = dict[str, Any]


def summarise(classified: Classified, weights: npt.ArrayLike | None = None) -> Summary:
    """Counts what can be watched without keeping a text.

    Args:
        classified: N documents.
        weights: (N,) what each stands for, such as 1/inclusion probability. They are scaled so that the counts add up
            to the effective number of documents, (sum w)^2 / sum w^2 (Kish 1965): the weighted sample says as much
            as that many documents drawn at random.

    Returns:
        `documents` with an answer, `errors`, `deferred`, `tokens`, `unknown_tokens`; `labels` (label -> documents), and
        the histograms `confidence` (of the largest probability), `length` (tokens) and `unknown` (share of tokens).
    """
    answered = np.array([error is None for error in classified.errors], dtype=bool)
    lengths, unknown = classified.lengths[answered], classified.unknown[answered]
    w = np.ones(len(lengths), dtype=np.int64) if weights is None else np.asarray(weights, dtype=np.float64)[answered]
    if weights is not None and len(w):
        w = w * (w.sum() / (w @ w))
    labels: dict[str, float] = {}
    for label, weight in zip((each for each in classified.labels if each is not None), w.tolist(), strict=True):
        labels[label] = labels.get(label, 0) + weight
    top = classified.probs[answered].max(axis=1, initial=0)
    places = {
        "confidence": (np.minimum((top * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1), CONFIDENCE_BINS),
        "length": (np.searchsorted(LENGTHS, lengths), len(LENGTHS) + 1),
        "unknown": (np.searchsorted(UNKNOWN, unknown / np.maximum(lengths, 1)), len(UNKNOWN) + 1),
    }
    totals = {"deferred": classified.abstained[answered], "tokens": lengths, "unknown_tokens": unknown}
    return {
        "documents": w.sum().item(),
        "errors": int(np.count_nonzero(~answered)),
        **{name: (w @ values.astype(np.int64)).item() for name, values in totals.items()},
        "labels": labels,
        **{n: _histogram(bins, size, w) for n, (bins, size) in places.items()},
    }


def _histogram(bins: npt.NDArray[np.int64], size: int, w: npt.NDArray[Any]) -> list[float]:
    counts = np.zeros(size, dtype=w.dtype)
    np.add.at(counts, bins, w)
    return list(counts.tolist())


def add(a: Summary, b: Summary) -> Summary:
    """Returns the summary of the documents of both."""
    return {key: _sum(a[key], value) for key, value in b.items()}


def _sum(a: Any, b: Any) -> Any:  # noqa: ANN401 - a number, a histogram or counts by name
    if isinstance(b, dict):
        return {key: a.get(key, 0) + b.get(key, 0) for key in a | b}
    return [x + y for x, y in zip(a, b, strict=True)] if isinstance(b, list) else a + b


def stability(before: npt.ArrayLike, after: npt.ArrayLike) -> tuple[float, float]:
    """Population stability index of two histograms, and what it exceeds in 1 of 100 cases when nothing changed.

    The index is sum (q - p) ln(q / p) (Siddiqi 2006; Jeffreys' divergence). Without a change it is distributed as
    chi^2 with B - 1 degrees of freedom, times 1/n + 1/m (Yurdakul & Naranjo 2020). Half a document is added to every
    bin, so that an empty one does not make it infinite; bins that are empty in both do not count.

    Args:
        before: (B,) counts that sum to n.
        after: (B,) counts that sum to m.
    """
    counts = np.array([before, after], dtype=np.float64)
    counts = counts[:, counts.sum(axis=0) > 0]
    sizes, free = counts.sum(axis=1), counts.shape[1] - 1
    if free < 1:
        return 0.0, 0.0
    if not sizes.all():
        return 0.0, np.inf
    p, q = (counts + 0.5) / (counts + 0.5).sum(axis=1, keepdims=True)
    # The 99th percentile of chi^2 after Wilson & Hilferty (1931), to about 1 %.
    quantile = free * (1 - 2 / (9 * free) + CHI2_NORMAL * np.sqrt(2 / (9 * free))) ** 3
    return float(((q - p) * np.log(q / p)).sum()), float(quantile * (1 / sizes).sum())


def drift(info: Mapping[str, Any], now: Summary) -> tuple[list[str], bool]:
    """Compares a summary with the bundle's reference.

    Returns:
        Lines for the user, and whether a new audit is due: an index of at least 0.2 that chance does not explain.
    """
    before = info["reference"]
    lines = [f"{now['documents']:,} documents, compared with {before['documents']:,.0f} at export"]
    due, unsure = [], []
    for feature in FEATURES:
        counts = [[part[feature].get(label, 0) for label in info["labels"]] if feature == "labels" else part[feature]
                  for part in (before, now)]  # fmt: skip
        index, chance = stability(*counts)
        changed = "changed" if index >= chance else "no change beyond chance"
        if index >= max(REAUDIT, chance):
            due.append(feature)
        elif chance > REAUDIT:
            unsure.append(feature)
        what = f"stability index {index:.3f} (by chance up to {chance:.3f})"
        lines.append(f"{feature:<11}{what}  {changed}: {_in_words(feature, before, now, info['labels'])}")
    if due:
        lines.append(f"re-audit due: {', '.join(due)} changed by {REAUDIT} or more; label a random sample anew")
    elif unsure:
        lines.append(f"too few documents to tell for {', '.join(unsure)}: chance alone may give {REAUDIT} or more")
    else:
        lines.append(f"no re-audit due: every index is below {REAUDIT}")
    return lines, bool(due)


def _in_words(feature: str, before: Summary, now: Summary, labels: Sequence[str]) -> str:
    """Returns what a feature was and is."""
    sizes = [max(part["documents"], 1e-9) for part in (before, now)]
    if feature == "labels":
        shares = {x: [p["labels"].get(x, 0) / n for p, n in zip((before, now), sizes, strict=True)] for x in labels}
        most = max(labels, key=lambda label: abs(shares[label][1] - shares[label][0]))
        return f"{most} {shares[most][0]:.1%} -> {shares[most][1]:.1%}"
    if feature == "confidence":
        middles = (np.arange(CONFIDENCE_BINS) + 0.5) / CONFIDENCE_BINS
        old, new = (float(middles @ part["confidence"]) / n for part, n in zip((before, now), sizes, strict=True))
        return f"mean {old:.2f} -> {new:.2f}"
    if feature == "length":
        old, new = (part["tokens"] / n for part, n in zip((before, now), sizes, strict=True))
        return f"mean {old:.1f} -> {new:.1f} tokens"
    old, new = (part["unknown_tokens"] / max(part["tokens"], 1e-9) for part in (before, now))
    return f"{old:.2%} -> {new:.2%} of the tokens"


def read_summaries(folder: Path, bundle: str, since: str = "") -> dict[str, Summary]:
    """Returns the summaries of a folder by day.

    Raises:
        BundleError: When one cannot be read, or is another bundle's.
    """
    found = {}
    for path in sorted(folder.glob("[0-9]*-[0-9]*-[0-9]*.json")):
        try:
            content = json.loads(path.read_bytes())
            whose, summary = content["bundle"], content["summary"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BundleError(f"{path}: no summary: {_first_line(error)}") from None
        if whose != bundle:
            raise BundleError(f"{path}: summary of bundle {whose:.12}, expected {bundle:.12}; use a folder per bundle")
        if path.stem >= since:
            found[path.stem] = summary
    return found


def add_summary(folder: Path, bundle: str, summary: Summary) -> None:
    """Adds to the summary of this day (UTC)."""
    path = folder / f"{datetime.now(UTC):%Y-%m-%d}.json"
    with _writing(path), (folder / ".lock").open("a") as lock:
        _wait_for(lock)
        earlier = read_summaries(folder, bundle).get(path.stem)
        content = {"bundle": bundle, "summary": add(earlier, summary) if earlier else summary}
        with _whole(path) as file:
            file.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")


def _wait_for(lock: IO[Any]) -> None:
    """Waits for others that write to the folder; without fcntl, as on Windows, nobody waits."""
    with suppress(ImportError):
        import fcntl  # noqa: PLC0415

        fcntl.flock(lock, fcntl.LOCK_EX)


# ---- Reading ---------------------------------------------------------------------------------------------------------

FORMATS = {".txt": "text", ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".parquet": "parquet"}
WINDOW = 1024  # documents that are held at a time ...
WINDOW_SIZE = 1 << 22  # ... or about as many characters
LONGEST_FIELD = 2**31 - 1
BOM = "\ufeff"


class Row(NamedTuple):
    """A row of a table: its values by column, how it stands there, what ends it, and whether it is none at all."""

    values: dict[str, Any]
    raw: str = ""
    end: str = "\n"
    error: str | None = None


Window = tuple[list[Row], Any]  # the rows, and for Parquet the record batch


@dataclass
class Table:
    """An open input.

    Attributes:
        name: How messages call it.
        format: One of `FORMATS`.
        columns: Its columns; of JSON lines, those of the first window.
        windows: Its rows.
        done: Returns which share of it was read, None if that is unknown; takes the number of rows read.
        header: The first line, as it stands there.
        delimiter: What stands between the fields of one.
        quoted: Whether quotes enclose fields there.
        schema: Parquet's.
    """

    name: str
    format: str
    columns: list[str]
    windows: Iterator[Window]
    done: Callable[[int], float | None]
    header: Row
    delimiter: str = "\t"
    quoted: bool = True
    schema: Any = None


def open_table(file: str, form: str | None, stack: ExitStack) -> Table:
    """Opens a file, or `-` for standard input; the stack closes it.

    Raises:
        BundleError: When it cannot be read.
    """
    form = form or ("text" if file == "-" else _format(Path(file)))
    name = "standard input" if file == "-" else file
    with _reading(name):
        raw = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))  # noqa: SIM115
        size = Path(file).stat().st_size if file != "-" else 0
    if form == "parquet":
        if file == "-":
            raise BundleError("standard input: Parquet cannot be read from a pipe, expected a file")
        return _parquet(name, raw)
    zipped = file.lower().endswith(".gz")
    stream = cast("BinaryIO", stack.enter_context(gzip.open(raw))) if zipped else raw  # noqa: SIM115
    table = Table(name, form, ["text"], iter(()), lambda _: raw.tell() / size if size else None, Row({}))
    if form in ("csv", "tsv"):
        _open_delimited(table, stream, stack)
        return table
    windows = _windows((_texts if form == "text" else _objects)(name, stream))
    first: Window = next(windows, ([], None))
    if form == "jsonl":
        table.columns = list(dict.fromkeys(key for row in first[0] for key in row.values))
    table.header = first[0][0] if first[0] else table.header
    table.windows = chain([first], windows)
    return table


def _format(path: Path) -> str:
    if path.is_dir():
        raise BundleError(f"{path}: is a folder, expected a file")
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix not in FORMATS or (suffix == ".parquet" and path.suffix.lower() == ".gz"):
        raise BundleError(f"{path}: unknown kind of file, expected {', '.join(FORMATS)} or --format")
    return FORMATS[suffix]


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise BundleError(f"{name}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _lines(name: str, stream: BinaryIO) -> Iterator[str]:
    r"""Yields lines, which only \n ends; bytes that are not UTF-8 come as surrogates, and go out as they came."""
    with _reading(name):
        for number, line in enumerate(stream):
            text = line.decode("utf-8", "surrogateescape")
            yield text if number else text.removeprefix(BOM)


def _windows(rows: Iterator[Row]) -> Iterator[Window]:
    window: list[Row] = []
    size = 0
    for row in rows:
        window.append(row)
        size += len(row.raw)
        if len(window) == WINDOW or size > WINDOW_SIZE:
            yield window, None
            window, size = [], 0
    if window:
        yield window, None


def _cut(line: str) -> tuple[str, str]:
    """Returns a line and its end."""
    raw = line.removesuffix("\n").removesuffix("\r")
    return raw, "\r\n" if line.endswith("\r\n") else "\n"


def _texts(name: str, stream: BinaryIO) -> Iterator[Row]:
    for line in _lines(name, stream):
        raw, _ = _cut(line)
        yield Row({"text": raw}, raw)


# Numbers stay the text they are, as in training: 1.0 is not 1, and long ids lose no digit.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # half pairs that do not stand for a byte


def _objects(name: str, stream: BinaryIO) -> Iterator[Row]:
    for line in _lines(name, stream):
        raw, end = _cut(line)
        if not raw.strip():
            continue
        try:
            found = _DECODER.decode(raw)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            # Half a pair in an escape, where an emoji was cut, is U+FFFD in training too; a bad byte stays one.
            half = _NO_BYTE if _HALF_PAIR.search(raw) else _HALF_PAIR
            values = {k: half.sub("\ufffd", v) if isinstance(v, str) else v for k, v in found.items()}
            yield Row(values, raw, end)
        else:
            yield Row({}, raw, end, "not a JSON object")


def _open_delimited(table: Table, stream: BinaryIO, stack: ExitStack) -> None:
    """Reads the header. A tab in it decides, not the file's name."""
    with _reading(table.name):
        first = stream.readline()
    head = first.decode("utf-8", "surrogateescape")
    table.delimiter = "\t" if "\t" in head or not (table.format == "csv" or "," in head) else ","
    rest: Iterator[str] = chain([head.removeprefix(BOM)], _lines(table.name, stream))
    if table.delimiter == "\t":
        if not stream.seekable():  # whether quotes enclose fields is known at the end only
            copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            with _reading(table.name):
                copy.write(first)
                shutil.copyfileobj(stream, copy)
            stream = copy
        stream.seek(0)
        table.quoted = quotes_enclose(_lines(table.name, stream))
        stream.seek(0)
        rest = _lines(table.name, stream)
    records = _records(table, rest)
    header = next(records, None)
    if header is None:
        raise BundleError(f"{table.name}: the file is empty, expected a header and rows")
    table.columns, table.header = header[0], header[1]
    if head.startswith(BOM):
        table.header = table.header._replace(raw=BOM + table.header.raw)
    table.windows = _windows(r._replace(values=dict(zip(table.columns, f, strict=True))) for f, r in records)


def _records(table: Table, lines: Iterator[str]) -> Iterator[tuple[list[str], Row]]:
    """Yields the fields of each row; blank lines at the end are none."""
    width = 0
    blank: list[tuple[int, list[str], str]] = []
    for record in _quoted(table, lines) if table.quoted else _literal(table, lines):
        blank.append(record)
        if record[1] in ([], [""]):
            continue
        for line, fields, source in blank:
            width = width or len(fields)
            found = fields or [""] if width == 1 else fields  # then an empty line is an empty value
            if len(found) != width:
                fault = f"found {len(found)} fields, expected {width} as in the header"
                raise BundleError(f"{table.name}, line {line}: {fault}")
            yield found, Row({}, *_cut(source))
        blank = []


def _literal(table: Table, lines: Iterator[str]) -> Iterator[tuple[int, list[str], str]]:
    for number, line in enumerate(lines, 1):
        yield number, _cut(line)[0].split(table.delimiter), line


def _quoted(table: Table, lines: Iterator[str]) -> Iterator[tuple[int, list[str], str]]:
    held: list[str] = []

    def remembered() -> Iterator[str]:
        for line in lines:
            held.append(line)
            yield line

    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.reader(remembered(), delimiter=table.delimiter, strict=True)
    line = 1
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            fault = f"{error}; expected quotes doubled inside a quoted field"
            raise BundleError(f"{table.name}, line {line}: {fault}") from None
        if fields is None:
            return
        yield line, fields, "".join(held)
        held.clear()
        line = reader.line_num + 1


_CLOSING = re.compile(r'(?:[^"]|"")*+"')
_END_OF_FIELD = re.compile(r"\t|\r?\n|\r?\Z")


def quotes_enclose(lines: Iterator[str]) -> bool:
    """Tells whether quotes in a tab-separated text enclose fields, or are characters like others; as in training.

    They enclose fields only if every quote belongs to a well-formed quoted field and some field needed it.
    """
    widths: set[int] = set()
    needed = spanning = False
    held: set[str] | None = None  # of tab, line end and doubled quotes, by the field that is open
    for number, line in enumerate(lines):
        if content := _cut(line)[0]:
            widths.add(content.count("\t"))
        at = 0
        while held is not None or (at := line.find('"', at)) >= 0:
            if held is None:
                if at and line[at - 1] != "\t":
                    return False
                held = {"first"} if number == at == 0 else set()
                at += 1
            closing = _CLOSING.match(line, at)
            inside = line[at : closing.end() - 1] if closing else line[at:]
            held |= {mark for mark in ("\t", "\n", '""') if mark in inside}
            if closing is None:  # it goes on in the next line
                break
            at = closing.end()
            if not _END_OF_FIELD.match(line, at) or {"\t", "\n"} <= held:
                return False
            needed, spanning, held = needed or bool(held), spanning or "\n" in held, None
    # Two stray quotes in different rows look like one long field: never swallow the rows between them.
    return held is None and needed and not (spanning and len(widths) == 1)


def _parquet(name: str, raw: BinaryIO) -> Table:
    pa, pq = _pyarrow()
    try:
        file = pq.ParquetFile(raw, buffer_size=1 << 20, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise BundleError(f"{name}: cannot be read as Parquet: {_first_line(error)}") from None

    def windows() -> Iterator[Window]:
        try:
            for batch in file.iter_batches(WINDOW, use_threads=False):
                yield [Row(values) for values in batch.to_pylist()], batch
        except (pa.ArrowException, OSError, ValueError) as error:
            raise BundleError(f"{name}: cannot be read as Parquet: {_first_line(error)}") from None

    schema, size = file.schema_arrow, file.metadata.num_rows
    return Table(name, "parquet", schema.names, windows(), lambda n: n / size if size else None, Row({}), schema=schema)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - only Parquet needs it
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError:
        raise BundleError("Parquet needs pyarrow; install it, or use another format") from None
    return pa, pq


# ---- Writing ---------------------------------------------------------------------------------------------------------


@contextmanager
def _writing(name: object) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BundleError(f"{name}: cannot be written: {error.strerror or error}") from None


@contextmanager
def _whole(path: Path | None) -> Iterator[BinaryIO]:
    """Opens a file that gets its name when the block ends well, or standard output."""
    if path is None:
        with _writing("standard output"), open(sys.stdout.fileno(), "wb", closefd=False) as file:
            yield file
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _writing(path), temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _writing(path):
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


class Output:
    """Writes the rows of a table with what was found out about them.

    A table of the same format goes out as it came, to the byte, with further fields at the end of each row.

    Args:
        table: The input.
        path: Where to write; None is standard output.
        labels: The bundle's labels.
        stack: Finishes the file, or removes it.
    """

    def __init__(self, table: Table, path: Path | None, labels: Sequence[str], stack: ExitStack) -> None:
        self.table = table
        self.format = table.format if path is None else _format(path)
        self.added = ["edge_label", "edge_source", "edge_error", *(f"edge_prob_{label}" for label in labels)]
        self.as_is = self.format == table.format != "text"
        if self.format == "text":
            self.format = "tsv"
        self._check_columns()
        if self.format == "parquet" and path is None:
            raise BundleError("standard output: Parquet cannot be written to a pipe, expected --output")
        self.file = stack.enter_context(_whole(path))
        if path is not None and path.name.lower().endswith(".gz"):
            self.file = cast("BinaryIO", stack.enter_context(gzip.open(self.file, "wb")))  # noqa: SIM115
        self.delimiter, self.quoted = (table.delimiter, table.quoted) if self.as_is else ("\t", True)
        if not self.as_is and self.format == "csv":
            self.delimiter = ","
        self._begin(stack)

    def _check_columns(self) -> None:
        columns = self.table.columns
        for name in columns:
            if name in self.added:
                raise self._taken(name)
            if not self.as_is and columns.count(name) > 1:
                raise BundleError(f"{self.table.name}: column {name!r} stands more than once in the header")

    def _taken(self, name: str) -> BundleError:
        return BundleError(f"{self.table.name}: has a column {name!r} already; leave it out")

    def _begin(self, stack: ExitStack) -> None:
        if self.format in ("csv", "tsv"):
            self._send([self._delimited(self.table.header, self.table.columns, self.added)])
        if self.format == "parquet":
            pa, pq = _pyarrow()
            fields = [*((name, pa.string()) for name in self.added[:3]), *((n, pa.float32()) for n in self.added[3:])]
            kept = [(name, pa.string()) for name in self.table.columns] if not self.as_is else list(self.table.schema)
            self.schema = pa.schema([*kept, *fields], metadata=self.table.schema.metadata if self.as_is else None)
            self.parquet = stack.enter_context(pq.ParquetWriter(self.file, self.schema))

    def write(self, window: Window, found: Sequence[Sequence[Any]]) -> None:
        """Writes a window of rows, each with the values of the added columns."""
        rows, batch = window
        if self.format == "parquet":
            self._write_parquet(rows, batch, found)
        elif self.format == "jsonl":
            self._send([self._object(row, values) for row, values in zip(rows, found, strict=True)])
        else:
            both = zip(rows, found, strict=True)
            self._send([self._delimited(row, self._values(row), values) for row, values in both])

    def _send(self, lines: Sequence[str]) -> None:
        self.file.write("".join(lines).encode("utf-8", "surrogateescape"))
        self.file.flush()

    def _values(self, row: Row) -> list[Any]:
        if self.as_is:
            return []
        if self.table.format == "jsonl":
            self._check_flat(row)
        return [row.values.get(name) for name in self.table.columns]

    def _check_flat(self, row: Row) -> None:
        for name, value in row.values.items():
            if name not in self.table.columns or isinstance(value, list | dict):
                fault = f"holds a {type(value).__name__}" if name in self.table.columns else "came late"
                raise BundleError(f"{self.table.name}: column {name!r} {fault}; expected --output with .jsonl")

    def _delimited(self, row: Row, values: Sequence[Any], added: Sequence[Any]) -> str:
        start = [row.raw] if self.as_is else [self._field(value) for value in values]
        return self.delimiter.join([*start, *map(self._field, added)]) + row.end

    def _field(self, value: Any) -> str:  # noqa: ANN401 - what a cell may hold
        text = _plain(value)
        if self.quoted:
            return '"' + text.replace('"', '""') + '"' if re.search(f'["\r\n{self.delimiter}]', text) else text
        return re.sub(r"[\t\r\n]", " ", text)

    def _object(self, row: Row, values: Sequence[Any]) -> str:
        added = dict(zip(self.added, values, strict=True))
        if not self.as_is or row.error:
            return json.dumps(row.values | added, ensure_ascii=False, default=str) + row.end
        if taken := added.keys() & row.values.keys():
            raise self._taken(min(taken))
        raw = row.raw.rstrip().removesuffix("}").rstrip()
        return raw + (", " if row.values else "") + json.dumps(added, ensure_ascii=False)[1:] + row.end

    def _write_parquet(self, rows: Sequence[Row], batch: Any, found: Sequence[Sequence[Any]]) -> None:  # noqa: ANN401
        pa, _ = _pyarrow()
        columns = list(zip(*found, strict=True))
        if not self.as_is:
            texts = ([_HALF_PAIR.sub("\ufffd", _plain(value)) for value in self._values(row)] for row in rows)
            columns = [*zip(*texts, strict=True), *columns]
        fields = list(self.schema)[-len(columns) :]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, fields, strict=True)]
        kept = batch.columns if self.as_is else []
        self.parquet.write_table(pa.Table.from_arrays([*kept, *arrays], schema=self.schema))


def _plain(value: Any) -> str:  # noqa: ANN401 - what a cell may hold
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "" if value is None else str(value)


# ---- The command line ------------------------------------------------------------------------------------------------


CLEAR = "\033[K"  # the line of the terminal


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BundleError(message)


def run(folder: Path, args: Sequence[str], name: str = "classify.py") -> int:
    """Runs a command line on the bundle of a folder.

    Args:
        folder: The bundle.
        args: The command line; `drift` first compares summaries, anything else labels documents.
        name: How help calls the command.

    Returns:
        The exit code: 0, 3 when a re-audit is due, 141 when nobody reads the output any more.

    Raises:
        BundleError: On wrong input.
    """
    try:
        return _run_drift(folder, args[1:], name) if args[:1] == ["drift"] else _run_classify(folder, args, name)
    except BrokenPipeError:
        return 141


def _run_drift(folder: Path, args: Sequence[str], name: str) -> int:
    parser = _Parser(prog=f"{name} drift", description="Compares what came in with the documents known at export.")
    parser.add_argument("summaries", type=Path, metavar="FOLDER", help="the folder that --summary named")
    parser.add_argument("--since", default="", metavar="DATE", help="leave out earlier days, such as 2026-01-31")
    options = parser.parse_args(args)
    info, _ = read_bundle(folder)
    if info["reference"] is None:
        raise BundleError(f"{folder / 'bundle.json'}: has no reference to compare with")
    summaries = read_summaries(options.summaries, info["sha256"], options.since)
    if not summaries:
        raise BundleError(f"{options.summaries}: no summaries{' since ' * bool(options.since)}{options.since}")
    lines, due = drift(info, reduce(add, summaries.values()))
    print(f"{min(summaries)} to {max(summaries)}: {lines[0]}", *lines[1:], sep="\n")
    return 3 if due else 0


def _run_classify(folder: Path, args: Sequence[str], name: str) -> int:
    parser = _Parser(
        prog=name,
        description="Labels documents: adds edge_label, edge_source, edge_error and edge_prob_<label> to a table.",
        epilog=f"`{name} drift FOLDER` compares the summaries of many runs with the documents known at export.",
    )
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help=".txt (a document a line), .csv, .tsv, "
                        ".jsonl (also .gz) or .parquet; - or nothing: standard input")  # fmt: skip
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write; by default standard output")
    parser.add_argument("--format", choices=FORMATS.values(), help="the input's, where its name does not tell")
    parser.add_argument("--text", metavar="COLUMN", help="column with the texts, if not that of the task")
    parser.add_argument("--context", action="append", default=[], metavar="FIELD=VALUE", help="the same for all")
    parser.add_argument("--deferred", type=Path, metavar="FILE", help="for abstentions, by default deferred.jsonl")
    parser.add_argument("--summary", type=Path, metavar="FOLDER", help="count labels and lengths there, a file a day")
    parser.add_argument("--threads", type=int, metavar="N", help="documents at a time, by default one per core")
    options = parser.parse_args(args)
    begin = time.monotonic()
    run = _Run(Bundle(folder, options.threads), options)
    with ExitStack() as stack:
        run.work(stack)
    if options.summary:
        add_summary(options.summary, run.bundle.info["sha256"], run.summary)
    counts, seconds = run.summary, time.monotonic() - begin
    total = counts["documents"] + counts["errors"]
    what = f"{counts['deferred']:,} deferred, {counts['errors']:,} errors"
    clear = CLEAR if sys.stderr.isatty() else ""
    print(f"{clear}classify: {total:,} document{'s' * (total != 1)} ({what}) in {seconds:.1f} s", file=sys.stderr)
    return 0


class _Run:
    """One pass over a table."""

    def __init__(self, bundle: Bundle, options: argparse.Namespace) -> None:
        self.bundle, self.options = bundle, options
        self.summary = summarise(bundle.classify([]))
        self.deferred = options.deferred or (options.output or Path()).parent / "deferred.jsonl"
        self.constants = dict(_assignment(each, bundle.context_fields) for each in options.context)
        if bundle.info["abstention"] and self.deferred.exists():
            raise BundleError(f"{self.deferred}: exists already, expected a new file; name another with --deferred")
        if options.output and options.output.resolve() in (Path(options.file).resolve(), self.deferred.resolve()):
            raise BundleError(f"{options.output}: is named twice, expected an output of its own")
        if options.summary:
            with _writing(options.summary):
                options.summary.mkdir(parents=True, exist_ok=True)
            read_summaries(options.summary, bundle.info["sha256"])

    def work(self, stack: ExitStack) -> None:
        table = open_table(self.options.file, self.options.format, stack)
        columns = self.bundle.columns
        self.text = self.options.text or ("text" if table.format == "text" else columns["text"])
        self.context = {f: c for f, c in columns["context"].items() if f not in self.constants}
        self._check(table)
        output = Output(table, self.options.output, self.bundle.labels, stack)
        rows, begin = 0, time.monotonic()
        file: BinaryIO | None = None
        for window in table.windows:
            found = self._classify(window[0])
            with _writing(self.options.output or "standard output"):
                output.write(window, [self._added(found, i) for i in range(len(window[0]))])
            if found.abstained.any():
                file = file or stack.enter_context(_whole(self.deferred))
                with _writing(self.deferred):
                    self._defer(file, window[0], found, rows)
            self.summary = add(self.summary, summarise(found))
            rows += len(window[0])
            if sys.stderr.isatty() and (self.options.output or not sys.stdout.isatty()):
                _show_progress(rows, time.monotonic() - begin, table.done(rows))

    def _check(self, table: Table) -> None:
        header, name = table.header.raw, self.bundle.columns["text"]
        if table.format == "text" and not self.options.format and "\t" in header and name in header.split("\t"):
            fault = f"the first line names the column {name!r}"
            raise BundleError(f"{table.name}: {fault}; expected --format tsv or --format text")
        for field, column in self.context.items():
            if table.format == "text":
                raise BundleError(f"lines of text have no context, expected --context {field}=VALUE")
            self._check_column(table, column)
        self._check_column(table, self.text)

    def _check_column(self, table: Table, name: str) -> None:
        if table.columns and (times := table.columns.count(name)) != 1:
            there = ", ".join(map(repr, table.columns))
            fault = f"no column {name!r}; there are {there}" if not times else f"column {name!r} stands {times} times"
            raise BundleError(f"{table.name}: {fault}")

    def _classify(self, rows: Sequence[Row]) -> Classified:
        texts = [_text(row.values.get(self.text, b"")) for row in rows]
        contexts = [self.constants | {f: _text(row.values[c]) for f, c in self.context.items() if c in row.values}
                    for row in rows]  # fmt: skip
        found = self.bundle.classify(texts, contexts)
        for place, row in enumerate(rows):
            found.errors[place] = row.error or found.errors[place]
        return found

    def _added(self, found: Classified, i: int) -> list[Any]:
        """Returns the values of the added columns."""
        if found.errors[i] is not None:
            return [None, "error", found.errors[i], *[None] * len(self.bundle.labels)]
        probs = [float(str(p)) for p in found.probs[i]]  # the shortest decimals that say which float32 it is
        return [None, "deferred", None, *probs] if found.abstained[i] else [found.labels[i], "edge", None, *probs]

    def _defer(self, file: BinaryIO, rows: Sequence[Row], found: Classified, before: int) -> None:
        """Writes what the classifier abstains from, as a corpus of the task that the hub can label."""
        columns = self.bundle.columns
        stem = "stdin" if self.options.file == "-" else Path(self.options.file).name.split(".")[0]
        for i in np.flatnonzero(found.abstained).tolist():
            values = rows[i].values
            name = _plain(values.get(columns["id"]))
            name = _HALF_PAIR.sub("\ufffd", name) if name.strip() else f"{stem}:{before + i + 1}"
            row = {columns["id"] or "id": name}
            row |= {columns["text"]: _text(values[self.text])}
            row |= {column: _text(values[column]) for column in self.context.values()}
            row |= {columns["context"][field]: value for field, value in self.constants.items()}
            row |= {columns["gold"]: None} if columns["gold"] else {}
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _assignment(option: str, fields: Sequence[str]) -> tuple[str, str]:
    field, equals, value = option.partition("=")
    if not equals or field not in fields:
        known = ", ".join(fields) or "none, the task has no context fields"
        raise BundleError(f"--context: found {option!r}, expected FIELD=VALUE with a field of: {known}")
    return field, value


def _text(value: Any) -> Any:  # noqa: ANN401 - what a cell may hold
    """Returns a cell as training reads it; what is none of a text's forms comes back as it is."""
    if value is None or value != value:  # nan
        return ""
    return value if isinstance(value, list | dict | bytes) else _plain(value)


def _show_progress(rows: int, seconds: float, done: float | None) -> None:
    left = f", {seconds / done - seconds:,.0f} s left" if done else ""
    print(f"{CLEAR}{rows:,} documents, {rows / seconds:,.0f}/s{left}", end="\r", file=sys.stderr, flush=True)


def main(args: Sequence[str] | None = None) -> int:
    """Runs the bundle in whose folder this file lies.

    Returns:
        The exit code: that of `run`, or 2 for wrong input, which is said in one line on standard error.
    """
    try:
        return run(Path(__file__).parent, sys.argv[1:] if args is None else args)
    except BundleError as error:
        print(f"classify: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nclassify: interrupted; nothing was written under the name of the output", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
