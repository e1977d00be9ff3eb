import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.chat import Chat

from redct.hub.remote.answers import (
    begins,
    label_logprobs,
    named_answer,
    stated_confidence,
    token_text,
    vote_shares,
)
from redct.hub.remote.exchange import MalformedReplyError, Reply, Usage, read_reply

ANSWERS = ["For", "Against", "no opinion"]
VARIANTS = [form for answer in ANSWERS for form in (answer, answer.lower(), answer.upper(), f" {answer}", f"{answer}.")]
OTHERS = ["I think", "Sure", "Forty", "?", "nothing", "\u4e2d"]


@given(st.dictionaries(st.sampled_from(VARIANTS + OTHERS), st.floats(0.01, 1), min_size=1, max_size=19))
def test_the_mass_of_all_replies_that_begin_an_answer_is_summed(weights) -> None:
    total = sum(weights.values())
    words = {word: weight / total for word, weight in weights.items()}
    body = {"model": "toy", "messages": [{"content": "x"}], "temperature": 0, "logprobs": True, "top_logprobs": 20}
    reply = read_reply(json.dumps(Chat(lambda prompt: words).reply(body)))
    found = label_logprobs(reply.alternatives, ANSWERS)
    # The server's tokens have up to six letters, so only "Agains" and "no", "opinion" are cut; no other word begins so.
    exact = [
        sum(p for word, p in words.items() if word.strip(" .").casefold() == answer.casefold()) for answer in ANSWERS
    ]
    if not any(exact):
        assert found is None
        return
    logprobs, unlabeled = found
    assert unlabeled == pytest.approx(1 - sum(exact), abs=1e-9)
    for logprob, mass in zip(logprobs, exact, strict=True):
        assert math.exp(logprob) == pytest.approx(mass, abs=1e-9)
    assert np.isfinite(logprobs).all()


@pytest.mark.parametrize(
    ("token", "answer", "fits"),
    [
        ("for", "For", True),
        ("\u2581For", "For", True),
        ("\u0120FOR", "For", True),
        ("F", "For", True),
        (' "For', "For", True),
        ("**For**", "For", True),
        ("For\n", "For", True),
        ("Form", "For", False),
        ("Against", "For", False),
        ("", "For", False),
        (" ", "For", False),
        ("A)", "A", True),
        ("An", "A", False),
        (token_text({"token": "\ufffd", "bytes": [*" F\u00fcr".encode()[:3]]}), "f\u00fcr", True),
        (token_text({"token": "\ufffd", "bytes": [*"F\u00e4r".encode()]}), "f\u00fcr", False),
        (token_text({"token": "\ud83d"}), "for", False),
    ],
)
def test_tokens_begin_answers(token, answer, fits) -> None:
    assert begins(token, answer) is fits


def test_what_no_alternative_begins_has_at_most_what_is_left() -> None:
    alternatives = [("For", math.log(0.7)), ("Sure", math.log(0.2))]
    logprobs, unlabeled = label_logprobs(alternatives, ANSWERS)
    assert np.exp(logprobs) == pytest.approx([0.7, 0.1, 0.1])  # less than the 0.2 of the least alternative
    assert unlabeled == pytest.approx(0.3)
    assert label_logprobs([("For", math.nan)], ANSWERS) is None
    logprobs, _ = label_logprobs([("For", 0.0), ("x", -math.inf)], ANSWERS)
    assert np.isfinite(logprobs).all()


def reply_of(tokens: list[dict], text: str = "For") -> Reply:
    choice = {"message": {"content": text}, "finish_reason": "stop", "logprobs": {"content": tokens}}
    return read_reply(json.dumps({"choices": [choice]}))


def entry(token: str, p: float, **more) -> dict:
    return {"token": token, "logprob": math.log(p), **more}


def test_tokens_that_share_a_text_are_summed_and_the_sampled_one_counts_once() -> None:
    listed = [entry("For", 0.4, id=1), entry("For", 0.2, id=2), entry("", 0.1, id=3, bytes=[*b"For"])]
    inside = reply_of([{**listed[1], "top_logprobs": listed}])
    assert np.exp(label_logprobs(inside.alternatives, ANSWERS)[0][0]) == pytest.approx(0.7)
    missing = reply_of([{**entry("for", 0.05, id=9), "top_logprobs": listed}])
    assert np.exp(label_logprobs(missing.alternatives, ANSWERS)[0][0]) == pytest.approx(0.75)
    for place in (0, 2):
        plain = [entry("no", 0.2), entry("Sure", 0.1)]
        plain.insert(place, entry("For", 0.6))
        found = reply_of([{**entry("For", 0.6), "top_logprobs": plain}])
        assert np.exp(label_logprobs(found.alternatives, ANSWERS)[0]) == pytest.approx([0.6, 0.1, 0.2])


def test_the_first_token_that_says_something_is_read() -> None:
    space = {**entry(" ", 0.9), "top_logprobs": [entry(" ", 0.9)]}
    word = {**entry("For", 0.8), "top_logprobs": [entry("For", 0.8), entry("Against", 0.2)]}
    assert reply_of([space, word]).alternatives == reply_of([word]).alternatives
    assert reply_of([]).alternatives is None
    assert reply_of([entry("For", 0.5)]).alternatives is None  # the sampled token alone is no distribution


BODIES = [
    "", "null", "[]", "{}", "<html>", '"x"', '{"error": {"message": "x"}}', '{"choices": null}', '{"choices": ["x"]}',
    '{"choices": [{"message": "agree"}]}', '{"choices": [{"message": {"content": 3}}]}', '{"choices": [{}]}',
    '{"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"token": "x"}]', "\xff", "[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_other_bodies_are_malformed(body) -> None:
    with pytest.raises(MalformedReplyError):
        read_reply(body)
    with pytest.raises(MalformedReplyError):
        read_reply(body.encode("latin-1"))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "logprobs", "top_logprobs"]), inner
        )
    ),
)


@given(json_values)
def test_any_json_is_a_reply_or_malformed_and_survives_the_journal(value) -> None:
    for content in (value, {"choices": [{"message": {"content": "x"}, "logprobs": value}], "usage": value}):
        try:
            reply = read_reply(json.dumps(content))
        except MalformedReplyError:
            continue
        again = Reply.from_json(reply.to_json())
        assert again.to_json() == reply.to_json()
        reply.to_json().encode()


def test_what_is_kept_of_a_reply() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    choice = {"message": {"content": "half \ud83d", "refusal": None}, "finish_reason": "length"}
    reply = read_reply(json.dumps({"choices": [choice], "usage": usage}))
    assert reply == Reply(["half ?"], "length", None, None, Usage(9, 2, 4))
    refused = {"message": {"content": None, "refusal": "No."}}
    assert read_reply(json.dumps({"choices": [refused]})).refusal == "No."
    assert read_reply(json.dumps({"choices": [choice, refused]})).refusal is None  # one of several samples
    parts = {"message": {"content": [{"type": "text", "text": "For"}]}}
    assert read_reply(json.dumps({"choices": [parts], "usage": "free"})).texts == ["For"]


@pytest.mark.parametrize(
    ("reply", "position"),
    [
        ("For", 0), (" for.", 0), ("**Against**", 1), ("Answer: no opinion", 2), ("The label is: For", 0),
        ("Against\n\nThe author says so.", 1), ("Let me see.\nAgainst", 1), ("I am not for it", None), ("", None),
        ("For or against", None), ("For\nAgainst", 0), ("(For)", 0),
    ],
)  # fmt: skip
def test_answers_are_named_alone(reply, position) -> None:
    assert named_answer(reply, ANSWERS) == position


def test_letters_are_named_with_their_text() -> None:
    assert [named_answer(reply, ["A", "B"]) for reply in ("b", "B) against", "A.", "A text")] == [1, 1, 0, None]


def test_votes_become_shares() -> None:
    logprobs, unlabeled = vote_shares([0, 0, 1, None], 3)
    assert np.exp(logprobs) == pytest.approx([0.5, 0.25, 1e-6])
    assert unlabeled == 0.25
    assert vote_shares([None], 3) is None


@pytest.mark.parametrize(
    ("reply", "probs"),
    [
        ('{"label": "For", "confidence": 80}', [0.8, 0.1, 0.1]),
        ('```json\n{"label": "for", "confidence": 0.8}\n```', [0.8, 0.1, 0.1]),
        ('{"label": "Against", "confidence": 0}', [1 / 3, 1 / 3, 1 / 3]),
        ('{"label": "For", "confidence": 100}', [1, 1e-6, 1e-6]),
        ('{"label": "For", "confidence": 800}', None),
        ('{"label": "Maybe", "confidence": 80}', None),
        ('{"label": "For"', None),
        ("For", None),
    ],
)
def test_stated_confidence_becomes_a_distribution(reply, probs) -> None:
    found = stated_confidence(reply, ANSWERS)
    assert (found is None) == (probs is None)
    if found is not None:
        assert np.exp(found[1]) == pytest.approx(probs)
