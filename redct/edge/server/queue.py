"""The documents of all requests wait in one queue; what waits is classified together, each request in its turn."""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from redct.edge.runtime import Classified
from redct.edge.server.failures import log_failure

MEMORY = 0.8  # how much of its former value the rate keeps with every batch
LONGEST_PAUSE = 60  # seconds that a refused client is asked to wait at most


class Classifier(Protocol):
    """What answers: a bundle."""

    def classify(self, texts: Sequence[str], contexts: Sequence[Mapping[str, str]]) -> Classified:
        """Labels N documents."""


class Document(NamedTuple):
    """What is classified."""

    text: str
    context: Mapping[str, str]


class Answer(NamedTuple):
    """What became of one document.

    Attributes:
        label: The label; None where the classifier abstains or there is an error.
        probs: (K,) probabilities, None where there is an error.
        abstained: Whether somebody else should decide.
        error: Why there is no answer, one of a few constant texts.
    """

    label: str | None = None
    probs: list[float] | None = None
    abstained: bool = False
    error: str | None = None


class QueueFullError(Exception):
    """The queue has no room for a request."""


class ClassifierError(Exception):
    """The classifier itself failed, which is no fault of the request."""


@dataclass(eq=False)
class _Job:
    """The documents of a request, of which the first `taken` are no longer waiting."""

    documents: Sequence[Document]
    done: "asyncio.Future[list[Answer]]"
    taken: int = 0
    answers: dict[int, Answer] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return len(self.documents) - self.taken

    def answer(self, row: int, answer: Answer) -> None:
        self.answers[row] = answer
        if len(self.answers) == len(self.documents) and not self.done.done():
            self.done.set_result([self.answers[row] for row in range(len(self.documents))])

    def fail(self) -> None:
        if not self.done.done():
            self.done.set_exception(ClassifierError("the classifier failed"))


class Queue:
    """A bounded queue in front of a classifier.

    Documents are taken in turn, one of every request that waits, so that a request of a thousand holds up the others by
    no more than its share. Nothing is delayed to fill a batch: a batch is what waits when the classifier is free.

    A thread of its own takes and classifies: a busy event loop gets round to a task only every few hundred
    milliseconds, far more than a batch takes.

    Attributes:
        waiting: Documents that wait, those just being classified not among them.

    Args:
        classifier: What answers.
        limit: Documents that may wait.
        batch: Documents of a batch at most.
        watch: Is called in the classifier's thread with what every batch gave.
    """

    def __init__(self, classifier: Classifier, limit: int, batch: int, watch: Callable[[Classified], None]) -> None:
        self.waiting = 0
        self._classifier, self._limit, self._batch, self._watch = classifier, limit, batch, watch
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()  # guards jobs and waiting
        self._open = True
        self._rate: float | None = None  # documents per second

    @contextmanager
    def working(self) -> Iterator[None]:
        """Classifies what waits, while the context lasts."""
        thread = threading.Thread(target=self._work, name="classify")
        thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._open = False
                self._changed.notify()
            thread.join()  # within a batch; a process that ends under a thread in native code would abort

    async def ask(self, documents: Sequence[Document]) -> list[Answer]:
        """Returns the answers to a request's documents, in their order; when cancelled, those waiting are dropped.

        Raises:
            QueueFullError: At once, when not all of them may wait.
            ClassifierError: When the classifier failed.
        """
        if not documents:
            return []
        job = _Job(documents, asyncio.get_running_loop().create_future())
        with self._changed:
            if self.waiting + len(documents) > self._limit:
                raise QueueFullError(f"the queue is full: {self.waiting} documents wait")
            self._jobs.append(job)
            self.waiting += len(documents)
            self._changed.notify()
        try:
            return await job.done
        finally:
            self._drop(job)

    def pause(self) -> int:
        """Returns after how many whole seconds, at the present rate, all that waits will have been classified."""
        seconds = self.waiting / self._rate if self._rate else 1
        return min(max(math.ceil(seconds), 1), LONGEST_PAUSE)

    def _drop(self, job: _Job) -> None:
        with self._changed:
            if job.left:
                self.waiting -= job.left
                self._jobs.remove(job)

    def _work(self) -> None:
        while batch := self._take():
            answers = self._classify([job.documents[row] for job, row in batch])
            with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                batch[0][0].done.get_loop().call_soon_threadsafe(_hand_out, batch, answers)

    def _take(self) -> list[tuple[_Job, int]]:
        """Waits for documents and takes them, one of each request in turn; none when the queue has been closed."""
        batch: list[tuple[_Job, int]] = []
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or not self._open)
            while self._open and self._jobs and len(batch) < self._batch:
                job = self._jobs.popleft()
                batch.append((job, job.taken))
                job.taken += 1
                if job.left:
                    self._jobs.append(job)
            self.waiting -= len(batch)
        return batch

    def _classify(self, documents: list[Document]) -> list[Answer] | None:
        """Returns the answers, None when the classifier failed."""
        begin = time.monotonic()
        try:
            found = self._classifier.classify([each.text for each in documents], [each.context for each in documents])
            self._measure(len(documents), time.monotonic() - begin)
            self._watch(found)
            return _answers(found)
        except Exception as error:  # whatever it is, the next batch has a right to be tried
            log_failure("classifier", error)
            return None

    def _measure(self, documents: int, seconds: float) -> None:
        rate = documents / max(seconds, 1e-6)
        self._rate = rate if self._rate is None else MEMORY * self._rate + (1 - MEMORY) * rate


def _hand_out(batch: list[tuple[_Job, int]], answers: list[Answer] | None) -> None:
    for place, (job, row) in enumerate(batch):
        if answers is None:
            job.fail()
        else:
            job.answer(row, answers[place])


def _answers(found: Classified) -> list[Answer]:
    rows = zip(found.labels, found.probs.tolist(), found.abstained.tolist(), found.errors, strict=True)
    return [
        Answer(error=error) if error is not None else Answer(None if abstained else label, probs, abstained)
        for label, probs, abstained, error in rows
    ]
