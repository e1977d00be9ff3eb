"""The study's trainer: commands that know a whole study are its methods, and their flags its arguments."""

from functools import partial
from inspect import signature
from math import ceil
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.accelerators import CPUAccelerator

from redct.cli.estimate import show_estimates
from redct.cli.sample import Source, choose_round, queue_suspects
from redct.edge.export import Exported, ExportOptions, export_bundle, export_huggingface
from redct.evidence.edge_labels import IN_SAMPLE, NOTHING, OUT_OF_FOLD, EdgeLabels, hash_of, served_by
from redct.evidence.estimates.inquiry import EstimateOptions, Inquiry
from redct.files import sha256
from redct.training.classifier import EdgeClassifier
from redct.training.datamodule import LabeledTextDataModule
from redct.training.length import SuitableLength, suitable_epochs
from redct.training.out_of_fold import out_of_fold
from redct.training.parts import Part

SWITCHES = {
    "per_class": "promise max_error for the documents of each predicted label",
    "wheels": "put the runtime's wheels into the bundle, for a machine without a package index",
}


class StudyTrainer(L.Trainer):
    """Lightning's trainer, which can choose documents and export too."""

    def sample(
        self,
        model: EdgeClassifier,
        datamodule: LabeledTextDataModule,
        source: Source = "corpus",
        round: int | None = None,
        folds: int = 2,
    ) -> None:
        """Choose the documents that experts are to label, and say what more answers would bring.

        Args:
            model: The study's classifier, whose options train the students of `disagreement`.
            datamodule: The study's documents.
            source: What to choose from, see `--from`.
            round: Which round; the next one continues and asks nobody twice. 1 by default.
            folds: Students that `disagreement` trains, each on the documents of the others.
        """
        corpus = datamodule.corpus
        if source == "suspects":
            queue_suspects(corpus, round)
            return

        def edge_probs() -> npt.NDArray[np.float64]:
            return self._cross_fit(model, datamodule, corpus.targets_so_far(), folds)

        choose_round(datamodule, round, edge_probs)

    def estimate(self, model: EdgeClassifier, datamodule: LabeledTextDataModule, options: EstimateOptions) -> None:
        """Estimate shares of labels and regressions by the labels of the edge classifier.

        Args:
            model: The study's classifier, whose options train the students.
            datamodule: The study's documents.
            options: What is asked.
        """
        inquiry = Inquiry(datamodule.corpus, options)  # refused, if need be, before anything is trained
        targets = datamodule.corpus.targets_so_far(inquiry.answers)
        show_estimates(inquiry, self._cross_fit(model, datamodule, targets, options.folds))

    def _cross_fit(
        self, model: EdgeClassifier, datamodule: LabeledTextDataModule, targets: Part, folds: int
    ) -> npt.NDArray[np.float64]:
        """(N, K) label distributions of the corpus, each by a student that was trained on other documents; kept too."""
        corpus, taught = datamodule.corpus, ceil(len(targets.documents) * (folds - 1) / folds)
        documents = corpus.splits().train.documents
        probs = out_of_fold(
            documents,
            targets,
            model_options(model),
            partial(self.student_trainer, ceil(taught / datamodule.batch_size)),
            datamodule.length(),
            datamodule.batch_size,
            datamodule.cache,
            folds,
            corpus.seed,
        )
        about = {"encoder": datamodule.encoder, "targets": hash_of(targets), "folds": folds}
        ids, served = [document.id for document in documents], [NOTHING] * len(documents)
        EdgeLabels(corpus.task.labels, ids, probs, served, about).write(corpus.folder / OUT_OF_FOLD)
        return probs

    def label_corpus(self, model: EdgeClassifier, datamodule: LabeledTextDataModule, checkpoint: Path) -> None:
        """Keeps what a classifier says about the corpus, with what each document served.

        Args:
            model: As it was tested.
            datamodule: The study's documents.
            checkpoint: Where the classifier was read from.
        """
        if self.is_global_zero:
            datamodule.corpus_dataloader()  # tokenises, in one process
        self.strategy.barrier()
        self.test(model, datamodule.corpus_dataloader(), verbose=False)
        if self.is_global_zero:
            corpus = datamodule.corpus
            ids = [document.id for document in corpus.splits().train.documents]
            probs = np.array([model.predictions[n] for n in range(len(ids))])
            about = {"encoder": datamodule.encoder, "checkpoint_sha256": sha256(checkpoint)}
            state = torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True)
            served = served_by(corpus, state.get(type(datamodule).__name__, {}).get("targets"))
            EdgeLabels(corpus.task.labels, ids, probs, served, about).write(corpus.folder / IN_SAMPLE)

    def train_for(self, epochs: int) -> None:
        """Trains so many epochs, whatever was to decide that."""
        kept = [each for each in self.callbacks if not isinstance(each, SuitableLength)]  # type: ignore[has-type]
        self.callbacks, self.fit_loop.max_epochs = kept, epochs

    def student_trainer(self, batches: int, epochs: int | None = None) -> L.Trainer:
        """Returns a trainer that trains as this one does, on one device, and keeps nothing.

        Args:
            batches: That it will train on.
            epochs: How often; by default as this one would.
        """
        suitable = any(isinstance(callback, SuitableLength) for callback in self.callbacks)
        return L.Trainer(
            accelerator="cpu" if isinstance(self.accelerator, CPUAccelerator) else "auto",
            devices=1,
            max_epochs=epochs or (suitable_epochs(batches) if suitable else self.max_epochs),
            max_steps=self.max_steps,
            precision=self.precision,
            gradient_clip_val=self.gradient_clip_val,
            gradient_clip_algorithm=self.gradient_clip_algorithm,
            accumulate_grad_batches=self.accumulate_grad_batches,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            enable_progress_bar=self.progress_bar_callback is not None,
        )

    def export(
        self,
        model: EdgeClassifier,
        datamodule: LabeledTextDataModule,
        ckpt_path: str | None = None,
        to: str | None = None,
        format: Literal["bundle", "huggingface"] = "bundle",
        precision: Literal["auto", "int8", "int8_mixed", "int8_residual", "fp32"] = "auto",
        max_error: float | None = None,
        delta: float = 0.05,
        per_class: bool = False,
        wheels: bool = False,
        python: str | None = None,
        platform: str | None = None,
        license: str | None = None,
    ) -> None:
        """Write the edge bundle: the classifier for a machine without torch and network.

        Args:
            model: Unused: the classifier is read from the checkpoint.
            datamodule: The study's documents.
            ckpt_path: The checkpoint; by default the one of `redct fit`.
            to: Folder of the bundle; by default `edge` in the study's folder, or `huggingface`.
            format: The bundle, or a folder for transformers and model hubs.
            precision: Of the weights. `auto` takes the fastest that answers as the checkpoint does: `int8`, else
                `int8_mixed` (activations of 16 bits in the first third of the layers), else `int8_residual` (in all
                layers), else `fp32`.
            max_error: Defer documents to the hub, so that at most this share of the answered ones is wrong; the
                threshold is chosen on the documents of `data.reserve`.
            delta: Probability that this guarantee fails.
            per_class: See `SWITCHES`.
            wheels: See `SWITCHES`.
            python: Python version of the wheels, such as 3.12; by default this one's.
            platform: Platform of the wheels: linux-x86_64, linux-aarch64, macos-arm64 or windows-x86_64; by default
                this one.
            license: Licence of the classifier, for the model card.
        """
        assert ckpt_path is not None
        checkpoint = Path(ckpt_path)
        trained = EdgeClassifier.load_from_checkpoint(checkpoint, map_location="cpu", weights_only=True)
        folder = Path(to) if to else datamodule.corpus.folder / ("edge" if format == "bundle" else "huggingface")
        if format == "huggingface":
            export_huggingface(trained, datamodule, checkpoint, folder, license)
            print(f"for transformers and model hubs: {folder}")
            return
        options = ExportOptions(precision, max_error, delta, per_class, wheels, python, platform, license)
        _show(export_bundle(trained, datamodule, checkpoint, folder, options, _say))


def model_options(model: EdgeClassifier) -> dict[str, Any]:
    """Returns the options to make another classifier like this one."""
    known = signature(EdgeClassifier).parameters
    options = {name: value for name, value in model.hparams.items() if name in known}
    return options | {"optimizer": model.optimizer}


def _say(what: str) -> None:
    print(f"{what} ...", flush=True)


def _show(exported: Exported) -> None:
    for note in exported.notes:
        print(note)
    print(f"parity of {exported.precision} and checkpoint: {exported.parity}")
    print(f"abstention: {exported.abstention or 'none, every document is answered'}")
    size = sum(path.stat().st_size for path in exported.folder.rglob("*") if path.is_file())
    print(f"bundle: {exported.folder} ({size / 1e6:.0f} MB); try: redct classify {exported.folder} < some.txt")
