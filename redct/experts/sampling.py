"""Choosing documents for the experts, and recording the choice before anybody answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from redct.documents import Document
from redct.errors import InputError
from redct.experts.budget import budget_count, seconds_per_document
from redct.experts.ledger import Ledger
from redct.experts.pool import Pool
from redct.experts.records import JSON, Asked, Round
from redct.experts.strategies import STRATEGIES, choose
from redct.sources import Source


@dataclass(frozen=True)
class Experts:
    """Who corrects the LLM, and on which documents.

    Args:
        budget: How much the experts label in a round: a share of the corpus (0 to 1), a number of documents, or
            their time, such as `90 minutes`, by what a document has taken so far.
        strategy: How documents are chosen, see `redct sample --help`. `margin_randomised` draws uncertain documents
            more often, with known probabilities, so that the answers serve as training rows, to correct what the LLM
            said about all other documents, and for valid estimates at once; `random` draws all alike; `margin` takes
            the least certain of each class, as RED-CT does, and its answers serve as training rows only.
        floor: Share of the chance that the randomised strategies spread evenly over all documents.
        mix: Strategies with their shares, for `mixed` and `mixed_randomised`.
        answers: `gold` lets the gold column stand for the experts; `ledger` takes what people answered in
            `redct annotate`; or a file with the columns id and label, and maybe annotator.
    """

    budget: float | str = 0.10
    strategy: str = "margin_randomised"
    floor: float = 0.2
    mix: dict[str, float] | None = None
    answers: Literal["gold", "ledger"] | Source = "gold"

    def __post_init__(self) -> None:
        """Checks that there is such a strategy.

        Raises:
            InputError: When there is none.
        """
        if self.strategy not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            raise InputError(f"data.experts.strategy: found {self.strategy!r}, expected one of {known}")

    def parameters(self) -> dict[str, JSON]:
        """Returns what a choice depends on, apart from strategy and seed."""
        return {name: value for name, value in asdict(self).items() if name not in ("strategy", "answers")}


def choose_for_gold(
    experts: Experts, documents: Sequence[Document], pool: Callable[[], Pool], seed: int, ledger: Ledger, labels: str
) -> Round:
    """Chooses documents to which the gold column answers; the same request is made once.

    Args:
        experts: Budget and strategy.
        documents: The N documents of the corpus.
        pool: What is known about these documents; asked for only if it has to be chosen.
        seed: Of the draw.
        ledger: Takes the choice.
        labels: A hash of the LLM's labels.

    Raises:
        InputError: When the budget does not fit the corpus.
    """
    parameters = {**experts.parameters(), "documents": len(documents), "labels": labels}
    if known := ledger.round("gold", experts.strategy, seed, parameters):
        return known
    n = budget_count(experts.budget, len(documents))
    return _record(experts, documents, pool(), n, seed, ledger, "gold", parameters)


def choose_for_experts(
    experts: Experts,
    documents: Sequence[Document],
    pool: Callable[[], Pool],
    seed: int,
    ledger: Ledger,
    labels: str,
    number: int | None = None,
) -> Round:
    """Chooses documents that people are to answer, none of them a second time.

    Args:
        experts: Budget and strategy.
        documents: The N documents of the corpus.
        pool: What is known about these documents; asked for only if it has to be chosen.
        seed: Of the first round's draw; each round has its own.
        ledger: Takes the choice.
        labels: A hash of the LLM's labels.
        number: Which round, 1 by default: one that is recorded is returned, the next one is chosen.

    Raises:
        InputError: When that round was chosen in another way, it would not be the next one, or the budget does
            not fit what is left.
    """
    rounds, number = ledger.rounds("experts"), 1 if number is None else number
    if not 1 <= number <= len(rounds) + 1:
        raise InputError(f"--round: found {number}, expected 1 to {len(rounds) + 1} ({len(rounds)} are recorded)")
    parameters = {**experts.parameters(), "round": number, "documents": len(documents), "labels": labels}
    seed += number - 1  # the seed itself drew the first round: a second draw by it would not be independent
    if number <= len(rounds):
        _check_same(rounds[number - 1], experts.strategy, seed, parameters, len(rounds))
        return rounds[number - 1]
    asked = {document_id for each in rounds for document_id in each.ids}
    left = np.array([n for n, document in enumerate(documents) if document.id not in asked], dtype=np.int64)
    if not len(left):
        raise InputError(f"--round {number}: all {len(documents):,} documents of the corpus were chosen before")
    n = budget_count(experts.budget, len(documents), seconds_per_document(ledger.answers()), len(left))
    if n == 0:
        raise InputError(f"data.experts.budget: {experts.budget} of {len(left):,} documents left is none")
    return _record(experts, [documents[n] for n in left], pool().rows(left), n, seed, ledger, "experts", parameters)


def _record(
    experts: Experts,
    documents: Sequence[Document],
    pool: Pool,
    n: int,
    seed: int,
    ledger: Ledger,
    asked: Asked,
    parameters: Mapping[str, JSON],
) -> Round:
    choice = choose(experts.strategy, pool, n, seed, experts.floor, experts.mix)
    ids, digests = [each.id for each in documents], [each.digest() for each in documents]
    return ledger.add_round(asked, experts.strategy, seed, parameters, ids, choice, digests)


def _check_same(known: Round, strategy: str, seed: int, parameters: Mapping[str, JSON], recorded: int) -> None:
    """Refuses to call a choice the same that was made in another way."""
    before = {"strategy": known.strategy, "seed": known.seed, **known.parameters}
    for name, value in {"strategy": strategy, "seed": seed, **parameters}.items():
        if before.get(name) != value:
            raise InputError(
                f"round {parameters['round']} was chosen with {name} {before.get(name)!r}, found {value!r}; "
                f"expected the same, or --round {recorded + 1} to choose more documents"
            )
