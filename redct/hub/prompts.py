"""Prompts: what the LLM is asked about a document, and how its label strings are tokenised."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redct.documents import Document
from redct.errors import InputError
from redct.task import Task

Message = dict[str, str]
PROMPT_VERSION = 1  # raise it whenever the wording below changes: stores of another wording are refused


def messages(task: Task, document: Document, control: Iterable[str] = ()) -> list[Message]:
    """Builds the zero-shot conversation about one document.

    Args:
        task: The task.
        document: The document to label.
        control: Strings that must not appear in the conversation, see `control_strings`.

    Returns:
        One user message. With the layout `document_last` everything that all prompts share stands in front.
    """
    text = neutralise(document.text, control)
    context = {name: neutralise(value, control) for name, value in document.context.items()}
    question = task.question.format(**context)
    lines = [f"{name.capitalize()}: {value}" for name, value in context.items()]
    if task.layout == "text_first":
        blocks = [f'"{text}"', task.codebook, question, _options(task, lettered=True), _request(task)]
    elif question == task.question:
        blocks = [task.codebook, question, _options(task), _request(task), "\n".join([*lines, f"Text: {text}"])]
    else:
        last = "\n".join([*lines, f"Question: {question}", f"Text: {text}"])
        blocks = [task.codebook, _options(task), _request(task), last]
    return [{"role": "user", "content": "\n\n".join(block.strip() for block in blocks if block.strip())}]


def prompt_hash(task: Task) -> str:
    """Returns the SHA-256 (hex) of everything in the prompts but the documents and the chat template."""
    fields = {name: f"<{name}>" for name in task.columns.context}
    content = messages(task, Document("", "<text>", fields, None))[0]["content"]
    return hashlib.sha256(f"{PROMPT_VERSION}\n{content}".encode()).hexdigest()


def _options(task: Task, *, lettered: bool = False) -> str:
    lines = []
    for position, (label, reading) in enumerate(zip(task.labels, task.readings(), strict=True)):
        definition = task.definitions.get(label, "")
        bullet = f"{chr(ord('A') + position)})" if lettered else "-"
        lines.append(f"{bullet} {reading}: {definition}" if definition else f"{bullet} {reading}")
    return "\n".join(["Options:", *lines])


def _request(task: Task) -> str:
    return f"Answer with exactly one of: {', '.join(task.readings())}."


def neutralise(text: str, control: Iterable[str]) -> str:
    """Breaks up every control string in a text by a space after its first character.

    Tokenizers that fold compatibility characters would turn look-alikes into control strings, so a text whose
    NFKC form holds one is folded first.
    """
    control = [c for c in control if c]
    folded = unicodedata.normalize("NFKC", text)
    if any(c in folded for c in control):
        text = folded
    # A space inside one control string can complete another, so this repeats until none is left.
    while found := next((c for c in control if c in text), None):
        text = text.replace(found, f"{found[0]} {found[1:]}")
    return text


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
    """A tokenised prompt, or why there is none."""

    id: str
    input_ids: list[int]
    error: str | None = None


class PromptEncoder:
    """Tokenises prompts and label strings through the model's own chat template.

    Args:
        tokenizer: A transformers tokenizer with a chat template.
        task: The task.
        max_tokens: The longest prompt, label included, that the model takes; longer ones become errors.

    Attributes:
        labels: The token ids of each label as a complete reply, in the order of the task's labels.

    Raises:
        InputError: When the tokenizer has no chat template or two labels have the same tokens.
    """

    def __init__(self, tokenizer: Any, task: Task, max_tokens: int) -> None:  # noqa: ANN401
        if not getattr(tokenizer, "chat_template", None):
            raise InputError(f"labeler.model: the tokenizer of {tokenizer.name_or_path} has no chat template")
        self.tokenizer, self.task = tokenizer, task
        self.control = control_strings(tokenizer)
        self._special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
        probe = messages(task, Document("", "text", dict.fromkeys(task.columns.context, "x"), None))
        self.labels, self._drop = self._label_ids(probe)
        self._special_in_frame = self._count_special(self._tokenise([self._render(probe)])[0])
        self._room = max_tokens - max(map(len, self.labels))

    def encode(self, documents: Sequence[Document]) -> list[Encoded]:
        """Tokenises the prompts of some documents; `input_ids` end where a label would begin."""
        rendered = [self._render(messages(self.task, document, self.control)) for document in documents]
        rows = self._tokenise(rendered)
        return [self._checked(document.id, ids) for document, ids in zip(documents, rows, strict=True)]

    def _checked(self, document_id: str, ids: list[int]) -> Encoded:
        special, ids = self._count_special(ids), ids[: len(ids) - self._drop]
        if len(ids) > self._room:
            return Encoded(document_id, [], f"prompt of {len(ids)} tokens, the model takes {self._room}")
        if special != self._special_in_frame:
            return Encoded(document_id, [], "the text holds a control token that could not be neutralised")
        return Encoded(document_id, ids)

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


def _common_prefix(a: list[int], b: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
