"""How prompts and label strings become tokens of a local model."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from redct.documents import Document
from redct.errors import InputError
from redct.hub.examples import example_chooser
from redct.hub.prompts import Message, messages
from redct.task import Task


def control_strings(tokenizer: Any) -> list[str]:  # noqa: ANN401 - any transformers tokenizer
    """Collects the strings by which a chat template or its tokenizer steers the model.

    These are the tokenizer's added tokens and whatever looks like a tag in the template's own text (for
    Mistral 7B, `[INST]` is plain text to the tokenizer, and an instruction boundary to the model).
    """
    marks = ["\x00user\x00", "\x00assistant\x00", "\x00again\x00"]
    turns = [{"role": role, "content": mark} for role, mark in zip(["user", "assistant", "user"], marks, strict=True)]
    frame = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    for mark in marks:
        frame = frame.replace(mark, "\n")
    tags = re.findall(r"\[/?[A-Za-z_]+\]|<[^<>\s]+>", frame)
    added = [str(token) for token in (*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens)]
    return sorted({c for c in (*tags, *added) if len(c.strip()) > 1}, key=lambda c: (-len(c), c))


@dataclass(frozen=True)
class Encoded:
    """A tokenised prompt, or why there is none.

    Attributes:
        id: The document's id.
        input_ids: The prompt, up to where the reply begins; empty where there is none.
        error: Why there is none.
        document: The document, for a second turn.
    """

    id: str
    input_ids: list[int]
    error: str | None = None
    document: Document | None = None


@dataclass(frozen=True)
class _Frame:
    """What all prompts of a kind have in common.

    Attributes:
        special: How many control tokens they hold.
        room: The most tokens they may have.
        drop: How many of their last tokens belong to the reply.
    """

    special: int
    room: int
    drop: int = 0


class PromptEncoder:
    """Tokenises prompts and label strings through the model's own chat template.

    Args:
        tokenizer: A transformers tokenizer with a chat template.
        task: The task.
        max_tokens: The longest prompt, label included, that the model takes; longer ones become errors.

    Attributes:
        labels: The token ids of each label as a complete reply, in the order of the task's labels.

    Raises:
        InputError: When the tokenizer has no chat template, two labels have the same tokens, or the reasoning would
            leave no room for a prompt.
    """

    def __init__(self, tokenizer: Any, task: Task, max_tokens: int) -> None:  # noqa: ANN401
        if not getattr(tokenizer, "chat_template", None):
            raise InputError(f"labeler.model: the tokenizer of {tokenizer.name_or_path} has no chat template")
        self.tokenizer, self.task = tokenizer, task
        self.control = control_strings(tokenizer)
        self._choose = example_chooser(task)
        self._takes_system = _takes_system(tokenizer)
        self._special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
        thinks = task.prompt.chain_of_thought
        probe = self._turns(_probe(task, "text"), "thought" if thinks else None)
        if probe == self._turns(_probe(task, "another"), "thought" if thinks else None):
            raise InputError("task.prompt.template: found no {{ text }}, expected the document's text in the prompt")
        self.labels, drop = self._label_ids(probe)
        self._answer = _Frame(self._special_in(probe), max_tokens - max(map(len, self.labels)), drop)
        self._first = self._answer
        if thinks:
            self._first = _Frame(self._special_in(probe[:-2]), max_tokens - task.prompt.rationale_tokens)
            if self._first.room < 1:
                raise InputError(
                    f"task.prompt.rationale_tokens: found {task.prompt.rationale_tokens}, expected fewer than the "
                    f"{max_tokens} tokens that the model takes"
                )

    def encode(self, documents: Sequence[Document]) -> list[Encoded]:
        """Tokenises the prompts that ask for the labels of some documents or, in two turns, for a reasoning first."""
        return self._encode(documents, [None] * len(documents), self._first)

    def encode_answers(self, documents: Sequence[Document], rationales: Sequence[str]) -> list[Encoded]:
        """Tokenises the second turns, which ask for the labels of some documents after a reasoning about each."""
        return self._encode(documents, rationales, self._answer)

    def decode(self, replies: Sequence[Sequence[int]]) -> list[str]:
        """Returns the texts of some token ids, without special tokens."""
        texts: list[str] = self.tokenizer.batch_decode(replies, skip_special_tokens=True)
        return texts

    def _encode(self, documents: Sequence[Document], rationales: Sequence[str | None], frame: _Frame) -> list[Encoded]:
        turns = map(self._turns, documents, rationales)
        rows = self._tokenise([self._render(conversation) for conversation in turns])
        return [self._checked(document, ids, frame) for document, ids in zip(documents, rows, strict=True)]

    def _turns(self, document: Document, rationale: str | None) -> list[Message]:
        turns = messages(self.task, document, self.control, self._choose(document), rationale)
        if self._takes_system or turns[0]["role"] != "system":
            return turns
        system, first, *rest = turns
        return [{"role": "user", "content": f"{system['content']}\n\n{first['content']}"}, *rest]

    def _checked(self, document: Document, ids: list[int], frame: _Frame) -> Encoded:
        special, ids = self._count_special(ids), ids[: len(ids) - frame.drop]
        if len(ids) > frame.room:
            return Encoded(document.id, [], f"too long: a prompt of {len(ids)} tokens, the model takes {frame.room}")
        if special != frame.special:
            return Encoded(document.id, [], "the text holds a control token that could not be neutralised")
        return Encoded(document.id, ids, document=document)

    def _special_in(self, turns: list[Message]) -> int:
        return self._count_special(self._tokenise([self._render(turns)])[0])

    def _render(self, turns: list[Message]) -> str:
        return str(self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def _tokenise(self, rendered: list[str]) -> list[list[int]]:
        rows: list[list[int]] = self.tokenizer(rendered, add_special_tokens=False)["input_ids"]
        return rows

    def _count_special(self, ids: list[int]) -> int:
        return sum(token in self._special for token in ids)

    def _label_ids(self, probe: list[Message]) -> tuple[list[list[int]], int]:
        prompt = self._render(probe)
        replies = [self._reply(prompt, probe, reading) for reading in self.task.readings()]
        prompt_ids, *rows = self._tokenise([prompt, *(prompt + reply for reply in replies)])
        # A tokenizer may merge the prompt's last characters with the reply: score from where they part.
        shared = min(_common_prefix(prompt_ids, row) for row in rows)
        labels = [row[shared:] for row in rows]
        for position, ids in enumerate(labels):
            if not ids or ids in labels[:position]:
                raise InputError(
                    f"task.verbalizers: {self.task.readings()[position]!r} cannot be told from another label by "
                    f"the tokenizer of {self.tokenizer.name_or_path}; expected distinct texts"
                )
        if any(a != b and b[: len(a)] == a for a in labels for b in labels):
            # "agree" would count the mass of "agree strongly" too: the end of the reply tells them apart.
            labels = [[*ids, self.tokenizer.eos_token_id] for ids in labels]
        return labels, len(prompt_ids) - shared

    def _reply(self, prompt: str, probe: list[Message], reading: str) -> str:
        turns = [*probe, {"role": "assistant", "content": reading}]
        full = str(self.tokenizer.apply_chat_template(turns, tokenize=False))
        if not full.startswith(prompt) or reading not in full[len(prompt) :]:
            return reading  # a template that rewrites past turns
        end = full.index(reading, len(prompt)) + len(reading)
        return full[len(prompt) : end]


def _probe(task: Task, text: str) -> Document:
    return Document("", text, dict.fromkeys(task.columns.context, "x"), None)


def _takes_system(tokenizer: Any) -> bool:  # noqa: ANN401
    """Tells whether the chat template shows system messages: some refuse them, some drop them silently."""
    turns = [{"role": "system", "content": "\x00mark\x00"}, {"role": "user", "content": "x"}]
    try:
        return "\x00mark\x00" in str(tokenizer.apply_chat_template(turns, tokenize=False))
    except jinja2.TemplateError:
        return False


def _common_prefix(a: list[int], b: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
