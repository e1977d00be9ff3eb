"""What predict and test tell at their end."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from redct.cli.show import show_scores, show_table
from redct.documents import Document, Documents
from redct.evidence import confusion, evaluate, evaluate_confusion, majority, summarise_labels
from redct.evidence.evaluation import Interval
from redct.files import sha256, write_json
from redct.hub.store import LabelStore, LabelTable
from redct.task import Task


def show_labels(task: Task, documents: Documents, store: LabelStore) -> None:
    """Prints label counts, margins and, where gold exists, how good the LLM is."""
    summary, total = summarise_labels(documents, store, task.labels), len(documents)
    rows = []
    for label, count, quartiles in zip(task.labels, summary.counts, summary.quartiles, strict=True):
        margins = [f"{q:.2f}" if count else "-" for q in quartiles]
        rows.append([label, str(count), f"{count / max(total, 1):.1%}", *margins])
    if summary.unlabeled:
        rows.append(["(no label)", str(summary.unlabeled), f"{summary.unlabeled / total:.1%}", "-", "-", "-"])
    show_table(f"{total:,} documents labeled", ["label", "documents", "share", "margin 25 %", "50 %", "75 %"], rows)
    for line in _errors(store):
        print(line)
    if known := int(summary.confusion.sum()):
        scores = evaluate_confusion(summary.confusion)
        show_scores(f"LLM labels against {known:,} gold labels, % [95 % interval]", {"LLM": scores})
    print(f"label store: {store.folder}")


def _errors(store: LabelStore) -> list[str]:
    """Returns a line for each of the most frequent kinds of errors."""
    kinds = sorted(store.errors().values(), key=lambda kind: -kind[0])
    return [f"{count:,} without label, such as {example}" for count, example in kinds[:3]]


def show_test(
    task: Task,
    documents: Sequence[Document],
    probs: Sequence[Sequence[float]],
    labeled: LabelTable | None,
    checkpoint: Path,
    path: Path,
    seed: int,
) -> None:
    """Prints a checkpoint's scores beside the LLM's and the majority class', and writes them to a file."""
    gold, k = _gold(task, documents), len(task.labels)
    raters = {"edge classifier": np.argmax(np.asarray(probs), axis=1)}
    if labeled is not None:
        raters["LLM"] = labeled.label
    raters["majority class"] = majority(gold, k)
    scores = {name: evaluate(gold, predicted, k, seed=seed) for name, predicted in raters.items()}
    show_scores(f"{len(documents):,} held-out documents, % [95 % interval]", scores)
    if labeled is None:
        print("the LLM's row needs its labels on the test documents: redct predict --data.predict test")
    result = {
        "checkpoint_sha256": sha256(checkpoint),
        "documents": len(documents),
        "labels": task.labels,
        "gold": dict(zip(task.labels, np.bincount(gold, minlength=k).tolist(), strict=True)),
        "scores": {name: _plain(values) for name, values in scores.items()},
        # Rows are gold labels, columns what was said; the last column is "no label".
        "confusion": {name: confusion(gold, said, k).tolist() for name, said in raters.items()},
    }
    write_json(path, result)
    print(f"metrics: {path}")


def _gold(task: Task, documents: Sequence[Document]) -> npt.NDArray[np.int64]:
    index = task.index()
    return np.array([index[str(document.gold)] for document in documents], dtype=np.int64)


def _plain(values: dict[str, Interval]) -> dict[str, dict[str, float]]:
    return {name: {"value": v.value, "low": v.low, "high": v.high} for name, v in values.items()}
