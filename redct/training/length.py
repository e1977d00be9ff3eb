"""How long to train, where nobody says it: by steps, since a small corpus needs more epochs than a large one."""

from math import ceil
from typing import Final

import lightning as L
from lightning.pytorch.callbacks import Callback

STEPS: Final = 300
EPOCHS: Final = 3


def suitable_epochs(batches: int, epochs: int = EPOCHS, steps: int | None = None) -> int:
    """Returns how often to see all documents: in about 300 steps or more.

    Args:
        batches: Optimizer steps an epoch, at least 1.
        epochs: How often at least.
        steps: How many steps at most, whatever that is in epochs; None for any number.
    """
    suitable = max(epochs, ceil(STEPS / batches))
    return suitable if steps is None else min(suitable, ceil(steps / batches))


class SuitableLength(Callback):
    """Trains for a suitable number of epochs, see `suitable_epochs`; in place of a trainer's own max_epochs."""

    def __init__(self, epochs: int = EPOCHS, steps: int | None = None) -> None:
        self.epochs, self.steps = epochs, steps

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Sets the number of epochs before the learning-rate schedule asks for it; the documents are read by now."""
        if stage == "fit":
            batches = ceil(len(trainer.datamodule.train_dataloader()) / trainer.accumulate_grad_batches)  # type: ignore[attr-defined]
            trainer.fit_loop.max_epochs = suitable_epochs(batches, self.epochs, self.steps)
