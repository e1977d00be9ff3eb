"""Joins documents, LLM labels and expert answers into parts to train, validate and test on. Needs no torch."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import compress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from redct.assets import resolve_documents
from redct.documents import Document, Documents, Joined, read_documents
from redct.errors import InputError
from redct.experts import Experts
from redct.files import write_json
from redct.hub import ensemble
from redct.hub.content_free import content_free_documents
from redct.hub.store import LabelStore, LabelTable
from redct.sources import Source
from redct.splits import Splits, read_splits
from redct.task import Task
from redct.training import corrections
from redct.training.answers import Answers
from redct.training.asking import Asking
from redct.training.corrections import Calibration
from redct.training.held_out import Judges, judges
from redct.training.parts import Part, Provenance, read_targets, write_targets
from redct.training.relabeling import Targets, build_targets, choose_validation
from redct.training.reserve import draw_reserve

Drop = Literal["empty", "duplicates", "overlap"]


class LabeledCorpus:
    """The documents of a study, with what the LLM and the experts said about them.

    Args:
        task: The task; the command line takes it from the group `task`.
        train: The corpus to label and to train on.
        test: Held-out files, or the share (0 to 1) of train to hold out.
        validation: Files with gold labels, or the share of the labeled documents to validate on: of the
            expert-labeled ones where that is at least 50 documents, else of the LLM-labeled ones.
        reserve: Documents that serve neither training nor validation nor any temperature, so that
            `redct export --max_error` can find out on them when the edge may answer: files with gold labels, drawn
            uniformly at random, or the share (0 to 1) of the experts' answers where data.experts.strategy is random;
            what is found then holds for documents that experts can decide, as none of these was skipped or flagged.
        predict: What `redct predict` labels: train, test, both, content_free (texts that say nothing, for
            `calibration.prior`), or files.
        labels: Label stores to learn from, folders such as runs/a/labels; by default the study's own.
        combine: How several stores become one: the average of their distributions, the shares of their votes, or
            the last of the list that has a label.
        targets: Train towards the label (hard), the distribution (soft) or RED-CT's original weights (expit).
        calibration: How the LLM's distributions are corrected before they become targets.
        experts: Who corrects the LLM, and on which documents.
        expert_eps: Probability that a soft target leaves for the labels an expert did not give.
        drop: What to leave out: empty texts, duplicates within a file, training texts in overlap with test.
        seed: Draws shares, choices and the order of training; the command line takes `seed_everything`.
        folder: The study's folder; the command line takes `trainer.default_root_dir`.
    """

    def __init__(
        self,
        task: Task,
        train: Source | list[Source],
        test: float | Source | list[Source] | None = None,
        validation: float | Source | list[Source] = 0.1,
        reserve: float | Source | list[Source] | None = None,
        predict: Literal["train", "test", "both", "content_free"] | Source | list[Source] = "train",
        labels: Source | list[Source] | None = None,
        combine: ensemble.Combination = "average",
        targets: Literal["hard", "soft", "expit"] = "soft",
        calibration: Calibration = Calibration(),  # noqa: B008 - frozen
        experts: Experts | None = None,
        expert_eps: float = 0.0002,
        drop: list[Drop] | None = None,
        seed: int = 0,
        folder: str | Path = "runs/study",
    ) -> None:
        self.task, self.train, self.test = task, train, test
        self.validation, self.reserve = validation, reserve
        self.what_to_predict, self.targets, self.experts = predict, targets, experts
        self.calibration, self.combine = calibration, combine
        self.expert_eps, self.drop, self.seed = expert_eps, drop or [], seed
        self.folder = Path(folder)
        self.store = LabelStore(self.folder / "labels")
        self.asking = Asking(experts, task, self.folder / "experts.sqlite", seed)
        self.targets_path = self.folder / "targets.parquet"
        own: list[str | Path] = [self.store.folder]
        self.label_folders = own if labels is None else [labels] if isinstance(labels, str) else [*labels]
        self.notes: list[str] = []
        self.corrections: dict[str, Any] = {}
        self.provenance = Provenance()
        self._splits: Splits | None = None

    def splits(self) -> Splits:
        """Reads and checks the documents' files, once."""
        if self._splits is None:
            validation, reserve = (None if isinstance(x, float | int) else x for x in (self.validation, self.reserve))
            self._splits = read_splits(self.task, self.train, self.test, validation, self.drop, self.seed, reserve)
        return self._splits

    def documents_to_label(self) -> Documents:
        """Returns the documents that `data.predict` names, to be read from their files as often as need be.

        Raises:
            InputError: When it names the test documents of a study without any.
        """
        what = self.what_to_predict
        if what == "content_free":
            return content_free_documents(self.splits().train)
        if what not in ("train", "test", "both"):
            names = [what] if isinstance(what, str) else what
            return read_documents([resolve_documents(name) for name in names], self.task, drop=self.drop)
        splits = self.splits()
        if what != "train" and not splits.test:
            raise InputError(f"data.predict: found {what!r}, but the study has no data.test")
        return Joined([*([splits.train] if what != "test" else []), *([splits.test] if what != "train" else [])])

    def fit_parts(self) -> dict[str, Part]:
        """Returns the documents to train on, those to validate on and, where the study has one, the reserve.

        Raises:
            InputError: When labels are missing, or gold labels where they are needed.
        """
        documents, stored, answers = self._labeled()
        self._note_provenance(documents, answers)
        reserve = {}
        if self.reserve is not None:
            reserve["reserve"], documents, answers = self._set_aside(documents, answers)
        table = stored.aligned([document.id for document in documents])
        if (table.label < 0).all():
            where = ", ".join(map(str, self.label_folders))
            raise InputError(f"{where}: no document has a label, only errors; expected labels to train on")
        table, record = self._corrected(stored, documents, answers)
        self.notes += corrections.notes(record)
        self.corrections |= record
        targets = self._targets(table, answers)
        part = _part_of(documents, targets)
        if not isinstance(self.validation, float | int):
            train, validation = part, self._gold_part(self.splits().validation.documents, "data.validation")
        else:
            train, validation = self._split(part, _weights(targets, answers), self.validation)
        parts = {"train": train, "validation": validation, **reserve}
        self._describe(table, parts, answers)
        return parts

    def judges(self) -> Judges | None:
        """Returns the answers by which classifiers can be judged that they did not serve; see `held_out.judges`.

        The reserve is not among them. None where there are too few, or nobody knows how they were chosen.
        """
        documents, stored, answers = self._labeled()
        if self.reserve is not None:
            _, documents, answers = self._set_aside(documents, answers)
        table = stored.aligned([document.id for document in documents])

        def teach(known: Answers) -> Part:
            corrected, _ = self._corrected(stored, documents, known)
            return _part_of(documents, self._targets(corrected, known))

        return judges(documents, table, answers, teach, self.seed)

    def known_answers(self) -> int:
        """Returns how many answers there are of a design that is known, those of the reserve apart."""
        documents, _, answers = self._labeled()
        if self.reserve is not None:
            _, _, answers = self._set_aside(documents, answers)
        return 0 if answers.why else len(answers.shares.keys() & answers.weight.keys())

    def _targets(self, table: LabelTable, answers: Answers) -> Targets:
        return build_targets(table, answers.shares, self.targets, self.expert_eps, answers.left_out)

    def _corrected(
        self, stored: LabelTable, documents: list[Document], answers: Answers
    ) -> tuple[LabelTable, dict[str, Any]]:
        """Returns the labels as the experts' answers correct them, and what was done."""
        embed = self.asking.evidence.get("embeddings")
        ids = {document.id for document in documents}
        kept = np.array([document.id in ids for document in self.splits().train.documents])
        embeddings = None if embed is None else lambda: embed()[kept]  # the reserve is no longer among the documents
        return corrections.correct(stored, documents, self.targets, self.calibration, answers, self.seed, embeddings)

    def _split(self, part: Part, weight: npt.NDArray[np.float32], share: float) -> tuple[Part, Part]:
        """Returns what to train on, and a share to validate on; what stands for nothing in the corpus only trains."""
        source = [who if shown else "only trains" for who, shown in zip(part.source, weight > 0, strict=True)]
        chosen, _ = choose_validation(part.label, source, share, self.seed)
        if not len(chosen):
            raise InputError(
                f"data.validation: a share of {share} of {len(part.documents)} documents is none; "
                "expected a larger share or a file"
            )
        weighted = Part(part.documents, part.target, part.label, weight, part.source)
        return part.rows(np.setdiff1d(np.arange(len(part.documents)), chosen)), weighted.rows(chosen)

    def _note_provenance(self, documents: Sequence[Document], answers: Answers) -> None:
        by = {documents[n].id: (names, answers.decided[n]) for n, names in answers.annotators.items()}
        left_out = {documents[n].id: why for n, why in answers.left_out.items()}
        self.provenance = Provenance(by, left_out, answers.strategies, answers.why)

    def written_parts(self) -> dict[str, Part]:
        """Returns the parts as the last `fit` wrote them, whatever experts have answered since.

        Raises:
            InputError: When there was none, or it was of other documents or labels.
        """
        splits = self.splits()
        documents = {d.id: d for corpus in (splits.train, splits.validation, splits.reserve) for d in corpus.documents}
        parts, self.provenance = read_targets(self.targets_path, documents, self.task.labels)
        return parts

    def targets_so_far(self, answers: Answers | None = None) -> Part:
        """Returns all documents that have a target, by what the LLM and experts said so far.

        Args:
            answers: Of the experts; by default people's.
        """
        table = self.own_labels()
        answers = self._usable(answers or self.asking.so_far(self.splits().train.documents))
        return _part_of(self.splits().train.documents, self._targets(table, answers))

    def test_part(self) -> Part:
        """Returns the held-out documents with their gold labels.

        Raises:
            InputError: When the study holds nothing out, or what it holds out has no gold labels.
        """
        if not self.splits().test:
            raise InputError("data.test: found nothing, expected held-out files or a share of data.train")
        return self._gold_part(self.splits().test.documents, "data.test")

    def test_columns(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Returns further columns of the held-out files, see `Corpus.columns`, for the documents of `test_part`.

        Args:
            names: Columns or context fields; where a file holds nothing, the value is empty.

        Raises:
            InputError: When a file lacks one.
        """
        test = self.splits().test
        known = [document.gold is not None for document in test.documents]
        columns = test.columns(names) if names else {}
        return {name: [value or "" for value in compress(values, known)] for name, values in columns.items()}

    def reserve_part(self) -> Part:
        """Returns the documents that served nothing, with their gold or expert labels.

        Raises:
            InputError: When the study has none, or they were not drawn uniformly at random.
        """
        if self.reserve is None:
            raise InputError(
                "data.reserve: found nothing, expected files with gold labels of documents drawn uniformly at random, "
                "or the share of the experts' answers to reserve where data.experts.strategy is random"
            )
        documents, _, answers = self._labeled()
        return self._set_aside(documents, answers)[0]

    def labels_of(self, documents: Sequence[Document]) -> LabelTable | None:
        """Returns what the LLM, or several together, said about documents; None where not all were asked about."""
        if not all(LabelStore(folder).manifest_path.exists() for folder in self.label_folders):
            return None
        labels = self._labels(documents)
        try:
            return labels.aligned([document.id for document in documents])
        except InputError:
            return None

    def labels_by_store(self, documents: Sequence[Document]) -> dict[str, LabelTable]:
        """Returns what each of several label stores says about documents, of those that hold all of them."""
        ids, found = [document.id for document in documents], {}
        if len(self.label_folders) > 1 and all(LabelStore(each).manifest_path.exists() for each in self.label_folders):
            for folder in self.label_folders:
                with suppress(InputError):
                    found[str(folder)] = LabelStore(folder).read(self.task.labels).aligned(ids)
        return found

    def own_labels(self) -> LabelTable:
        """Returns what the LLM said about the corpus.

        Raises:
            InputError: When it was not asked about all documents.
        """
        documents = self.splits().train.documents
        return self._labels(documents).aligned([document.id for document in documents])

    def said_by_llm(self) -> dict[str, str]:
        """Returns the LLM's label of each document of the corpus; empty where it was not asked about all."""
        try:
            table = self.own_labels()
        except InputError:
            return {}
        return {i: table.labels[label] for i, label in zip(table.ids, table.label, strict=True) if label >= 0}

    def _labels(self, documents: Sequence[Document]) -> LabelTable:
        """Reads the label stores, and notes how often they agree on these documents."""
        labelers = ensemble.Ensemble(self.label_folders, self.task.labels, self.combine)
        record = labelers.record([document.id for document in documents])
        self.notes += ensemble.notes(record)
        self.corrections["labels"] = record
        return labelers.table

    def _gold_part(self, documents: Sequence[Document], option: str) -> Part:
        known = [document for document in documents if document.gold is not None]
        if not known:
            raise InputError(f"{option}: no document has a gold label; expected a task with columns.gold and values")
        if len(known) < len(documents):
            self.notes.append(f"{option}: {len(documents) - len(known)} documents without gold label are left out")
        index = self.task.index()
        return Part.known(known, [index[str(document.gold)] for document in known], len(index), "gold")

    def _labeled(self) -> tuple[list[Document], LabelTable, Answers]:
        """Returns the corpus, what the LLM said about it (and content-free texts), and the experts' answers."""
        documents = self.splits().train.documents
        stored = self._labels(documents)
        # Documents are chosen by what the LLM said itself, so that a correction leaves a recorded choice as it is.
        answers = self.asking.answers(documents, stored.aligned([document.id for document in documents]))
        return documents, stored, self._usable(answers)

    def _usable(self, answers: Answers) -> Answers:
        """Returns the answers that targets of the study's kind can be made of: a tie has no hard target."""
        return answers if self.targets == "soft" else answers.without_ties()

    def _set_aside(self, documents: list[Document], answers: Answers) -> tuple[Part, list[Document], Answers]:
        """Returns the reserve, and the documents and answers that it leaves."""
        if not isinstance(self.reserve, float | int):
            return self._gold_part(self.splits().reserve.documents, "data.reserve"), documents, answers
        drawn = draw_reserve(answers.without_ties(), self.reserve, self.seed)
        label = [int(answers.shares[n].argmax()) for n in drawn.tolist()]
        reserve = Part.known([documents[n] for n in drawn], label, len(self.task.labels), "expert")
        left = np.setdiff1d(np.arange(len(documents)), drawn)
        return reserve, [documents[n] for n in left], answers.rows(left)

    def _describe(self, table: LabelTable, parts: dict[str, Part], answers: Answers) -> None:
        failed = int((table.label < 0).sum())
        kinds = {source: parts["train"].source.count(source) for source in ("llm", "expert")}
        self.notes.append(f"train: {kinds['llm']} documents with LLM labels, {kinds['expert']} with expert labels")
        self.notes += answers.notes()
        if failed:
            self.notes.append(f"{failed} documents that the LLM could not label are left out unless an expert did")
        source = parts["validation"].source[0]
        line = f"validation: {len(parts['validation'].source)} documents with {source} labels"
        if source == "expert" and answers.why:
            line += f", unrepresentative: {answers.why}"
        self.notes.append(line)
        if "reserve" in parts:
            reserved = parts["reserve"].source
            self.notes.append(f"reserve: {len(reserved)} documents with {reserved[0]} labels, which serve nothing else")

    def write_provenance(self, parts: Mapping[str, Part]) -> None:
        """Writes where each target comes from, and how the labels were combined and corrected."""
        write_json(self.folder / "calibration.json", {"targets": self.targets, **self.corrections})
        write_targets(self.targets_path, parts, self.task.labels, self.provenance)


def _weights(targets: Targets, answers: Answers) -> npt.NDArray[np.float32]:
    """Returns (M,) weights in an estimate; 0 for an expert's answer to a deterministic choice beside other ones."""
    unknown = 1.0 if answers.why else 0.0
    rows = zip(targets.keep.tolist(), targets.source, strict=True)
    return np.array([answers.weight.get(n, unknown) if s == "expert" else 1.0 for n, s in rows], dtype=np.float32)


def _part_of(documents: Sequence[Document], targets: Targets) -> Part:
    kept = [documents[n] for n in targets.keep]
    return Part(kept, targets.probs, targets.label, targets.weight, targets.source)
