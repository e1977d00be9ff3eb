"""`redct fit --tune`, and what `fit` says about its own prospects."""

from pathlib import Path

import pytest
import torch
import yaml
from cli.commands import refused, run

from redct.cli.main import main

RUN = Path("runs/study")
SHORT = ("--trainer.max_epochs", "1", "--data.experts.budget", "80", "--data.experts.strategy", "random")


@pytest.fixture
def labeled(study):
    assert run("predict") == 0
    return study


def trained() -> dict:
    return torch.load(RUN / "checkpoints/best.ckpt", weights_only=True)


def test_a_search_stops_goes_on_and_its_choice_is_used(labeled, capfd) -> None:
    # A rate at which nothing is learned: a larger one wins.
    short = (*SHORT, "--model.learning_rate", "1e-3")
    capfd.readouterr()
    assert run("fit", "--tune", "--tune_minutes", "0.03", *short) == 0
    out = capfd.readouterr().out
    assert "time is up" in out
    kept = {path: path.stat().st_mtime_ns for path in (RUN / "tune").glob("unseen-*.npy")}
    assert kept
    assert run("fit", "--tune", *short) == 0
    out = capfd.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list((RUN / "tune").glob("unseen-*.npy"))) > len(kept)
    assert out.count(": log loss") >= 5
    assert "best of " in out
    assert "95 % interval" in out
    written = yaml.safe_load((RUN / "tuned.yaml").read_text())
    assert written["trainer"]["default_root_dir"] == "runs/study"
    assert trained()["hyper_parameters"]["learning_rate"] == written.get("model", {}).get("learning_rate", 1e-3)
    assert trained()["epoch"] + 1 <= written["trainer"].get("max_epochs", 1)
    assert main(["test", "--config", "study.yaml", *short, "--config", str(RUN / "tuned.yaml")]) == 0


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
