"""What may be claimed about a classifier, and how surely."""

from redct.evidence.evaluation import (
    METRICS,
    Interval,
    confusion,
    evaluate,
    evaluate_confusion,
    majority,
    metrics_of,
)
from redct.evidence.labels import LabelSummary, summarise_labels

__all__ = [
    "METRICS",
    "Interval",
    "LabelSummary",
    "confusion",
    "evaluate",
    "evaluate_confusion",
    "majority",
    "metrics_of",
    "summarise_labels",
]
