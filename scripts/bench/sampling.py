"""How long `redct sample` takes on many documents, whole process: files read, documents chosen, choice recorded.

A corpus is written and a label store filled with random distributions; then `redct sample` chooses a first round and,
once that is answered at random, a second one, which also says what more answers would bring. The clustering of
`uncertainty_diversity` is timed by itself, on random vectors, since embedding the texts is the encoder's affair.

    python scripts/bench/sampling.py --documents 100000
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from redct.experts import Answer, Ledger, Pool, choose
from redct.hub.rows import LabelRow
from redct.hub.store import LabelStore

LABELS = ["against", "for", "neutral"]
WORDS = ["bus", "tea", "rain", "fair", "school", "council", "river", "ice", "plan", "vote", "price", "pond", "train"]
STRATEGIES = ("random", "margin", "margin_randomised", "entropy_randomised", "mixed_randomised")
PART = 20_000


def write_study(folder: Path, count: int) -> None:
    """Writes corpus, task, study and labels."""
    with (folder / "posts.jsonl").open("w", encoding="utf-8") as file:
        for n in range(count):
            words = " ".join(WORDS[n // 13**k % 13] for k in range(6))
            file.write(json.dumps({"id": f"post-{n:08d}", "text": f"No. {n}: what about {words}?"}) + "\n")
    task = {"labels": LABELS, "columns": {"text": "text", "id": "id"}}
    study = {"task": task, "data": {"train": "posts.jsonl"}, "model": {"encoder": "minilm"}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    store, rng = LabelStore(folder / "runs/study/labels"), np.random.default_rng(0)
    store.begin({"model": "random"}, LABELS)
    for start in range(0, count, PART):
        store.write_part([label(rng, n) for n in range(start, min(start + PART, count))])
    store.finish()


def label(rng: np.random.Generator, n: int) -> LabelRow:
    """Returns a row with a random distribution."""
    probs = rng.dirichlet([0.5] * 3)
    logs = np.log(np.maximum(probs, 1e-12))
    top = np.sort(logs)
    named = {"label": LABELS[int(probs.argmax())], "margin": float(top[2] - top[1]), "source": "logprobs"}
    return LabelRow(f"post-{n:08d}", probs=probs.tolist(), logprobs=logs.tolist(), **named)


def sample(folder: Path, strategy: str, number: int) -> float:
    """Returns the seconds of a whole process."""
    experts = f"{{budget: 1000, strategy: {strategy}}}"
    words = ["sample", "--config", "study.yaml", "--round", str(number), "--data.experts", experts]
    begin = time.perf_counter()
    command = [sys.executable, "-m", "redct", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - begin


def answer(ledger_path: Path) -> None:
    """Answers the last round at random."""
    rng = np.random.default_rng(1)
    with Ledger(ledger_path) as ledger:
        ids = ledger.rounds()[-1].ids
        ledger.record_all(Answer(i, "ann", label=LABELS[rng.integers(3)], duration_seconds=5.0) for i in ids)


def main() -> None:
    """Prints a line for each strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    count = parser.parse_args().documents
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_study(folder, count)
        ledger = folder / "runs/study/experts.sqlite"
        for strategy in STRATEGIES:
            first = sample(folder, strategy, 1)
            answer(ledger)
            second = sample(folder, strategy, 2)
            print(f"{strategy}: round 1 {first:.1f} s, round 2 with a forecast {second:.1f} s", flush=True)
            for file in ledger.parent.glob("experts.sqlite*"):
                file.unlink()
    rng = np.random.default_rng(0)
    probs = rng.dirichlet([0.5] * 3, count)
    top = np.sort(np.log(probs), axis=1)
    vectors = rng.normal(size=(count, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pool = Pool(probs.argmax(axis=1), probs, top[:, 2] - top[:, 1], embeddings=vectors)
    for strategy in ("uncertainty_diversity_randomised", "diversity"):
        begin = time.perf_counter()
        choose(strategy, pool, 1000, 0)
        print(f"{strategy}, from embeddings of 384 values: {time.perf_counter() - begin:.1f} s", flush=True)


if __name__ == "__main__":
    main()
