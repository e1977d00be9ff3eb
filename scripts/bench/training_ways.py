"""Four ways to train one classifier, for the script `training.py` beside this one, which describes them."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from datasets import Dataset
from gpu import wait
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    AutoModelForSequenceClassification,
    DataCollatorWithPadding,
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


def now() -> float:
    """Returns the time; that of the processor where there is one thread, as other work hardly changes it."""
    return time.process_time() if torch.get_num_threads() == 1 and DEVICE.type == "cpu" else time.perf_counter()


class Clock(Callback):
    """Adds up the seconds of the epochs; of Lightning's, without validation and checkpoint at their end."""

    def __init__(self) -> None:
        self.seconds = self.begun = 0.0

    def start(self) -> None:
        """Goes on."""
        wait(DEVICE)
        self.begun = now()

    def stop(self) -> None:
        """Pauses."""
        wait(DEVICE)
        self.seconds += now() - self.begun

    def on_train_epoch_start(self, *_: object) -> None:
        """Goes on."""
        self.start()

    def on_validation_start(self, *_: object) -> None:
        """Pauses."""
        self.stop()


class TrainerClock(TrainerCallback):
    """The same for transformers' Trainer."""

    def __init__(self) -> None:
        self.clock = Clock()

    def on_epoch_begin(self, *_: object, **__: object) -> None:
        """Goes on."""
        self.clock.start()

    def on_epoch_end(self, *_: object, **__: object) -> None:
        """Pauses."""
        self.clock.stop()


class TimedStudy(StudyCLI):
    """The study's command line with a clock."""

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:  # noqa: ANN401 - as Lightning has it
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
    """Trains with transformers' Trainer."""
    arguments = TrainingArguments(
        output_dir=str(setting.folder / "trainer"),
        num_train_epochs=setting.epochs,
        per_device_train_batch_size=setting.batch_size,
        learning_rate=setting.learning_rate,
        bf16=setting.precision == "bf16-mixed",
        use_cpu=DEVICE.type == "cpu",  # by default too, but with bf16 it must be said
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
