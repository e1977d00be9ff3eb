"""What may be claimed about a classifier, and how surely."""

from redct.evidence.baselines import majority
from redct.evidence.evaluation import METRICS, confusion, evaluate, evaluate_confusion, metrics_of
from redct.evidence.labels import LabelSummary, summarise_labels
from redct.evidence.resampling import Design, Interval

__all__ = [
    "METRICS",
    "Design",
    "Interval",
    "LabelSummary",
    "confusion",
    "evaluate",
    "evaluate_confusion",
    "majority",
    "metrics_of",
    "summarise_labels",
]
