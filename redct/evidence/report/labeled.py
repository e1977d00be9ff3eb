"""What the LLM and the edge classifier said about the corpus, and what the latter was trained towards, counted."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from redct.errors import InputError
from redct.evidence.edge_labels import IN_SAMPLE, counted, out_of_fold_labels, read_edge_labels
from redct.evidence.predictions import FILE, read_predictions
from redct.hub.store import LabelStore, LabelTable
from redct.training.answers import Answers
from redct.training.corpus import LabeledCorpus

_BINS: Final = 20


def stores(folder: str | Path) -> dict[str, Any]:
    """Returns how labels came about and what they took."""
    store = LabelStore(folder)
    if not store.manifest_path.exists():
        return {"folder": str(folder), "documents": 0}
    manifest = store.manifest()
    tokens: Counter[str] = Counter()
    for part in sorted(store.folder.glob("part-*.parquet")):
        table = pq.read_table(part, columns=["prompt_tokens", "completion_tokens"], use_threads=False)
        for name in table.column_names:
            tokens[name] += int(np.nansum(table.column(name).to_numpy().astype(np.float64)))
    return {
        "folder": str(folder),
        "documents": store.rows(),
        "complete": manifest.get("complete", False),
        "errors": manifest.get("counts", {}).get("errors"),
        "fingerprint": manifest["fingerprint"],
        "tokens": dict(tokens) if any(tokens.values()) else None,
        "usage": manifest.get("usage"),
        "time": manifest.get("time"),
        "parts": manifest.get("parts"),
    }


def labeled(table: LabelTable) -> dict[str, Any]:
    """Returns how often the LLM gave each label to the corpus."""
    counts = np.bincount(table.label[table.label >= 0], minlength=len(table.labels))
    return {
        "documents": len(table.ids),
        "unlabeled": int((table.label < 0).sum()),
        "labels": dict(zip(table.labels, counts.tolist(), strict=True)),
    }


def margins(table: LabelTable, answers: Answers | None) -> dict[str, Any] | None:
    """Returns a histogram of the LLM's margins (nats), and how many of each bin the experts labeled.

    Margins above the 99 % quantile are counted in the last bin.
    """
    values = table.margin.astype(np.float64)
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    end = float(np.quantile(known, 0.99)) or 1.0
    edges = np.linspace(0, end, _BINS + 1)
    chosen = np.array(sorted([*answers.shares, *answers.left_out]) if answers is not None else [], dtype=np.int64)

    def counted(some: np.ndarray[Any, Any]) -> list[int]:
        return np.histogram(np.clip(some[np.isfinite(some)], 0, end), edges)[0].tolist()  # type: ignore[no-any-return]

    return {
        "edges": edges.tolist(),
        "documents": counted(values),
        "chosen": counted(values[chosen]),
        "median": float(np.median(known)),
        "median_chosen": float(np.nanmedian(values[chosen])) if len(chosen) else None,
    }


def targets(corpus: LabeledCorpus) -> dict[str, Any]:
    """Returns whose labels the last `fit` trained and validated on, how often.

    Raises:
        InputError: When there was none, or it was of other documents or labels.
    """
    counts = {
        name: {source: part.source.count(source) for source in sorted(set(part.source))}
        for name, part in corpus.written_parts().items()
    }
    return {"parts": counts, "unrepresentative": corpus.provenance.unrepresentative, "kind": corpus.targets}


def edge(corpus: LabeledCorpus, checkpoint: str | None) -> dict[str, Any]:
    """Returns how often the edge classifier gave each label to the corpus, in sample and out of fold.

    Args:
        corpus: The study.
        checkpoint: The SHA-256 of its checkpoint; what is of another one, or of other targets, is left out.
    """
    own, others = read_edge_labels(corpus.folder / IN_SAMPLE), None
    if own is not None and own.about["checkpoint_sha256"] != checkpoint:
        own = None
    with suppress(InputError):  # without labels or answers, nothing is out of fold
        others = out_of_fold_labels(corpus)
    found = {"in_sample": own, "out_of_fold": others}
    return {name: None if each is None else counted(each) for name, each in found.items()}


def rescaled(folder: Path, bundle: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Returns how far the edge classifier's probabilities can be believed as its bundle scales them.

    Args:
        folder: The study's, with its predictions of held-out documents.
        bundle: With its temperature.

    Returns:
        As in `metrics.json`; None without a bundle, or where it leaves them as they are.
    """
    if bundle is None or bundle["temperature"] == 1 or not (folder / FILE).is_file():
        return None
    tested = read_predictions(folder / FILE)
    return asdict(tested.rescaled(next(iter(tested.raters)), bundle["temperature"]))
