"""Studies of files NAME.train.jsonl and NAME.test.jsonl, and what `redct fit` and `redct test` make of them."""

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import lightning as L
import numpy as np
import numpy.typing as npt
import yaml
from lightning.pytorch.callbacks import Callback

PRECISION: Final = ("--trainer.precision", "bf16-mixed")


class FrozenLowerHalf(Callback):
    """Leaves the embeddings and the lower half of a BERT's layers as they were pretrained."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Freezes them before the optimizer asks which weights are trained."""
        pl_module.configure_model()
        bert = pl_module.network.bert
        for part in (bert.embeddings, *bert.encoder.layer[: len(bert.encoder.layer) // 2]):
            part.requires_grad_(False)


def make_study(source: Path, name: str, documents: int, seed: int, folder: Path, encoder: str) -> Path:
    """Writes a study of a random part of a set's training documents, and labels it with what its LLM said.

    Args:
        source: Folder of the files, an object a line with id, text, gold and, mostly, llm_label and llm_probs.
        name: Of the set.
        documents: How many documents to train on at most.
        seed: Draws them, and is the study's.
        folder: Where the study is written.
        encoder: Of the edge classifier.

    Returns:
        The study's YAML.
    """
    train, test = (read_rows(source / f"{name}.{part}.jsonl") for part in ("train", "test"))
    at = np.random.default_rng([seed, documents]).permutation(len(train))[:documents]
    train = [train[n] for n in at]
    labels = sorted({row["gold"] for row in train} | {label for row in train for label in row.get("llm_probs", {})})
    folder.mkdir(parents=True, exist_ok=True)
    for part, rows in (("train", train), ("test", test)):
        _write_rows(folder / f"{part}.jsonl", [{key: row[key] for key in ("id", "text", "gold")} for row in rows])
    labeled = [row for row in train + test if "llm_label" in row]
    _write_rows(folder / "llm.jsonl", [{**row, "llm_probs": _distribution(row, labels)} for row in labeled])
    task = {"labels": labels, "columns": {"text": "text", "gold": "gold", "id": "id"}, "question": "Which?"}
    imported = {"path": "llm.jsonl", "label_column": "llm_label", "probs_column": "llm_probs"}
    judged = all("llm_label" in row for row in test)
    study = {
        "seed_everything": seed,
        "task": task,
        "data": {"train": "train.jsonl", "test": "test.jsonl", "predict": "both" if judged else "train"},
        "labeler": {"class_path": "redct.hub.ImportedLabels", "init_args": imported},
        "model": {"encoder": encoder},
        "trainer": {"enable_progress_bar": False, "enable_model_summary": False},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    _run("predict", path, folder, [])
    return path


def fit_and_test(study: Path, folder: Path, options: Sequence[str]) -> npt.NDArray[np.float64]:
    """Runs `redct fit` and `redct test` with options, on the labels of the study, and returns (N, K) probabilities."""
    labels = ["--data.labels", str(study.parent / "labels")]
    _run("fit", study, folder, [*labels, *PRECISION, *options])
    tested = _run("test", study, folder, [*labels, *PRECISION, *options])
    found = np.array([tested.model.predictions[n] for n in range(len(tested.model.predictions))])
    shutil.rmtree(folder / "checkpoints")
    return found


def only_answered(study: Path, asked: Path, folder: Path, share: float) -> Path:
    """Writes a study of nothing but the documents that experts answered in another one.

    Args:
        study: YAML of the other.
        asked: Its folder, with the ledger.
        folder: Where it is written.
        share: How many documents they answered, as a share.
    """
    from redct.experts import Ledger  # noqa: PLC0415 - the others need it not

    with Ledger(asked / "experts.sqlite", create=False) as ledger:
        (round_,) = ledger.rounds()
    folder.mkdir(parents=True, exist_ok=True)
    rows = read_rows(study.parent / "train.jsonl")
    answered = [row for row in rows if row["id"] in set(round_.ids)]
    if len(answered) != round(share * len(rows)):
        raise ValueError(f"{asked}: found {len(answered)} documents, expected {share:.0%} of {len(rows)}")
    _write_rows(folder / "train.jsonl", answered)
    # Too few to set some aside; nothing is chosen by the validation.
    _write_rows(folder / "validation.jsonl", [{**row, "id": f"again-{row['id']}"} for row in answered])
    for name in ("test.jsonl", "llm.jsonl"):
        shutil.copy(study.parent / name, folder / name)
    shutil.copy(study, folder / "study.yaml")
    if not (folder / "labels").exists():
        _run("predict", folder / "study.yaml", folder, [])
    return folder / "study.yaml"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Returns the objects of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _run(command: str, study: Path, folder: Path, options: Sequence[str]) -> Any:  # noqa: ANN401
    """Runs a command in this process; what it prints goes to a file, since hundreds of runs follow each other."""
    from redct.cli import study as cli  # noqa: PLC0415 - brings torch

    os.environ["HF_HUB_OFFLINE"] = "1"
    folder.mkdir(parents=True, exist_ok=True)
    if folder != study.parent and not (folder / "cache").exists():
        (study.parent / "cache").mkdir(exist_ok=True)
        (folder / "cache").symlink_to((study.parent / "cache").resolve())  # tokens and embeddings are the same
    printed = io.StringIO()
    where = study.resolve()
    args = [command, "--config", str(where), "--trainer.default_root_dir", str(folder.resolve()), *options]
    sys.argv = ["redct", *args]
    here = Path.cwd()
    os.chdir(study.parent)
    cli._quiet()
    try:
        with contextlib.redirect_stdout(printed):
            return cli.StudyCLI(args=args)
    finally:
        os.chdir(here)
        (folder / f"{command}.txt").write_text(printed.getvalue(), encoding="utf-8")


def _write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _distribution(row: dict[str, Any], labels: Sequence[str]) -> dict[str, float]:
    given = {label: row["llm_probs"].get(label) or 0.0 for label in labels}
    total = sum(given.values())
    return {label: value / total for label, value in given.items()}
