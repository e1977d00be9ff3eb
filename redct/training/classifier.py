"""The edge classifier: a BERT-type encoder trained on hard or soft labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassMatthewsCorrCoef,
    MulticlassPrecision,
    MulticlassRecall,
)
from torchmetrics.wrappers import ClasswiseWrapper
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel
from transformers import get_linear_schedule_with_warmup as linear_schedule

from redct.assets import resolve_model
from redct.errors import InputError
from redct.files import whole
from redct.training.losses import cross_entropy

Batch = Mapping[str, Tensor]
CONFUSION = "confusion_matrix"


def load_tokenizer(encoder: str) -> Any:  # noqa: ANN401 - any transformers tokenizer
    """Loads the tokenizer of an encoder.

    Raises:
        InputError: When there is none.
    """
    try:
        return AutoTokenizer.from_pretrained(resolve_model(encoder))
    except (OSError, ValueError) as error:
        raise InputError(f"model.encoder: cannot load {encoder!r}: {str(error).strip().splitlines()[0]}") from error


def suitable_rate(width: int) -> float:
    """Returns a peak learning rate for an encoder with hidden states of so many values, see `EdgeClassifier`."""
    return 1e-4 * (384 / width) ** 2


def stage_metrics(labels: Sequence[str], prefix: str) -> MetricCollection:
    """Returns the metrics of one stage; per-class ones end in the label's name."""
    k, names = len(labels), list(labels)
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(k, average="micro"),
            "macro_f1": MulticlassF1Score(k, average="macro"),
            "weighted_f1": MulticlassF1Score(k, average="weighted"),
            "mcc": MulticlassMatthewsCorrCoef(k),
            "calibration_error": MulticlassCalibrationError(k, n_bins=15),
            "precision": ClasswiseWrapper(MulticlassPrecision(k, average=None), names, prefix="precision_"),
            "recall": ClasswiseWrapper(MulticlassRecall(k, average=None), names, prefix="recall_"),
            CONFUSION: MulticlassConfusionMatrix(k),
        },
        prefix=prefix,
        compute_groups=False,
    )


class EdgeClassifier(L.LightningModule):
    """Fine-tunes an encoder with a classification head on label distributions.

    Args:
        encoder: Hub id or folder of an encoder; `minilm` is the one that works offline.
        labels: The task's labels; the command line takes them from the task.
        learning_rate: Peak learning rate of AdamW; by default it falls with the square of the encoder's width: 1e-4 at
            384 (MiniLM), 2.5e-5 at 768 (base models), 1.4e-5 at 1024 (large ones).
        weight_decay: Weight decay of AdamW, not applied to biases and norms.
        warmup: Share of the steps in which the learning rate rises; it falls linearly in the others.
        optimizer: Another optimizer, as class_path and init_args; it brings its own learning rate.
    """

    def __init__(
        self,
        labels: list[str],
        encoder: str = "roberta-base",
        learning_rate: float | None = None,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        optimizer: OptimizerCallable | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= warmup < 1:
            raise InputError(f"model.warmup: found {warmup}, expected a share of the steps from 0 to below 1")
        self.save_hyperparameters(ignore=["optimizer"])
        self.labels, self.encoder = list(labels), encoder
        self.learning_rate, self.weight_decay, self.warmup = learning_rate, weight_decay, warmup
        self.optimizer = optimizer
        self.network: PreTrainedModel | None = None
        self.encoder_config: dict[str, Any] | None = None
        self.confusion: dict[str, Tensor] = {}
        self.validated_at: int | None = None
        self.predictions: dict[int, list[float]] = {}
        self._predicted: list[tuple[list[int], list[list[float]]]] = []
        self.configure_metrics()

    def configure_metrics(self) -> None:
        """Builds one metric collection a stage."""
        self.train_loss = MeanMetric()
        self.val_loss = MeanMetric()
        self.val_metrics = stage_metrics(self.labels, "val_")
        self.test_metrics = stage_metrics(self.labels, "test_")

    def configure_model(self) -> None:
        """Builds the network: pretrained where it is to be trained, empty where a checkpoint will fill it."""
        if self.network is not None:
            return
        fresh = self._trainer is not None and self.trainer.state.fn == "fit"
        names = {"id2label": dict(enumerate(self.labels)), "label2id": {n: i for i, n in enumerate(self.labels)}}
        path = resolve_model(self.encoder)
        try:
            if fresh:
                model = AutoModelForSequenceClassification.from_pretrained(
                    path, num_labels=len(self.labels), dtype=torch.float32, ignore_mismatched_sizes=True, **names
                )
            else:
                config = AutoConfig.from_pretrained(path, num_labels=len(self.labels), **names)
                model = AutoModelForSequenceClassification.from_config(config)
        except (OSError, ValueError) as error:
            message = str(error).strip().splitlines()[0]
            raise InputError(f"model.encoder: cannot load {self.encoder!r}: {message}") from error
        self.network = model.train()  # from_pretrained leaves dropout off, and Lightning keeps what it finds

    def forward(self, batch: Batch) -> Tensor:
        """Returns logits (B, K) of a batch of token ids (B, T)."""
        assert self.network is not None
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
        logits: Tensor = self.network(**inputs).logits
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss of a batch."""
        loss = cross_entropy(self(batch), batch["target"], batch["weight"])
        self.train_loss.update(loss.detach(), batch["weight"].sum())
        self.log("train_loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds a batch to the validation metrics; the loss weighs documents by their inclusion probability."""
        logits = self(batch).float()
        loss = cross_entropy(logits, batch["target"], batch["weight"])
        self.val_loss.update(loss, batch["weight"].sum())
        self.val_metrics.update(logits.softmax(-1), batch["label"])

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics."""
        self.log("val_loss", self.val_loss, prog_bar=True)
        self._log_metrics("val_", self.val_metrics)
        self.validated_at = self.trainer.global_step

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the (K, K) confusion matrix of the validation, gold in rows, where it was of these weights."""
        validated = self.validated_at == self.trainer.global_step
        checkpoint["validation_confusion"] = self.confusion.get("val_") if validated else None

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds a batch to the test metrics and keeps its probabilities."""
        probs = self(batch).float().softmax(-1)
        self.test_metrics.update(probs, batch["label"])
        self._predicted.append((batch["index"].tolist(), probs.tolist()))

    def on_test_epoch_end(self) -> None:
        """Logs the test metrics and gathers the probabilities of all processes in `predictions`."""
        self._log_metrics("test_", self.test_metrics)
        shares: list[Any] = [self._predicted]
        if self.trainer.world_size > 1:
            shares = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, self._predicted)
        self.predictions = {
            index: row for share in shares for indices, rows in share for index, row in zip(indices, rows, strict=True)
        }
        self._predicted = []

    def _log_metrics(self, prefix: str, metrics: MetricCollection) -> None:
        values = metrics.compute()
        self.confusion[prefix] = values.pop(prefix + CONFUSION).cpu()
        for name, value in values.items():
            # Matthews' coefficient of a constant answer comes as an integer, of which Lightning warns.
            self.log(name, value.float(), prog_bar=name == prefix + "macro_f1")
        metrics.reset()

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union of forms
        """Returns the optimizer with linear warm-up and decay over the whole run."""
        if self.optimizer is not None:
            optimizer = self.optimizer(self.parameters())
        else:
            # In one pass over the weights: on a CPU four times as fast. Lightning clips no gradients for it, though.
            fused = self.device.type in ("cpu", "cuda") and not self.trainer.gradient_clip_val
            assert self.network is not None
            rate = self.learning_rate or suitable_rate(self.network.config.hidden_size)
            optimizer = torch.optim.AdamW(self._parameter_groups(), lr=rate, fused=fused)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = linear_schedule(optimizer, round(self.warmup * steps), steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        decayed = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        others = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
        return [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]

    def save_huggingface(self, folder: str | Path, max_length: int) -> None:
        """Saves a folder that `transformers.pipeline("text-classification", folder)` loads.

        Args:
            folder: Where to save.
            max_length: Longest input in tokens that the classifier was trained on.
        """
        if not isinstance(self.network, nn.Module):
            raise InputError("EdgeClassifier: nothing to save before it is trained or loaded")
        tokenizer = load_tokenizer(self.encoder)
        tokenizer.model_max_length = max_length
        with whole(Path(folder)) as temporary:
            self.network.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
