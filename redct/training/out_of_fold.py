"""The edge classifier's label distributions of documents that it was not trained on."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch.utils.data import DataLoader

from redct.documents import Document
from redct.errors import InputError
from redct.files import whole
from redct.folds import deal
from redct.training.batches import EvaluationBatches, TrainingBatches
from redct.training.classifier import EdgeClassifier, load_tokenizer
from redct.training.embeddings import encoder_state
from redct.training.encoded import EncodedPart
from redct.training.parts import Part, fingerprint
from redct.training.tokens import tokenise

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def out_of_fold(
    documents: Sequence[Document],
    part: Part,
    model_options: Mapping[str, Any],
    make_trainer: Callable[[], L.Trainer],
    max_length: int,
    batch_size: int,
    cache: Path,
    folds: int = 2,
    seed: int = 0,
) -> Floats:
    """Trains a classifier for each fold on the other folds, and returns what each says about its own fold.

    Documents are dealt out to the folds evenly by label; those without a target are in a fold too, but train nothing.
    Each fold's result is on disk as soon as it is there, so that a run that was stopped goes on with the next.

    Args:
        documents: N documents.
        part: Those of them that have a target, with the weights to train with.
        model_options: Of `EdgeClassifier`, with labels and encoder.
        make_trainer: Makes a new trainer, of one process, for each fold. It trains as long as it is set to: there is
            no validation that could stop it early. It needs neither logger nor checkpoints.
        max_length: Longest input in tokens.
        batch_size: Documents a batch.
        cache: Folder that keeps the results under a fingerprint of what they depend on: documents, targets, options of
            the model, and length and precision of the training.
        folds: Number of classifiers to train, at least 2.
        seed: Deals the documents out, and is the seed of every training.

    Returns:
        (N, K) probabilities in the order of the documents.

    Raises:
        InputError: When there are fewer documents with a target than folds, or the trainer has several processes.
    """
    if not 2 <= folds <= len(part.documents):
        raise InputError(f"folds: found {folds}, expected 2 to {len(part.documents)} (documents with a target)")
    joined, has_target = _aligned(part, documents)
    settings = [_model_settings(model_options), _trainer_settings(make_trainer()), max_length, batch_size, folds, seed]
    folder = cache / f"out-of-fold-{fingerprint(joined, settings)}"
    # The seed itself draws documents for the experts: that draw must not depend on who is in which fold.
    fold = deal(np.where(has_target, joined.label, -1), folds, np.random.default_rng([seed, 2]))
    paths = [folder / f"{number}.npy" for number in range(folds)]
    missing = [number for number in range(folds) if not paths[number].exists()]
    if missing:
        encoded = _encoded(joined, model_options["encoder"], max_length, cache)
    for number in missing:
        train, held_out = np.flatnonzero((fold != number) & has_target), np.flatnonzero(fold == number)
        with isolate_rng():
            torch.manual_seed(seed)
            model, trainer = EdgeClassifier(**model_options), make_trainer()
            predicted = _predict(model, trainer, _rows(encoded, train), _rows(encoded, held_out), batch_size, seed)
        with whole(paths[number]) as temporary, temporary.open("wb") as stream:
            np.save(stream, predicted)
    probs = np.empty(joined.target.shape)
    for number, path in enumerate(paths):
        probs[fold == number] = np.load(path, allow_pickle=False)
    return probs


def unseen(
    train: Part,
    documents: Sequence[Document],
    model_options: Mapping[str, Any],
    make_trainer: Callable[[], L.Trainer],
    max_length: int,
    batch_size: int,
    cache: Path,
    seed: int = 0,
) -> Floats:
    """Trains a classifier, and returns what it says about documents that are not among its own.

    Args:
        train: What to train on.
        documents: M documents to judge.
        model_options: Of `EdgeClassifier`, with labels and encoder.
        make_trainer: Makes a new trainer, see `out_of_fold`.
        max_length: Longest input in tokens.
        batch_size: Documents a batch.
        cache: Folder that keeps the result under a fingerprint of what it depends on.
        seed: Of the training.

    Returns:
        (M, K) probabilities.
    """
    k = train.target.shape[1]
    held_out = Part.known(documents, np.zeros(len(documents), np.int64), k, "")
    settings = [_model_settings(model_options), _trainer_settings(make_trainer()), max_length, batch_size, seed]
    path = cache / f"unseen-{fingerprint(train, [*settings, fingerprint(held_out, [])])}.npy"
    if not path.exists():
        with isolate_rng():
            torch.manual_seed(seed)
            model, trainer = EdgeClassifier(**model_options), make_trainer()
            own, others = (_encoded(part, model_options["encoder"], max_length, cache) for part in (train, held_out))
            predicted = _predict(model, trainer, own, others, batch_size, seed)
        with whole(path) as temporary, temporary.open("wb") as stream:
            np.save(stream, predicted)
    probs: Floats = np.load(path, allow_pickle=False)
    return probs


def _predict(
    model: EdgeClassifier, trainer: L.Trainer, train: EncodedPart, held_out: EncodedPart, batch_size: int, seed: int
) -> Floats:
    """Trains, and returns (M, K) probabilities of M held-out documents."""
    batches = TrainingBatches(train.lengths(), batch_size, seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no `val_dataloader`.*")
        trainer.fit(model, DataLoader(train, sampler=batches, batch_size=None))
    own = EvaluationBatches(held_out.lengths(), batch_size)
    # `test` and not `predict`: the classifier gathers its probabilities there, and the study's progress bar knows it.
    trainer.test(model, DataLoader(held_out, sampler=own, batch_size=None), verbose=False)
    return np.array([model.predictions[n] for n in range(len(held_out))])


def _aligned(part: Part, documents: Sequence[Document]) -> tuple[Part, npt.NDArray[np.bool_]]:
    """Returns a part of all N documents, and (N,) which of them have a target; the others are zeros."""
    position = {document.id: n for n, document in enumerate(documents)}
    at = [position[document.id] for document in part.documents]
    n, k = len(documents), part.target.shape[1]
    target, label, weight = np.zeros((n, k), np.float32), np.zeros(n, np.int64), np.zeros(n, np.float32)
    target[at], label[at], weight[at] = part.target, part.label, part.weight
    has_target = np.zeros(n, dtype=bool)
    has_target[at] = True
    return Part(list(documents), target, label, weight, [""] * n), has_target


def _encoded(part: Part, encoder: str, max_length: int, cache: Path) -> EncodedPart:
    tokenizer = load_tokenizer(encoder)
    return EncodedPart(part, tokenise(tokenizer, part.documents, max_length, cache), tokenizer)


def _rows(encoded: EncodedPart, positions: Ints) -> EncodedPart:
    return EncodedPart(encoded.part.rows(positions), encoded.tokens.select(positions), encoded.pad.tokenizer)


def _model_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """What a model's result depends on, in plain values."""
    settings = {**options, "encoder": encoder_state(options["encoder"])}
    if optimizer := options.get("optimizer"):
        # A function has no name that lasts, but the optimizer that it makes says all about itself.
        settings["optimizer"] = repr(optimizer([torch.nn.Parameter(torch.zeros(1))]))
    return settings


def _trainer_settings(trainer: L.Trainer) -> list[Any]:
    if trainer.world_size != 1:
        raise InputError(f"trainer.devices: found {trainer.world_size} processes, expected 1 to predict out of fold")
    length = [trainer.max_epochs, trainer.max_steps, trainer.limit_train_batches, trainer.accumulate_grad_batches]
    return [*length, trainer.precision, trainer.gradient_clip_val, trainer.gradient_clip_algorithm]
