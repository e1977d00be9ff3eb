"""Which documents the experts are asked about, and what they answered."""

from redct.experts.ledger import Answer, Ledger, Round
from redct.experts.sampling import Experts, choose_documents
from redct.experts.strategies import RANDOMISED, Choice, budget_count, choose
from redct.experts.verdicts import Verdict, verdicts

__all__ = [
    "RANDOMISED",
    "Answer",
    "Choice",
    "Experts",
    "Ledger",
    "Round",
    "Verdict",
    "budget_count",
    "choose",
    "choose_documents",
    "verdicts",
]
