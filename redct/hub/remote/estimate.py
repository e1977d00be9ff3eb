"""What labeling will take, before anything is spent: tokens, US dollars, minutes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from redct.documents import Document
from redct.hub.remote.exchange import Usage
from redct.hub.remote.pacing import Limits
from redct.hub.remote.prices import Price
from redct.hub.remote.questions import LABEL_TOKENS, STATED_TOKENS, Questions
from redct.hub.remote.tokens import TokenCounter

MOST_COUNTED = 1000  # documents whose prompts are made and counted; the others are taken to be like them
SHORT_RATIONALE = 50  # tokens of a terse one


@dataclass(frozen=True)
class Estimate:
    """Least and most that some documents take.

    Attributes:
        documents: How many documents.
        requests: How many requests.
        usage: Tokens, least and most.
    """

    documents: int
    requests: int
    usage: tuple[Usage, Usage]

    def cost(self, price: Price, half: bool = False) -> tuple[float, float]:
        """Returns US dollars, least and most."""
        return price.of(self.usage[0], half), price.of(self.usage[1], half)

    def minutes(self, limits: Limits) -> tuple[float, float] | None:
        """Returns the time that the limits a minute allow, least and most; None where there are none."""
        if limits.requests_per_minute is None and limits.tokens_per_minute is None:
            return None
        by_requests = self.requests / (limits.requests_per_minute or math.inf)
        tokens = [usage.prompt + usage.completion for usage in self.usage]
        low, high = (max(by_requests, t / (limits.tokens_per_minute or math.inf)) for t in tokens)
        return low, high


def estimate(documents: Iterable[Document], n: int, questions: Questions, counter: TokenCounter) -> Estimate:
    """Estimates what documents take, from the prompts of evenly spaced ones.

    Args:
        documents: The documents.
        n: How many they are.
        questions: What is asked about each.
        counter: Counts tokens.
    """
    step = max(n // MOST_COUNTED, 1)
    counted = [_prompts(document, questions, counter) for document in islice(documents, 0, None, step)]
    mean = np.mean(counted, axis=0) if counted else np.zeros(2)
    written = _completion(questions)
    thought = _rationale(questions)
    low, high = (
        Usage(round((prompt + again) * n), round((again + said) * n))
        for prompt, again, said in zip(mean.tolist(), thought, written, strict=True)
    )
    turns = 2 if questions.task.prompt.chain_of_thought else 1
    return Estimate(n, turns * n, (low, high))


def _prompts(document: Document, questions: Questions, counter: TokenCounter) -> tuple[float, float]:
    """Returns the tokens of a document's prompts, least and most."""
    requests = [request for request in (questions.first(document), questions.second(document)) if request]
    low, high = zip(*(counter.of(request.messages) for request in requests), strict=True)
    return sum(low), sum(high)


def _completion(questions: Questions) -> tuple[float, float]:
    """Returns the tokens of a document's answer, least and most."""
    low, high = (20.0, float(STATED_TOKENS)) if questions.distribution == "stated" else (1.0, float(LABEL_TOKENS))
    times = questions.samples if questions.distribution == "samples" else 1
    return low * times, high * times


def _rationale(questions: Questions) -> tuple[float, float]:
    """Returns the tokens of a document's rationale, least and most: written once, and read with the second request."""
    if not questions.task.prompt.chain_of_thought:
        return 0.0, 0.0
    most = questions.task.prompt.rationale_tokens
    return float(min(SHORT_RATIONALE, most)), float(most)
