"""Documents per second of `redct fit` beside other ways to train the same encoder on the same documents.

All run alternately in one process: the same encoder, documents, labels, epochs, batch size, precision, learning rate and
longest input; a round is a training from the pretrained weights with a seed of its own. What counts is the time of the
epochs, without loading and tokenising, and without redct's validation and checkpoints, for which the others have none.

    redct     `redct fit` as the command line builds it: data module, classifier, Lightning's trainer, progress bar
    bare      a loop over batches of redct's kind with redct's optimizer: what Lightning costs shows beside it
    trainer   transformers' Trainer with its defaults: batches at random, padded to the longest of each
    original  RED-CT's loop: batches at random, padded to the longest input of all, Adam with a constant rate

Losses are computed on training and validation documents by the trained networks, alike for all. Peak memory is that of a
process which does nothing else. The rate that a card or CPU could reach is that of one large matrix product; useful
operations are six per weight of the encoder's matrices and token, padding not counted, attention left out.

    python scripts/bench/training.py --documents tweets.jsonl     # an object a line: text, gold
    python scripts/bench/training.py --precision bf16-mixed
    python scripts/bench/training.py --encoder roberta-large --precision bf16-mixed --count 20000    # with a GPU
    python scripts/bench/training.py --shape large --precision bf16-mixed --count 20000    # no hub at hand: random weights
"""

import argparse
import json
import logging
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
import yaml
from datasets import Dataset
from gpu import matrix_rate, wait  # the script beside this one
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
    RobertaConfig,
    RobertaModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    get_linear_schedule_with_warmup,
)

from redct.assets import resolve_model
from redct.cli.study import StudyCLI
from redct.training.batches import TrainingBatches
from redct.training.classifier import load_tokenizer

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
MADE_UP = 25, 8  # tokens of a made-up document, mean and standard deviation: those of tweets
SHAPES = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}


@dataclass(frozen=True)
class Setting:
    """What all have in common; rows have id, text and label."""

    folder: Path
    encoder: str
    labels: list[str]
    train: list[dict[str, str]]
    validation: list[dict[str, str]]
    epochs: int
    batch_size: int
    max_length: int
    learning_rate: float
    precision: str

    def encode(self, rows: list[dict[str, str]], **padding: str) -> list[dict[str, Any]]:
        """Returns the tokenizer's columns and the label of each row."""
        options = {"truncation": True, "max_length": self.max_length, **padding}
        encoded = load_tokenizer(self.encoder)([row["text"] for row in rows], **options)
        columns = {**encoded, "labels": [self.labels.index(row["label"]) for row in rows]}
        return [{name: values[n] for name, values in columns.items()} for n in range(len(rows))]

    def network(self, seed: int) -> nn.Module:
        """Returns the pretrained encoder with a new head."""
        torch.manual_seed(seed)
        return (
            AutoModelForSequenceClassification.from_pretrained(
                resolve_model(self.encoder), num_labels=len(self.labels), dtype=torch.float32
            )
            .train()
            .to(DEVICE)
        )

    def pad(self) -> DataCollatorWithPadding:
        """Returns what pads to the longest row of a batch."""
        return DataCollatorWithPadding(load_tokenizer(self.encoder))

    def autocast(self) -> torch.autocast:
        """Returns the precision as a context."""
        return torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=self.precision == "bf16-mixed")


Way = Callable[[Setting, int], tuple[float, nn.Module]]


class Clock(Callback):
    """Adds up the seconds of the epochs; of Lightning's, without validation and checkpoint at their end."""

    def __init__(self) -> None:
        self.seconds = self.begun = 0.0

    def start(self) -> None:
        """Goes on."""
        wait(DEVICE)
        self.begun = time.perf_counter()

    def stop(self) -> None:
        """Pauses."""
        wait(DEVICE)
        self.seconds += time.perf_counter() - self.begun

    def on_train_epoch_start(self, *_: Any) -> None:
        """Goes on."""
        self.start()

    def on_validation_start(self, *_: Any) -> None:
        """Pauses."""
        self.stop()


class TrainerClock(TrainerCallback):
    """The same for transformers' Trainer."""

    def __init__(self) -> None:
        self.clock = Clock()

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Goes on."""
        self.clock.start()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Pauses."""
        self.clock.stop()


class TimedStudy(StudyCLI):
    """The study's command line with a clock."""

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Adds the clock."""
        trainer = super().instantiate_trainer(**kwargs)
        self.clock = Clock()
        trainer.callbacks.append(self.clock)
        return trainer


def redct(setting: Setting, seed: int) -> tuple[float, nn.Module]:
    """`redct fit`; the labels are imported at the first call."""
    path = setting.folder / "study.yaml"
    if not path.exists():
        write_study(setting, path)
        imported = {"path": str(setting.folder / "train.jsonl"), "label_column": "label"}
        labeler = {"class_path": "redct.hub.ImportedLabels", "init_args": imported}
        StudyCLI(args=["predict", "--config", str(path), "--labeler", json.dumps(labeler)])
    cli = TimedStudy(args=["fit", "--config", str(path), "--seed_everything", str(seed)])
    return cli.clock.seconds, cli.model.network.to(DEVICE)


def write_study(setting: Setting, path: Path) -> None:
    """Writes documents, task and study."""
    for name in ("train", "validation"):
        lines = [json.dumps(row) + "\n" for row in getattr(setting, name)]
        (setting.folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    study = {
        "task": {"labels": setting.labels, "columns": {"text": "text", "id": "id", "gold": "label"}},
        "data": {
            "train": "train.jsonl",
            "validation": "validation.jsonl",
            "targets": "hard",
            "batch_size": setting.batch_size,
            "max_length": setting.max_length,
        },
        "model": {"encoder": setting.encoder, "learning_rate": setting.learning_rate, "warmup": 0.0},
        "trainer": {
            "devices": 1,
            "max_epochs": setting.epochs,
            "precision": setting.precision,
            "default_root_dir": str(setting.folder / "run"),
        },
    }
    path.write_text(yaml.safe_dump(study), encoding="utf-8")


def trainer(setting: Setting, seed: int) -> tuple[float, nn.Module]:
    """transformers' Trainer."""
    arguments = TrainingArguments(
        output_dir=str(setting.folder / "trainer"),
        num_train_epochs=setting.epochs,
        per_device_train_batch_size=setting.batch_size,
        learning_rate=setting.learning_rate,
        bf16=setting.precision == "bf16-mixed",
        seed=seed,
        save_strategy="no",
        report_to="none",
    )
    network, clock = setting.network(seed), TrainerClock()
    rows = Dataset.from_list(setting.encode(setting.train))
    Trainer(network, arguments, data_collator=setting.pad(), train_dataset=rows, callbacks=[clock]).train()
    return clock.clock.seconds, network


def bare(setting: Setting, seed: int) -> tuple[float, nn.Module]:
    """A loop over batches of similar length."""
    rows, network = setting.encode(setting.train), setting.network(seed)
    batches = TrainingBatches([len(row["input_ids"]) for row in rows], setting.batch_size, seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=setting.learning_rate, fused=True)
    steps = setting.epochs * len(batches)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, steps)

    def epochs() -> Iterator[Iterable[dict[str, Tensor]]]:
        for epoch in range(setting.epochs):
            batches.set_epoch(epoch)
            yield DataLoader(rows, batch_sampler=batches, collate_fn=setting.pad())

    return loop(setting, network, epochs(), optimizer, schedule), network


def original(setting: Setting, seed: int) -> tuple[float, nn.Module]:
    """A loop over batches that all have the greatest length."""
    rows, network = setting.encode(setting.train, padding="max_length"), setting.network(seed)
    loader = DataLoader(rows, setting.batch_size, shuffle=True, collate_fn=setting.pad())
    optimizer = torch.optim.Adam(network.parameters(), lr=setting.learning_rate)
    return loop(setting, network, [loader] * setting.epochs, optimizer), network


def loop(
    setting: Setting,
    network: nn.Module,
    epochs: Iterable[Iterable[dict[str, Tensor]]],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> float:
    """Trains and returns the seconds of the epochs."""
    clock = Clock()
    for batches in epochs:
        clock.start()
        for batch in batches:
            with setting.autocast():
                loss = network(**{name: values.to(DEVICE) for name, values in batch.items()}).loss
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            optimizer.zero_grad()
        clock.stop()
    return clock.seconds


WAYS: dict[str, Way] = {"redct": redct, "bare": bare, "trainer": trainer, "original": original}


@torch.inference_mode()
def mean_loss(setting: Setting, network: nn.Module, rows: list[dict[str, str]]) -> float:
    """Returns the mean cross-entropy of a trained network."""
    network.eval()
    encoded = sorted(setting.encode(rows), key=lambda row: len(row["input_ids"]))
    total = 0.0
    for batch in DataLoader(encoded, setting.batch_size, collate_fn=setting.pad()):  # type: ignore[arg-type]
        batch = {name: values.to(DEVICE) for name, values in batch.items()}
        total += network(**batch).loss.item() * len(batch["labels"])
    return total / len(rows)


def peak_memory(name: str, setting: Setting) -> str:
    """Trains in this process, which has done nothing else, and returns the greatest memory."""
    with silence(), tempfile.TemporaryDirectory() as folder:
        WAYS[name](replace(setting, folder=Path(folder)), 0)
    memory = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
    if DEVICE.type == "cuda":
        memory += f" and {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB on the card"
    return memory


@contextmanager
def silence() -> Iterator[None]:
    """Keeps what the contestants print to themselves."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def make_documents(encoder: str, count: int) -> list[dict[str, str]]:
    """Returns made-up documents of the length of tweets; every fourth word says what the label is."""
    rng = np.random.default_rng(0)
    words = sorted(word for word in load_tokenizer(encoder).get_vocab() if word.isascii() and word.isalpha())
    groups = np.array_split(rng.permutation(words), 4)
    rows = []
    for n in range(count):
        length = int(np.clip(rng.normal(*MADE_UP), 3, 58)) - 2
        told = rng.random(length) < 0.25
        text = " ".join(np.where(told, rng.choice(groups[n % 3], length), rng.choice(groups[3], length)))
        rows.append({"text": text, "gold": "abc"[n % 3]})
    return rows


def make_encoder(shape: str, folder: Path) -> str:
    """Writes a RoBERTa with random weights, and with minilm's tokenizer, and returns its folder."""
    tokenizer = load_tokenizer("minilm")
    config = RobertaConfig(
        **SHAPES[shape],  # type: ignore[arg-type]
        vocab_size=len(tokenizer),
        max_position_embeddings=514,
        pad_token_id=tokenizer.pad_token_id,
        type_vocab_size=2,
    )
    RobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def make_setting(options: argparse.Namespace, folder: Path) -> Setting:
    """Returns what all have in common."""
    encoder = make_encoder(options.shape, folder / "encoder") if options.shape else options.encoder
    if options.documents:
        lines = Path(options.documents).read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        np.random.default_rng(0).shuffle(records)
    else:
        records = make_documents(encoder, options.count + options.validation)
    rows = [{"id": str(n), "text": r["text"], "label": r["gold"]} for n, r in enumerate(records)]
    return Setting(
        folder,
        encoder,
        sorted({row["label"] for row in rows}),
        rows[options.validation : options.validation + options.count],
        rows[: options.validation],
        options.epochs,
        options.batch_size,
        options.max_length,
        options.learning_rate,
        options.precision,
    )


def race(setting: Setting, ways: list[str], rounds: int) -> dict[str, np.ndarray]:
    """Returns documents per second, and losses in training and validation, of each round: (rounds, 3) for each way."""
    found: dict[str, list[list[float]]] = {name: [] for name in ways}
    for seed in range(rounds):
        for name in ways:
            with silence():
                seconds, network = WAYS[name](setting, seed)
            rate = len(setting.train) * setting.epochs / seconds
            losses = [mean_loss(setting, network, rows) for rows in (setting.train, setting.validation)]
            found[name].append([rate, *losses])
        print(f"round {seed}: " + ", ".join(f"{name} {found[name][-1][0]:.1f}" for name in ways), flush=True)
    return {name: np.array(rows) for name, rows in found.items()}


def useful_operations(setting: Setting) -> float:
    """Returns the floating-point operations that training takes for the average document."""
    network = setting.network(0)
    embeddings = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    weights = sum(p.numel() for p in network.parameters() if p.ndim == 2 and id(p) not in embeddings)
    return 6 * weights * statistics.mean(len(row["input_ids"]) for row in setting.encode(setting.train))


def main() -> None:
    """Measures and prints a line per round and one per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", help="JSONL with text and gold; by default made-up documents")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--shape", choices=SHAPES, help="in place of an encoder: a RoBERTa with random weights")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), default="32-true")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--count", type=int, default=320, help="documents to train on")
    parser.add_argument("--validation", type=int, default=200, help="documents to validate on")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_length", type=int, default=60)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        setting = make_setting(options, Path(folder))
        lengths = [len(row["input_ids"]) for row in setting.encode(setting.train)]
        print(f"{len(lengths)} documents, {statistics.mean(lengths):.1f} tokens in the mean, {max(lengths)} at most")
        found = race(setting, options.ways, options.rounds)
        dtype = torch.bfloat16 if setting.precision == "bf16-mixed" else torch.float32
        peak = matrix_rate(DEVICE, 8192 if DEVICE.type == "cuda" else 1024, dtype)
        operations = useful_operations(setting)
        first = found[options.ways[0]][:, 0]
        for name, values in found.items():
            rate = float(np.median(values[:, 0]))
            ratio = np.sort(first / values[:, 0])
            train, validation = (f"{v.mean():.3f} ± {v.std():.3f}" for v in values.T[1:])
            with get_context("spawn").Pool(1) as pool:
                memory = pool.apply(peak_memory, (name, replace(setting, epochs=1)))
            print(
                f"{name:8s} {rate:7.1f} documents/s, {operations * rate / peak:.0%} of a matrix product's rate; "
                f"{options.ways[0]} is {np.median(ratio):.2f} times as fast ({ratio[0]:.2f} to {ratio[-1]:.2f}); "
                f"loss in training {train}, validation {validation}; peak {memory}",
                flush=True,
            )


if __name__ == "__main__":
    main()
