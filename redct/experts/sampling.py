"""Choosing documents for the experts, and recording the choice before anybody answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from redct.experts.budget import budget_count
from redct.experts.ledger import JSON, Ledger, Round
from redct.experts.pool import Pool
from redct.experts.strategies import choose


@dataclass(frozen=True)
class Experts:
    """Who corrects the LLM, and on which documents.

    Args:
        budget: Share of the corpus (0 to 1), or number of documents, that experts label.
        strategy: `margin_randomised` draws uncertain documents more often, with known probabilities, so that the
            answers serve training and valid estimates at once; `margin` takes the least certain of each class, as
            RED-CT does; `random` draws all alike.
        answers: `gold` lets the gold column stand for the experts.
    """

    budget: float = 0.10
    strategy: Literal["margin_randomised", "margin", "random"] = "margin_randomised"
    answers: Literal["gold"] = "gold"


def choose_documents(
    experts: Experts,
    ids: Sequence[str],
    label: npt.ArrayLike,
    margin: npt.ArrayLike,
    n_labels: int,
    seed: int,
    ledger: Ledger,
    **circumstances: str,
) -> Round:
    """Chooses documents for the experts and writes the choice to the ledger; the same request is made once.

    Args:
        experts: Budget and strategy.
        ids: The N ids of the corpus.
        label: (N,) the LLM's label, -1 where it gave none.
        margin: (N,) the LLM's margin.
        n_labels: Number of labels.
        seed: Of the draw.
        ledger: Takes the choice.
        circumstances: What else tells this choice from another, such as a hash of the labels.

    Raises:
        InputError: When the budget does not fit the corpus.
    """
    parameters: dict[str, JSON] = {"budget": experts.budget, "documents": len(ids), **circumstances}
    known = ledger.round("gold", experts.strategy, seed, parameters)
    if known is not None:
        return known
    n = budget_count(experts.budget, len(ids))
    unknown = np.full((len(ids), n_labels), np.nan)  # these strategies look at labels and margins only
    pool = Pool(np.asarray(label, dtype=np.int64), unknown, np.asarray(margin, dtype=np.float64))
    choice = choose(experts.strategy, pool, n, seed)
    return ledger.add_round("gold", experts.strategy, seed, parameters, ids, choice)
