"""Fine-tunes an encoder by several recipes on LLM labels and some expert answers, and scores all on held-out gold.

    python scripts/bench/quality.py FOLDER --sets isear hate sentiment global_warming figurative

FOLDER holds NAME.train.jsonl and NAME.test.jsonl: a JSON object a line with id, text, gold, llm_label and llm_probs
(label -> probability). Each finished training is on disk under --to, so that the same command goes on where it was
stopped, and --table shows what is there. Recipes are options of `redct fit`, but for the published code's own.
Epochs and batch are the same for all of them but that one, since processors are scarce. --quick takes minutes.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import yaml
from joblib import Parallel, delayed, parallel_config
from quality_studies import fit_and_test, make_study, only_answered, read_rows

Floats = npt.NDArray[np.float64]

LLM, NAIVE, GOLD, ORIGINAL, ANSWERS, REDCT, PAPER = (
    "LLM",
    "naive",
    "all gold",
    "original as published",
    "experts only",
    "redct",
    "paper as intended",
)
_NO_CORRECTION: Final = ("--data.calibration.experts", "none")
OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    REDCT: ("--data.experts.budget", "{share}"),
    NAIVE: ("--data.targets", "hard"),
    GOLD: ("--data.experts", "{{budget: {all}, strategy: random}}", "--data.validation", "{some}", *_NO_CORRECTION),
    PAPER: ("--data.experts", "{{budget: {share}, strategy: margin}}", *_NO_CORRECTION),
    ANSWERS: ("--data.experts", "{{budget: {all}, strategy: random}}", *_NO_CORRECTION),
    ORIGINAL: (),
}
# Redct's recipe with one thing changed; trained only where --recipes names it.
CHANGES: Final[dict[str, tuple[str, ...]]] = {
    "learning rate halved": ("--model.learning_rate", "5e-5"),
    "learning rate doubled": ("--model.learning_rate", "2e-4"),
    "averaged weights": (
        "--trainer.callbacks",
        "[{{class_path: lightning.pytorch.callbacks.EMAWeightAveraging, init_args: {{decay: 0.98}}}}]",
    ),
    "lower half frozen": ("--trainer.callbacks", "[{{class_path: quality_studies.FrozenLowerHalf}}]"),
    "hard targets": ("--data.targets", "hard"),
    "random draw": ("--data.experts.strategy", "random"),
}
RESAMPLES: Final = 2000


def run(given: argparse.Namespace, name: str, seed: int, recipe: str) -> None:
    """Trains and scores one recipe, unless that was done before."""
    base = given.to / name / f"{given.documents}-{seed}"
    done = base / f"{recipe}.npy"
    if done.exists():
        return
    study = base / "study.yaml"
    labels = yaml.safe_load(study.read_text())["task"]["labels"]
    if recipe == ORIGINAL:
        from quality_original import train_and_predict  # noqa: PLC0415 - brings torch

        found = train_and_predict(base, labels, given.encoder, given.share, seed)
    else:
        length = ["--trainer.max_epochs", str(given.epochs), "--data.batch_size", str(given.batch_size)]
        if recipe == ANSWERS:
            study = only_answered(study, base / REDCT, base / "answered", given.share)
            length[1] = str(given.epochs * 5)  # few documents: more epochs, still far fewer steps
            length += ["--data.validation", "validation.jsonl"]
        documents = len(read_rows(study.parent / "train.jsonl"))
        asked = OPTIONS[recipe] if recipe in OPTIONS else (*OPTIONS[REDCT], *CHANGES[recipe])
        values = {"share": given.share, "all": documents, "some": max(0.1, 50 / documents)}
        options = [option.format(**values) for option in asked]
        found = fit_and_test(study, base / recipe, [*options, *length])
    np.save(done.with_suffix(".part.npy"), found)
    done.with_suffix(".part.npy").rename(done)
    print(f"{name}, seed {seed}: {recipe}", flush=True)


def jobs(given: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Yields sets and seeds, the first seed of all sets first."""
    for seed in range(1, given.seeds + 1):
        for name in given.sets:
            yield name, seed


def recipes_of(given: argparse.Namespace, seed: int) -> list[str]:
    """Returns the recipes to train with a seed; the published one takes long and has its own number of seeds."""
    return [recipe for recipe in given.recipes if recipe != ORIGINAL or seed <= given.original_seeds]


def train_all(given: argparse.Namespace) -> None:
    """Trains what is missing, several at a time."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    for name, seed in jobs(given):
        base = given.to / name / f"{given.documents}-{seed}"
        if not (base / "labels" / "manifest.json").exists():
            make_study(given.folder, name, given.documents, seed, base, given.encoder)
    todo = [(name, seed, recipe) for name, seed in jobs(given) for recipe in recipes_of(given, seed)]
    threads = max(1, (os.cpu_count() or 1) // given.workers)
    with parallel_config("loky", inner_max_num_threads=threads):
        # Redct's own first: the documents of "experts only" are those that it asked about.
        for of_recipe in ([job for job in todo if job[2] == REDCT], [job for job in todo if job[2] != REDCT]):
            Parallel(given.workers)(delayed(run)(given, *job) for job in of_recipe)


class Scores:
    """Macro-F1 of one set's recipes, (1 + B,): on the test documents, and on B resamples of them, the same for all."""

    def __init__(self, given: argparse.Namespace, name: str) -> None:
        base = given.to / name / f"{given.documents}-1"
        labels = yaml.safe_load((base / "study.yaml").read_text())["task"]["labels"]
        index = {label: k for k, label in enumerate(labels)}
        rows = read_rows(base / "test.jsonl")
        self.k, self.gold = len(labels), np.array([index[row["gold"]] for row in rows])
        rng = np.random.default_rng(0)
        drawn = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=RESAMPLES)
        self.counts = np.vstack([np.ones(len(rows)), drawn])
        said = {row["id"]: row["llm_label"] for row in read_rows(base / "llm.jsonl")}
        self.found: dict[str, Floats] = {}
        if all(row["id"] in said for row in rows):
            self.found[LLM] = self._f1(np.array([index[said[row["id"]]] for row in rows]))
        for recipe in (*OPTIONS, *CHANGES):
            seeds = range(1, given.seeds + 1)
            paths = [given.to / name / f"{given.documents}-{seed}" / f"{recipe}.npy" for seed in seeds]
            paths = [path for path in paths if path.exists()]
            if paths:
                self.found[recipe] = np.mean([self._f1(np.load(path).argmax(axis=1)) for path in paths], axis=0)

    def _f1(self, predicted: npt.NDArray[np.int64]) -> Floats:
        cells = np.eye(self.k**2)[self.gold * self.k + predicted]
        confusion = (self.counts @ cells).reshape(-1, self.k, self.k)
        hits = np.diagonal(confusion, axis1=1, axis2=2)
        both = confusion.sum(axis=1) + confusion.sum(axis=2)
        f1: Floats = 100 * np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0).mean(axis=1)
        return f1


def table(given: argparse.Namespace) -> None:
    """Prints macro-F1 of all, and paired differences with 95 % bootstrap intervals over test documents."""
    scores = {name: Scores(given, name).found for name in given.sets}
    print("| macro-F1, % | " + " | ".join(given.sets) + " |\n|---" + "|---" * len(given.sets) + "|")
    for recipe in (LLM, *OPTIONS, *CHANGES):
        cells = [f"{of[recipe][0]:.1f}" if recipe in of else "-" for of in scores.values()]
        print(f"| {recipe} | " + " | ".join(cells) + " |")
    print(
        "\n| difference [95 %] | " + " | ".join(given.sets) + " | mean |\n|---" + "|---" * (len(given.sets) + 1) + "|"
    )
    for first, second in (
        (REDCT, LLM),
        (REDCT, NAIVE),
        (REDCT, ORIGINAL),
        (REDCT, PAPER),
        (REDCT, ANSWERS),
        (GOLD, LLM),
    ):
        known = {name: of[first] - of[second] for name, of in scores.items() if first in of and second in of}
        cells = [_shown(known[name]) if name in known else "-" for name in given.sets]
        mean = _shown(np.mean([*known.values()], axis=0)) if known else "-"
        print(f"| {first} - {second} | " + " | ".join(cells) + f" | {mean} |")
    whole = [of for of in scores.values() if {REDCT, NAIVE, GOLD} <= set(of)]
    closed = [(of[REDCT][0] - of[NAIVE][0]) / (of[GOLD][0] - of[NAIVE][0]) for of in whole]
    together = np.sum([of[REDCT][0] - of[NAIVE][0] for of in whole]) / np.sum(
        [of[GOLD][0] - of[NAIVE][0] for of in whole]
    )
    shares = ", ".join(f"{share:.0%}" for share in closed)
    print(f"\nnaive to all gold closed: {shares}; mean {np.mean(closed):.0%}, of the summed distances {together:.0%}")


def _shown(values: Floats) -> str:
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return f"{values[0]:+.1f} [{low:+.1f}, {high:+.1f}]"


def main() -> None:
    """Trains and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--share", type=float, default=0.1, help="of documents that experts label")
    parser.add_argument("--recipes", nargs="+", default=[*OPTIONS], choices=[*OPTIONS, *CHANGES])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--original_seeds", type=int, default=3, help="of the published recipe, which takes longest")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2, help="trainings at a time; 1 on a GPU")
    parser.add_argument("--to", type=Path, default=Path("runs/quality"))
    parser.add_argument("--table", action="store_true", help="show what is there, train nothing")
    parser.add_argument("--quick", action="store_true", help="one seed, 300 documents, none of the published recipe")
    given = parser.parse_args()
    given.to = given.to.resolve()
    if given.quick:
        given.documents, given.seeds, given.original_seeds = 300, 1, 0
    if not given.table:
        train_all(given)
    table(given)


if __name__ == "__main__":
    main()
