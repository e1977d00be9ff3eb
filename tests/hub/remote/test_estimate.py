import itertools
import json

import pytest
from servers.chat import Chat, pieces
from servers.labeling import TASK, documents, label, labeler
from servers.openai_like import OpenAILike

from redct.documents import Document
from redct.hub.remote.estimate import Estimate, estimate
from redct.hub.remote.exchange import Usage
from redct.hub.remote.pacing import Limits
from redct.hub.remote.questions import Questions
from redct.hub.remote.tokens import TokenCounter, token_counter
from redct.task import Prompt, Task

WORDS = {"agree": 0.6, "disagree": 0.3, "neutral": 0.1}
EXACT = TokenCounter(lambda text: (len(pieces(text)), len(pieces(text)) + 0), exact=True)


def varied(n: int) -> list[Document]:
    return [Document(f"d{i}", "so many words, " * (i % 13 + 1) + str(i), {}, None) for i in range(n)]


@pytest.mark.parametrize(
    ("distribution", "thought"), itertools.product(["logprobs", "samples", "stated"], [False, True])
)
def test_what_is_taken_lies_within_the_estimate(distribution, thought, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-toy")
    task = Task(labels=TASK.labels, prompt=Prompt(chain_of_thought=thought, rationale_tokens=120))
    reasons = {"because it says so in as many words, " * 10: 1.0}
    chat = Chat(lambda prompt: reasons if "step by step" in prompt else WORDS)
    given = varied(40)
    with OpenAILike(chat) as server:
        label(labeler(server.url, distribution=distribution, samples=5), given, tmp_path, task)
        requests = len(server.bodies)
    taken = json.loads((tmp_path / "manifest.json").read_text())["usage"]
    for counter in (EXACT, token_counter("toy", None)):
        found = estimate(given, len(given), Questions(task, distribution, "label", 5), counter)
        low, high = found.usage
        assert low.prompt <= taken["prompt_tokens"] + 10 * len(given)  # the toy has no tokens around its messages
        assert taken["prompt_tokens"] <= high.prompt
        assert low.completion <= taken["completion_tokens"] <= high.completion
        assert found.requests == requests


def test_some_of_many_documents_are_counted() -> None:
    counted = []

    def count(text: str) -> tuple[float, float]:
        counted.append(text)
        return 10, 20

    found = estimate(documents(5000), 5000, Questions(TASK, "logprobs", "label", 1), TokenCounter(count, exact=False))
    assert len(counted) == 1000
    assert found == Estimate(5000, 5000, (Usage(14 * 5000, 5000), Usage(24 * 5000, 8 * 5000)))
    assert estimate([], 0, Questions(TASK, "logprobs", "label", 1), EXACT).usage == (Usage(), Usage())


def test_time_at_the_limits() -> None:
    found = Estimate(100, 200, (Usage(1000, 200), Usage(3000, 400)))
    assert found.minutes(Limits()) is None
    assert found.minutes(Limits(requests_per_minute=50)) == (4, 4)
    assert found.minutes(Limits(tokens_per_minute=1000)) == pytest.approx((1.2, 3.4))
    assert found.minutes(Limits(tokens_per_minute=1000, requests_per_minute=100)) == pytest.approx((2, 3.4))
