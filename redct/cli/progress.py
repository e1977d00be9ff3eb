"""The progress bar: Lightning's own, but labeling counts documents instead of batches."""

import sys
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar
from tqdm import tqdm

from redct.hub.labeler import Labeler


class StudyProgressBar(TQDMProgressBar):
    """Shows documents per second and the time left while documents are labeled."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=1 if sys.stdout.isatty() else 50)  # a log file needs no animation
        self._bar: tqdm[Any] | None = None

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Opens the bar."""
        assert isinstance(pl_module, Labeler)
        share = f" (process 1 of {trainer.world_size})" if trainer.world_size > 1 else ""
        self._bar = tqdm(
            total=pl_module.documents_left,
            desc=f"labeling{share}",
            unit=" documents",
            disable=self.is_disabled,
            mininterval=0.1 if sys.stderr.isatty() else 10,
        )

    def on_predict_batch_start(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Does not count batches."""

    def on_predict_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401
        *args: Any,  # noqa: ANN401
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        """Counts the documents of a batch."""
        if self._bar is not None:
            self._bar.update(len(outputs))

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()
