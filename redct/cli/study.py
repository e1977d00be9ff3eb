"""One LightningCLI for predict, fit, validate, test and export: one study is one YAML with the same groups for all."""

import logging
import sys
import warnings
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from transformers.utils import logging as transformers_logging

from redct.cli import baselines, estimate, labeling, sample, testing, tune
from redct.cli.progress import StudyProgressBar
from redct.cli.results import show_expected_gain, show_labels, show_validation
from redct.cli.studyfile import study_folder
from redct.cli.trainer import SWITCHES, StudyTrainer
from redct.errors import InputError
from redct.hub.labeler import Labeler
from redct.hub.store import LabelStore
from redct.task import Task
from redct.training.classifier import EdgeClassifier
from redct.training.datamodule import LabeledTextDataModule
from redct.training.length import SuitableLength

COMMANDS = {
    "predict": "Label documents with a large language model.",
    "sample": f"Choose the documents that experts are to label. {sample.WHY_RANDOMISED} {sample.STRATEGY_HELP}",
    "fit": "Relabel with experts, then train the edge classifier.",
    "validate": "Score the checkpoint on the validation documents.",
    "test": "Score the checkpoint on held-out documents, beside the LLM.",
    "estimate": estimate.DESCRIPTION,
    "export": "Write the edge bundle: the classifier for a machine without torch and network.",
}
TRAINER_DEFAULTS = {"use_distributed_sampler": False, "num_sanity_val_steps": 0}


def run(args: Sequence[str]) -> None:
    """Runs predict, sample, fit, validate, test, export, or estimate with the labels of the edge."""
    if len(args) == 1:
        raise InputError(f"redct {args[0]}: found no study, expected --config STUDY.yaml")
    _quiet()
    # Lightning re-executes sys.argv for the other processes of DDP, so it must be left to read it itself.
    StudyCLI(args=None if list(args) == sys.argv[1:] else list(args))


class StudyCLI(LightningCLI):
    """Wires task, data, labeler, model and trainer of a study."""

    def __init__(self, args: ArgsType = None) -> None:
        parsers = {name: {"exit_on_error": False, "description": text} for name, text in COMMANDS.items()}
        super().__init__(
            EdgeClassifier,
            LabeledTextDataModule,
            save_config_kwargs={"overwrite": True},
            trainer_class=StudyTrainer,
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=1,
            parser_kwargs={"exit_on_error": False, **parsers},
            auto_configure_optimizers=False,
            args=args,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Names the commands, each with the arguments of the trainer's method that are not options."""
        shared = {"model", "datamodule", "dataloaders", "weights_only"}
        return {
            "predict": shared | {"ckpt_path", "return_predictions"},
            "fit": shared | {"train_dataloaders", "val_dataloaders"},
            "validate": shared | {"verbose"},
            "test": shared | {"verbose"},
            "sample": shared | {"source"},
            "estimate": shared | {"options"},
            "export": shared | set(SWITCHES),
        }

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:  # noqa: ANN401
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        if subcommand == "predict":
            labeling.add_flags(parser)
        if subcommand == "sample":
            sample.add_flags(parser)
        if subcommand == "estimate":
            estimate.add_options(parser)
        if subcommand == "test":
            testing.add_flags(parser)
        if subcommand == "fit":
            tune.add_flags(parser)
            baselines.add_flags(parser)
        if subcommand == "export":
            for flag, text in SWITCHES.items():
                parser.add_argument(f"--{flag}", action="store_true", help=text)
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds task and labeler, and derives from them what the other groups need."""
        parser.add_class_arguments(Task, "task", sub_configs=True)
        parser.add_subclass_arguments(Labeler, "labeler", required=False)
        parser.link_arguments("task.labels", "model.labels")
        parser.link_arguments("task", "data.task", apply_on="instantiate")
        parser.link_arguments("model.encoder", "data.encoder")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.link_arguments("trainer.default_root_dir", "data.folder", compute_fn=_folder)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses, gives the study its folder and commands that need a checkpoint the best one."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*args parameter is intended.*")
            super().parse_arguments(parser, args)
        command = self.config.subcommand
        config = self.config[command]
        config.trainer.default_root_dir = study_folder(config.get("config") or [], config.trainer.default_root_dir)
        self.folder = Path(config.trainer.default_root_dir)
        config.data.folder = str(self.folder)
        if command in ("test", "validate", "export") and config.ckpt_path in (None, "best"):
            config.ckpt_path = str(self.folder / "checkpoints" / "best.ckpt")
        if command == "fit" and config.ckpt_path == "last":
            config.ckpt_path = str(self.folder / "checkpoints" / "last.ckpt")

    def _parse_ckpt_path(self) -> None:
        """Refuses a checkpoint that the study's model contradicts, where Lightning would let it win silently."""
        path = self.config[self.config.subcommand].get("ckpt_path")
        if path is None:
            return
        if not Path(path).is_file():
            raise InputError(f"{path}: no such checkpoint; make one with `redct fit`")
        trained = torch.load(path, weights_only=True, map_location="cpu", mmap=True).get("hyper_parameters", {})
        asked = self.config[self.config.subcommand].model.as_dict()
        if asked["labels"] != trained.get("labels"):
            raise InputError(
                f"{path}: checkpoint of another task, with labels {trained.get('labels')}; "
                f"expected {asked['labels']} (task.labels)"
            )
        # The other options say how it is trained, and do not change what it is.
        for option in asked if self.config.subcommand == "fit" else ["encoder"]:
            value = asked[option]
            if option in trained and value != trained[option]:
                raise InputError(
                    f"model.{option}: found {value!r}, but {path} was trained with {trained[option]!r}; "
                    "train anew with `redct fit`, or ask for the same"
                )

    def instantiate_classes(self) -> None:
        """Instantiates all groups; predict runs the labeler in place of the classifier."""
        super().instantiate_classes()
        self.study, self.data = self.datamodule.corpus, self.datamodule
        self.labeler: Labeler | None = self._get(self.config_init, "labeler")
        if self.subcommand == "predict":
            if self.labeler is None:
                raise InputError("labeler: found nothing, expected class_path, for example redct.hub.LocalLabeler")
            self.model, self.datamodule = self.labeler, None

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:  # noqa: ANN401 - as Lightning has it
        """Builds the trainer with the study's callbacks and logger."""
        config = self._get(self.config_init, "trainer")
        given = config.get("callbacks") or []
        given = [*given] if isinstance(given, list) else [given]
        if self.subcommand != "fit":
            self.save_config_callback = None
        if config.get("logger") is None:
            kwargs["logger"] = CSVLogger(self.folder, name="logs") if self.subcommand == "fit" else False
        ours = [callback for callback in self._callbacks() if not any(type(callback) is type(g) for g in given)]
        try:
            return super().instantiate_trainer(**kwargs, callbacks=[*given, *ours])
        except (MisconfigurationException, ValueError) as error:
            raise InputError(f"trainer: {error}") from error

    def _callbacks(self) -> list[Callback]:
        asked = self._get(self.config_init, "trainer")
        ours: list[Callback] = [] if asked.get("enable_progress_bar") is False else [StudyProgressBar()]
        if asked.get("max_epochs") is None and asked.get("max_time") is None and asked.get("max_steps") == -1:
            ours.append(SuitableLength())
        if self.subcommand == "fit":
            folder = self.folder / "checkpoints"
            # The last epoch, not the best one: few validation documents tell epochs apart by chance, the learning rate
            # has fallen to zero only there, and a score that nothing was chosen by is an honest one.
            ours.append(
                ModelCheckpoint(
                    folder, "best", save_last=True, save_on_train_epoch_end=True, enable_version_counter=False
                )
            )
        return ours

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs: dict[str, Any] = super()._prepare_subcommand_kwargs(subcommand)
        if subcommand == "predict":
            kwargs["return_predictions"] = False
        if subcommand == "export":
            kwargs |= {flag: self.config_init[subcommand][flag] for flag in SWITCHES}
        if subcommand == "sample":
            kwargs["source"] = self.config_init[subcommand]["from"]
        if subcommand == "estimate":
            kwargs["options"] = estimate.read_options(self.config_init[subcommand])
        if subcommand == "test":
            kwargs["verbose"] = False  # redct's own table has intervals
        return kwargs

    def _check_labels(self) -> None:
        """Refuses labels in the store that this study's task or labeler would not have made, or of another task."""
        for folder in self.study.label_folders:
            if Path(folder).resolve() != self.study.store.folder.resolve():
                LabelStore(folder).check_labels(self.study.task.labels)
            elif self.labeler is not None:
                self.labeler.assign(self.study.task, [], self.study.store, self.study.seed)

    def before_predict(self) -> None:
        """Gives the labeler its documents, and asks whether they may leave this machine."""
        assert self.labeler is not None
        study, self.flags = self.study, labeling.read_flags(self.config[self.subcommand])
        documents, notes = labeling.narrow(study.documents_to_label(), study.task, self.flags)
        self.labeler.assign(study.task, documents, study.store, study.seed)
        labeling.limit_cost(self.labeler, self.flags)
        self.labeler.retry_errors = self.flags.retry_errors
        self._say([*study.splits().notes, *notes])
        if self.trainer.is_global_zero and not self.flags.dry_run:
            labeling.ask_consent(self.labeler, self.flags.yes)
        self.documents = documents

    def predict(self, **kwargs: Any) -> None:  # noqa: ANN401 - as Lightning has it
        """Labels, or only says what labeling would take."""
        assert self.labeler is not None
        if self.flags.dry_run:
            labeling.show_plan(self.labeler)
        else:
            self.trainer.predict(**kwargs)

    def after_predict(self) -> None:
        """Sums up what the LLM said."""
        if self.trainer.is_global_zero and not self.flags.dry_run:
            show_labels(self.study.task, self.documents, self.study.store)
            labeling.show_usage(self.study.store)
            self._say(self.labeler.notes() if self.labeler is not None else [])

    def before_sample(self) -> None:
        """Checks the labels that the choice rests on."""
        self._check_labels()

    def after_sample(self) -> None:
        """Says where the documents are answered."""
        config = self.config[self.subcommand]
        if config["from"] == "corpus" and (files := config.get("config")):
            elsewhere = str(self.folder) != study_folder(files, None)
            folder = f" --trainer.default_root_dir {self.folder}" if elsewhere else ""
            self._say([f"answer them: redct annotate --config {files[-1]}{folder}"])

    def before_estimate(self) -> None:
        """Checks the labels that the edge classifier learns from."""
        self._check_labels()

    def before_fit(self) -> None:
        """Checks the labels before any weight is loaded, and tunes if asked to."""
        self._check_labels()
        config = self.config[self.subcommand]
        if config.tune:
            if config.ckpt_path is not None:
                raise InputError("--tune: found --ckpt_path too; expected one of them, as tuning trains anew")
            assert isinstance(self.trainer, StudyTrainer)
            for group, options in tune.tune(self.trainer, self.model, self.data, config.tune_minutes).items():
                for option, value in options.items():
                    config[group][option] = value  # so that the saved options are those of the training

    def after_fit(self) -> None:
        """Saves the classifier, and trains others to compare it with if asked to."""
        self._save()
        config = self.config[self.subcommand]
        if config.baselines:
            baselines.train(self.trainer, self.data, repr([config.model, config.trainer]), self._anew)

    def _anew(self) -> tuple[StudyTrainer, EdgeClassifier]:
        """Returns trainer and classifier as the options make them, untrained."""
        other = copy(self)
        other.save_config_callback = None
        LightningCLI.instantiate_classes(other)
        assert isinstance(other.trainer, StudyTrainer)
        return other.trainer, other.model

    def _save(self) -> None:
        """Saves the classifier for transformers too, and says where everything lies."""
        keeper = self.trainer.checkpoint_callback
        if not self.trainer.is_global_zero or not isinstance(keeper, ModelCheckpoint) or not keeper.best_model_path:
            return
        best = keeper.best_model_path
        self._say([*self.study.splits().notes, *dict.fromkeys(self.study.notes)])
        model = EdgeClassifier.load_from_checkpoint(best, map_location="cpu", weights_only=True)
        folder = self.folder / "checkpoints" / "best"
        model.save_huggingface(folder, self.data.max_length)
        validated = self.model.validated_at == self.trainer.global_step
        loss = f" (val_loss {self.trainer.callback_metrics['val_loss']:.4f})" if validated else ""
        print(f"checkpoint: {best}{loss}")
        show_validation(Path(best), self.study.seed)
        print(f"for transformers: {folder}")
        show_expected_gain(self.data)

    def before_test(self) -> None:
        """Checks the labels that the classifier is compared with, and how its documents were sampled."""
        self._check_labels()
        some = self.trainer.limit_test_batches
        if isinstance(some, int) or some < 1:  # as an integer, 1 is a batch
            raise InputError(f"trainer.limit_test_batches: found {some}, expected all held-out documents (1.0)")
        self.asked = testing.read_flags(self.config[self.subcommand], self.study)

    def after_test(self) -> None:
        """Compares the classifier with others, and says where it fails."""
        config, documents = self.config[self.subcommand], self.data.parts["test"].part.documents
        checkpoint = Path(config.ckpt_path)
        probs = np.array([self.model.predictions[n] for n in range(len(documents))])
        others = baselines.ask(self.trainer, self.data, checkpoint)
        if testing.labels_corpus(config, self.study):
            assert isinstance(self.trainer, StudyTrainer)
            self.trainer.label_corpus(self.model, self.data, checkpoint)
        if not self.trainer.is_global_zero:
            return
        found = testing.examine(self.study, documents, probs, self.asked, others, self.data.encoder)
        self._say([*self.study.splits().notes, *dict.fromkeys(self.study.notes)])
        testing.report(found, checkpoint, self.folder / "metrics.json")

    def _say(self, notes: Sequence[str]) -> None:
        if self.trainer.is_global_zero:
            for note in notes:
                print(note)


def _folder(default_root_dir: object) -> str:
    return str(default_root_dir or "runs/study")


def _quiet() -> None:
    """Silences advice that does not concern a study."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    advice = (
        "does not have many workers",
        "smaller than the logging interval",
        "infer the batch indices",
        "LeafSpec",
        "Be aware that when",
        "`max_epochs` was not set",
        "The dirpath has changed",  # of a study's folder that was moved
    )
    for message in (f".*{part}.*" for part in advice):
        warnings.filterwarnings("ignore", message=message)
