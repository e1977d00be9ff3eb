"""A remote labeling run that is killed again and again, and one that two processes share."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from functools import partial

import pytest
import yaml
from servers.chat import Chat
from servers.labeling import documents, label, labeler, rows
from servers.openai_like import OpenAILike

from redct.hub.remote.journal import usage_of
from redct.hub.remote.pacing import Limits
from redct.hub.writer import LabelWriter

WORDS = {"agree": 0.6, "disagree": 0.3, "neutral": 0.1}
IN_FLIGHT = 8


def text_of(body: dict) -> str:
    return body["messages"][-1]["content"].split("Text: text ")[-1]


def journaled(folder) -> set[str]:
    found: set[str] = set()
    for path in folder.glob("journal-*.sqlite"):
        with closing(sqlite3.connect(path)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'replies'").fetchone():
                found |= {name.removeprefix("d") for (name,) in connection.execute("SELECT document FROM replies")}
    return found


@pytest.mark.slow
def test_twenty_kills_lose_at_most_what_is_in_flight(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-toy")
    monkeypatch.setattr("redct.hub.labeler.LabelWriter", partial(LabelWriter, rows_per_part=50))
    given, generator = documents(3000), random.Random(7)

    def run(server) -> None:
        label(labeler(server.url, limits=Limits(in_flight=IN_FLIGHT)), given, tmp_path)

    repeated, worked = 0, 0
    with OpenAILike(Chat(lambda prompt: WORDS), latency=0.03) as server:
        for _ in range(20):
            stored, before = journaled(tmp_path), len(server.bodies)
            child = os.fork()
            if child == 0:
                run(server)
                os._exit(0)
            time.sleep(generator.uniform(0.3, 1.4))
            os.kill(child, signal.SIGKILL)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            time.sleep(0.1)
            asked = [text_of(body) for body in server.bodies[before:]]
            assert not stored & set(asked)
            lost = set(asked) - journaled(tmp_path)
            assert len(lost) <= IN_FLIGHT
            repeated, worked = repeated + len(lost), worked + bool(asked)
        run(server)
        counts = Counter(text_of(body) for body in server.bodies)
    assert sorted(rows(tmp_path)) == sorted(document.id for document in given)
    assert counts.total() == len(given) + repeated
    assert worked >= 10
    print(f"20 kills, {worked} of them amid requests: {repeated} of {counts.total()} requests were repeated")


@pytest.mark.slow
def test_two_processes_share_the_documents_and_one_goes_on(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-toy")
    (tmp_path / "train.csv").write_text("id,text\n" + "".join(f"d{n},text {n}\n" for n in range(200)))
    (tmp_path / "task.yaml").write_text("labels: [agree, disagree, neutral]\ncolumns: {id: id}\n")
    prices = tmp_path / "prices.yaml"
    prices.write_text("date: 2026-01-01\nmodels: {toy: {prompt: 1000, completion: 1000}}\n")
    with OpenAILike(Chat(lambda prompt: WORDS), latency=0.05) as server:
        options = {"model": "toy", "base_url": server.base_url, "prices": "prices.yaml"}
        study = {"task": "task.yaml", "data": {"train": "train.csv"}}
        study["labeler"] = {"class_path": "redct.hub.ApiLabeler", "init_args": options}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
        quiet = {"capture_output": True, "text": True, "timeout": 120}
        command = [sys.executable, "-m", "redct", "predict", "--config", "study.yaml", "--trainer.accelerator", "cpu"]
        two = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--max_cost", "4.5"]
        ended = subprocess.run([*command, *two], check=False, **quiet)
        assert ended.returncode != 0
        assert "--max_cost" in ended.stderr
        folder = tmp_path / "runs" / "study" / "labels"
        assert len(list(folder.glob("journal-*.sqlite"))) == 2
        spent = sum(usage.prompt + usage.completion for usage in usage_of(folder).values()) * 1000 / 1e6
        assert 1.5 < spent <= 4.5  # one of the two has come near its half, which stopped both
        one = subprocess.run([*command, "--trainer.devices", "1"], check=False, **quiet)
        assert one.returncode == 0, one.stderr
        counts = Counter(text_of(body) for body in server.bodies)
    assert sorted(rows(folder)) == sorted(f"d{n}" for n in range(200))
    assert counts.total() <= 200 + 64  # what one process had under way when the other stopped both
