"""What predict and test tell at their end."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from redct.cli.show import show_scores, show_table
from redct.documents import Document
from redct.evidence import confusion, evaluate, majority
from redct.evidence.evaluation import Interval
from redct.files import write_json
from redct.hub.store import LabelStore, LabelTable
from redct.task import Task


def show_labels(task: Task, documents: Sequence[Document], store: LabelStore) -> None:
    """Prints label counts, margins and, where gold exists, how good the LLM is."""
    table = store.read(task.labels).aligned([document.id for document in documents])
    rows = []
    for k, label in enumerate(task.labels):
        margins = table.margin[table.label == k]
        quartiles = [f"{q:.2f}" for q in np.quantile(margins, [0.25, 0.5, 0.75])] if len(margins) else ["-"] * 3
        rows.append([label, str(len(margins)), f"{len(margins) / max(len(documents), 1):.1%}", *quartiles])
    if errors := int((table.label < 0).sum()):
        rows.append(["(no label)", str(errors), f"{errors / len(documents):.1%}", "-", "-", "-"])
    show_table(
        f"{len(documents):,} documents labeled", ["label", "documents", "share", "margin 25 %", "50 %", "75 %"], rows
    )
    for message, count in store.errors().most_common(3):
        print(f"{count:,} without label: {message}")
    known = [n for n, document in enumerate(documents) if document.gold is not None]
    if known:
        gold = _gold(task, [documents[n] for n in known])
        scores = evaluate(gold, table.label[known], len(task.labels))
        show_scores(f"LLM labels against {len(known):,} gold labels, % [95 % interval]", {"LLM": scores})
    print(f"label store: {store.folder}")


def show_test(
    task: Task,
    documents: Sequence[Document],
    probs: Sequence[Sequence[float]],
    labeled: LabelTable | None,
    path: Path,
    seed: int,
) -> None:
    """Prints the classifier's scores beside the LLM's and the majority class', and writes them to a file."""
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
