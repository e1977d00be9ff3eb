"""Ablates the training recipe on frozen embeddings: every ingredient, kept or not, over several sets and seeds.

    python scripts/bench/quality_ablation.py FOLDER --sets isear hate sentiment global_warming figurative

FOLDER holds NAME.train.jsonl and NAME.test.jsonl: a JSON object a line with id, text, gold, llm_label and llm_probs
(label -> probability). Prints macro-F1 on the test documents' gold, and the mean difference to redct's recipe with a
95 % interval (Student's, over the seeds; the sets are what they are).
"""

import argparse
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from quality_recipes import RECIPES, Problem
from quality_studies import read_rows
from scipy.stats import t as student_t
from sklearn.metrics import f1_score

from redct.confidence import log_floored
from redct.documents import Document
from redct.training import error_model
from redct.training.embeddings import embed


def load(folder: Path, name: str, documents: int, share: float, seed: int, cache: Path) -> tuple[Problem, np.ndarray]:
    """Returns a problem and the gold labels of its test documents; embeddings are kept in a folder."""
    train, test = (read_rows(folder / f"{name}.{part}.jsonl") for part in ("train", "test"))
    vectors, of_test = (
        embed("minilm", [Document(r["id"], r["text"], {}, None) for r in rows], 128, cache) for rows in (train, test)
    )
    labels = sorted({row["gold"] for row in train} | {label for row in train for label in row["llm_probs"]})
    index = {label: k for k, label in enumerate(labels)}
    probs = np.array([[row["llm_probs"].get(label) or 0.0 for label in labels] for row in train])
    said, gold = (np.array([index[row[key]] for row in train]) for key in ("llm_label", "gold"))
    at = np.random.default_rng([seed, documents]).permutation(len(train))[:documents]
    evidence = error_model.gather(log_floored(probs[at] / probs[at].sum(axis=1, keepdims=True)), vectors[at], seed)
    # The test documents are seen as the training documents are: the same centre and length.
    middle = vectors[at].mean(axis=0)
    length = np.sqrt(((vectors[at] - middle) ** 2).sum(axis=1).mean())
    shown = ((of_test - middle) / length).astype(np.float32)
    problem = Problem(evidence, said[at], gold[at], shown, vectors[at], round(share * len(at)), seed)
    return problem, np.array([index[row["gold"]] for row in test])


def measure(folder: Path, name: str, documents: int, share: float, seed: int, cache: Path) -> list[float]:
    """Returns macro-F1 of each recipe, in percent."""
    problem, gold = load(folder, name, documents, share, seed, cache)
    return [100 * f1_score(gold, recipe(problem).argmax(axis=1), average="macro") for recipe in RECIPES.values()]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", required=True)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--cache", type=Path, default=Path("runs/quality/embeddings"))
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    for name in given.sets:
        load(given.folder, name, 10, given.share, 0, given.cache)  # embeds once, before the processes part
    jobs = [(name, seed) for name in given.sets for seed in range(given.seeds)]
    found = Parallel(2)(
        delayed(measure)(given.folder, name, given.documents, given.share, seed, given.cache) for name, seed in jobs
    )
    scores = np.array(found).reshape(len(given.sets), given.seeds, len(RECIPES))
    names = [*RECIPES]
    ours, naive, gold = (names.index(name) for name in ("redct", "naive: hard LLM labels", "all gold"))
    span = scores.mean(axis=1)
    print(f"{given.documents:,} documents, {given.share:.0%} answered, {given.seeds} seeds; macro-F1, %")
    print("| recipe | " + " | ".join(given.sets) + " | mean | difference to redct [95 %] | naive to gold closed |")
    print("|---" * (len(given.sets) + 4) + "|")
    for n, name in enumerate(names):
        difference = (scores[:, :, n] - scores[:, :, ours]).mean(axis=0)
        half = student_t.ppf(0.975, given.seeds - 1) * difference.std(ddof=1) / np.sqrt(given.seeds)
        closed = np.mean((span[:, n] - span[:, naive]) / (span[:, gold] - span[:, naive]))
        cells = " | ".join(f"{value:.1f}" for value in span[:, n])
        middle = difference.mean()
        print(
            f"| {name} | {cells} | {span[:, n].mean():.1f} | "
            f"{middle:+.1f} [{middle - half:+.1f}, {middle + half:+.1f}] | {closed:.0%} |"
        )


if __name__ == "__main__":
    main()
