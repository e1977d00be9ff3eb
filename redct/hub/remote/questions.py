"""What is asked about a document at an endpoint, request by request, and the row that its replies make."""

from collections.abc import Generator
from dataclasses import replace
from typing import Any, Literal

from redct.confidence import margins, normalise
from redct.documents import Document
from redct.errors import InputError
from redct.hub.examples import example_chooser
from redct.hub.prompts import Message, letters, remote_messages
from redct.hub.remote.answers import (
    Floats,
    label_logprobs,
    named_answer,
    stated_confidence,
    vote_shares,
)
from redct.hub.remote.exchange import Reply, Request, Usage
from redct.hub.rows import LabelRow
from redct.task import Task

Distribution = Literal["auto", "logprobs", "samples", "stated"]
AnswerForm = Literal["auto", "label", "letter"]
Interview = Generator[Request, Reply, LabelRow]

_NO_LOGPROBS = (
    "labeler.distribution: the endpoint gives no log-probabilities; expected samples (several replies a document) "
    "or stated (a confidence in words)"
)
LABEL_TOKENS = 8  # enough for an answer behind a space or a quote
STATED_TOKENS = 60
TRIES = 3  # of a request whose reply came whole, but without what was asked for


def answer_form(task: Task, form: AnswerForm) -> Literal["label", "letter"]:
    """Says whether documents are answered with the label or with a letter.

    Only the first token's log-probabilities are to be had, and how the endpoint splits words is unknown. Labels
    are told apart by their first token for certain where they differ in their first letter, and that is ASCII;
    letters (A, B, C) always are.

    Raises:
        InputError: When labels are asked for that cannot be told apart, or letters for too many labels.
    """
    firsts = [reading.strip()[:1].casefold() for reading in task.readings()]
    plain = len(set(firsts)) == len(firsts) and all(first.isascii() and first.isalnum() for first in firsts)
    if form == "label" and not plain:
        raise InputError(
            f"labeler.answer: {', '.join(task.readings())} do not all differ in their first letter, so their first "
            "tokens may be the same; expected answer: letter, or task.verbalizers that do"
        )
    if form == "label" or (form == "auto" and plain):
        return "label"
    letters(task)
    return "letter"


class Questions:
    """Asks about documents, one conversation each.

    Args:
        task: The task.
        distribution: Where the probabilities come from; auto takes log-probabilities where the endpoint gives
            them, else samples.
        form: Answer with the label, or with a letter.
        samples: How many replies make the vote shares.
        seen_logprobs: Whether the endpoint has given log-probabilities before.
    """

    def __init__(
        self,
        task: Task,
        distribution: Distribution,
        form: Literal["label", "letter"],
        samples: int,
        seen_logprobs: bool = False,
    ) -> None:
        self.task, self.distribution, self.samples = task, distribution, samples
        self.lettered = form == "letter"
        self._seen_logprobs = seen_logprobs
        self.answers = letters(task) if self.lettered else task.readings()
        self._choose = example_chooser(task)

    def about(self, document: Document) -> Interview:
        """Yields the requests about a document, takes their replies and returns the document's row.

        The same replies always lead to the same requests, so that an interview can be resumed from a journal.

        Raises:
            InputError: When the endpoint cannot give what was asked for.
        """
        rationale, usage = None, Usage()
        if self.task.prompt.chain_of_thought:
            turns = self._messages(document, None)
            reply = yield Request("rationale", turns, "text", self.task.prompt.rationale_tokens)
            usage += reply.usage
            if trouble := _trouble(reply):
                return _failed(document, trouble, usage)
            rationale = reply.texts[0]
        turns = self._messages(document, rationale)
        row = yield from self._label(document, turns, usage)
        return _with_rationale(row, rationale)

    def first(self, document: Document) -> Request:
        """Returns the first request about a document."""
        return next(self.about(document))

    def second(self, document: Document) -> Request | None:
        """Returns the request that asks for the label after a rationale, here an empty one; None without rationale."""
        if not self.task.prompt.chain_of_thought:
            return None
        return next(self._label(document, self._messages(document, ""), Usage()))

    def _messages(self, document: Document, rationale: str | None) -> list[Message]:
        examples = self._choose(document)
        return remote_messages(self.task, document, examples, rationale=rationale, lettered=self.lettered)

    def _label(self, document: Document, turns: list[Message], usage: Usage) -> Interview:
        if self.distribution == "stated":
            return (yield from self._stated(document, turns, usage))
        if self.distribution in ("auto", "logprobs"):
            row, usage = yield from self._logprobs(document, turns, usage)
            if row is not None:
                return row
        return (yield from self._sampled(document, turns, usage))

    def _logprobs(
        self, document: Document, turns: list[Message], usage: Usage
    ) -> Generator[Request, Reply, tuple[LabelRow | None, Usage]]:
        """Returns the row from log-probabilities, None where the endpoint turns out to give none; and the usage."""
        trouble: str | None = None
        for attempt in range(TRIES):
            reply = yield Request(_again("label", attempt), turns, "logprobs", LABEL_TOKENS)
            usage += reply.usage
            trouble = _trouble(reply)
            if trouble and not _is_malformed(trouble):
                return _failed(document, trouble, usage), usage
            if reply.alternatives:
                self.distribution, self._seen_logprobs = "logprobs", True
                found = label_logprobs(reply.alternatives, self.answers)
                return self._row(document, found, "logprobs", reply.texts[0], usage), usage
        if trouble or self._seen_logprobs:
            return _failed(document, trouble or "malformed: the reply has no log-probabilities", usage), usage
        if self.distribution == "logprobs":
            raise InputError(_NO_LOGPROBS)
        self.distribution = "samples"
        return None, usage

    def _sampled(self, document: Document, turns: list[Message], usage: Usage) -> Interview:
        texts: list[str] = []
        trouble = None
        for attempt in range(self.samples + TRIES):
            if len(texts) >= self.samples:
                break
            left = self.samples - len(texts)
            reply = yield Request(_again("samples", attempt), turns, "samples", LABEL_TOKENS, samples=left)
            usage += reply.usage
            trouble = _trouble(reply)
            if trouble and not _is_malformed(trouble):
                return _failed(document, trouble, usage)
            texts += reply.texts  # an endpoint that knows no `n` gives one
        if not any(text.strip() for text in texts):
            return _failed(document, trouble or "malformed: no choices in the reply", usage)
        votes = [named_answer(text, self.answers) for text in texts]
        return self._row(document, vote_shares(votes, len(self.answers)), "samples", "\n".join(texts), usage)

    def _stated(self, document: Document, turns: list[Message], usage: Usage) -> Interview:
        schema = _schema(self.answers)
        wish = 'Reply as JSON: {"label": your answer, "confidence": how likely it is right, from 0 to 100}.'
        turns = [*turns[:-1], {**turns[-1], "content": f"{turns[-1]['content']}\n\n{wish}"}]
        reply = Reply([])
        for attempt in range(TRIES):
            request = Request(_again("stated", attempt), turns, "stated", STATED_TOKENS, schema=schema)
            reply = yield request
            usage += reply.usage
            if (trouble := _trouble(reply)) and not _is_malformed(trouble):
                return _failed(document, trouble, usage)
            found = stated_confidence(reply.texts[0], self.answers) if reply.texts else None
            if found is not None:
                position, logprobs = found
                return self._row(document, (logprobs, 0.0), "stated", reply.texts[0], usage, best=position)
        said = reply.texts[0] if reply.texts else ""
        return _failed(document, f"unlabeled: no label with a confidence in {_short(said)}", usage)

    def _row(
        self,
        document: Document,
        found: tuple[Floats, float] | None,
        source: str,
        reply: str,
        usage: Usage,
        best: int | None = None,
    ) -> LabelRow:
        if found is None:
            return _failed(document, f"unlabeled: the reply {_short(reply)} names no label", usage, reply)
        logprobs, unlabeled = found
        return LabelRow(
            id=document.id,
            label=self.task.labels[int(logprobs.argmax()) if best is None else best],
            probs=normalise(logprobs[None])[0].tolist(),
            logprobs=logprobs.tolist(),
            margin=float(margins(logprobs[None])[0]),
            unlabeled_mass=unlabeled,
            source=source,
            reply=reply,
            prompt_tokens=usage.prompt,
            completion_tokens=usage.completion,
        )


def _again(purpose: str, attempt: int) -> str:
    return f"{purpose} {attempt + 1}" if attempt else purpose


def _trouble(reply: Reply) -> str | None:
    """Says why a whole reply gives no answer, as `kind: what`."""
    if reply.error:
        return reply.error
    if reply.refusal:
        return f"refused: {_short(reply.refusal)}"
    if reply.finish == "content_filter":
        return "filtered: the endpoint's content filter stopped the reply"
    if not reply.texts:
        return "malformed: no choices in the reply"
    if reply.finish == "length" and not any(text.strip() for text in reply.texts):
        return "malformed: the reply's tokens were used up before it said anything"
    return None


def _is_malformed(trouble: str) -> bool:
    """Tells whether asking again may help."""
    return trouble.startswith("malformed")


def _failed(document: Document, error: str, usage: Usage, reply: str | None = None) -> LabelRow:
    tokens: dict[str, Any] = {"prompt_tokens": usage.prompt, "completion_tokens": usage.completion}
    return LabelRow(document.id, error=error, reply=reply, **tokens)


def _with_rationale(row: LabelRow, rationale: str | None) -> LabelRow:
    return row if rationale is None else replace(row, rationale=rationale)


def _schema(answers: list[str]) -> dict[str, Any]:
    percent = {"type": "integer", "minimum": 0, "maximum": 100}
    properties = {"label": {"type": "string", "enum": answers}, "confidence": percent}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _short(text: str, most: int = 60) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= most else line[:most] + "...")
