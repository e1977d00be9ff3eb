"""Which documents the experts are asked about, and what they answered."""

from redct.experts.budget import budget_count, seconds_per_document
from redct.experts.ledger import Ledger
from redct.experts.pool import Pool
from redct.experts.records import Answer, Round
from redct.experts.sampling import Experts, choose_for_experts, choose_for_gold
from redct.experts.second_look import look_again, waiting
from redct.experts.strategies import RANDOMISED, STRATEGIES, Choice, choose, needs
from redct.experts.verdicts import Verdict, majority, verdicts, votes_of_people
from redct.experts.weights import Estimate, Wave, Weights, mean, unit_variance, waves_of, weigh

__all__ = [
    "RANDOMISED",
    "STRATEGIES",
    "Answer",
    "Choice",
    "Estimate",
    "Experts",
    "Ledger",
    "Pool",
    "Round",
    "Verdict",
    "Wave",
    "Weights",
    "budget_count",
    "choose",
    "choose_for_experts",
    "choose_for_gold",
    "look_again",
    "majority",
    "mean",
    "needs",
    "seconds_per_document",
    "unit_variance",
    "verdicts",
    "votes_of_people",
    "waiting",
    "waves_of",
    "weigh",
]
