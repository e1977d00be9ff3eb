"""`redct fit --tune`: searches learning rate and length of training, judged by experts' answers alone."""

from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from transformers import AutoConfig

from redct.assets import resolve_model
from redct.cli.trainer import StudyTrainer, model_options
from redct.errors import InputError
from redct.files import whole
from redct.training.classifier import EdgeClassifier, suitable_rate
from redct.training.datamodule import LabeledTextDataModule
from redct.training.held_out import FEWEST, Judges
from redct.training.length import SuitableLength, suitable_epochs
from redct.training.out_of_fold import unseen
from redct.training.tuning import Candidate, Choice, candidates, race

MINUTES = 20.0


def add_flags(parser: Any) -> None:  # noqa: ANN401 - jsonargparse's parser
    """Adds the flags to the parser of `fit`."""
    parser.add_argument("--tune", action="store_true", help="search learning rate and epochs by expert answers first")
    parser.add_argument(
        "--tune_minutes", type=float, default=MINUTES, help="minutes after which the search starts no further training"
    )


def tune(trainer: StudyTrainer, model: EdgeClassifier, data: LabeledTextDataModule, minutes: float) -> dict[str, Any]:
    """Searches, says what it found, and sets model and trainer to it.

    What was trained is kept in the study's folder `tune`, so that a search that was stopped goes on. The choice is
    written to `tuned.yaml` there.

    Args:
        trainer: The study's trainer.
        model: The study's classifier.
        data: The study's documents.
        minutes: After which nothing new is started, above 0.

    Returns:
        The options to change, by group; none where the defaults stay.

    Raises:
        InputError: When there are too few answers to judge by, several processes, another optimizer, or no time.
    """
    _check(trainer, model, minutes)
    judges = data.corpus.judges()
    if judges is None:
        answers = data.corpus.known_answers()
        raise InputError(f"--tune: found {answers} expert answers of a randomised choice, expected {FEWEST} or more")
    default = Candidate(_learning_rate(model), _epochs(trainer, judges, data.batch_size))
    search = candidates(default.learning_rate, default.epochs)
    predict = partial(_predict, trainer, model, data, judges)
    choice = race(search, judges, predict, 60 * minutes, lambda line: print(line, flush=True))
    changed = _changed(choice, default)
    if "model" in changed:
        model.learning_rate = model.hparams["learning_rate"] = changed["model"]["learning_rate"]
    if "trainer" in changed:
        trainer.train_for(changed["trainer"]["max_epochs"])
    path = data.corpus.folder / "tuned.yaml"
    _write(path, data.corpus.folder, changed)
    for line in _notes(choice, path):
        print(line)
    return changed


def _check(trainer: StudyTrainer, model: EdgeClassifier, minutes: float) -> None:
    if not minutes > 0:
        raise InputError(f"--tune_minutes: found {minutes:g}, expected more than 0")
    if trainer.world_size > 1:
        raise InputError(f"--tune: found {trainer.world_size} processes, expected --trainer.devices 1")
    if model.optimizer is not None:
        raise InputError("--tune: found model.optimizer, which brings its own learning rate; expected none")


def _learning_rate(model: EdgeClassifier) -> float:
    width = AutoConfig.from_pretrained(resolve_model(model.encoder)).hidden_size
    return model.learning_rate or suitable_rate(width)


def _epochs(trainer: StudyTrainer, judges: Judges, batch_size: int) -> int | None:
    """Returns the default number of epochs; None where the study limits training in another way."""
    if any(isinstance(callback, SuitableLength) for callback in trainer.callbacks):
        documents = max(len(part.documents) for part in judges.taught)
        return suitable_epochs(ceil(documents / batch_size / trainer.accumulate_grad_batches))
    return trainer.max_epochs if trainer.max_steps == -1 and (trainer.max_epochs or 0) > 0 else None


def _predict(
    trainer: StudyTrainer,
    model: EdgeClassifier,
    data: LabeledTextDataModule,
    judges: Judges,
    candidate: Candidate,
    fold: int,
) -> npt.NDArray[np.float64]:
    part = judges.taught[fold]
    documents = [judges.documents[n] for n in np.flatnonzero(judges.fold == fold)]
    batches = ceil(len(part.documents) / data.batch_size)
    return unseen(
        part,
        documents,
        model_options(model) | {"learning_rate": candidate.learning_rate},
        lambda: trainer.student_trainer(batches, candidate.epochs),
        data.length(),
        data.batch_size,
        data.corpus.folder / "tune",
        data.corpus.seed,
    )


def _changed(choice: Choice | None, default: Candidate) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    if choice is not None and choice.chosen.learning_rate != default.learning_rate:
        changed["model"] = {"learning_rate": choice.chosen.learning_rate}
    if choice is not None and choice.chosen.epochs != default.epochs:
        changed["trainer"] = {"max_epochs": choice.chosen.epochs}
    return changed


def _write(path: Path, folder: Path, changed: dict[str, Any]) -> None:
    """Names the study's folder too: of several --config, the last one's name would else be taken for it."""
    content = {**changed, "trainer": {"default_root_dir": str(folder), **changed.get("trainer", {})}}
    with whole(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _notes(choice: Choice | None, path: Path) -> list[str]:
    if choice is None:
        return ["the defaults are kept: time was up before they were judged; expected a larger --tune_minutes"]
    d = choice.difference
    lines = []
    if choice.best != choice.chosen or d.value:
        interval = f"{d.value:+.4f}, 95 % interval {d.low:+.4f} to {d.high:+.4f}"
        losses = f"log loss {choice.loss:.4f}, defaults {choice.default_loss:.4f} ({interval})"
        lines.append(f"best of {choice.tried}, cross-fitted on expert answers: {choice.best}: {losses}")
    if d.value + d.standard_error >= 0:
        why = "none is better" if not d.value else "the best is not better by more than noise (one standard error)"
        return [*lines, f"the defaults are kept: {why}; log loss {choice.default_loss:.4f}"]
    return [*lines, f"chosen: {choice.chosen}; to train so again: --config STUDY.yaml --config {path}"]
