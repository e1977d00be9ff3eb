import io
import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import openai
import pytest
from servers.batches import Batches
from servers.chat import Chat
from servers.openai_like import OpenAILike

WORDS = {"agree": 0.4, "agree strongly": 0.3, "disagree": 0.2}
SCHEMA = {"type": "object", "properties": {"label": {"enum": ["disagree", "agree"]}, "disagree": {"type": "number"}}}
JSON_REPLY = {"type": "json_schema", "json_schema": {"name": "label", "schema": SCHEMA, "strict": True}}


@pytest.fixture
def serve():
    """Starts servers and gives their clients."""
    started = []

    def start(chat=None, batches=None, api_key="sk-toy", **options):
        server = OpenAILike(chat or Chat(lambda prompt: WORDS), batches=batches, **options)
        started.append(server.__enter__())
        return openai.OpenAI(base_url=server.base_url, api_key=api_key, max_retries=0)

    yield start
    for server in started:
        server.__exit__()


def ask(client, content="a text", model="toy", **options):
    turns = [{"role": "user", "content": content}]
    return client.chat.completions.create(model=model, messages=turns, **options)


def test_log_probabilities_multiply_to_those_of_the_words(serve) -> None:
    client = serve()
    for seed in range(20):
        choice = ask(client, logprobs=True, top_logprobs=5, seed=seed).choices[0]
        tokens = choice.logprobs.content
        assert b"".join(bytes(token.bytes) for token in tokens).decode() == choice.message.content
        said = math.exp(sum(token.logprob for token in tokens))
        # The end of a reply is no token, so "agree" counts what begins with it.
        assert said == pytest.approx(0.7 if choice.message.content == "agree" else WORDS[choice.message.content])
        first = {entry.token: math.exp(entry.logprob) for entry in tokens[0].top_logprobs}
        assert first == pytest.approx({"agree": 0.7, "disagr": 0.2})
    assert ask(client, temperature=0).choices[0].logprobs is None


def test_draws_follow_the_words_and_repeat_with_a_seed(serve) -> None:
    client = serve()
    reply = ask(client, n=2000, seed=1)
    said = Counter(choice.message.content for choice in reply.choices)
    assert said == Counter(choice.message.content for choice in ask(client, n=2000, seed=1).choices)
    for word, p in WORDS.items():
        assert said[word] / 2000 == pytest.approx(p / 0.9, abs=0.05)
    assert len({ask(client).choices[0].message.content for _ in range(40)}) == 3
    assert {ask(client, temperature=0).choices[0].message.content for _ in range(5)} == {"agree"}


def test_schemas_and_options(serve) -> None:
    choice = ask(serve(), response_format=JSON_REPLY, temperature=0, logprobs=True, top_logprobs=2).choices[0]
    assert json.loads(choice.message.content) == {"label": "agree", "disagree": pytest.approx(0.333)}
    (token,) = [token for token in choice.logprobs.content if token.token == "agree"]
    assert token.logprob == pytest.approx(math.log(2 / 3))
    plain = serve(Chat(lambda prompt: WORDS, logprobs=False, honours_n=False, honours_schema=False))
    reply = ask(plain, response_format=JSON_REPLY, temperature=0, logprobs=True, n=5)
    assert [(choice.message.content, choice.logprobs) for choice in reply.choices] == [("agree", None)]
    cut = ask(serve(), "x", seed=3, max_completion_tokens=1, response_format=JSON_REPLY).choices[0]
    assert cut.finish_reason == "length"


def test_refusals_read_as_openais(serve) -> None:
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        ask(serve(api_key="sk-wrong"))
    with pytest.raises(openai.NotFoundError, match="`other` does not exist") as caught:
        ask(serve(), model="other")
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError, match="Invalid URL"):
        serve().batches.list()
    with pytest.raises(openai.BadRequestError, match="less than or equal to 20"):
        ask(serve(), logprobs=True, top_logprobs=21)
    reasoning = serve(Chat(lambda prompt: WORDS, refused=("max_tokens", "temperature")))
    with pytest.raises(openai.BadRequestError, match="Use 'max_completion_tokens' instead"):
        ask(reasoning, max_tokens=1)
    assert ask(reasoning, max_completion_tokens=1).usage.completion_tokens == 1
    poor = serve(Chat(lambda prompt: WORDS, quota=1))
    ask(poor)
    with pytest.raises(openai.RateLimitError) as caught:
        ask(poor)
    assert caught.value.code == "insufficient_quota"


def submit(client, ids, model="toy"):
    body = {"model": model, "messages": [{"role": "user", "content": "x"}], "temperature": 0}
    lines = [{"custom_id": i, "method": "POST", "url": "/v1/chat/completions", "body": body} for i in ids]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    file = client.files.create(file=("in.jsonl", io.BytesIO(content)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"study": "s"}
    )


def lines(client, file_id):
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()] if file_id else []


def test_a_batch_goes_through_its_statuses(serve) -> None:
    chat = Chat(lambda prompt: WORDS)
    client = serve(chat, Batches(chat, polls=4, fate=lambda i: {"r3": "missing", "r4": "failed"}.get(i, "answered")))
    batch = submit(client, ids := [f"r{i}" for i in range(30)])
    assert (batch.status, batch.metadata) == ("validating", {"study": "s"})
    statuses = [(batch := client.batches.retrieve(batch.id)).status for _ in range(5)]
    assert statuses == ["in_progress", "in_progress", "finalizing", "completed", "completed"]
    assert batch.request_counts.model_dump() == {"total": 30, "completed": 28, "failed": 1}
    answers = lines(client, batch.output_file_id)
    assert {answer["custom_id"] for answer in answers} == {*ids} - {"r3", "r4"}
    assert [answer["custom_id"] for answer in answers] != sorted(answer["custom_id"] for answer in answers)
    assert answers[0]["response"]["body"]["choices"][0]["message"]["content"] == "agree"
    assert [error["response"]["status_code"] for error in lines(client, batch.error_file_id)] == [500]
    assert [batch.id for batch in client.batches.list(limit=1)] == [batch.id]


def test_batches_expire_are_cancelled_and_fail(serve) -> None:
    chat = Chat(lambda prompt: WORDS)
    batches = Batches(chat, polls=3, fate=lambda i: "expired" if i == "r0" else "answered")
    client = serve(chat, batches)
    batch = submit(client, ["r0", "r1", "r2"])
    while batch.status != "expired":
        batch = client.batches.retrieve(batch.id)
    assert [error["error"]["code"] for error in lines(client, batch.error_file_id)] == ["batch_expired"]
    assert len(lines(client, batch.output_file_id)) == 2

    batch = client.batches.retrieve(submit(client, ["r1", "r2", "r3"]).id)
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, [answer["custom_id"] for answer in lines(client, batch.output_file_id)]) == (
        "cancelled",
        ["r1"],
    )
    with pytest.raises(openai.ConflictError, match="Cannot cancel"):
        client.batches.cancel(batch.id)

    failed = client.batches.retrieve(submit(client, ["same", "same"]).id)
    assert (failed.status, failed.errors.data[0].code, failed.errors.data[0].line) == (
        "failed",
        "duplicate_custom_id",
        2,
    )
    wrong = submit(client, ["r1"], model="other")
    while wrong.status != "completed":
        wrong = client.batches.retrieve(wrong.id)
    assert wrong.output_file_id is None  # every request was refused
    assert lines(client, wrong.error_file_id)[0]["response"]["body"]["error"]["code"] == "model_not_found"
    batches.refusal = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached."}
    assert client.batches.retrieve(submit(client, ["r1"]).id).errors.data[0].code == "token_limit_exceeded"


def test_serves_as_a_process_of_its_own() -> None:
    command = [sys.executable, "-m", "servers.openai_like", "--latency", "0.01"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            client = openai.OpenAI(base_url=process.stdout.readline().strip(), api_key="sk-toy")
            assert ask(client, temperature=0).choices[0].message.content == "agree"
        finally:
            process.terminate()
