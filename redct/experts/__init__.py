"""Which documents the experts are asked about, and what they answered."""

from redct.experts.ledger import Ledger, Round
from redct.experts.sampling import Experts, choose_documents
from redct.experts.strategies import RANDOMISED, Choice, budget_count, choose

__all__ = ["RANDOMISED", "Choice", "Experts", "Ledger", "Round", "budget_count", "choose", "choose_documents"]
