"""What becomes of the documents when a proxy between labeler and server goes wrong as told."""

import time
from collections import Counter, deque

import pytest
from servers.labeling import asked, check, documents, label, labeler, rows
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

from redct.errors import RedctError
from redct.hub.remote.journal import usage_of
from redct.hub.remote.pacing import Limits

QUICK = Limits(in_flight=16, timeout=1.5, retries=3, patience=20)


@pytest.fixture(autouse=True)
def key(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-toy")


PASSING = {
    "429, wait 1": status(429, {"error": {"message": "slow down"}}, retry_after="1"),
    "429, wait 0": status(429, retry_after="0"),
    "429, wait garbage": status(429, retry_after="soon"),
    "500": status(500, {"error": {"message": "oops"}}),
    "503, html": html(503),
    "200, html": html(),
    "200, null": rewrite(lambda body: [None]),
    "200, error": rewrite(lambda body: {"error": {"message": "overloaded", "code": 502}}),
    "no choices key": rewrite(lambda body: {"id": "x"}),
    "choices null": rewrite(lambda body: {"choices": None}),
    "message a text": rewrite_choice(message="agree"),
    "408": status(408),
    "hang": hang(20),
    "drip": drip(1, 0.05),
    "reset": reset(),
    "truncate": truncate(),
    "garble": garble(),
    "no choices": rewrite(lambda body: body | {"choices": []}),
    "logprobs null": rewrite_choice(logprobs=None),
}


def test_faults_of_all_kinds_at_once_cost_no_document(proxy, tmp_path) -> None:
    faults = [*PASSING.values()]
    given = documents(4 * len(faults))
    first = for_each_content("first")

    def plan(request):
        return faults[int(request.content.split()[-1]) % len(faults)] if first(request) else None

    proxy.plan = plan
    label(labeler(proxy.url, limits=QUICK), given, tmp_path)
    found = rows(tmp_path)
    check(found, given)
    assert all(row["error"] is None and row["source"] == "logprobs" for row in found.values())
    assert sum(asked(proxy).values()) <= 2.2 * len(given)


@pytest.mark.slow
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_passes_costs_one_repetition(fault, proxy, tmp_path) -> None:
    given = documents(12)
    proxy.plan = for_each_content(fault)
    label(labeler(proxy.url, limits=QUICK), given, tmp_path)
    found = rows(tmp_path)
    check(found, given)
    assert all(row["error"] is None and row["source"] == "logprobs" for row in found.values())
    assert max(asked(proxy).values()) <= 3  # a 429 may hit those that wait for the same moment twice
    assert sum(asked(proxy).values()) <= 30


LASTING = {
    "refused": rewrite_choice(content=None, refusal="I can't help with that.", logprobs=None),
    "filtered": rewrite_choice(content="", finish_reason="content_filter", logprobs=None),
    "malformed": rewrite_choice(content="", finish_reason="length", logprobs=None),
    "unlabeled": rewrite_choice(
        content="Banana",
        logprobs={"content": [{"token": "B", "logprob": -0.1, "top_logprobs": [{"token": "B", "logprob": -0.1}]}]},
    ),
    "rejected": status(400, {"error": {"message": "This model's maximum context length is 9 tokens."}}),
    "rejected, as a pace": status(429, {"error": {"message": "Request too large: limit 30000, requested 40000"}}),
    "unreachable": status(500, {"error": {"message": "oops"}}),
}


@pytest.mark.parametrize("kind", LASTING)
def test_what_lasts_becomes_an_error_of_its_kind(kind, proxy, tmp_path) -> None:
    given = documents(40)
    bad = {f"Text: text {n}" for n in (0, 7, 8, 9, 10, 11, 39)}

    def plan(request):
        return LASTING[kind] if any(request.content.endswith(text) for text in bad) else None

    proxy.plan = plan
    label(labeler(proxy.url, limits=Limits(in_flight=4, retries=1)), given, tmp_path)
    found = rows(tmp_path)
    check(found, given)
    failed = {name: row["error"] for name, row in found.items() if row["error"]}
    assert sorted(failed) == sorted(f"d{text.split()[-1]}" for text in bad)
    assert {error.split(":")[0] for error in failed.values()} == {kind.split(",")[0]}


@pytest.mark.parametrize("wait", ["1", "0", "garbage"])
def test_a_storm_of_refusals_is_waited_out(wait, proxy, tmp_path) -> None:
    given = documents(300)
    storms = deque([(30, 1.0), (150, 0.5)])  # after so many requests, for so many seconds
    until = [0.0]

    def plan(request):
        if storms and len(proxy.requests) > storms[0][0]:
            until[0] = time.monotonic() + storms.popleft()[1]
        return status(429, retry_after=wait) if time.monotonic() < until[0] else delay(0.02)

    proxy.plan = plan
    label(labeler(proxy.url, limits=Limits(in_flight=16)), given, tmp_path)
    found = rows(tmp_path)
    check(found, given)
    assert not any(row["error"] for row in found.values())
    print(f"storm, Retry-After {wait}: {len(proxy.requests)} requests for {len(given)} documents")
    assert len(proxy.requests) <= 1.2 * len(given)


@pytest.mark.slow
def test_an_endpoint_with_a_lower_rate_than_told_is_asked_at_its_rate(proxy, tmp_path) -> None:
    given = documents(300)
    tokens, last = [20.0], [time.monotonic()]

    def plan(request):
        now = time.monotonic()
        tokens[0] = min(tokens[0] + (now - last[0]) * 60, 20.0)
        last[0] = now
        if tokens[0] < 1:
            return status(429, retry_after="0.2")
        tokens[0] -= 1
        return delay(0.1)

    proxy.plan = plan
    label(labeler(proxy.url, limits=Limits(in_flight=32)), given, tmp_path)
    check(rows(tmp_path), given)
    print(f"lower rate: {len(proxy.requests)} requests for {len(given)} documents")
    assert len(proxy.requests) <= 1.2 * len(given)


FATAL = {
    "wrong key": (status(401, {"error": {"message": "Incorrect API key provided."}}), "Incorrect API key"),
    "unknown model": (status(404, {"error": {"message": "The model `toy` does not exist"}}), "does not exist"),
    "unknown model, as 400": (status(400, {"error": {"message": "toy is not a valid model ID"}}), "not a valid"),
    "forbidden": (status(403, {"error": {"message": "no access"}}), "no access"),
    "no money": (status(402, {"error": {"message": "Insufficient credits"}}), "Insufficient credits"),
    "quota": (
        status(429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}),
        "exceeded your quota",
    ),
    "a day's wait": (status(429, retry_after="86400"), "86400 s"),
}


@pytest.mark.parametrize("distribution", ["auto", "samples"])
@pytest.mark.parametrize(("fault", "said"), FATAL.values(), ids=FATAL)
def test_what_concerns_all_stops_within_five_requests(fault, said, distribution, proxy, tmp_path) -> None:
    proxy.plan = lambda request: fault
    with pytest.raises(RedctError, match=said) as caught:
        label(labeler(proxy.url, distribution=distribution), documents(100), tmp_path)
    assert len(proxy.requests) <= 5
    assert "\n" not in str(caught.value)
    assert rows(tmp_path) == {}


@pytest.mark.parametrize("distribution", ["auto", "logprobs"])
@pytest.mark.parametrize("kind", ["malformed", "rejected", "unlabeled"])
def test_an_endpoint_that_labels_nothing_is_not_asked_about_all(kind, distribution, proxy, tmp_path) -> None:
    proxy.plan = lambda request: LASTING[kind] if "Text:" in request.content else None
    options = {"distribution": distribution, "limits": Limits(in_flight=8)}
    with pytest.raises(RedctError, match=f"none of the first 20 documents got a label, the last one: {kind}: "):
        label(labeler(proxy.url, **options), documents(500), tmp_path)
    assert len(proxy.requests) <= 3 * (20 + 8)
    assert len(rows(tmp_path)) >= 20  # the same command goes on behind them
    proxy.plan = lambda request: None
    label(labeler(proxy.url, **options), documents(100), tmp_path)
    check(rows(tmp_path), documents(100))


def test_a_quota_that_ends_in_the_middle_stops_and_goes_on_later(upstream, tmp_path) -> None:
    upstream.chat.quota = 60
    with FaultProxy(upstream.url, lambda request: delay(0.02)) as proxy:
        with pytest.raises(RedctError, match="quota is used up"):
            label(labeler(proxy.url, limits=Limits(in_flight=4)), documents(200), tmp_path)
        assert 61 <= len(proxy.requests) <= 64  # those that were under way
        upstream.chat.quota = 10_000
        label(labeler(proxy.url), documents(200), tmp_path)
        assert len(proxy.requests) <= 204
        check(rows(tmp_path), documents(200))
        assert usage_of(tmp_path)["full"].completion == 200
        assert proxy.settled()


def test_nobody_at_the_address_is_said_soon(tmp_path) -> None:
    start = time.monotonic()
    with pytest.raises(RedctError, match=r"http://127\.0\.0\.1:9/v1, model 'toy'"):
        label(labeler("http://127.0.0.1:9"), documents(100), tmp_path)
    assert time.monotonic() - start < 15
    assert rows(tmp_path) == {}


@pytest.mark.parametrize("death", [reset(), html(502), hang(20)], ids=["reset", "502", "hang"])
def test_a_server_that_dies_makes_no_errors_of_documents(death, proxy, tmp_path) -> None:
    proxy.plan = lambda request: death if len(proxy.requests) > 50 else None
    limits = Limits(in_flight=8, timeout=1.5, retries=1, patience=3)
    with pytest.raises(RedctError, match="the same command goes on"):
        label(labeler(proxy.url, limits=limits), documents(100), tmp_path)
    assert not any(row["error"] for row in rows(tmp_path).values())
    before = len(proxy.requests)
    assert before < 120
    proxy.plan = lambda request: None
    label(labeler(proxy.url, limits=limits), documents(100), tmp_path)
    found = rows(tmp_path)
    check(found, documents(100))
    assert not any(row["error"] for row in found.values())
    assert len(proxy.requests) - before <= 51


def test_an_outage_shorter_than_the_patience_costs_no_document(proxy, tmp_path) -> None:
    start = time.monotonic()
    proxy.plan = lambda request: html(502) if 0.5 < time.monotonic() - start < 2.5 else delay(0.05)
    label(labeler(proxy.url, limits=Limits(in_flight=8, retries=1)), documents(200), tmp_path)
    found = rows(tmp_path)
    check(found, documents(200))
    assert not any(row["error"] for row in found.values())


def test_poisonous_documents_become_errors_even_alone(proxy, tmp_path) -> None:
    poison = {f"text {n}" for n in range(3)}
    proxy.plan = lambda request: hang(20) if request.content.split(": ")[-1] in poison else None
    limits = Limits(in_flight=8, timeout=1, retries=0)
    for given in (documents(3), documents(20)):  # a run of nothing else, then one with good ones behind
        label(labeler(proxy.url, limits=limits), given, tmp_path / str(len(given)))
        found = rows(tmp_path / str(len(given)))
        check(found, given)
        assert Counter(row["error"] for row in found.values() if row["error"]).total() == 3
