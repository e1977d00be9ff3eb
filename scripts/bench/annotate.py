"""How fast the page of `redct annotate` answers with very many documents in the queue, over HTTP on this machine.

A process serves the page; this one shows and answers documents one after the other, as a browser does. Printed are the
median and the 95th percentile of the time from request to reply.

    python scripts/bench/annotate.py --documents 100000 --answers 2000
"""

import argparse
import http.client
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from redct.documents import Document
from redct.experts import Choice, Ledger
from redct.experts.page import PageOptions, serve
from redct.task import Columns, Task

TASK = Task(["against", "for", "neutral"], Columns(context={"target": "target"}))


def made_up(count: int) -> dict[str, Document]:
    """Returns documents of the length of a post."""
    return {
        f"d{n}": Document(f"d{n}", f"Post {n}. " + "What about it? " * 12, {"target": "tea"}, None)
        for n in range(count)
    }


class Annotator:
    """Somebody who asks the page, one request after the other over one connection."""

    def __init__(self, url: str) -> None:
        self.host = url.removeprefix("http://").partition("/")[0]
        self.connection = http.client.HTTPConnection(self.host)
        self.headers = {"Origin": f"http://{self.host}", "Content-Type": "application/json"}
        cookie = self._request("GET", url.partition(self.host)[2])[0]["set-cookie"]
        self.headers["Cookie"] = cookie.partition(";")[0]
        self.ask("POST", "/enter", {"name": "ann"})

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Returns the reply."""
        return dict(json.loads(self._request(method, path, body)[1]))

    def _request(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[Any, bytes]:
        self.connection.request(method, path, json.dumps(body) if body else None, self.headers)
        reply = self.connection.getresponse()
        return reply.headers, reply.read()


def timed(action: Callable[[], dict[str, Any]], times: list[float]) -> dict[str, Any]:
    """Returns what the action returns, and notes how many milliseconds it took."""
    begin = time.perf_counter()
    found = action()
    times.append(1000 * (time.perf_counter() - begin))
    return found


def measure(ann: Annotator, answers: int) -> None:
    """Answers so many documents, and prints how long it took."""
    showing: list[float] = []
    saying: list[float] = []
    for n in range(answers):
        shown = timed(lambda: ann.ask("GET", "/annotate/document?step=0"), showing)["document"]
        said = {
            "annotator": "ann",
            "kind": "label",
            "label": TASK.labels[n % 3],
            "id": shown["id"],
            "seen": shown["seen"],
        }
        timed(lambda said=said: ann.ask("POST", "/annotate/answer", {**said, "note": "", "seconds": 3.0}), saying)
    for what, times in (("showing the next document", showing), ("recording an answer and showing the next", saying)):
        print(f"{what}: median {np.median(times):.1f} ms, 95 % under {np.quantile(times, 0.95):.1f} ms")


def main() -> None:
    """Serves, or measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--answers", type=int, default=2000)
    parser.add_argument("--serve", type=Path, help="serve this ledger: what the other process does")
    given = parser.parse_args()
    documents = made_up(given.documents)
    if given.serve:
        serve(given.serve, documents, TASK, {}, PageOptions())
        return
    with tempfile.TemporaryDirectory() as folder:
        path, ids = Path(folder) / "experts.sqlite", list(documents)
        with Ledger(path) as ledger:
            ledger.add_round("experts", "random", 0, {}, ids, Choice(np.arange(len(ids)), np.ones(len(ids))))
        command = [sys.executable, __file__, "--documents", str(given.documents), "--serve", str(path)]
        begin = time.perf_counter()
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            url = re.search(r"http://\S+", server.stderr.readline())
            assert url is not None
            print(f"{given.documents:,} documents: ready after {time.perf_counter() - begin:.1f} s")
            try:
                measure(Annotator(url[0]), min(given.answers, given.documents))
            finally:
                server.terminate()


if __name__ == "__main__":
    main()
