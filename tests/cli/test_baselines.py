"""`redct fit --baselines`, and what `redct test` makes of them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cli.commands import run

from redct.evidence.predictions import Predictions, read_predictions

RUN = Path("runs/study")
KEPT = RUN / "checkpoints/baselines"
NAIVE, EXPERTS = "naive edge classifier", "experts-only edge classifier"
HARD = ("--data.targets", "hard", "--data.labels", "runs/study/labels", "--trainer.default_root_dir", "runs/hard")
NOBODY = ("--data.experts.budget", "0")


@pytest.fixture
def labeled(study):
    assert run("predict") == 0
    return study


def weights(path: str | Path) -> torch.Tensor:
    state = torch.load(path, weights_only=True)["state_dict"]
    return torch.cat([value.flatten() for value in state.values()])


def after_test(capfd) -> tuple[Predictions, str]:
    capfd.readouterr()
    assert run("test") == 0
    return read_predictions(RUN / "predictions.parquet"), capfd.readouterr().out


def test_they_are_trained_once_and_compared_with_the_classifier_beside_them(labeled, capfd) -> None:
    assert run("fit", "--baselines") == 0
    out = capfd.readouterr().out
    assert "training the naive edge classifier on 83 documents" in out
    assert "training the experts-only edge classifier on 18 documents" in out
    trained = {path.name: path.stat().st_mtime_ns for path in KEPT.glob("*.ckpt")}
    assert set(trained) == {"naive.ckpt", "experts_only.ckpt"}
    epochs = [
        pd.read_csv(KEPT / f"{name}-logs/version_0/metrics.csv").epoch.max() + 1 for name in ("naive", "experts_only")
    ]
    assert epochs == [2, 6]  # of three batches and of one

    found, out = after_test(capfd)
    assert list(found.raters) == ["edge classifier", "LLM", NAIVE, EXPERTS, "TF-IDF + logistic", "majority class"]
    probs = [found.raters[name].probs for name in ("edge classifier", NAIVE, EXPERTS)]
    assert all(abs(one - other).max() > 1e-4 for one, other in zip(probs, [*probs[1:], probs[0]], strict=True))
    metrics = json.loads((RUN / "metrics.json").read_text())
    assert [each["other"] for each in metrics["differences"]][1:3] == [NAIVE, EXPERTS]
    assert max(map(len, out.splitlines())) <= 160
    assert run("report") == 0
    assert f"minus {EXPERTS}" in (RUN / "report.html").read_text()

    assert run("fit", "--baselines") == 0
    out = capfd.readouterr().out
    assert out.count("kept, trained before on the same") == 2
    assert {path.name: path.stat().st_mtime_ns for path in KEPT.glob("*.ckpt")} == trained
    (KEPT / "naive.ckpt").write_bytes((KEPT / "experts_only.ckpt").read_bytes())
    found, out = after_test(capfd)
    assert EXPERTS in found.raters
    assert f"without {NAIVE}: {KEPT}/naive.ckpt is not what was trained; train it with `redct fit --baselines`" in out
    assert run("fit", "--trainer.max_epochs", "1") == 0
    found, out = after_test(capfd)
    assert not {NAIVE, EXPERTS} & set(found.raters)
    assert f"without {EXPERTS}: it was not trained together with {RUN}/checkpoints/best.ckpt" in out


def test_naive_is_what_fit_makes_of_hard_labels_without_experts(labeled, capfd) -> None:
    assert run("fit", "--baselines", *NOBODY) == 0
    assert f"{EXPERTS}: none, no document of the training has an expert's answer" in capfd.readouterr().out
    found, out = after_test(capfd)
    assert NAIVE in found.raters
    assert f"without {EXPERTS}: no document of the training has an expert's answer" in out
    assert run("fit", "--baselines", *NOBODY, *HARD) == 0
    assert f"{NAIVE}: none, its targets are the study's own" in capfd.readouterr().out
    naive, own = weights(KEPT / "naive.ckpt"), weights(RUN / "checkpoints/best.ckpt")
    assert torch.equal(naive, weights("runs/hard/checkpoints/best.ckpt"))
    assert not torch.equal(naive, own)


@pytest.mark.slow
def test_two_devices_train_and_test_them_too(labeled) -> None:
    options = ["--config", "study.yaml", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    for words in (["fit", "--baselines"], ["test"]):
        command = [sys.executable, "-m", "redct", *words, *options]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    two = read_predictions(RUN / "predictions.parquet").raters
    assert run("test") == 0
    one = read_predictions(RUN / "predictions.parquet").raters
    for name in (NAIVE, EXPERTS):
        np.testing.assert_allclose(two[name].probs, one[name].probs, atol=1e-6)
