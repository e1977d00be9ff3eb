"""Calibration error of real LLM answers before and after temperature scaling from a tenth of expert answers.

For each file, a tenth of its documents are chosen by `margin_randomised`, their gold labels stand for the experts'
answers, and a temperature is fitted to them, weighted. Judged twice: as `redct fit` does, on the answers themselves
by cross-fitting; and on all documents that were not chosen, which a study could not do. Means over several seeds.

    python scripts/bench/calibration.py FOLDER --sets isear sentiment hate global_warming

FOLDER holds NAME.train.jsonl: a JSON object a line with gold, llm_label and llm_probs (label -> probability).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from redct.calibration import cross_fit, divide_prior, fit_temperature, mean_distribution, reliability, scale
from redct.confidence import log_floored, margins, normalise
from redct.experts import Pool, choose

HEAD = "set | N | answers | prior | accuracy | T | T unweighted | ECE, answers | ECE, others | log loss, others"


def read(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Returns (N, K) log-probabilities, (N,) the LLM's labels and (N,) gold labels."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    labels = sorted({row["gold"] for row in rows} | {label for row in rows for label in row["llm_probs"]})
    index = {label: k for k, label in enumerate(labels)}
    probs = np.array([[row["llm_probs"].get(label, 0.0) or 0.0 for label in labels] for row in rows])
    said, gold = (np.array([index[row[name]] for row in rows]) for name in ("llm_label", "gold"))
    return log_floored(probs / probs.sum(axis=1, keepdims=True)), said, gold


def measure(
    logprobs: npt.NDArray[np.float64], said: npt.NDArray[np.int64], gold: npt.NDArray[np.int64], prior: str, seed: int
) -> tuple[float, ...]:
    """Returns T, T without weights, and before and after: ECE on answers, ECE and log loss on other documents."""
    n = len(logprobs)
    pool = Pool(said, normalise(logprobs), margins(logprobs))
    choice = choose("margin_randomised", pool, round(n / 10), seed)
    before = logprobs
    if prior == "batch":
        logprobs = divide_prior(logprobs, mean_distribution(logprobs))
    at, weight = choice.chosen, 1 / choice.inclusion[choice.chosen]
    fitted = cross_fit(logprobs[at], gold[at], weight, seed)
    plain = fit_temperature(logprobs[at], gold[at], np.ones(len(at)))
    other = np.setdiff1d(np.arange(n), at)
    # Documents that were not chosen are not the corpus either: 1 / (1 - pi) makes them stand for it.
    left = 1 / (1 - choice.inclusion[other])
    then = reliability(before[other], gold[other], left)
    now = reliability(scale(logprobs[other], fitted.temperature), gold[other], left)
    first = reliability(before[at], gold[at], weight)
    return fitted.temperature, plain, first.ece, fitted.held_out.ece, then.ece, now.ece, then.log_loss, now.log_loss


def main() -> None:
    """Prints a line for each set and prior."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", default=["isear", "sentiment", "hate", "global_warming"])
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    print(HEAD)
    for name in options.sets:
        logprobs, said, gold = read(options.folder / f"{name}.train.jsonl")
        for prior in ("none", "batch"):
            found = [measure(logprobs, said, gold, prior, seed) for seed in range(options.seeds)]
            mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
            temperatures = f"{mean[0]:.2f} ± {spread[0]:.2f} | {mean[1]:.2f} ± {spread[1]:.2f}"
            pairs = [f"{mean[i]:.3f} -> {mean[i + 1]:.3f} ± {spread[i + 1]:.3f}" for i in (2, 4, 6)]
            labels = said if prior == "none" else divide_prior(logprobs, mean_distribution(logprobs)).argmax(axis=1)
            facts = f"{len(gold)} | {round(len(gold) / 10)} | {prior} | {np.mean(labels == gold):.3f}"
            print(" | ".join([name, facts, temperatures, *pairs]))


if __name__ == "__main__":
    main()
