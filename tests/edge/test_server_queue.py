"""The queue in front of a classifier: order, turns, bounds, and what is dropped."""

import asyncio
import threading

import numpy as np
import pytest

from redct.edge import Bundle, Classified
from redct.edge.server.queue import ClassifierError, Document, Queue, QueueFullError


class Gate:
    """A classifier whose answer is the text itself, and which waits until it is told to go on."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.batches: list[list[str]] = []

    def classify(self, texts, contexts) -> Classified:
        self.batches.append(list(texts))
        self.open.wait(10)
        if texts[0].startswith("bad"):
            raise ValueError(texts[0])
        size = len(texts)
        zeros = np.zeros(size, dtype=np.int64)
        return Classified(list(texts), np.ones((size, 1), np.float32), zeros.astype(bool), [None] * size, zeros, zeros)


def documents(*texts: str) -> list[Document]:
    return [Document(text, {}) for text in texts]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0.01)


class Working:
    """A queue that works while the context lasts."""

    def __init__(self, classifier, limit: int = 100, batch: int = 4) -> None:
        self.seen: list[Classified] = []
        self.queue = Queue(classifier, limit, batch, self.seen.append)

    async def __aenter__(self) -> Queue:
        self.working = self.queue.working()
        self.working.__enter__()
        return self.queue

    async def __aexit__(self, *args) -> None:
        self.working.__exit__(None, None, None)


def ask(queue: Queue, *texts: str) -> asyncio.Task:
    return asyncio.create_task(queue.ask(documents(*texts)))


def labels(answers) -> list[str]:
    return [each.label for each in answers]


def test_a_large_request_holds_up_a_small_one_by_no_more_than_a_batch() -> None:
    async def run() -> None:
        gate = Gate()
        async with Working(gate) as queue:
            large = ask(queue, *(f"large {i}" for i in range(40)))
            await settle()
            small, other = ask(queue, "small"), ask(queue, "x", "y", "z")
            await settle()
            gate.open.set()
            assert labels(await small) == ["small"]
            assert labels(await other) == ["x", "y", "z"]
            assert labels(await large) == [f"large {i}" for i in range(40)]
        assert gate.batches[0] == [f"large {i}" for i in range(4)]
        assert gate.batches[1] == ["large 4", "small", "x", "large 5"]

    asyncio.run(run())


def test_a_lone_request_is_not_kept_waiting_for_company() -> None:
    async def run() -> None:
        gate = Gate()
        async with Working(gate, batch=1000) as queue:
            asking = ask(queue, "alone")
            await settle()
            assert gate.batches == [["alone"]]
            gate.open.set()
            await asking

    asyncio.run(run())


def test_a_request_waits_whole_or_not_at_all() -> None:
    async def run() -> None:
        gate = Gate()
        async with Working(gate, limit=6, batch=2) as queue:
            first = ask(queue, "a", "b")
            await settle()
            second = ask(queue, *"cdefg")
            await settle()
            assert queue.waiting == 5
            with pytest.raises(QueueFullError, match="5 documents wait"):
                await queue.ask(documents("h", "i"))
            assert queue.waiting == 5
            last = ask(queue, "h")
            gate.open.set()
            assert [labels(await each) for each in (first, second, last)] == [["a", "b"], list("cdefg"), ["h"]]
        assert queue.waiting == 0

    asyncio.run(run())


def test_what_nobody_waits_for_is_dropped() -> None:
    async def run() -> None:
        gate = Gate()
        async with Working(gate, batch=2) as queue:
            going = ask(queue, "a", "b", "c", "d")
            await settle()
            staying = ask(queue, "e")
            await settle()
            going.cancel()
            await settle()
            assert queue.waiting == 1
            gate.open.set()
            assert labels(await staying) == ["e"]
        assert gate.batches == [["a", "b"], ["e"]]

    asyncio.run(run())


def test_a_failure_of_the_classifier_fails_its_batch_alone_and_quotes_no_text(caplog) -> None:
    async def run() -> None:
        gate = Gate()
        async with Working(gate, batch=1) as queue:
            bad, good = ask(queue, "bad 4711", "never"), ask(queue, "good")
            gate.open.set()
            with pytest.raises(ClassifierError):
                await bad
            assert labels(await good) == ["good"]
            await settle()
            assert queue.waiting == 0

    asyncio.run(run())
    assert "ValueError" in caplog.text
    assert "4711" not in caplog.text


def test_the_pause_is_what_waits_by_the_rate() -> None:
    async def run() -> None:
        working = Working(Gate(), limit=10_000)
        queue = working.queue
        assert queue.pause() == 1
        queue._measure(100, seconds=2.0)
        asking = ask(queue, *["x"] * 1200)
        await asyncio.sleep(0)
        assert queue.pause() == 24
        for _ in range(50):  # slower from now on
            queue._measure(30, seconds=1.0)
        assert queue.pause() in (40, 41)
        asking.cancel()

    asyncio.run(run())


def test_answers_are_the_bundles(stance_bundle) -> None:
    """Whatever the batches, and with abstentions and errors among the answers."""
    bundle = Bundle(stance_bundle, threads=2)
    given = [Document(f"I agree {i}" if i % 7 else "", {"target": f"tea {i % 3}"} if i % 5 else {}) for i in range(60)]
    expected = bundle.classify([each.text for each in given], [each.context for each in given])

    async def run() -> list:
        async with Working(bundle, batch=8) as queue:
            return [
                answer
                for part in await asyncio.gather(*(queue.ask(given[i : i + 13]) for i in range(0, 60, 13)))
                for answer in part
            ]

    found = asyncio.run(run())
    assert [each.error for each in found] == expected.errors
    assert [each.abstained for each in found] == expected.abstained.tolist()
    shown = [None if off else label for label, off in zip(expected.labels, expected.abstained, strict=True)]
    assert [each.label for each in found] == shown
    assert {None, *bundle.labels} & set(shown) != {None}
    assert 0 < expected.abstained.sum() < 60
    for each, probs in zip(found, expected.probs, strict=True):
        assert (each.probs is None) == bool(np.isnan(probs).all())
        if each.probs is not None:
            np.testing.assert_allclose(each.probs, probs, atol=1e-6)
