"""What predict tells at its end."""

from redct.cli.show import INTERVALS, show_scores, show_table
from redct.documents import Documents
from redct.evidence import evaluate_confusion, summarise_labels
from redct.hub.store import LabelStore
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
        print(INTERVALS)
    print(f"label store: {store.folder}")


def _errors(store: LabelStore) -> list[str]:
    """Returns a line for each of the most frequent kinds of errors."""
    kinds = sorted(store.errors().values(), key=lambda kind: -kind[0])
    return [f"{count:,} without label, such as {example}" for count, example in kinds[:3]]
