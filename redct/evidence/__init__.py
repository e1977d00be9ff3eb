"""What may be claimed about a classifier, and how surely."""

from redct.evidence.evaluation import METRICS, Interval, confusion, evaluate, majority, metrics_of

__all__ = ["METRICS", "Interval", "confusion", "evaluate", "majority", "metrics_of"]
