"""How long to train, where nobody says it: by steps, since a small corpus needs more epochs than a large one."""

from math import ceil
from typing import Final

import lightning as L
from lightning.pytorch.callbacks import Callback

STEPS: Final = 300
EPOCHS: Final = 3


def suitable_epochs(batches: int) -> int:
    """Returns how often to see all documents: at least 3 times, and in about 300 steps or more.

    Args:
        batches: Optimizer steps an epoch, at least 1.
    """
    return max(EPOCHS, ceil(STEPS / batches))


class SuitableLength(Callback):
    """Trains for a suitable number of epochs; in place of a trainer's own max_epochs."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Sets the number of epochs before the learning-rate schedule asks for it; the documents are read by now."""
        if stage == "fit":
            batches = len(trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
            trainer.fit_loop.max_epochs = suitable_epochs(ceil(batches / trainer.accumulate_grad_batches))
