"""Writes predictions into the label store while Lightning's prediction loop runs."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import BasePredictionWriter

from redct.hub.rows import LabelRow
from redct.hub.store import LabelStore
from redct.hub.times import Clock


class LabelWriter(BasePredictionWriter):
    """Adds a part whenever enough rows or seconds have gathered, and when the run ends for whatever reason.

    Args:
        store: The store to write to.
        rows_per_part: Rows that make a part.
        seconds_per_part: Seconds after which a smaller part is written: what a kill costs at most.
        facts: Gives what labeling took, for the manifest.
    """

    def __init__(
        self,
        store: LabelStore,
        rows_per_part: int = 10_000,
        seconds_per_part: float = 20.0,
        facts: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        super().__init__(write_interval="batch")
        self.store, self.facts = store, facts
        self.rows_per_part = rows_per_part
        self.seconds_per_part = seconds_per_part
        self._rows: list[LabelRow] = []
        self._clock = Clock("")
        self._rank = 0

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock of the first part."""
        self._rank = trainer.global_rank
        run = trainer.strategy.broadcast(datetime.now(UTC).isoformat())
        self._clock = Clock(run, trainer.global_rank, trainer.world_size)

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        prediction: list[LabelRow],
        batch_indices: Sequence[int] | None,
        batch: Any,  # noqa: ANN401 - whatever the labeler's data loader yields
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Takes the rows of one batch."""
        self._rows.extend(prediction)
        late = self._clock.seconds > self.seconds_per_part
        if len(self._rows) >= self.rows_per_part or late:
            self._flush()

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes what is left; rank 0 then completes the manifest."""
        self._flush()
        trainer.strategy.barrier("labels written")
        if trainer.is_global_zero:
            self.store.finish(**self.facts())
        self.store.unlock()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Keeps what was labeled before the run broke off."""
        self._flush()
        self.store.unlock()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self.store.write_part(rows, self._rank, self._clock.lap())
