"""What predict and fit tell at their end."""

from pathlib import Path

import numpy as np
import torch

from redct.cli.show import INTERVALS, show_scores, show_table
from redct.documents import Documents
from redct.evidence import evaluate_confusion, summarise_labels
from redct.hub.store import LabelStore
from redct.task import Task
from redct.training.datamodule import LabeledTextDataModule
from redct.training.expected_gain import expected_gain, growth, notes


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
        print(INTERVALS)
    print(f"label store: {store.folder}")


def show_validation(checkpoint: Path, seed: int) -> None:
    """Prints the validation score of a checkpoint with its interval."""
    counts = torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True).get("validation_confusion")
    if counts is None:
        return
    observed = np.pad(counts.numpy().astype(np.int64), ((0, 0), (0, 1)))
    found = evaluate_confusion(observed, seed=seed)["macro_f1"]
    interval = f"95 % interval {found.low:.3f} to {found.high:.3f}, {observed.sum():,} documents"
    print(f"validation macro-F1 {found.value:.3f} ({interval})")


def show_expected_gain(data: LabeledTextDataModule) -> None:
    """Prints whether the classifier will beat the LLM, where experts' answers can tell."""
    corpus = data.corpus
    judges = corpus.judges()
    if judges is None:
        return
    vectors = data.embeddings()
    position = {document.id: n for n, document in enumerate(corpus.splits().train.documents)}
    found = expected_gain(judges, vectors, position, corpus.seed)
    hopeful = found.gain.value > 0
    curve = None if hopeful else growth(judges, vectors, position, corpus.own_labels().probs, corpus.seed)
    for line in notes(found, curve):
        print(line)


def _errors(store: LabelStore) -> list[str]:
    """Returns a line for each of the most frequent kinds of errors."""
    kinds = sorted(store.errors().values(), key=lambda kind: -kind[0])
    return [f"{count:,} without label, such as {example}" for count, example in kinds[:3]]
