"""A server under more than it can take: nothing is lost or mixed up, memory is bounded, and it ends in order."""

import asyncio
import json
import signal
import socket
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random

import aiohttp
import numpy as np
import pytest
from edge.conftest import LABELS
from edge.serving import Served, head, read_reply, served

from redct.edge import Bundle

MIB = 2**20
CLIENTS = 1000
LARGE_QUEUE = ("--queue", "100000", "--max_body", "8000000", "--threads", "1")


def own_texts(client: int, count: int) -> list[str]:
    letters = Random(client)
    return ["".join(letters.choices("abcdefghijklmnopqrstuvwxyz ", k=20)) for _ in range(count)]


def body(texts: list[str]) -> dict:
    return {"documents": [{"id": i, "text": text} for i, text in enumerate(texts)]}


def check(reply: dict, expected: np.ndarray) -> None:
    rows = reply["documents"]
    assert [row["id"] for row in rows] == list(range(len(expected)))
    np.testing.assert_allclose([list(row["probabilities"].values()) for row in rows], expected, atol=1e-6)
    assert [row["label"] for row in rows] == [LABELS[i] for i in expected.argmax(axis=1)]


def session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60))


async def ask_until_answered(http: aiohttp.ClientSession, url: str, texts: list[str], statuses: Counter) -> dict:
    """Does as a well-behaved client: comes back when told to, or a little later."""
    while True:
        async with http.post(url + "/classify", json=body(texts)) as reply:
            statuses[reply.status] += 1
            if reply.status == 200:
                return await reply.json()
            assert reply.status == 503
            await asyncio.sleep(int(reply.headers["Retry-After"]) * (1 + Random(texts[0]).random()))


def test_a_thousand_clients_each_get_their_own_answer_in_the_end(bundle: Path) -> None:
    per_client = 4
    texts = [own_texts(client, per_client) for client in range(CLIENTS)]
    right = Bundle(bundle, threads=2).classify([text for each in texts for text in each]).probs
    right = right.reshape(CLIENTS, per_client, -1)
    assert len({tuple(each.ravel()) for each in right.round(5)}) > 0.99 * CLIENTS  # a mix-up would be seen
    statuses: Counter[int] = Counter()

    async def run(url: str) -> list[dict]:
        async with session() as http:
            return await asyncio.gather(*(ask_until_answered(http, url, each, statuses) for each in texts))

    with served(bundle, "--queue", "500", "--max_documents", "4") as server:
        before = server.peak()
        for reply, expected in zip(asyncio.run(run(server.url)), right, strict=True):
            check(reply, expected)
        found = server.metrics()
        assert server.peak() - before < 100 * MIB
        assert server.stop()[0] == 0
    assert statuses[200] == CLIENTS
    assert statuses[503] > 0
    assert found["redct_documents_total", "for"] == np.sum(right.argmax(axis=2) == LABELS.index("for"))
    assert found["redct_batch_documents_sum",] == CLIENTS * per_client
    for status, count in statuses.items():
        assert found["redct_requests_total", "/classify", str(status)] == count


def test_small_requests_pass_a_large_one(bundle: Path) -> None:
    content = json.dumps(body(["a long text " * 4] * 6000)).encode()
    with served(bundle, *LARGE_QUEUE, "--max_documents", "6000") as server, server.connect() as large:
        large.sendall(head(len(content)) + content)
        while server.metrics()["redct_queue_documents",] == 0:
            time.sleep(0.01)
        for _ in range(10):
            assert server.ask(body={"text": "small"}).status == 200
        assert server.metrics()["redct_queue_documents",] > 0
        assert large.recv(12) == b"HTTP/1.1 200"


async def _ask_once(http: aiohttp.ClientSession, url: str, texts: list[str]) -> tuple[int, dict]:
    async with http.post(url + "/classify", json=body(texts)) as reply:
        return reply.status, await reply.json()


async def _begin(http: aiohttp.ClientSession, server: Served, texts: list[list[str]]) -> list[asyncio.Task]:
    """Asks for all at a time, and returns when all were accepted, and most are still waiting."""
    asking = [asyncio.create_task(_ask_once(http, server.url, each)) for each in texts]
    total, least = sum(map(len, texts)), min(map(len, texts))
    while True:
        found = await asyncio.to_thread(server.metrics)
        if total - found["redct_batch_documents_sum",] - found["redct_queue_documents",] < least:
            assert found["redct_queue_documents",] > total / 4
            return asking
        await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def much() -> list[list[str]]:
    """What takes the tiny bundle some seconds, in requests that are quick to read."""
    return [own_texts(client, 250) for client in range(50)]


def test_all_that_was_accepted_is_answered_after_the_signal_to_stop(bundle: Path, much: list[list[str]]) -> None:
    right = Bundle(bundle, threads=2).classify([text for each in much for text in each]).probs
    with served(bundle, *LARGE_QUEUE) as server:

        async def run() -> list[tuple[int, dict]]:
            async with session() as http:
                asking = await _begin(http, server, much)
                server.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.3)
                assert not all(each.done() for each in asking)
                with pytest.raises(ConnectionRefusedError):
                    server.connect()
                return await asyncio.gather(*asking)

        replies = asyncio.run(run())
        assert server.process.wait(10) == 0
        assert server.process.stderr.read() == "redct serve: stopped, everything accepted was answered\n"
    assert [status for status, _ in replies] == [200] * len(much)
    for (_, reply), expected in zip(replies, right.reshape(len(much), 250, -1), strict=True):
        check(reply, expected)


def test_whatever_was_sent_before_the_signal_is_answered(bundle: Path) -> None:
    """Also to clients whose connection the server has not even seen, and to one in the middle of its body."""
    content = b'{"text": "I agree"}'
    with served(bundle) as server, ExitStack() as stack:
        slow = stack.enter_context(server.connect())
        slow.sendall(head(len(content)) + content[:5])
        clients = [stack.enter_context(server.connect()) for _ in range(500)]
        for each in clients:
            each.sendall(head(len(content)) + content)
        server.process.send_signal(signal.SIGTERM)
        replies = [read_reply(each) for each in clients]
        slow.sendall(content[5:])
        replies.append(read_reply(slow))
        assert server.process.wait(10) == 0
    assert {status for status, _ in replies} == {200}
    assert len({json.dumps(reply) for _, reply in replies}) == 1


def test_it_stops_when_the_time_for_it_is_over(bundle: Path, much: list[list[str]]) -> None:
    with served(bundle, *LARGE_QUEUE, "--drain_seconds", "0.2") as server:

        async def run() -> list[tuple[int, dict]]:
            async with session() as http:
                asking = await _begin(http, server, much)
                server.process.send_signal(signal.SIGTERM)
                return await asyncio.gather(*asking)

        statuses = Counter(status for status, _ in asyncio.run(run()))
        assert server.process.wait(10) == 2
        said = server.process.stderr.read()
    assert set(statuses) <= {200, 503}
    assert said == f"redct: error: {statuses[503]} requests were not answered within --drain_seconds 0.2\n"


def test_a_second_signal_ends_it_at_once(bundle: Path, much: list[list[str]]) -> None:
    with served(bundle, *LARGE_QUEUE) as server:

        async def run() -> None:
            async with session() as http:
                asking = await _begin(http, server, much)
                server.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.05)
                server.process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(server.process.wait, 10) == -signal.SIGTERM
                await asyncio.gather(*asking, return_exceptions=True)

        asyncio.run(run())


def test_what_clients_that_leave_had_asked_is_dropped(bundle: Path, much: list[list[str]]) -> None:
    with served(bundle, *LARGE_QUEUE) as server:

        async def run() -> None:
            async with session() as http:
                for each in await _begin(http, server, much):
                    each.cancel()

        asyncio.run(run())
        begin = time.monotonic()
        while (found := server.metrics())["redct_queue_documents",] > 0:
            assert time.monotonic() - begin < 10
        time.sleep(0.1)
        assert server.metrics()["redct_batch_documents_sum",] < 0.75 * sum(map(len, much))
        assert found["redct_requests_total", "/classify", "499"] > 0.25 * len(much)
        assert server.metrics()["redct_held_bytes",] == 0
        assert server.ask(body={"text": "next"}).status == 200


def test_bodies_at_the_limit_do_not_add_up(bundle: Path) -> None:
    """A thousand clients send 256 MiB at a time."""
    size = MIB // 4
    content = json.dumps({"text": "x" * (size - 20)}).encode().ljust(size)

    async def ask(server: Served) -> int:
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(head(size) + content)
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert answer.startswith(b"HTTP/1.1 422") or b"retry-after: " in answer.lower()
        return int(answer.split()[1])

    async def run(server: Served) -> Counter:
        return Counter(await asyncio.gather(*(ask(server) for _ in range(CLIENTS))))

    with served(bundle, "--max_body", str(size), "--memory", "8") as server:
        before = server.peak()
        statuses = asyncio.run(run(server))
        assert server.peak() - before < 100 * MIB
        assert server.metrics()["redct_held_bytes",] == 0
    assert set(statuses) == {422, 503}


def test_one_client_too_many_is_told_when_to_come_back(bundle: Path) -> None:
    with served(bundle, "--connections", "3") as server:
        idle = [server.connect() for _ in range(3)]
        reply = server.ask(body={"text": "x"})
        assert reply.status == 503
        assert reply.headers["Retry-After"] == "1"
        for each in idle:
            each.close()
        time.sleep(0.1)
        assert server.ask(body={"text": "x"}).status == 200


def test_a_client_that_takes_no_answers_is_cut_off(bundle: Path) -> None:
    """It asks for more than the system would keep for it."""
    names = {"documents": [{"id": "x" * 20_000} for _ in range(50)]}
    content = json.dumps(names).encode()
    with served(bundle, "--client_seconds", "1") as server, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.settimeout(20)
        deaf.connect(server.address)
        with pytest.raises(ConnectionError):
            deaf.sendall((head(len(content)) + content) * 50)
        assert server.metrics()["redct_held_bytes",] == 0
