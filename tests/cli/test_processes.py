"""Labeling on several nodes, and through many deaths."""

import hashlib
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from redct.cli.main import main
from redct.hub.store import read_labels

LABELS = ["against", "for", "neutral"]
STORE = Path("runs/study/labels")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.slow
def test_two_nodes_label_as_one_process(local_study) -> None:
    assert main(["predict", "--config", "study.yaml"]) == 0
    one = read_labels(STORE, LABELS)
    port = str(free_port())
    nodes = []
    for rank in ("0", "1"):
        where = ["--nnodes=2", f"--node_rank={rank}", "--nproc_per_node=1", "--master_addr=127.0.0.1"]
        launcher = [sys.executable, "-m", "torch.distributed.run", *where, f"--master_port={port}", "-m", "redct"]
        trainer = ["--trainer.num_nodes", "2", "--trainer.devices", "1", "--trainer.strategy", "ddp"]
        words = ["predict", "--config", "study.yaml", *trainer, "--trainer.default_root_dir", "runs/nodes"]
        nodes.append(subprocess.Popen([*launcher, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    outputs = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    two = read_labels("runs/nodes/labels", LABELS)
    assert len(two.ids) == len(set(two.ids)) == 121
    assert all(list(Path("runs/nodes/labels").glob(f"part-0000{rank}-*.parquet")) for rank in (0, 1))
    np.testing.assert_allclose(two.aligned(one.ids).logprobs, one.logprobs, rtol=0, atol=1e-5)


# Starts runs by forking, which saves importing torch for each, and kills them: after a random number
# of batches, every fourth anywhere. Tells how many documents were stored after each, and the parts as first seen.
KILLER = """
import hashlib, json, os, random, select, signal, sys, time
import redct.cli.study, redct.hub.local, redct.hub.writer, transformers.models.mistral.modeling_mistral
from pathlib import Path
from redct.cli.main import main
from redct.hub.store import LabelStore

score = redct.hub.local.LabelScorer.score
redct.hub.writer.LabelWriter.__init__.__defaults__ = (8, 20.0, dict)
random, store, parts, stored = random.Random(7), LabelStore("runs/study/labels"), {}, []
for number in range(20):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        def slow(*args):
            os.write(writing, b".")
            time.sleep(0.05)
            return score(*args)
        redct.hub.local.LabelScorer.score = slow
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.dup2(2, 1)
        os._exit(main(["predict", "--config", "study.yaml", "--labeler.init_args.tokens_per_batch", "500"]))
    if number % 4 < 3:
        for _ in range(random.randint(1, 9)):  # counted in batches, since how long one takes depends on the machine
            select.select([reading], [], [], 60)
            os.read(reading, 1)
        time.sleep(random.uniform(0, 0.1))
    else:
        time.sleep(random.uniform(0, 1))
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "labeled everything before it was killed"
    stored.append(len(store.ids()) if store.manifest_path.exists() else 0)
    for path in Path("runs/study/labels").glob("part-*.json"):
        part = path.with_suffix(".parquet")
        parts.setdefault(part.name, hashlib.sha256(part.read_bytes()).hexdigest())
print(json.dumps([stored, parts]))
"""


@pytest.mark.slow
def test_twenty_kills_lose_nothing(local_study) -> None:
    rows = [{"id": f"k{n}", "text": f"post {n}", "stance": LABELS[n % 3], "target": "tea"} for n in range(900)]
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = subprocess.run([sys.executable, "-c", KILLER], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    stored, parts = json.loads(done.stdout)
    assert len(stored) == 20
    assert stored == sorted(stored)
    assert len(set(stored)) > 5  # work went on between the kills
    assert 0 < stored[-1] < 931
    assert main(["predict", "--config", "study.yaml"]) == 0
    table = read_labels(STORE, LABELS)
    assert sorted(table.ids) == sorted([row["id"] for row in rows] + [f"d{n}" for n in range(90, 121)])
    for name, digest in parts.items():
        assert hashlib.sha256((STORE / name).read_bytes()).hexdigest() == digest
