"""Prompts: what the LLM is asked about a document, and how its label strings are tokenised."""

import hashlib
import json
import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import jinja2
import jinja2.sandbox

from redct.documents import Document
from redct.errors import InputError
from redct.hub.examples import example_chooser
from redct.task import Example, Task

Message = dict[str, str]
_THINK = "Think step by step and explain what speaks for and against each option. The answer is asked for afterwards."
# The first character of a tag; what follows it is looked at only, for it may open another.
_TAG = re.compile(r"<(?=\||[^<>\s]+>)|\[(?=/?[a-z]?[A-Z][A-Z0-9_]+\])")
PROMPT_VERSION = 1  # raise it whenever the wording below changes: stores of another wording are refused


def messages(
    task: Task,
    document: Document,
    control: Iterable[str] = (),
    examples: Sequence[Example] = (),
    rationale: str | None = None,
    *,
    lettered: bool = False,
) -> list[Message]:
    """Builds the conversation about one document.

    Args:
        task: The task.
        document: The document to label.
        control: Strings that must not appear in the conversation, see `control_strings`.
        examples: Labeled examples to show, see `redct.hub.examples`.
        rationale: With `task.prompt.chain_of_thought`, the LLM's reasoning; None asks for it.
        lettered: Whether the LLM is to answer with an option's letter, see `letters`, and not with its text.

    Returns:
        A system message, where the task has one, and a user message; with a rationale also an assistant message
        that holds it and the user message that asks for the label. With the layout `document_last` everything that
        all prompts share stands in front.

    Raises:
        InputError: When the task's own template cannot be rendered, or there are too many options for letters.
    """
    control = list(control)
    return _conversation(task, document, lambda text: neutralise(text, control), examples, rationale, lettered)


def remote_messages(
    task: Task,
    document: Document,
    examples: Sequence[Example] = (),
    rationale: str | None = None,
    *,
    lettered: bool = False,
) -> list[Message]:
    """Builds the conversation about one document for a model whose tokenizer is not known, see `messages`."""
    return _conversation(task, document, neutralise_tags, examples, rationale, lettered)


def _conversation(
    task: Task,
    document: Document,
    clean: Callable[[str], str],
    examples: Sequence[Example],
    rationale: str | None,
    lettered: bool,
) -> list[Message]:
    answers = dict(zip(task.labels, letters(task) if lettered else task.readings(), strict=True))
    shown = [
        {"text": clean(e.text), "context": _cleaned(e.context, clean), "answer": answers[e.label]} for e in examples
    ]
    wording = _from_template if task.prompt.template is not None else _wording
    context = _cleaned(document.context, clean)
    turns = [{"role": "user", "content": wording(task, clean(document.text), context, shown, lettered)}]
    if rationale is not None:
        turns.append({"role": "assistant", "content": clean(rationale)})
        turns.append({"role": "user", "content": _second_turn(task, context, lettered)})
    return [{"role": "system", "content": task.prompt.system}, *turns] if task.prompt.system else turns


def _cleaned(context: Mapping[str, str], clean: Callable[[str], str]) -> dict[str, str]:
    return {name: clean(value) for name, value in context.items()}


def _wording(task: Task, text: str, context: dict[str, str], examples: list[dict[str, Any]], lettered: bool) -> str:
    question = task.question.format(**context)
    request = _THINK if task.prompt.chain_of_thought else _request(task, lettered)
    if task.prompt.layout == "text_first":
        shown = [f'"{e["text"]}"\n{task.question.format(**e["context"])}\nAnswer: {e["answer"]}' for e in examples]
        blocks = [f'"{text}"', task.codebook, *_headed(shown), question, _options(task, lettered=True), request]
    else:
        shown = [f"{_about(task, e['text'], e['context'])}\nAnswer: {e['answer']}" for e in examples]
        once = [] if _question_varies(task) else [question]
        last = [*_headed(shown), *(["Now this one:"] if shown else []), _about(task, text, context)]
        blocks = [task.codebook, *once, _options(task, lettered), request, *last]
    return _joined(blocks)


def _second_turn(task: Task, context: dict[str, str], lettered: bool) -> str:
    question = f"With this explanation in mind: {task.question.format(**context)}"
    return _joined([question, _options(task, lettered), _request(task, lettered)])


def _joined(blocks: Iterable[str]) -> str:
    return "\n\n".join(block.strip() for block in blocks if block.strip())


def _question_varies(task: Task) -> bool:
    return any(name for _, name, _, _ in string.Formatter().parse(task.question))


def _about(task: Task, text: str, context: dict[str, str]) -> str:
    lines = [f"{name.capitalize()}: {value}" for name, value in context.items()]
    if _question_varies(task):
        lines.append(f"Question: {task.question.format(**context)}")
    return "\n".join([*lines, f"Text: {text}"])


def _headed(shown: list[str]) -> list[str]:
    return ["Examples:", *shown] if shown else []


def _from_template(
    task: Task, text: str, context: dict[str, str], examples: list[dict[str, Any]], lettered: bool
) -> str:
    definitions = {task.verbalizers.get(label, label): meaning for label, meaning in task.definitions.items()}
    try:
        rendered = _template(str(task.prompt.template)).render(
            text=text,
            context=context,
            codebook=task.codebook,
            question=task.question.format(**context),
            options=task.readings(),
            definitions=definitions,
            examples=examples,
        )
    except Exception as error:  # a template may raise anything
        raise InputError(f"task.prompt.template: {type(error).__name__}: {error}") from error
    if lettered and not task.prompt.chain_of_thought:  # the template knows no letters, and asks in its own way
        return _joined([rendered, _options(task, lettered), _request(task, lettered)])
    return rendered


@cache
def _template(source: str) -> jinja2.Template:
    sandbox = jinja2.sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
    return sandbox.from_string(source)


def prompt_hash(task: Task, *, lettered: bool = False) -> str:
    """Returns the SHA-256 (hex) of everything in the prompts but the documents and the chat template."""
    document = Document("", "<text>", {name: f"<{name}>" for name in task.columns.context}, None)
    rationale = "<rationale>" if task.prompt.chain_of_thought else None
    examples = example_chooser(task)(document)
    turns = messages(task, document, examples=examples, rationale=rationale, lettered=lettered)
    content = "\n".join(turn["content"] for turn in turns)
    if task.prompt.shots and task.prompt.choice == "similar":  # any of them may stand in a prompt
        content += json.dumps([asdict(example) for example in task.examples])
    return hashlib.sha256(f"{PROMPT_VERSION}\n{content}".encode()).hexdigest()


def letters(task: Task) -> list[str]:
    """Returns the letter of each option, in the order of the task's labels.

    Raises:
        InputError: When there are more options than letters.
    """
    if len(task.labels) > len(string.ascii_uppercase):
        raise InputError(
            f"task.labels: found {len(task.labels)}, expected at most 26 where options are lettered A to Z"
        )
    return list(string.ascii_uppercase[: len(task.labels)])


def _options(task: Task, lettered: bool) -> str:
    bullets = [f"{letter})" for letter in letters(task)] if lettered else ["-"] * len(task.labels)
    lines = []
    for bullet, label, reading in zip(bullets, task.labels, task.readings(), strict=True):
        definition = task.definitions.get(label, "")
        lines.append(f"{bullet} {reading}: {definition}" if definition else f"{bullet} {reading}")
    return "\n".join(["Options:", *lines])


def _request(task: Task, lettered: bool) -> str:
    if lettered:
        return f"Answer with exactly one of the letters {', '.join(letters(task))}."
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


def neutralise_tags(text: str) -> str:
    """Breaks up, like `neutralise`, whatever a server may parse as a control token, its tokenizer being unknown.

    That is every `<tag>`, everything that opens with `<|`, and capitals in brackets such as `[/INST]`.
    """
    folded = unicodedata.normalize("NFKC", text)
    return _TAG.sub(r"\g<0> ", folded if _TAG.search(folded) else text)


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
        self._choose = example_chooser(task)
        self._takes_system = _takes_system(tokenizer)
        self._special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
        probe = self._turns(Document("", "text", dict.fromkeys(task.columns.context, "x"), None))
        if probe == self._turns(Document("", "another", dict.fromkeys(task.columns.context, "x"), None)):
            raise InputError("task.prompt.template: found no {{ text }}, expected the document's text in the prompt")
        self.labels, self._drop = self._label_ids(probe)
        self._special_in_frame = self._count_special(self._tokenise([self._render(probe)])[0])
        self._room = max_tokens - max(map(len, self.labels))

    def encode(self, documents: Sequence[Document]) -> list[Encoded]:
        """Tokenises the prompts of some documents; `input_ids` end where a label would begin."""
        rendered = [self._render(self._turns(document)) for document in documents]
        rows = self._tokenise(rendered)
        return [self._checked(document.id, ids) for document, ids in zip(documents, rows, strict=True)]

    def _turns(self, document: Document) -> list[Message]:
        turns = messages(self.task, document, self.control, self._choose(document))
        if self._takes_system:
            return turns
        return [{"role": "user", "content": "\n\n".join(turn["content"] for turn in turns)}]

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


def _takes_system(tokenizer: Any) -> bool:  # noqa: ANN401
    """Tells whether the chat template shows system messages: some refuse them, some drop them silently."""
    turns = [{"role": "system", "content": "\x00mark\x00"}, {"role": "user", "content": "x"}]
    try:
        return "\x00mark\x00" in str(tokenizer.apply_chat_template(turns, tokenize=False))
    except jinja2.TemplateError:
        return False


def _common_prefix(a: list[int], b: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
