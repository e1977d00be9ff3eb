"""Which documents the experts are asked about, and what they answered."""

from redct.experts.ledger import Answer, Ledger, Round
from redct.experts.pool import Pool
from redct.experts.sampling import Experts, choose_for_experts, choose_for_gold
from redct.experts.strategies import RANDOMISED, Choice, budget_count, choose
from redct.experts.verdicts import Verdict, majority, verdicts

__all__ = [
    "RANDOMISED",
    "Answer",
    "Choice",
    "Experts",
    "Ledger",
    "Pool",
    "Round",
    "Verdict",
    "budget_count",
    "choose",
    "choose_for_experts",
    "choose_for_gold",
    "majority",
    "needs",
    "verdicts",
]
def needs(s, m): return frozenset()
