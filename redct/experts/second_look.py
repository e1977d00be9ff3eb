"""The second look: answers that are probably wrong, put before the experts again.

Its documents were drawn and answered before, and keep the inclusion probabilities of that draw; a second look is a
round of its own in the ledger, but no part of the sample. What somebody settles it by stands as a resolution, beside
the first answers, so that what these say about the experts' agreement stays as it was. It is no random check: errors
that the LLM shares stay unseen, so that the answers lean towards the LLM afterwards.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from redct.documents import Document
from redct.errors import InputError
from redct.experts.budget import budget_count, seconds_per_document
from redct.experts.ledger import Ledger
from redct.experts.records import GOLD, SUSPECTS, Answer, Round
from redct.experts.sampling import Experts
from redct.experts.strategies import Choice
from redct.experts.verdicts import verdicts


def look_again(
    experts: Experts, suspects: Sequence[str], documents: Sequence[Document], ledger: Ledger
) -> Round | None:
    """Queues suspect answers, as many as the budget allows, none of them a second time.

    Args:
        experts: The budget of a round.
        suspects: Ids of documents whose answers are suspect, the most suspect first.
        documents: The N documents of the corpus.
        ledger: Takes the round.

    Returns:
        The round; the latest one as it is while some of its documents wait; None where nothing is left to queue.

    Raises:
        InputError: When the budget is none.
    """
    looks, answers = ledger.second_looks(), ledger.answers()
    if waiting(looks[-1:], answers):
        return looks[-1]
    answered = verdicts(answer for answer in answers if answer.annotator != GOLD).keys()
    asked = {document for each in ledger.rounds_for_people() for document in each.ids}
    possible = asked & answered - {document for each in looks for document in each.ids}
    eligible = [each for each in documents if each.id in possible]
    place = {document.id: n for n, document in enumerate(eligible)}
    left = [place[document] for document in suspects if document in place]
    if not left:
        return None
    n = min(budget_count(experts.budget, len(documents), seconds_per_document(answers)), len(left))
    if n == 0:
        raise InputError(f"data.experts.budget: {experts.budget} of {len(left):,} suspects is none")
    inclusion = np.zeros(len(eligible))
    inclusion[left[:n]] = 1.0
    choice = Choice(np.array(left[:n], dtype=np.int64), inclusion)
    parameters = {"round": len(looks) + 1, "documents": len(documents), "answers": answers[-1].number}
    ids, digests = [each.id for each in eligible], [each.digest() for each in eligible]
    return ledger.add_round("experts", SUSPECTS, 0, parameters, ids, choice, digests)


def answers_before(looks: Iterable[Round]) -> dict[str, int]:
    """Returns the documents of second looks in their order, each with the number of the last answer before it."""
    return {document: int(str(each.parameters["answers"])) for each in looks for document in each.ids}


def waits(before: int, standing: Iterable[Answer]) -> bool:
    """Whether a document still waits for its second look.

    Args:
        before: Number of the last answer before it was queued.
        standing: What each annotator said last about the document, and what it was resolved to.
    """
    return all(each.number <= before or each.kind in ("undo", "reopen") for each in standing)


def waiting(looks: Iterable[Round], answers: Iterable[Answer]) -> list[str]:
    """Returns the documents that still wait for their second look, in its order.

    Args:
        looks: The second looks.
        answers: Of the ledger, in the order of recording.
    """
    before = answers_before(looks)
    standing: dict[str, dict[str | None, Answer]] = {document: {} for document in before}
    for answer in answers:
        if answer.annotator != GOLD and answer.document in before:
            settles = answer.kind in ("resolution", "reopen")
            standing[answer.document][None if settles else answer.annotator] = answer
    return [document for document, number in before.items() if waits(number, standing[document].values())]
