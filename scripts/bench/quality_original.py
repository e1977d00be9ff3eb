"""The recipe of the published RED-CT code, with its faults: what redct is measured against.

Adam with a learning rate of 1e-6 that nothing changes, 10 epochs, batches of 32, at most 60 tokens, targets that are
expit of the log-probabilities; and a choice of documents that takes positions within each class for rows of the corpus.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from quality_studies import read_rows
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from redct.assets import resolve_model
from redct.confidence import log_floored
from redct.hub.store import LabelTable
from redct.training.batches import EvaluationBatches, TrainingBatches
from redct.training.relabeling import build_targets

LEARNING_RATE, EPOCHS, BATCH, LENGTH = 1e-6, 10, 32, 60


def train_and_predict(
    folder: Path, labels: list[str], encoder: str, share: float, seed: int, faulty_choice: bool = True
) -> npt.NDArray[np.float64]:
    """Returns (M, K) probabilities of the test documents.

    Args:
        folder: Of a study of `quality_studies.make_study`.
        labels: The task's.
        encoder: As of redct.
        share: Of documents that experts relabel.
        seed: Of everything random; the published code has none.
        faulty_choice: Whether positions within a class are taken for rows of the corpus.
    """
    torch.manual_seed(seed)
    train, test = read_rows(folder / "train.jsonl"), read_rows(folder / "test.jsonl")
    target = _targets(folder, train, labels, share, faulty_choice)
    path = resolve_model(encoder)
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(
        path, num_labels=len(labels), dtype=torch.float32
    ).train()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    tokens = _tokens(tokenizer, train)
    # Padding to the batch's longest in place of 60 changes no result, as padding is masked; only the time.
    batches = TrainingBatches([len(row) for row in tokens], BATCH, seed)
    for epoch in range(EPOCHS):
        batches.set_epoch(epoch)
        for at in batches:
            logits = _forward(model, tokenizer, [tokens[n] for n in at], device)
            loss = torch.nn.functional.cross_entropy(logits, torch.as_tensor(target[at], device=device))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    tokens = _tokens(tokenizer, test)
    found = np.zeros((len(test), len(labels)))
    with torch.inference_mode():
        for at in EvaluationBatches([len(row) for row in tokens], BATCH):
            logits = _forward(model.eval(), tokenizer, [tokens[n] for n in at], device)
            found[at] = logits.softmax(-1).cpu().numpy()
    return found


def _targets(
    folder: Path, train: list[dict[str, Any]], labels: list[str], share: float, faulty: bool
) -> npt.NDArray[np.float32]:
    said = {row["id"]: row for row in read_rows(folder / "llm.jsonl")}
    probs = np.array([[said[row["id"]]["llm_probs"][label] for label in labels] for row in train])
    index = {label: k for k, label in enumerate(labels)}
    label = np.array([index[said[row["id"]]["llm_label"]] for row in train])
    logprobs = log_floored(probs)
    top = np.sort(logprobs, axis=1)
    confidence = top[:, -1] - top[:, -2]
    chosen: set[int] = set()
    for k in range(len(labels)):
        of_class = np.flatnonzero(label == k)
        least = np.argsort(confidence[of_class], kind="stable")[: round(share * len(train) / len(labels))]
        chosen |= set((least if faulty else of_class[least]).tolist())
    table = LabelTable(
        labels, [row["id"] for row in train], label, *(x.astype(np.float32) for x in (probs, logprobs, confidence))
    )
    answers = {n: np.eye(len(labels))[index[train[n]["gold"]]] for n in chosen}
    return build_targets(table, answers, "expit").probs


def _tokens(tokenizer: Any, rows: list[dict[str, Any]]) -> list[list[int]]:  # noqa: ANN401
    found: list[list[int]] = tokenizer([row["text"] for row in rows], truncation=True, max_length=LENGTH)["input_ids"]
    return found


def _forward(model: Any, tokenizer: Any, rows: list[list[int]], device: str) -> torch.Tensor:  # noqa: ANN401
    padded = tokenizer.pad({"input_ids": rows}, return_tensors="pt").to(device)
    with torch.autocast(device, torch.bfloat16):
        logits = model(**padded).logits
    return logits.float()
