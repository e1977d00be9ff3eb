"""Joins documents, LLM labels and expert answers into what the classifier is trained, validated and tested on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from transformers import AutoConfig

from redct.assets import resolve_documents, resolve_model
from redct.documents import Document, Documents, Joined, read_documents
from redct.errors import InputError
from redct.experts import RANDOMISED, Answer, Experts, Ledger, Round, choose_documents
from redct.experts.ledger import GOLD
from redct.files import sha256, write_json
from redct.hub import ensemble
from redct.hub.content_free import content_free_documents
from redct.hub.store import LabelStore, LabelTable
from redct.sources import Source
from redct.splits import Splits, read_splits
from redct.task import Task
from redct.training import corrections
from redct.training.batches import EvaluationBatches, TrainingBatches
from redct.training.classifier import load_tokenizer
from redct.training.corrections import Answers, Calibration
from redct.training.parts import EncodedPart, Part, write_targets
from redct.training.relabeling import Targets, build_targets, choose_validation
from redct.training.reserve import draw_reserve
from redct.training.tokens import suitable_length, tokenise

Drop = Literal["empty", "duplicates", "overlap"]


class LabeledTextDataModule(L.LightningDataModule):
    """LLM-labeled documents, the least certain of them relabeled by experts.

    Args:
        task: The task; the command line takes it from the group `task`.
        train: The corpus to label and to train on.
        test: Held-out files, or the share (0 to 1) of train to hold out.
        validation: Files with gold labels, or the share of the labeled documents to validate on: of the
            expert-labeled ones where that is at least 50 documents, else of the LLM-labeled ones.
        reserve: Documents that serve neither training nor the choice of the checkpoint nor any temperature, so that
            `redct export --max_error` can find out on them when the edge may answer: files with gold labels, drawn
            uniformly at random, or the share (0 to 1) of the experts' answers where data.experts.strategy is random.
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
        encoder: The encoder whose tokenizer is used; the command line takes it from the model.
        max_length: Longest input in tokens; by default the corpus' 99th percentile.
        batch_size: Documents a batch, on each device.
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
        encoder: str = "roberta-base",
        max_length: int | None = None,
        batch_size: int = 32,
        seed: int = 0,
        folder: str | Path = "runs/study",
    ) -> None:
        super().__init__()
        for option, value in (("batch_size", batch_size), ("max_length", max_length)):
            if value is not None and value < 1:
                raise InputError(f"data.{option}: found {value}, expected at least 1")
        self.task, self.train, self.test = task, train, test
        self.validation, self.reserve = validation, reserve
        self.what_to_predict, self.targets, self.experts = predict, targets, experts
        self.calibration, self.combine = calibration, combine
        self.expert_eps, self.drop, self.encoder = expert_eps, drop or [], encoder
        self.max_length, self.batch_size, self.seed = max_length, batch_size, seed
        self.folder = Path(folder)
        self.store = LabelStore(self.folder / "labels")
        self.targets_path = self.folder / "targets.parquet"
        own: list[str | Path] = [self.store.folder]
        self.label_folders = own if labels is None else [labels] if isinstance(labels, str) else [*labels]
        self.notes: list[str] = []
        self.corrections: dict[str, Any] = {}
        self.parts: dict[str, EncodedPart] = {}
        self.prepare_data_per_node = False  # the study's folder is shared by all nodes
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

    def prepare_data(self) -> None:
        """Chooses experts' documents, tokenises and caches, in one process; `setup` then finds all of it."""
        assert self.trainer is not None
        stage = self.trainer.state.fn.value if self.trainer.state.fn else "fit"
        self.setup(stage)
        if stage == "fit":
            self._write_provenance()

    def setup(self, stage: str) -> None:
        """Joins documents and labels for a stage: fit, validate or test."""
        if self.trainer is not None and self.trainer.world_size > 1:
            self._check_sampler()
        parts = {"test": self.test_part()} if stage == "test" else self.fit_parts()
        tokenizer = load_tokenizer(self.encoder)
        if self.max_length is None:
            self.max_length = suitable_length(tokenizer, self.splits().train.documents, self._encoder_limit(tokenizer))
        for name, part in parts.items():
            tokens = tokenise(tokenizer, part.documents, self.max_length, self.folder / "cache")
            self.parts[name] = EncodedPart(part, tokens, tokenizer)

    def _check_sampler(self) -> None:
        if self.trainer._accelerator_connector.use_distributed_sampler:  # type: ignore[union-attr]
            raise InputError("Trainer: redct shares documents out itself; expected use_distributed_sampler=False")

    def _encoder_limit(self, tokenizer: Any) -> int:  # noqa: ANN401
        config = AutoConfig.from_pretrained(resolve_model(self.encoder))
        positions = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
        # RoBERTa counts positions from after the padding index.
        offset = (config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
        return int(min(positions - offset, tokenizer.model_max_length))

    def fit_parts(self) -> dict[str, Part]:
        """Returns the documents to train on, those to validate on and, where the study has one, the reserve.

        Raises:
            InputError: When labels are missing, or gold labels where they are needed.
        """
        documents, stored, answers = self._labeled()
        reserve = {}
        if self.reserve is not None:
            reserve["reserve"], documents, answers = self._set_aside(documents, answers)
        table = stored.aligned([document.id for document in documents])
        if (table.label < 0).all():
            where = ", ".join(map(str, self.label_folders))
            raise InputError(f"{where}: no document has a label, only errors; expected labels to train on")
        table, record = corrections.correct(stored, documents, self.targets, self.calibration, answers, self.seed)
        self.notes += corrections.notes(record)
        self.corrections |= record
        targets = build_targets(table, answers.label, self.targets, self.expert_eps)
        part = _part_of(documents, targets)
        if not isinstance(self.validation, float | int):
            train, validation = part, self._gold_part(self.splits().validation.documents, "data.validation")
        else:
            chosen, _ = choose_validation(targets.label, targets.source, self.validation, self.seed)
            if not len(chosen):
                raise InputError(
                    f"data.validation: a share of {self.validation} of {len(part.documents)} documents is none; "
                    "expected a larger share or a file"
                )
            weights = np.array([1 / answers.inclusion.get(int(n), 1.0) for n in targets.keep])
            part_weighted = Part(part.documents, part.target, part.label, weights.astype(np.float32), part.source)
            validation = part_weighted.rows(chosen)
            train = part.rows(np.setdiff1d(np.arange(len(part.documents)), chosen))
        parts = {"train": train, "validation": validation, **reserve}
        self._describe(table, parts)
        return parts

    def test_part(self) -> Part:
        """Returns the held-out documents with their gold labels.

        Raises:
            InputError: When the study holds nothing out, or what it holds out has no gold labels.
        """
        if not self.splits().test:
            raise InputError("data.test: found nothing, expected held-out files or a share of data.train")
        return self._gold_part(self.splits().test.documents, "data.test")

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
        # Experts are chosen by what the LLM said itself, so that a correction leaves a recorded choice as it is.
        return documents, stored, self._answers(documents, stored.aligned([document.id for document in documents]))

    def _set_aside(self, documents: list[Document], answers: Answers) -> tuple[Part, list[Document], Answers]:
        """Returns the reserve, and the documents and answers that it leaves."""
        if not isinstance(self.reserve, float | int):
            return self._gold_part(self.splits().reserve.documents, "data.reserve"), documents, answers
        drawn = draw_reserve(answers, self.reserve, self.seed)
        label = [answers.label[n] for n in drawn.tolist()]
        reserve = Part.known([documents[n] for n in drawn], label, len(self.task.labels), "expert")
        left = np.setdiff1d(np.arange(len(documents)), drawn)
        return reserve, [documents[n] for n in left], answers.rows(left)

    def _answers(self, documents: Sequence[Document], table: LabelTable) -> Answers:
        if self.experts is None or self.experts.budget == 0:
            return Answers()
        self.folder.mkdir(parents=True, exist_ok=True)
        with Ledger(self.folder / "experts.sqlite") as ledger:
            chosen = choose_documents(
                self.experts,
                table.ids,
                table.label,
                table.margin,
                len(self.task.labels),
                self.seed,
                ledger,
                labels=_hash(table),
            )
            given = self._ask_gold(chosen, documents, ledger)
        index = self.task.index()
        position = {document.id: n for n, document in enumerate(documents)}
        return Answers(
            {position[i]: index[label] for i, label in given.items()},
            {position[i]: chosen.inclusion[i] for i in given},
            self.experts.strategy,
        )

    @staticmethod
    def _ask_gold(chosen: Round, documents: Sequence[Document], ledger: Ledger) -> dict[str, str]:
        gold = {document.id: document.gold for document in documents}
        unanswered = [document_id for document_id in chosen.ids if gold[document_id] is None]
        if unanswered:
            raise InputError(
                f"data.experts.answers: gold, but {len(unanswered)} of the {len(chosen.ids)} chosen documents have "
                f"no gold label (the first: {unanswered[0]!r}); expected task.columns.gold with a value in each row"
            )
        answers = {document_id: str(gold[document_id]) for document_id in chosen.ids}
        before = {answer.document: answer.label for answer in ledger.answers() if answer.annotator == GOLD}
        new = {document_id: label for document_id, label in answers.items() if before.get(document_id) != label}
        ledger.record_all(Answer(i, GOLD, label=label, origin=GOLD) for i, label in new.items())
        return answers

    def _describe(self, table: LabelTable, parts: dict[str, Part]) -> None:
        failed = int((table.label < 0).sum())
        kinds = {source: parts["train"].source.count(source) for source in ("llm", "expert")}
        self.notes.append(f"train: {kinds['llm']} documents with LLM labels, {kinds['expert']} with expert labels")
        if failed:
            self.notes.append(f"{failed} documents that the LLM could not label are left out unless an expert did")
        source = parts["validation"].source[0]
        line = f"validation: {len(parts['validation'].source)} documents with {source} labels"
        if source == "expert" and self.experts is not None and self.experts.strategy not in RANDOMISED:
            line += ", unrepresentative: a deterministic choice"
        self.notes.append(line)
        if "reserve" in parts:
            reserved = parts["reserve"].source
            self.notes.append(f"reserve: {len(reserved)} documents with {reserved[0]} labels, which serve nothing else")

    def _write_provenance(self) -> None:
        """Writes where each training target comes from, and how the labels were combined and corrected."""
        write_json(self.folder / "calibration.json", {"targets": self.targets, **self.corrections})
        parts = {name: encoded.part for name, encoded in self.parts.items()}
        write_targets(self.targets_path, parts, self.task.labels)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps: the longest input, and the SHA-256 of the targets it was trained with."""
        targets = sha256(self.targets_path) if self.targets_path.exists() else None
        return {"max_length": self.max_length, "targets": targets}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuses to go on with training where the reserve may have served it before."""
        fitting = self.trainer is not None and self.trainer.state.fn == "fit"
        if fitting and self.reserve is not None and state_dict["targets"] != self.state_dict()["targets"]:
            raise InputError(
                "data.reserve: the checkpoint was trained with other targets than it leaves, so that documents of it "
                "may have served; train anew, without --ckpt_path"
            )

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Returns shuffled batches, grouped by length."""
        part = self.parts["train"]
        return self._loader(part, TrainingBatches(part.lengths(), self.batch_size, self.seed, *self._rank()))

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Returns every validation document once."""
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Returns every held-out document once."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, name: str) -> DataLoader[dict[str, Tensor]]:
        part = self.parts[name]
        return self._loader(part, EvaluationBatches(part.lengths(), self.batch_size, *self._rank()))

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    @staticmethod
    def _loader(part: EncodedPart, batches: Sampler[list[int]]) -> DataLoader[dict[str, Tensor]]:
        # The sampler gives whole batches, so that Lightning finds its set_epoch and re-batches nothing.
        return DataLoader(part, sampler=batches, batch_size=None)


def _part_of(documents: Sequence[Document], targets: Targets) -> Part:
    kept = [documents[n] for n in targets.keep]
    return Part(kept, targets.probs, targets.label, targets.weight, targets.source)


def _hash(table: LabelTable) -> str:
    digest = hashlib.sha256("\n".join(table.ids).encode())
    digest.update(table.probs.tobytes())
    return digest.hexdigest()
