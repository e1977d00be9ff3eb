"""What labeling will take, before anything is spent: tokens, US dollars, minutes."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

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

    def minutes(self, limits: Limits) -> float | None:
        """Returns the least time that the limits a minute allow; None where there are none."""
        most = self.usage[1]
        parts = [(self.requests, limits.requests_per_minute), (most.prompt + most.completion, limits.tokens_per_minute)]
        times = [amount / limit for amount, limit in parts if limit is not None]
        return max(times) if times else None


def estimate(documents: Iterable[Document], n: int, questions: Questions, counter: TokenCounter) -> Estimate:
    """Estimates what documents take, from the prompts of evenly spaced ones.

    Args:
        documents: The documents.
        n: How many they are.
        questions: What is asked about each.
        counter: Counts tokens.
    """
    step = max(n // MOST_COUNTED, 1)
    counted = [counter.of(questions.first(document).messages) for document in islice(documents, 0, None, step)]
    mean = [sum(ends) / max(len(counted), 1) for ends in zip(*counted, strict=True)] or [0.0, 0.0]
    low, high = (_of_one(prompt, questions, least) for prompt, least in zip(mean, (True, False), strict=True))
    usage = tuple(Usage(round(prompt * n), round(completion * n)) for prompt, completion in (low, high))
    turns = 2 if questions.task.prompt.chain_of_thought else 1
    return Estimate(n, turns * n, (usage[0], usage[1]))


def _of_one(prompt: float, questions: Questions, least: bool) -> tuple[float, float]:
    """Returns the prompt and completion tokens of one document."""
    one, most = (20, STATED_TOKENS) if questions.distribution == "stated" else (1, LABEL_TOKENS)
    label = float(one if least else most)
    if questions.distribution == "samples":
        label *= questions.samples
    if not questions.task.prompt.chain_of_thought:
        return prompt, label
    rationale = min(SHORT_RATIONALE, questions.task.prompt.rationale_tokens)
    thought = float(rationale if least else questions.task.prompt.rationale_tokens)
    # The second turn repeats the first, with the rationale and a shorter question behind it.
    return 2 * prompt + thought + prompt / 2, thought + label
