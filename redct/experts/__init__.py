"""Which documents the experts are asked about, and what they answered."""

from redct.experts.budget import budget_count, seconds_per_document
from redct.experts.ledger import Answer, Ledger, Round
from redct.experts.pool import Pool
from redct.experts.sampling import Experts, choose_documents
from redct.experts.strategies import RANDOMISED, STRATEGIES, Choice, choose, needs
from redct.experts.verdicts import Verdict, verdicts

__all__ = [
    "RANDOMISED",
    "STRATEGIES",
    "Answer",
    "Choice",
    "Experts",
    "Ledger",
    "Pool",
    "Round",
    "Verdict",
    "budget_count",
    "choose",
    "choose_documents",
    "needs",
    "seconds_per_document",
    "verdicts",
]
