"""`redct fit --baselines` trains the classifiers to compare a study's own with; `redct test` asks them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
from lightning.pytorch.callbacks import ModelCheckpoint, ModelSummary
from lightning.pytorch.loggers import CSVLogger

from redct import __version__
from redct.cli.trainer import StudyTrainer
from redct.files import sha256
from redct.training.baselines import (
    EXPERTS_ONLY,
    NAIVE,
    TITLES,
    Record,
    experts_only_parts,
    naive_parts,
    nothing_new,
    taught,
)
from redct.training.classifier import EdgeClassifier
from redct.training.corpus import LabeledCorpus
from redct.training.datamodule import LabeledTextDataModule
from redct.training.embeddings import encoder_state
from redct.training.length import SuitableLength

Anew = Callable[[], tuple[StudyTrainer, EdgeClassifier]]


def add_flags(parser: Any) -> None:  # noqa: ANN401 - jsonargparse's parser
    """Adds the flag to the parser of `fit`."""
    parser.add_argument(
        "--baselines",
        action="store_true",
        help="train two more for `test` to compare with: by the LLM's hard labels alone, by experts' answers alone",
    )


def train(study: L.Trainer, data: LabeledTextDataModule, options: str, anew: Anew) -> None:
    """Trains the baselines as the study's own classifier, on as many devices, and keeps them in the study's folder.

    One that an earlier `fit` trained towards the same targets, with the same options, is not trained again.

    Args:
        study: Has just trained the study's own classifier.
        data: The study's documents.
        options: Those of model and trainer.
        anew: Makes a trainer and a classifier as the study's options have them.
    """
    keeper = study.checkpoint_callback
    if not isinstance(keeper, ModelCheckpoint) or not keeper.best_model_path:
        return  # a trial run, which keeps nothing
    parts, best = data.corpus.written_parts(), sha256(Path(keeper.best_model_path))
    settings = [options, encoder_state(data.encoder), data.length(), data.batch_size, data.corpus.seed, __version__]
    found = {NAIVE: naive_parts(parts, data.corpus.own_labels()), EXPERTS_ONLY: experts_only_parts(parts)}
    for name, own in found.items():
        path, why, fingerprint = _path(data.corpus, name), nothing_new(name, own, parts), taught(own, settings)
        documents = f"{len(own['train'].documents):,} documents"
        # One process decides: another could find the files in another state, and wait for a training forever.
        if why is not None:
            _say(study, f"{TITLES[name]}: none, {why}")
        elif study.strategy.broadcast(_is_kept(path, fingerprint)):
            _say(study, f"{TITLES[name]}: kept, trained before on the same {documents} with the same options")
        else:
            _say(study, f"training the {TITLES[name]} on {documents} ...")
            _train(name, path, study, data.with_parts(own), anew)
            _say(study, f"{TITLES[name]}: {path}")
        if study.is_global_zero:
            Record(best, fingerprint, None if why else sha256(path), why).write(path)


def ask(trainer: L.Trainer, data: LabeledTextDataModule, checkpoint: Path) -> dict[str, npt.NDArray[np.float64]]:
    """Returns (N, K) what the baselines say about the N test documents, by name, and notes which are left out.

    Args:
        trainer: Has just tested the study's own classifier; in the same batches and precision it tests these.
        data: The study's documents.
        checkpoint: Of the study's own classifier; only baselines that the same `fit` trained are compared with it.
    """
    found = {}
    for name, title in TITLES.items():
        path = _path(data.corpus, name)
        # One process decides, as in `train`.
        record = trainer.strategy.broadcast(Record.read(path))
        if record is None:
            continue
        if why := trainer.strategy.broadcast(record.left_out(path, checkpoint)):
            data.corpus.notes.append(f"without {title}: {why}")
            continue
        model = EdgeClassifier.load_from_checkpoint(path, map_location="cpu", weights_only=True)
        trainer.test(model, datamodule=data, verbose=False)
        found[title] = np.array([model.predictions[n] for n in range(len(model.predictions))])
    return found


def _train(name: str, path: Path, study: L.Trainer, data: LabeledTextDataModule, anew: Anew) -> None:
    L.seed_everything(data.corpus.seed, workers=True)
    trainer, model = anew()
    if name == EXPERTS_ONLY:
        _see_more_often(trainer, study.global_step)
    # The study's own checkpoints and logs stay as they are. The last epoch is kept, and saved once: there may be many.
    trainer.callbacks = [each for each in trainer.callbacks if not isinstance(each, ModelCheckpoint | ModelSummary)]
    trainer.logger = CSVLogger(path.parent, f"{path.stem}-logs")
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(path, weights_only=True)


def _see_more_often(trainer: StudyTrainer, steps: int) -> None:
    """Sees few documents more often than all, in no more steps, where the study says how often to see all."""
    suits = any(isinstance(each, SuitableLength) for each in trainer.callbacks)
    if not suits and trainer.max_epochs is not None and trainer.max_epochs > 0:
        trainer.callbacks.append(SuitableLength(trainer.max_epochs, steps))


def _path(corpus: LabeledCorpus, name: str) -> Path:
    return corpus.folder / "checkpoints" / "baselines" / f"{name}.ckpt"


def _is_kept(path: Path, fingerprint: str) -> bool:
    record = Record.read(path)
    return record is not None and record.taught == fingerprint and record.holds(path)


def _say(trainer: L.Trainer, line: str) -> None:
    if trainer.is_global_zero:
        print(line, flush=True)
