"""What may be concluded about a corpus from a machine's labels and a few experts' answers."""

from redct.evidence.estimates.estimators import dsl, experts_only, naive, ppi
from redct.evidence.estimates.intervals import Estimate, estimates, naive_estimates, precision
from redct.evidence.estimates.questions import Question, by_group, overall
from redct.evidence.estimates.sample import Design, Sample

__all__ = [
    "Design",
    "Estimate",
    "Question",
    "Sample",
    "by_group",
    "dsl",
    "estimates",
    "experts_only",
    "naive",
    "naive_estimates",
    "overall",
    "ppi",
    "precision",
]
