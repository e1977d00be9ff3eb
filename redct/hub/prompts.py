"""Prompts: what the LLM is asked about a document."""

import hashlib
import json
import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
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
) -> list[Message]:
    """Builds the conversation about one document.

    Args:
        task: The task.
        document: The document to label.
        control: Strings that must not appear in the conversation, see `control_strings`.
        examples: Labeled examples to show, see `redct.hub.examples`.
        rationale: With `task.prompt.chain_of_thought`, the LLM's reasoning; None asks for it.

    Returns:
        A system message, where the task has one, and a user message; with a rationale also an assistant message
        that holds it and the user message that asks for the label. With the layout `document_last` everything that
        all prompts share stands in front.

    Raises:
        InputError: When the task's own template cannot be rendered, or the layout `text_first` has too many options
            for letters.
    """
    control = list(control)
    return _conversation(task, document, lambda text: neutralise(text, control), examples, rationale)


def remote_messages(
    task: Task,
    document: Document,
    examples: Sequence[Example] = (),
    rationale: str | None = None,
    *,
    lettered: bool = False,
) -> list[Message]:
    """Builds the conversation about one document for a model whose tokenizer is not known, see `messages`.

    With `lettered` it is to answer with an option's letter, see `letters`, and not with its text.
    """
    return _conversation(task, document, neutralise_tags, examples, rationale, lettered)


def _conversation(
    task: Task,
    document: Document,
    clean: Callable[[str], str],
    examples: Sequence[Example],
    rationale: str | None,
    lettered: bool = False,
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


def prompt_hash(task: Task) -> str:
    """Returns the SHA-256 (hex) of everything in the prompts but the documents and the chat template."""
    document = Document("", "<text>", {name: f"<{name}>" for name in task.columns.context}, None)
    rationale = "<rationale>" if task.prompt.chain_of_thought else None
    examples = example_chooser(task)(document)
    turns = messages(task, document, examples=examples, rationale=rationale)
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
