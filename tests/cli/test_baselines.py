"""`redct fit --baselines`, and what `redct test` makes of them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.commands import run

from redct.evidence.predictions import read_predictions

RUN = Path("runs/study")
KEPT = RUN / "checkpoints" / "baselines"
NAIVE, EXPERTS = "naive edge classifier", "experts-only edge classifier"
NOBODY = ("--data.experts.budget", "0")


@pytest.fixture
def labeled(study):
    assert run("predict") == 0
    return study


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def raters() -> list[str]:
    return list(json.loads((RUN / "metrics.json").read_text())["scores"])


def test_both_are_trained_once_and_compared(labeled, capfd) -> None:
    assert run("fit", "--baselines") == 0
    out = capfd.readouterr().out
    assert "training the naive edge classifier on 81 documents" in out
    assert "training the experts-only edge classifier on" in out
    assert run("test") == 0
    table = capfd.readouterr().out
    metrics = json.loads((RUN / "metrics.json").read_text())
    assert list(metrics["scores"]) == ["edge classifier", "LLM", NAIVE, EXPERTS, "TF-IDF + logistic", "majority class"]
    assert [each["other"] for each in metrics["differences"]][1:3] == [NAIVE, EXPERTS]
    assert max(map(len, table.splitlines())) <= 160
    said = read_predictions(RUN / "predictions.parquet").raters
    assert not np.allclose(said[NAIVE].probs, said["edge classifier"].probs, atol=1e-4)
    assert torch.load(KEPT / "experts_only.ckpt", weights_only=True)["epoch"] > 2  # five times as many as the study
    assert run("report") == 0
    assert NAIVE in (RUN / "report.html").read_text()
    kept = {path: path.stat().st_mtime_ns for path in KEPT.glob("*.ckpt")}

    assert run("fit") == 0
    assert run("test") == 0
