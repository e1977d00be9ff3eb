"""Which documents form a batch on which process."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from redct.errors import InputError

GROUP = 50  # batches whose documents are sorted by length together: enough to save padding, little order


class TrainingBatches(Sampler[list[int]]):
    """Shuffled batches of documents of similar length, as many on every process.

    Args:
        lengths: Length of each document in tokens.
        batch_size: Documents a batch on one process.
        seed: Of the shuffling, which differs from epoch to epoch.
        rank: This process.
        world_size: Number of processes.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.lengths = np.asarray(lengths)
        self.batch_size, self.seed, self.rank, self.world_size = batch_size, seed, rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch; Lightning calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Returns the number of batches of one process in one epoch."""
        return math.ceil(len(self.lengths) / (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the positions of each batch."""
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths))
        wide = self.batch_size * self.world_size
        batches: list[np.ndarray] = []
        for start in range(0, len(order), wide * GROUP):
            group = order[start : start + wide * GROUP]
            group = group[np.argsort(self.lengths[group], kind="stable")]
            batches += [group[i : i + wide] for i in range(0, len(group), wide)]
        for n in rng.permutation(len(batches)):
            batch = batches[n]
            # Every process needs a document of its own, or the others would wait for it forever.
            batch = np.resize(batch, max(len(batch), self.world_size))
            yield batch[self.rank :: self.world_size].tolist()


class EvaluationBatches(Sampler[list[int]]):
    """Every document once, on one process only, and as many batches on every process.

    Lightning's own sampler for several processes repeats documents to make the shares equal, which would change
    the metrics.

    Args:
        lengths: Length of each document in tokens.
        batch_size: Documents a batch, one more where that makes the number of batches equal.
        rank: This process.
        world_size: Number of processes.

    Raises:
        InputError: When there are fewer documents than processes.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        if len(lengths) < world_size:
            raise InputError(f"trainer.devices: found {world_size} for {len(lengths)} documents to evaluate on")
        mine = np.argsort(np.asarray(lengths), kind="stable")[rank::world_size]
        self.batches = np.array_split(mine, -(-(len(lengths) // world_size) // batch_size))

    def __len__(self) -> int:
        """Returns the number of batches of one process."""
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the positions of each batch."""
        for batch in self.batches:
            yield batch.tolist()
