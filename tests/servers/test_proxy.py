import threading
import time
from collections import deque

import httpx2
import openai
import pytest
from servers.chat import Chat
from servers.openai_like import OpenAILike
from servers.proxy import (
    FaultProxy,
    delay,
    drip,
    for_each_content,
    garble,
    hang,
    html,
    reset,
    rewrite,
    rewrite_choice,
    status,
    truncate,
)


@pytest.fixture(scope="module")
def upstream():
    with OpenAILike(Chat(lambda prompt: {"agree": 0.7, "disagree": 0.3})) as server:
        yield server


@pytest.fixture
def proxy(upstream):
    with FaultProxy(upstream.url) as proxy:
        yield proxy
        assert proxy.settled()
        assert proxy.busy == 0


def ask(proxy, content="a text", timeout=5.0, **options):
    with openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="sk-toy", max_retries=0, timeout=timeout) as client:
        turns = [{"role": "user", "content": content}]
        return client.chat.completions.create(model="toy", messages=turns, temperature=0, **options)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (status(429, {"error": {"message": "slow down"}}, retry_after="1"), openai.RateLimitError),
        (status(500), openai.InternalServerError),
        (status(401), openai.AuthenticationError),
        (status(404), openai.NotFoundError),
        (html(502), openai.InternalServerError),
        (reset(), openai.APIConnectionError),
        (hang(20), openai.APITimeoutError),
        (truncate(), openai.APIConnectionError),
        (garble(), UnicodeDecodeError),
    ],
)
def test_a_fault_reaches_the_client_and_the_next_request_is_well(fault, error, proxy) -> None:
    proxy.plan = deque([fault])
    with pytest.raises(error) as caught:
        ask(proxy, timeout=0.5 if error is openai.APITimeoutError else 5)
    if error is openai.RateLimitError:
        assert caught.value.response.headers["retry-after"] == "1"
    assert ask(proxy).choices[0].message.content == "agree"
    assert [request.content for request in proxy.requests] == ["a text"] * 2


def test_answers_that_are_none(proxy) -> None:
    proxy.plan = deque(
        [
            html(),
            rewrite(lambda answer: answer | {"choices": []}),
            rewrite_choice(logprobs=None, finish_reason="content_filter", content=None, refusal="No."),
        ]
    )
    assert isinstance(ask(proxy), str)  # the client hands a page through
    assert ask(proxy).choices == []
    choice = ask(proxy, logprobs=True).choices[0]
    assert (choice.message.content, choice.message.refusal) == (None, "No.")
    assert (choice.logprobs, choice.finish_reason) == (None, "content_filter")


def test_slow_answers(proxy) -> None:
    proxy.plan = deque([drip(chunk=100, seconds=0.05), delay(0.3)])
    for _ in range(2):
        start = time.monotonic()
        assert ask(proxy, timeout=2).choices[0].message.content == "agree"
        assert time.monotonic() - start > 0.2


def test_faults_per_content_and_counts_with_requests_at_a_time(proxy) -> None:
    proxy.plan = for_each_content(status(503), delay(0.3))
    codes = {name: [] for name in "abcd"}

    def twice(name: str) -> None:
        with httpx2.Client() as client:
            for _ in range(2):
                body = {"model": "toy", "messages": [{"role": "user", "content": name}]}
                headers = {"Authorization": "Bearer sk-toy"}
                reply = client.post(f"{proxy.url}/v1/chat/completions", json=body, headers=headers)
                codes[name].append(reply.status_code)

    threads = [threading.Thread(target=twice, args=(name,)) for name in codes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == {name: [503, 200] for name in "abcd"}
    assert proxy.per_content == dict.fromkeys("abcd", 2)
    assert 2 <= proxy.busiest <= 4


def test_stands_in_front_of_llama(llama_server) -> None:
    with FaultProxy(llama_server.url, [html(503)]) as proxy:
        client = openai.OpenAI(base_url=f"{proxy.url}/v1", api_key=llama_server.api_key, max_retries=1)
        turns = [{"role": "user", "content": "x"}]
        reply = client.chat.completions.create(model=llama_server.model, messages=turns, max_tokens=1)
        assert reply.usage.completion_tokens == 1
        assert [request.path for request in proxy.requests] == ["/v1/chat/completions"] * 2
        client.close()
        assert proxy.settled()
