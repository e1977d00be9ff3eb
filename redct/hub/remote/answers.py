"""What a reply says about the labels: log-probabilities of its tokens, votes, or a stated confidence."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from redct.confidence import log_floored

Alternative = tuple[str, float]
"""A token that could stand at a position of the reply, and its log-probability."""

Floats = npt.NDArray[np.float64]

# What may stand before an answer: spaces, as tokenizers write them too, quotes and emphasis.
_LEADING = " \t\r\n\u2581\u0120\u010a\"'\u201c\u201e\u2018\u00ab*_`#([{<-:"
_PREAMBLE = re.compile(r"^(?:final |the )?(?:answer|label|option)(?: is)?\s*:?\s+", re.IGNORECASE)


def label_logprobs(alternatives: Sequence[Alternative], answers: Sequence[str]) -> tuple[Floats, float] | None:
    """Sums the probabilities of the tokens that begin an answer.

    A token begins an answer when it is its first letters, or all of it followed by no further letter, in
    whatever case, and whatever spaces and quotes stand in front. An answer that no alternative begins has at
    most the probability of the least probable alternative, and at most what all alternatives leave: it is
    given the smaller of the two.

    Args:
        alternatives: The tokens at the reply's first position, each with its log-probability.
        answers: The K answers, which differ in their first letters.

    Returns:
        (K,) log-probabilities, not normalised, and the probability of replies that begin no answer; None where
        no alternative begins an answer.
    """
    mass = np.zeros(len(answers))
    known = [(token, min(logprob, 0.0)) for token, logprob in alternatives if not math.isnan(logprob)]
    for token, logprob in known:
        fitting = [k for k, answer in enumerate(answers) if begins(token, answer)]
        if len(fitting) == 1:
            mass[fitting[0]] += math.exp(logprob)
    if not mass.any():
        return None
    left = max(1.0 - sum(math.exp(logprob) for _, logprob in known), 0.0)
    least = min(math.exp(logprob) for _, logprob in known)
    tiny = float(np.finfo(np.float32).tiny)
    logprobs: Floats = np.log(np.where(mass > 0, mass, max(min(least, left), tiny)))
    return logprobs, float(np.clip(1.0 - mass.sum(), 0.0, 1.0))


def begins(token: str, answer: str) -> bool:
    """Tells whether a reply that starts with this token may be this answer."""
    said, wanted = _bare(token), _bare(answer)
    if not said:
        return False
    # In bytes, since a token may end within a character, see `token_text`.
    if wanted.encode().startswith(said.encode("utf-8", "surrogateescape")):
        return True
    return said.startswith(wanted) and not said[len(wanted)].isalnum()


def says_something(token: str) -> bool:
    """Tells whether a token is more than the spaces and quotes that may stand before an answer."""
    return bool(_bare(token))


def named_answer(reply: str, answers: Sequence[str]) -> int | None:
    """Returns the position of the answer that a reply gives, or None.

    The answer has to stand by itself in the reply, or in its first or last line: a mere mention in a sentence
    is no answer, since labels are often common words.
    """
    lines = [line for line in reply.strip().splitlines() if line.strip()]
    for part in dict.fromkeys([reply, *lines[:1], *lines[-1:]]):
        said = _PREAMBLE.sub("", part.strip(_LEADING + ".!,;)]}>"))
        said = said.strip(_LEADING + ".!,;)]}>").casefold()
        found = [k for k, answer in enumerate(answers) if _is_answer(said, _bare(answer))]
        if len(found) == 1:
            return found[0]
    return None


def vote_shares(votes: Sequence[int | None], n_answers: int) -> tuple[Floats, float] | None:
    """Turns the answers of several samples into log-probabilities.

    Args:
        votes: Position of the answer that each sample gave; None where it gave none.
        n_answers: Number of answers, K.

    Returns:
        (K,) logarithms of the shares of all samples, floored, and the share of samples without an answer; None
        where no sample gave one.
    """
    given = [vote for vote in votes if vote is not None]
    if not given:
        return None
    shares = np.bincount(given, minlength=n_answers) / len(votes)
    return log_floored(shares), 1.0 - len(given) / len(votes)


def stated_confidence(reply: str, answers: Sequence[str]) -> tuple[int, Floats] | None:
    """Reads an answer with its confidence from a JSON reply `{"label": ..., "confidence": 0 to 100}`.

    The answer gets the stated probability, but at least 1/K, and the others share the rest. A confidence with a
    decimal point that is at most 1, such as 0.85, is taken as a probability: some models state one all the same.

    Returns:
        The position of the answer and (K,) log-probabilities, floored; None where the reply is of another form.
    """
    stated = _json_object(reply)
    position = named_answer(str(stated.get("label", "")), answers)
    confidence = stated.get("confidence")
    if position is None or not isinstance(confidence, int | float) or not 0 <= confidence <= 100:
        return None
    k = len(answers)
    share = confidence if isinstance(confidence, float) and confidence <= 1 else confidence / 100
    p = max(share, 1 / k)
    probs = np.full(k, (1 - p) / (k - 1))
    probs[position] = p
    return position, log_floored(probs)


def token_text(token: dict[str, Any]) -> str:
    """Returns a token's text from its bytes, where the endpoint gives them.

    A token that ends within a character is the replacement character in its text, like all others of its kind;
    undecodable bytes are kept as Python's surrogate escapes instead.
    """
    raw = token.get("bytes")
    if isinstance(raw, list) and raw and all(isinstance(byte, int) and 0 <= byte < 256 for byte in raw):
        return bytes(raw).decode("utf-8", "surrogateescape")
    return whole_text(str(token.get("token", "")))


def whole_text(text: str) -> str:
    """Returns a text with each half of a surrogate pair, which no file takes, replaced by a question mark."""
    return text.encode("utf-8", "replace").decode()


def _bare(text: str) -> str:
    return text.lstrip(_LEADING).rstrip().casefold()


def _is_answer(said: str, wanted: str) -> bool:
    return said == wanted or (len(wanted) == 1 and re.match(rf"{re.escape(wanted)}[).:]", said) is not None)


def _json_object(reply: str) -> dict[str, Any]:
    start, end = reply.find("{"), reply.rfind("}")
    try:
        found = json.loads(reply[start : end + 1])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
