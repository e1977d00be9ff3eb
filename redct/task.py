"""A task: labels, how they read in a prompt, the columns of its files, and the codebook."""

import hashlib
import json
import string
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from redct.errors import InputError

Layout = Literal["document_last", "text_first"]
Choice = Literal["fixed", "random", "similar"]


@dataclass(frozen=True)
class Columns:
    """Which columns of a file hold what.

    Args:
        text: Column with the document's text.
        gold: Column with the reference label; none where there is no reference.
        id: Column with a unique, stable id; without it, file name and row number.
        context: Context fields, each with its column, such as the target of a stance.
    """

    text: str = "text"
    gold: str | None = None
    id: str | None = None
    context: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """A labeled example of the codebook.

    Args:
        text: The example's text.
        label: One of the task's labels.
        context: A value for every context field.
    """

    text: str
    label: str
    context: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompt:
    """How the LLM is asked.

    Args:
        system: A system message; models without one get it at the head of the prompt.
        layout: `document_last` keeps the part that all prompts share in front; `text_first` is RED-CT's order.
        shots: How many of the task's examples per label stand in the prompt; 0 asks without examples.
        choice: Which ones: `fixed` the first of each label; `random` some drawn once; `similar` those most like
            the document (cosine of TF-IDF over runs of 3 to 5 characters), the most similar last.
        seed: Seed of the random choice.
        template: A Jinja template of the whole user message, in place of redct's wording. It may use text, context
            (field -> value), codebook, question, options, definitions (option -> text) and examples (each with
            text, context and answer), and is rendered in a sandbox.
        chain_of_thought: Whether the LLM explains its reasoning first and gives its label in a second turn.
        rationale_tokens: The most new tokens of the reasoning.
    """

    system: str = ""
    layout: Layout = "document_last"
    shots: int = 0
    choice: Choice = "fixed"
    seed: int = 1
    template: str | None = None
    chain_of_thought: bool = False
    rationale_tokens: int = 200


@dataclass(frozen=True)
class Task:
    """What is to be decided about a document.

    Args:
        labels: The labels, in the order of every probability vector.
        columns: Which columns of the files hold what.
        verbalizers: How a label reads in a prompt, where that is not the label itself.
        gold_values: Values of the gold column that are not the label itself, each with its label.
        codebook: What annotators are told about the task as a whole.
        definitions: What annotators are told about a label.
        question: The question put to the LLM; may name context fields in braces, such as {target}.
        examples: Labeled examples of the codebook.
        prompt: How the LLM is asked.
    """

    labels: list[str]
    columns: Columns = field(default_factory=Columns)
    verbalizers: dict[str, str] = field(default_factory=dict)
    gold_values: dict[str, str] = field(default_factory=dict)
    codebook: str = ""
    definitions: dict[str, str] = field(default_factory=dict)
    question: str = "Which label describes the text best?"
    examples: list[Example] = field(default_factory=list)
    prompt: Prompt = field(default_factory=Prompt)

    def __post_init__(self) -> None:
        """Checks the fields against each other.

        Raises:
            InputError: On fewer than two labels, an empty or duplicate label or verbalizer, a key that is no
                label, a duplicate column, a placeholder or example that does not fit the context fields, fewer
                examples of a label than the prompt shall show, or no room for the reasoning.
        """
        if len(self.labels) < 2:
            raise InputError(f"task.labels: found {self.labels}, expected at least two labels")
        _check_distinct("task.labels", self.labels)
        for option in ("verbalizers", "definitions"):
            _check_known(f"task.{option}", getattr(self, option), self.labels)
        _check_known("task.gold_values (right-hand side)", self.gold_values.values(), self.labels)
        _check_distinct("task.verbalizers", self.readings())
        self._check_columns()
        self._check_question()
        for number, example in enumerate(self.examples, 1):
            self._check_example(f"task.examples, number {number}", example)
        self._check_shots()
        if self.prompt.rationale_tokens < 1:
            raise InputError(f"task.prompt.rationale_tokens: found {self.prompt.rationale_tokens}, expected 1 or more")

    def _check_columns(self) -> None:
        columns = self.columns
        named = [c for c in (columns.text, columns.gold, columns.id) if c is not None]
        if "" in (*named, *columns.context, *columns.context.values()):
            raise InputError("task.columns: found an empty name, expected a column of the file")
        _check_distinct("task.columns", named)
        if columns.gold is not None and columns.gold in columns.context.values():
            raise InputError(f"task.columns: {columns.gold!r} is both gold and context: the answer would be shown")

    def _check_question(self) -> None:
        try:
            names = [name for _, name, _, _ in string.Formatter().parse(self.question) if name is not None]
        except ValueError as error:
            raise InputError(f"task.question: {error} in {self.question!r}; write {{{{ for a brace") from None
        _check_known("task.question", names, self.columns.context, what="context field (task.columns.context)")

    def _check_example(self, where: str, example: Example) -> None:
        _check_known(where, [example.label], self.labels)
        if set(example.context) != set(self.columns.context):
            raise InputError(
                f"{where}: found context fields {sorted(example.context)}, "
                f"expected {sorted(self.columns.context)} (task.columns.context)"
            )

    def _check_shots(self) -> None:
        shots = self.prompt.shots
        if shots < 0:
            raise InputError(f"task.prompt.shots: found {shots}, expected 0 or more")
        for label in self.labels:
            count = sum(example.label == label for example in self.examples)
            if count < shots:
                raise InputError(
                    f"task.prompt.shots: {shots} examples per label asked for, task.examples has {count} of {label!r}"
                )

    def readings(self) -> list[str]:
        """Returns how each label reads in a prompt, in the order of the labels."""
        return [self.verbalizers.get(label, label) for label in self.labels]

    def index(self) -> dict[str, int]:
        """Returns the position of each label."""
        return {label: position for position, label in enumerate(self.labels)}

    def label_of(self, gold_value: str) -> str:
        """Returns the label that a value of the gold column stands for.

        Raises:
            KeyError: When the value stands for no label.
        """
        label = self.gold_values.get(gold_value, gold_value)
        if label not in self.labels:
            raise KeyError(gold_value)
        return label

    def gold_choices(self) -> list[str]:
        """Returns every value that the gold column may hold."""
        return list(dict.fromkeys([*self.gold_values, *self.labels]))

    def hash(self) -> str:
        """Returns the SHA-256 (hex) of everything that shapes a prompt or a label."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def load_task(path: str | Path) -> Task:
    """Reads a task from a YAML file.

    Args:
        path: The YAML file.

    Raises:
        InputError: When the file is missing or does not describe a task.
    """
    from jsonargparse import ArgumentError, ArgumentParser  # noqa: PLC0415 - not needed to build a Task in Python

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file, expected the YAML of a task")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Task, "task")
    try:
        task = parser.instantiate(parser.parse_object({"task": str(Path(path).resolve())})).task
    except ArgumentError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from None
    assert isinstance(task, Task)
    return task


def _check_distinct(option: str, names: list[str]) -> None:
    for name in names:
        if not name.strip():
            raise InputError(f"{option}: found an empty entry in {names}, expected a name")
        if names.count(name) > 1:
            raise InputError(f"{option}: found {name!r} twice, expected each once")


def _check_known(
    option: str, found: Iterable[str], known: Mapping[str, Any] | list[str], what: str = "label (task.labels)"
) -> None:
    for name in found:
        if name not in known:
            raise InputError(f"{option}: {name!r} is no {what}; expected one of {', '.join(known) or '(none)'}")
