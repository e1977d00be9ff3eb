"""Documents per second of `redct fit` beside other ways to train the same encoder on the same documents.

All run alternately in one process: the same encoder, documents, labels, epochs, batch size, precision, learning rate
and longest input; a round is a training from the pretrained weights with a seed of its own. What counts is the time of
the epochs, without loading and tokenising, and without redct's validation and checkpoints, as the others have none.

    redct     `redct fit` as the command line builds it: data module, classifier, Lightning's trainer, progress bar
    bare      a loop over batches of redct's kind with redct's optimizer: what Lightning costs shows beside it
    trainer   transformers' Trainer with its defaults: batches at random, padded to the longest of each
    original  RED-CT's loop: batches at random, padded to the longest input of all, Adam with a constant rate

The trained networks' losses on training and validation documents are computed alike for all. Peak memory is that of a
process that does nothing else. On a GPU, the share of its peak is beside one large matrix product; useful operations
are six per weight of the encoder's matrices and token, padding not counted, attention left out.

    python scripts/bench/training.py --documents tweets.jsonl     # an object a line: text, gold
    OMP_NUM_THREADS=1 python scripts/bench/training.py            # counts the processor's time: for a busy machine
    python scripts/bench/training.py --precision bf16-mixed
    python scripts/bench/training.py --encoder roberta-large --precision bf16-mixed --count 20000    # with a GPU
    python scripts/bench/training.py --shape large --precision bf16-mixed --count 20000    # random weights, no hub
"""

import argparse
import json
import logging
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from gpu import matrix_rate  # the scripts beside this one
from torch import nn
from torch.utils.data import DataLoader
from training_ways import DEVICE, WAYS, Setting
from transformers import RobertaConfig, RobertaModel

from redct.training.classifier import load_tokenizer

MADE_UP = 25, 8  # tokens of a made-up document, mean and standard deviation: those of tweets
SHAPES = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}


@torch.inference_mode()
def mean_loss(setting: Setting, network: nn.Module, rows: list[dict[str, str]]) -> float:
    """Returns the mean cross-entropy of a trained network."""
    network.eval()
    encoded = sorted(setting.encode(rows), key=lambda row: len(row["input_ids"]))
    total = 0.0
    for batch in DataLoader(encoded, setting.batch_size, collate_fn=setting.pad()):  # type: ignore[arg-type]
        loss = network(**{name: values.to(DEVICE) for name, values in batch.items()}).loss
        total += loss.item() * len(batch["labels"])
    return total / len(rows)


def peak_memory(name: str, setting: Setting) -> str:
    """Trains in this process, which has done nothing else, and returns the greatest memory."""
    logging.disable(logging.WARNING)
    with silence(), tempfile.TemporaryDirectory() as folder:
        WAYS[name](replace(setting, folder=Path(folder)), 0)
    # Not getrusage: a new process starts there with the peak of the one that made it.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    memory = f"{int(status['VmHWM'].split()[0]) / 1024:.0f} MiB"
    if DEVICE.type == "cuda":
        memory += f" and {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB on the card"
    return memory


@contextmanager
def silence() -> Iterator[None]:
    """Keeps what the contestants print to themselves."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def make_documents(encoder: str, count: int) -> list[dict[str, str]]:
    """Returns made-up documents of the length of tweets; every fourth word says what the label is."""
    rng = np.random.default_rng(0)
    words = sorted(word for word in load_tokenizer(encoder).get_vocab() if word.isascii() and word.isalpha())
    groups = np.array_split(rng.permutation(words), 4)
    rows = []
    for n in range(count):
        length = int(np.clip(rng.normal(*MADE_UP), 3, 58)) - 2
        told = rng.random(length) < 0.25
        text = " ".join(np.where(told, rng.choice(groups[n % 3], length), rng.choice(groups[3], length)))
        rows.append({"text": text, "gold": "abc"[n % 3]})
    return rows


def make_encoder(shape: str, folder: Path) -> str:
    """Writes a RoBERTa with random weights, and with minilm's tokenizer, and returns its folder."""
    tokenizer = load_tokenizer("minilm")
    config = RobertaConfig(
        **SHAPES[shape],  # type: ignore[arg-type]
        vocab_size=len(tokenizer),
        max_position_embeddings=514,
        pad_token_id=tokenizer.pad_token_id,
        type_vocab_size=2,
    )
    RobertaModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def make_setting(options: argparse.Namespace, folder: Path) -> Setting:
    """Returns what all have in common."""
    encoder = make_encoder(options.shape, folder / "encoder") if options.shape else options.encoder
    if options.documents:
        lines = Path(options.documents).read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        np.random.default_rng(0).shuffle(records)
    else:
        records = make_documents(encoder, options.count + options.validation)
    rows = [{"id": str(n), "text": r["text"], "label": r["gold"]} for n, r in enumerate(records)]
    return Setting(
        folder,
        encoder,
        sorted({row["label"] for row in rows}),
        rows[options.validation : options.validation + options.count],
        rows[: options.validation],
        options.epochs,
        options.batch_size,
        options.max_length,
        options.learning_rate,
        options.precision,
    )


def race(setting: Setting, ways: list[str], rounds: int) -> dict[str, np.ndarray]:
    """Returns documents per second, and losses in training and validation, of each round: (rounds, 3) for each way."""
    found: dict[str, list[list[float]]] = {name: [] for name in ways}
    with silence(), tempfile.TemporaryDirectory() as folder:
        # The first steps of a process are slow.
        WAYS["redct"](replace(setting, folder=Path(folder), train=setting.train[: setting.batch_size], epochs=1), 0)
    for seed in range(rounds):
        for name in ways:
            with silence():
                seconds, network = WAYS[name](setting, seed)
            rate = len(setting.train) * setting.epochs / seconds
            losses = [mean_loss(setting, network, rows) for rows in (setting.train, setting.validation)]
            found[name].append([rate, *losses])
        print(f"round {seed}: " + ", ".join(f"{name} {found[name][-1][0]:.1f}" for name in ways), flush=True)
    return {name: np.array(rows) for name, rows in found.items()}


def show(setting: Setting, found: dict[str, np.ndarray]) -> None:
    """Prints a line per way; ratios are of the first one's speed to its own, round by round."""
    first = next(iter(found))
    for name, values in found.items():
        ratio = np.sort(found[first][:, 0] / values[:, 0])
        train, validation = (f"{v.mean():.3f} ± {v.std():.3f}" for v in values.T[1:])
        print(
            f"{name:8s} {np.median(values[:, 0]):7.1f} documents/s; "
            f"{first} is {np.median(ratio):.2f} times as fast ({ratio[0]:.2f} to {ratio[-1]:.2f}); "
            f"loss in training {train}, validation {validation}"
        )
    if DEVICE.type == "cuda":
        rate = matrix_rate(DEVICE, 8192, torch.bfloat16 if setting.precision == "bf16-mixed" else torch.float32)
        for name, values in found.items():
            useful = useful_operations(setting) * float(np.median(values[:, 0]))
            print(f"{name:8s} {useful / 1e12:.1f} TFLOP/s useful, {useful / rate:.0%} of a matrix product's")


def useful_operations(setting: Setting) -> float:
    """Returns the floating-point operations that training takes for the average document."""
    network = setting.network(0)
    embeddings = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
    weights = sum(p.numel() for p in network.parameters() if p.ndim == 2 and id(p) not in embeddings)
    return 6 * weights * statistics.mean(len(row["input_ids"]) for row in setting.encode(setting.train))


def main() -> None:
    """Measures, and prints a line per round and some per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", help="JSONL with text and gold; by default made-up documents")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--shape", choices=SHAPES, help="in place of an encoder: a RoBERTa with random weights")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), default="32-true")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--count", type=int, default=320, help="documents to train on")
    parser.add_argument("--validation", type=int, default=200, help="documents to validate on")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--max_length", type=int, default=60)
    parser.add_argument("--learning_rate", type=float, default=5e-5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        setting = make_setting(options, Path(folder))
        lengths = [len(row["input_ids"]) for row in setting.encode(setting.train)]
        print(f"{len(lengths)} documents, {statistics.mean(lengths):.1f} tokens in the mean, {max(lengths)} at most")
        show(setting, race(setting, options.ways, options.rounds))
        for name in options.ways:
            with get_context("spawn").Pool(1) as pool:
                print(f"{name:8s} peak {pool.apply(peak_memory, (name, replace(setting, epochs=1)))}", flush=True)


if __name__ == "__main__":
    main()
