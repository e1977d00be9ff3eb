from itertools import takewhile

import pytest

from redct.errors import InputError
from redct.hub.remote.address import Address
from redct.hub.remote.dialect import Dialect
from redct.hub.remote.exchange import Request

TURNS = [{"role": "user", "content": "h\u00e9"}]


def dialect(**body) -> Dialect:
    return Dialect(Address("m", "http://localhost/v1", body=body), 20)


def test_bodies() -> None:
    asked = dialect(seed=3).body(Request("label", TURNS, "logprobs", 8))
    assert asked == {
        "model": "m", "messages": TURNS, "max_tokens": 8, "temperature": 0.0, "logprobs": True, "top_logprobs": 20,
        "seed": 3,
    }  # fmt: skip
    sampled = dialect().body(Request("samples", TURNS, "samples", 8, samples=5))
    assert (sampled["n"], sampled["temperature"]) == (5, 1.0)
    assert "logprobs" not in sampled


@pytest.mark.parametrize(
    ("complaint", "changes"),
    [
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", {"max_completion_tokens": 8}),
        ("Invalid value for 'top_logprobs': must be less than or equal to 5.", {"top_logprobs": 5}),
        ("Requested sample logprobs of 20, which is greater than max allowed: 7", {"top_logprobs": 7}),
        ("the valid range of top_logprobs is [0, 10]", {"top_logprobs": 10}),
        ("Unsupported value: 'temperature' does not support 0.0 with this model.", {"temperature": None}),
        ("Unknown field `logprobs`", {"logprobs": None, "top_logprobs": None}),
        ('"n" is not supported', {"n": None}),
        ("only one completion choice is allowed", {"n": None}),
    ],
)
def test_complaints_are_understood(complaint, changes) -> None:
    subject, request = dialect(), Request("label", TURNS, "logprobs", 8, samples=3)
    before = subject.body(request)
    assert subject.learn(before, complaint)
    after = subject.body(request)
    for name, value in changes.items():
        assert after.get(name) == value != before.get(name)
    assert {name for name in before if before[name] != after.get(name)} <= {*changes, "max_tokens"}


def test_a_rejected_document_changes_nothing() -> None:
    subject, request = dialect(), Request("samples", TURNS, "samples", 8, samples=3)
    body = subject.body(request)
    assert subject.learn(body, "context length exceeded")  # perhaps it is n
    assert not subject.learn(subject.body(request), "context length exceeded")  # it is not
    assert subject.body(request) == body
    subject.accepted(body)
    for complaint in ("context length exceeded", "'n', 'temperature' and 'max_completion_tokens'"):
        assert not subject.learn(body, complaint)
    assert subject.body(request) == body


def test_fields_of_the_user_are_never_adapted_without_end() -> None:
    subject, request = dialect(max_tokens=500, top_logprobs=20, n=2), Request("label", TURNS, "logprobs", 8)
    for complaint in ("use 'max_completion_tokens'", "'top_logprobs' must be at most 5", "'n' is unknown"):
        learned = (subject.learn(subject.body(request), complaint) for _ in range(9))
        assert len(list(takewhile(bool, learned))) <= 3


def test_the_most_tokens_a_request_may_take() -> None:
    request = Request("samples", TURNS, "samples", 8, samples=3)
    assert dialect().most(request).completion == 24
    assert dialect(max_completion_tokens=100).most(request).completion == 300
    assert dialect().most(request).prompt >= len("h\u00e9".encode())


@pytest.mark.parametrize(
    ("host", "here"),
    [("localhost", True), ("127.0.0.1", True), ("127.1.2.3", True), ("[::1]", True), ("127.0.0.1.example.org", False),
     ("localhost.example.org", False), ("10.0.0.1", False), ("api.openai.com", False), ("0.0.0.0", False)],
)  # fmt: skip
def test_loopback(host, here) -> None:
    assert Address("m", f"http://{host}:8000/v1").is_loopback is here


def test_keys_come_from_the_environment(monkeypatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_API_TOKEN", "OTHER"):
        monkeypatch.delenv(name, raising=False)
    far = Address("m", "https://example.org/v1")
    with pytest.raises(InputError, match=r"OPENAI_API_KEY or OPENAI_API_TOKEN: not set .* key for example\.org"):
        far.key()
    assert Address("m", "http://127.0.0.1/v1").key() == "none"
    monkeypatch.setenv("OPENAI_API_TOKEN", "old")
    assert far.key() == "old"
    monkeypatch.setenv("OPENAI_API_KEY", " new\n")
    assert far.key() == "new"
    with pytest.raises(InputError, match="OTHER: not set"):
        Address("m", "https://example.org/v1", api_key_env="OTHER").key()
