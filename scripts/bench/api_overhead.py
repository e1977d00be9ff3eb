"""How close `redct predict` through an API comes to the endpoint's own speed.

A server in another process answers after a fixed time; the documents go the whole way: questions, requests, journal,
Lightning's loop, label store. The ideal is the number of documents / requests in flight * latency. Start-up, the time
until the labeler begins to ask, is paid once however long the run, and reported beside it.

    python scripts/bench/api_overhead.py --documents 6400
"""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import lightning as L

from redct.documents import Document
from redct.hub.api import ApiLabeler
from redct.hub.remote.pacing import Limits
from redct.hub.rows import LabelRow
from redct.hub.store import LabelStore
from redct.task import Task

TESTS = Path(__file__).parents[2] / "tests"
TEXT = "A post of the usual length, which says at some length what its author thinks of the matter at hand. " * 2


class Timed(ApiLabeler):
    """Notes when it begins to ask."""

    asking_since = 0.0

    def ask(self) -> Iterator[list[LabelRow]]:
        """Asks as ever."""
        self.asking_since = time.perf_counter()
        return super().ask()


def main() -> None:
    """Starts the server and labels some times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=6400)
    parser.add_argument("--in_flight", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    os.environ["OPENAI_API_KEY"] = "sk-toy"
    command = [sys.executable, "-m", "servers.openai_like", "--latency", str(given.latency)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout is not None
    base_url = server.stdout.readline().strip()
    if not base_url:
        sys.exit("the server did not start")
    try:
        for _ in range(given.repeats):
            report(given, *measure(given, base_url))
    finally:
        server.kill()
        server.wait()


def measure(given: argparse.Namespace, base_url: str) -> tuple[float, float]:
    """Returns the seconds of start-up and of labeling."""
    documents = [Document(f"d{i}", f"{TEXT}{i}", {}, None) for i in range(given.documents)]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        labeler = Timed("toy", base_url, limits=Limits(in_flight=given.in_flight))
        labeler.assign(Task(labels=["agree", "disagree", "neutral"]), documents, LabelStore(Path(folder)))
        options = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False}
        L.Trainer(**options).predict(labeler, return_predictions=False)  # type: ignore[arg-type]
        end = time.perf_counter()
        assert len(LabelStore(Path(folder)).ids()) == given.documents
    return labeler.asking_since - start, end - labeler.asking_since


def report(given: argparse.Namespace, start_up: float, seconds: float) -> None:
    """Prints one line."""
    ideal = given.documents / given.in_flight * given.latency
    print(
        f"{given.documents} documents, {given.in_flight} in flight, {given.latency} s: {seconds:.2f} s, ideal "
        f"{ideal:.2f} s, {ideal / seconds:.1%}; start-up {start_up:.2f} s, with it {ideal / (seconds + start_up):.1%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
