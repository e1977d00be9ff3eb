"""`redct fit --tune`, and what `fit` says about its own prospects."""

from pathlib import Path

import pytest
import torch
import yaml
from cli.commands import refused, run

from redct.cli import tune
from redct.cli.main import main
from redct.training.tuning import Candidate

RUN = Path("runs/study")
SHORT = ("--trainer.max_epochs", "1", "--data.experts.budget", "80", "--data.experts.strategy", "random")


@pytest.fixture
def labeled(study):
    assert run("predict") == 0
    return study


def trained() -> dict:
    return torch.load(RUN / "checkpoints/best.ckpt", weights_only=True)


def test_a_search_stops_goes_on_and_its_choice_is_used(labeled, capfd, monkeypatch) -> None:
    monkeypatch.setattr(tune, "candidates", lambda *default: [Candidate(*default), Candidate(0.01, 15)])
    short = (*SHORT, "--model.learning_rate", "1e-5", "--data.batch_size", "8")  # at which nothing is learned
    assert run("fit", "--tune", "--tune_minutes", "0.0001", *short) == 0
    out = capfd.readouterr().out
    assert "time is up" in out
    assert "the defaults are kept: time was up" in out
    kept = {path: path.stat().st_mtime_ns for path in (RUN / "tune").glob("unseen-*.npy")}
    assert kept
    assert run("fit", "--tune", *short) == 0
    out = capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list((RUN / "tune").glob("unseen-*.npy"))) > len(kept)
    assert out.count("epochs: log loss") == 3
    assert "best of 2, cross-fitted on expert answers: learning rate 0.01, 15 epochs" in out
    assert "chosen: learning rate 0.01, 15 epochs" in out
    written = yaml.safe_load((RUN / "tuned.yaml").read_text())
    assert written == {
        "model": {"learning_rate": 0.01},
        "trainer": {"default_root_dir": "runs/study", "max_epochs": 15},
    }
    assert trained()["hyper_parameters"]["learning_rate"] == 0.01
    assert trained()["global_step"] > trained()["epoch"] > 0  # went on after the study's only epoch
    saved = yaml.safe_load(max((RUN / "logs").glob("*/config.yaml"), key=lambda path: path.stat().st_mtime).read_text())
    assert (saved["model"]["learning_rate"], saved["trainer"]["max_epochs"]) == (0.01, 15)
    assert run("test") == 0  # needs no option of the training
    assert "model.learning_rate: found 0.001" in refused(capfd, "fit", "--ckpt_path", "last", *SHORT)
    assert main(["test", "--config", "study.yaml", "--config", str(RUN / "tuned.yaml")]) == 0


def test_what_cannot_be_tuned_is_refused(labeled, capfd) -> None:
    assert "found 18 expert answers of a randomised choice, expected 75" in refused(capfd, "fit", "--tune")
    assert "--tune_minutes: found 0" in refused(capfd, "fit", "--tune", "--tune_minutes", "0")
    margin = ("--data.experts", "{budget: 80, strategy: margin}")
    assert "found 0 expert answers" in refused(capfd, "fit", "--tune", *margin)
    processes = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
    assert "found 2 processes" in refused(capfd, "fit", "--tune", *processes)


def test_fit_says_what_to_expect(labeled, capfd) -> None:
    assert run("fit", *SHORT) == 0
    out = capfd.readouterr().out
    assert "validation macro-F1 0." in out
    assert "forecast by 80 expert answers that served nothing: accuracy" in out
    assert "LLM" in out.splitlines()[-1] or "larger encoder" in out.splitlines()[-1]
    assert run("fit", "--trainer.max_epochs", "1", "--data.experts.budget", "18") == 0
    assert "forecast by" not in capfd.readouterr().out
