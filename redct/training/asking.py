"""Asks the experts: chooses their documents by what the LLM said about the corpus, and reads what they answered."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from redct.documents import Document
from redct.errors import InputError
from redct.experts import Answer, Experts, Ledger, Pool, Round, choose_for_experts, choose_for_gold, needs
from redct.experts.exchange import form_of, read
from redct.experts.records import GOLD
from redct.hub.store import LabelTable
from redct.task import Task
from redct.training.answers import Answers, answers_of_file, answers_of_gold, answers_of_people


class Asking:
    """The experts of a study.

    Attributes:
        evidence: What strategies may need beyond the LLM's labels, by name: functions of nothing that give an array
            with a row for each document of the corpus.

    Args:
        experts: Who corrects the LLM, and on which documents; None where nobody does.
        task: The task.
        ledger: The file of the ledger.
        seed: Draws the documents.
    """

    def __init__(self, experts: Experts | None, task: Task, ledger: Path, seed: int) -> None:
        self.experts, self.task, self.ledger, self.seed = experts, task, ledger, seed
        answers = experts.answers if experts is not None else "gold"
        if answers not in ("gold", "ledger") and not Path(answers).is_file():
            raise InputError(
                f"data.experts.answers: found {answers!r}, which is no file; expected gold, ledger or a file"
            )
        self.evidence: dict[str, Callable[[], npt.NDArray[Any]]] = {}

    def answers(self, documents: Sequence[Document], table: LabelTable) -> Answers:
        """Returns what the experts answered; where the gold column stands for them, it is asked now.

        Args:
            documents: The N documents of the corpus.
            table: What the LLM itself said about them.

        Raises:
            InputError: When an answer is missing or not as it must be.
        """
        if self.experts is None or (self.experts.answers == "gold" and self.experts.budget == 0):
            return Answers()
        if self.experts.answers not in ("gold", "ledger"):
            return self._answers_of_file(self.experts.answers, table.ids)
        with Ledger(self.ledger, create=self.experts.answers == "gold") as ledger:
            ledger.check_texts(documents)
            if self.experts.answers == "ledger":
                self._check_answered(ledger)
                return answers_of_people(ledger, table.ids, self.task.labels)
            pool = partial(self._pool, self.experts, table)
            chosen = choose_for_gold(self.experts, documents, pool, self.seed, ledger, _hash(table))
            _ask_gold(chosen, documents, ledger)
            return answers_of_gold(ledger, chosen, table.ids, self.task.labels)

    def _answers_of_file(self, path: str, ids: Sequence[str]) -> Answers:
        found = read(path, form_of(path), self.task, ids, annotator="expert")
        if found.problems:
            raise InputError(
                f"{path}: {len(found.problems):,} rows do not fit the corpus, expected ids of it and labels of the "
                f"task; the first: {found.problems[0]}"
            )
        return answers_of_file(found.answers, ids, self.task.labels, path)

    @staticmethod
    def _check_answered(ledger: Ledger) -> None:
        if all(answer.annotator == GOLD for answer in ledger.answers()):
            chosen = "answer the chosen documents with `redct annotate`"
            expected = chosen if ledger.rounds_for_people() else "choose some with `redct sample`"
            raise InputError(f"{ledger.path}: nobody has answered yet; {expected}, or leave data.experts out")

    def so_far(self, documents: Sequence[Document]) -> Answers:
        """Returns what people have answered so far, which may be nothing.

        Args:
            documents: The N documents of the corpus.
        """
        with Ledger(self.ledger) as ledger:
            ledger.check_texts(documents)
            return answers_of_people(ledger, [document.id for document in documents], self.task.labels)

    def standing(self, documents: Sequence[Document], table: LabelTable) -> Answers | None:
        """Returns the answers that `answers` would, but chooses no documents and asks nobody now.

        Args:
            documents: The N documents of the corpus.
            table: What the LLM itself said about them.

        Returns:
            None where there are no experts, or the gold column was not asked yet.

        Raises:
            InputError: When an answer is not as it must be, or the ledger is missing.
        """
        if self.experts is None or (self.experts.answers == "gold" and self.experts.budget == 0):
            return None
        if self.experts.answers not in ("gold", "ledger"):
            return self._answers_of_file(self.experts.answers, table.ids)
        with Ledger(self.ledger, create=False) as ledger:
            ledger.check_texts(documents)
            if self.experts.answers == "ledger":
                return answers_of_people(ledger, table.ids, self.task.labels)
            rounds = ledger.rounds("gold")
            return answers_of_gold(ledger, rounds[-1], table.ids, self.task.labels) if rounds else None

    def choose(self, documents: Sequence[Document], table: LabelTable, number: int | None = None) -> Round:
        """Chooses the documents of a round for people, see `choose_for_experts`.

        Args:
            documents: The N documents of the corpus.
            table: What the LLM itself said about them.
            number: Which round.

        Raises:
            InputError: When the study has no experts, or the round does not fit those before it.
        """
        if self.experts is None:
            raise InputError("data.experts: found nothing, expected a budget, such as {budget: 0.1}")
        pool = partial(self._pool, self.experts, table)
        with Ledger(self.ledger) as ledger:
            return choose_for_experts(self.experts, documents, pool, self.seed, ledger, _hash(table), number)

    def _pool(self, experts: Experts, table: LabelTable) -> Pool:
        """Returns what is known about the documents, as far as the strategy needs it."""
        wanted = sorted(needs(experts.strategy, experts.mix))
        if missing := [what for what in wanted if what not in self.evidence]:
            found = f"data.experts.strategy: {experts.strategy} needs {', '.join(missing)}"
            raise InputError(f"{found}, which only `redct sample` makes; choose there, with answers: ledger")
        return Pool(table.label, table.probs, table.margin, **{what: self.evidence[what]() for what in wanted})


def _ask_gold(chosen: Round, documents: Sequence[Document], ledger: Ledger) -> None:
    """Records the gold labels of the chosen documents as answers, as far as they are not there."""
    gold = {document.id: document.gold for document in documents}
    unanswered = [document_id for document_id in chosen.ids if gold[document_id] is None]
    if unanswered:
        raise InputError(
            f"data.experts.answers: gold, but {len(unanswered)} of the {len(chosen.ids)} chosen documents have "
            f"no gold label (the first: {unanswered[0]!r}); expected task.columns.gold with a value in each row, or "
            "answers: ledger after `redct sample` and `redct annotate`"
        )
    known = {answer.document: answer.label for answer in ledger.answers() if answer.annotator == GOLD}
    new = [document_id for document_id in chosen.ids if known.get(document_id) != gold[document_id]]
    ledger.record_all(Answer(document_id, GOLD, label=gold[document_id], origin=GOLD) for document_id in new)


def _hash(table: LabelTable) -> str:
    digest = hashlib.sha256("\n".join(table.ids).encode())
    digest.update(table.probs.tobytes())
    return digest.hexdigest()
