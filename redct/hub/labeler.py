"""What every labeler is: a LightningModule whose prediction loop fills a label store."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, islice
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from torch.utils.data import IterableDataset

from redct.digests import Mask
from redct.documents import Document, Documents, in_batches, missing
from redct.errors import InputError
from redct.hub.examples import example_chooser
from redct.hub.prompts import Message, messages, prompt_hash
from redct.hub.rows import LabelRow
from redct.hub.store import LabelStore
from redct.hub.writer import LabelWriter
from redct.task import Task


@dataclass(frozen=True, eq=False)
class Share:
    """The documents that one process has to label: those that are left, dealt out in turn; read as often as need be.

    Attributes:
        documents: N documents.
        left: (N,) which of them nobody has labeled.
        rank: This process.
        processes: Number of processes.
    """

    documents: Documents
    left: Mask
    rank: int = 0
    processes: int = 1

    @cached_property
    def _count(self) -> int:
        return len(range(self.rank, int(np.count_nonzero(self.left)), self.processes))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Document]:
        return islice(compress(self.documents, self.left), self.rank, None, self.processes)


class DocumentBatches(IterableDataset[list[Document]]):
    """Yields documents in lists of one size, for a data loader with `batch_size=None`.

    Args:
        documents: The documents of this process.
        size: Documents a list.
    """

    def __init__(self, documents: Iterable[Document], size: int) -> None:
        self.documents, self.size = documents, size

    def __iter__(self) -> Iterator[list[Document]]:
        return in_batches(self.documents, self.size)


class Labeler(L.LightningModule):
    """Labels documents in `trainer.predict`; a subclass gives the data loader and `predict_step`.

    Call `assign` first, then `trainer.predict(labeler, return_predictions=False)`. Documents that the store
    holds already are not labeled again.

    Attributes:
        documents_left: How many documents this process has to label, known once prediction starts.
        retry_errors: Whether documents that the store holds as errors are labeled again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._assigned: tuple[Task, Documents, LabelStore] | None = None
        self.documents_left = 0
        self.retry_errors = False
        self.seed = 0

    def assign(self, task: Task, documents: Documents, store: LabelStore, seed: int = 0) -> None:
        """Says what to label and where the labels go.

        Args:
            task: The task.
            documents: The documents, such as a list or a corpus; their ids are unique.
            store: Takes the labels.
            seed: The study's seed, for what is drawn at random.

        Raises:
            InputError: When the store was made in another way.
        """
        self._assigned = (task, documents, store)
        self.seed = seed
        store.check(self.fingerprint())

    @property
    def task(self) -> Task:
        """The assigned task."""
        return self._assignment()[0]

    @property
    def store(self) -> LabelStore:
        """The assigned store."""
        return self._assignment()[2]

    def documents(self) -> Share:
        """Returns the assigned documents that are not labeled yet."""
        _, documents, store = self._assignment()
        return Share(documents, missing(documents, store.ids()))

    def _assignment(self) -> tuple[Task, Documents, LabelStore]:
        if self._assigned is None:
            raise InputError(f"{type(self).__name__}: nothing to label; call assign(task, documents, store) first")
        return self._assigned

    def fingerprint(self) -> dict[str, Any]:
        """Returns all that the labels depend on, as JSON values; a store of another fingerprint is refused."""
        return {
            "labeler": type(self).__name__,
            "labels": self.task.labels,
            "task": self.task.hash(),
            "prompt": prompt_hash(self.task),
            **self.source_fingerprint(),
        }

    @abstractmethod
    def source_fingerprint(self) -> dict[str, Any]:
        """Returns what identifies the source of the labels: model, revision and so on."""

    @property
    def destination(self) -> str | None:
        """The host that the texts are sent to; None where they stay on this machine."""
        return None

    def preview(self, documents: Sequence[Document]) -> list[str]:
        """Returns the prompts of some documents, for a reader."""
        return [as_text(messages(self.task, d, examples=example_chooser(self.task)(d))) for d in documents]

    def plan(self) -> list[tuple[str, str]]:
        """Returns what labeling the assigned documents would take: name and amount."""
        return []

    def forget(self, ids: Sequence[str]) -> None:
        """Lets documents be labeled again, where something is kept of them beside the store."""

    def facts(self) -> dict[str, Any]:
        """Returns what labeling took, for the store's manifest."""
        return {}

    def notes(self) -> list[str]:
        """Returns lines for the user about what this process has labeled."""
        return []

    def configure_callbacks(self) -> Sequence[Callback]:
        """Adds the writer of the store to the trainer."""
        return [LabelWriter(self.store, facts=self.facts)]

    def my_share(self) -> Share:
        """Opens the store and returns the documents that this process has to label.

        Every process reads what is stored before any of them writes, so that the shares are disjoint.
        """
        _, documents, store = self._assignment()
        if self.trainer.is_global_zero:
            store.lock()
            store.begin(self.fingerprint(), self.task.labels)
            if self.retry_errors:
                for ids in store.drop_errors():
                    self.forget(ids)
        self.trainer.strategy.barrier("label store open")
        stored = store.ids()
        self.trainer.strategy.barrier("label store read")
        share = Share(documents, missing(documents, stored), self.trainer.global_rank, self.trainer.world_size)
        self.documents_left = len(share)
        return share

    @abstractmethod
    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> list[LabelRow]:  # noqa: ANN401
        """Labels one batch."""


def as_text(turns: Sequence[Message]) -> str:
    """Returns a conversation for a reader."""
    return "\n\n".join(f"[{turn['role']}]\n{turn['content']}" for turn in turns)
