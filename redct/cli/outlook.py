"""The end of `redct fit`: how sure its score is, and whether the classifier will beat the LLM."""

from pathlib import Path

import numpy as np
import torch

from redct.evidence.evaluation import evaluate_confusion
from redct.training.datamodule import LabeledTextDataModule
from redct.training.outlook import growth, notes, outlook


def show_validation(checkpoint: Path, seed: int) -> None:
    """Prints the validation score of a checkpoint with its interval."""
    counts = torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True).get("validation_confusion")
    if counts is None:
        return
    observed = np.pad(counts.numpy().astype(np.int64), ((0, 0), (0, 1)))
    found = evaluate_confusion(observed, seed=seed)["macro_f1"]
    interval = f"95 % interval {found.low:.3f} to {found.high:.3f}, {observed.sum():,} documents"
    print(f"validation macro-F1 {found.value:.3f} ({interval}), of the best epoch on them")


def show_outlook(data: LabeledTextDataModule) -> None:
    """Prints whether the classifier will beat the LLM, where experts' answers can tell."""
    corpus = data.corpus
    judges = corpus.judges()
    if judges is None:
        return
    vectors = data.embeddings()
    position = {document.id: n for n, document in enumerate(corpus.splits().train.documents)}
    found = outlook(judges, vectors, position, corpus.seed)
    hopeful = found.gain.value > 0
    curve = None if hopeful else growth(judges, vectors, position, corpus.own_labels().probs, corpus.seed)
    for line in notes(found, curve):
        print(line)
