"""`redct predict` with a remote labeler, as a user runs it."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from servers.chat import Chat
from servers.labeling import rows
from servers.openai_like import OpenAILike

from redct.cli.main import main

LABELS = Path("runs/study/labels")
WORDS = {"for": 0.7, "against": 0.2, "neutral": 0.1}


@pytest.fixture
def server():
    with OpenAILike(Chat(lambda prompt: WORDS)) as server:
        yield server


@pytest.fixture
def remote(study, server, monkeypatch) -> Path:
    """The study with its 121 documents, labeled through the server at a tenth of a cent a token."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-toy")
    Path("prices.yaml").write_text("date: 2026-01-01\nmodels: {toy: {prompt: 1000, completion: 1000}}\n")
    content = yaml.safe_load(study.read_text())
    options = {"model": "toy", "base_url": server.base_url, "prices": "prices.yaml"}
    content["labeler"] = {"class_path": "redct.hub.ApiLabeler", "init_args": options}
    study.write_text(yaml.safe_dump(content))
    return study


def predict(*options: str) -> int:
    return main(["predict", "--config", "study.yaml", *options])


def refused(capfd, *options: str) -> str:
    capfd.readouterr()
    assert predict(*options) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("redct: error:")]
    return line


def test_labels_and_what_they_cost_are_stored(remote, server) -> None:
    assert predict() == 0
    found = rows(LABELS)
    assert len(found) == len(server.bodies) == 121
    assert {(row["label"], row["source"], row["error"]) for row in found.values()} == {("for", "logprobs", None)}
    tokens = sum(row["prompt_tokens"] + row["completion_tokens"] for row in found.values())
    usage = json.loads((LABELS / "manifest.json").read_text())["usage"]
    assert usage["cost_usd"] == pytest.approx(tokens / 1000)
    assert usage["prices_of"] == "2026-01-01"
    assert predict() == 0
    assert len(server.bodies) == 121
    took = json.loads((LABELS / "manifest.json").read_text())["time"]
    assert (took["documents"], took["runs"]) == (121, 1)


def test_a_dry_run_shows_prompts_and_prices_and_sends_nothing(remote, server, capfd) -> None:
    assert predict("--dry_run", "--labeler.init_args.limits.requests_per_minute", "60") == 0
    out = capfd.readouterr().out
    assert out.count("Answer with exactly one of: against, for, neutral.") == 3
    for words in ("121", "prompt tokens", "US dollars, prices of 2026-01-01", "2.0 minutes at least"):
        assert words in out
    assert server.bodies == []
    assert not LABELS.exists()


def test_the_limit_of_cost_stops_and_a_higher_one_goes_on(remote, server, capfd) -> None:
    line = refused(capfd, "--max_cost", "3")
    assert "--max_cost" in line
    assert 2 < len(server.bodies) < 121
    assert predict("--max_cost", "100") == 0
    assert len(server.bodies) == len(rows(LABELS)) == 121
    assert "no price" in refused(
        capfd, "--max_cost", "3", "--labeler.init_args.model", "other", "--trainer.default_root_dir", "x"
    )


def test_texts_go_to_another_host_only_with_consent(remote, server, capfd, monkeypatch) -> None:
    elsewhere = ("--labeler.init_args.base_url", "http://labels.example.org/v1", "--trainer.default_root_dir", "x")
    assert "labels.example.org; expected --yes" in refused(capfd, *elsewhere)
    monkeypatch.delenv("OPENAI_API_KEY")
    assert "OPENAI_API_KEY" in refused(capfd, *elsewhere, "--yes")


@pytest.mark.parametrize(
    ("options", "said", "most"),
    [
        (("--labeler.init_args.base_url", "http://127.0.0.1:9/v1"), "http://127.0.0.1:9/v1", 0),
        (("--labeler.init_args.model", "other"), "The model `other` does not exist", 1),
        (("--labeler.init_args.api_key_env", "WRONG"), "Incorrect API key", 1),
    ],
)
def test_what_is_wrong_is_said_at_once_in_one_line(options, said, most, remote, server, capfd, monkeypatch) -> None:
    monkeypatch.setenv("WRONG", "sk-wrong")
    start = time.monotonic()
    assert said in refused(capfd, *options)
    assert time.monotonic() - start < 15
    assert len(server.bodies) <= most


def test_an_edge_classifier_learns_from_remote_labels(remote, server) -> None:
    assert predict() == 0
    assert main(["fit", "--config", "study.yaml", "--trainer.max_epochs", "1"]) == 0
    assert Counter(body["model"] for body in server.bodies) == {"toy": 121}
