"""Servers that are slow to start: one that knows no log-probabilities, and one that gives exact ones."""

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from servers.process import serving

from redct.assets import DEMO, TINY_MISTRAL
from redct.cli.main import main
from redct.hub.store import read_labels

TASK = str(Path(__file__).parents[2] / "configs/tasks/demo.yaml")
LABELS = ["against", "for", "neutral"]


def predict(folder: Path, labeler: str, *options: str) -> None:
    folder.mkdir(exist_ok=True)
    corpus = folder / "few.csv"
    corpus.write_text("\n".join((DEMO / "test.csv").read_text().splitlines()[:25]) + "\n")
    words = ["--task", TASK, "--data.train", str(corpus), "--trainer.accelerator", "cpu", "--trainer.devices", "1"]
    words += ["--trainer.enable_progress_bar", "false", "--trainer.default_root_dir", str(folder / labeler)]
    words += ["--labeler", f"redct.hub.{labeler}"]
    assert main(["predict", *words, *(f"--labeler.init_args.{option}" for option in options)]) == 0


@pytest.mark.slow
def test_transformers_serve_gives_no_log_probabilities(tmp_path, capfd) -> None:
    pytest.importorskip("fastapi")
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(TINY_MISTRAL), "--device", "cpu"]
    with serving(command, tmp_path / "log") as url:
        address = (f"model={TINY_MISTRAL}", f"base_url={url}/v1")
        # It samples only where it is told so in its own words; its `n` is always 1.
        drawing = 'body={"generation_config": "{\\"do_sample\\": true, \\"eos_token_id\\": 2}"}'
        predict(tmp_path, "ApiLabeler", *address, "samples=6", "limits.in_flight=2", drawing)
        assert "all agree" not in capfd.readouterr().out
        predict(tmp_path / "greedy", "ApiLabeler", *address, "samples=2", "limits.in_flight=2")
        assert "2 samples of each of 24 documents all agree" in capfd.readouterr().out
    rows = pq.read_table(sorted((tmp_path / "ApiLabeler/labels").glob("*.parquet"))).to_pylist()
    assert len(rows) == 24
    assert {row["source"] for row in rows if row["label"]} == {"samples"}
    assert sum(row["label"] is not None for row in rows) > 20
    assert all(len(row["reply"].split("\n")) >= 6 for row in rows if row["label"])
    assert any(0.01 < max(row["probs"]) < 0.99 for row in rows if row["label"])


@pytest.mark.slow
def test_vllm_agrees_with_the_local_model(tmp_path) -> None:
    python = os.environ.get("REDCT_VLLM_PYTHON")
    if not python:
        pytest.skip("needs vLLM in an environment of its own: REDCT_VLLM_PYTHON names its python")
    model = str(TINY_MISTRAL)
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", model, "--dtype", "float32"]
    command += ["--enforce-eager", "--max-logprobs", "50", "--max-model-len", "1024"]
    with serving(command, tmp_path / "log") as url:
        predict(tmp_path, "ApiLabeler", f"model={model}", f"base_url={url}/v1")
    predict(tmp_path, "LocalLabeler", f"model={model}")
    there = read_labels(tmp_path / "ApiLabeler/labels", LABELS)
    here = read_labels(tmp_path / "LocalLabeler/labels", LABELS).aligned(there.ids)
    assert there.label.tolist() == here.label.tolist()
    np.testing.assert_allclose(there.logprobs, here.logprobs, rtol=0, atol=1e-2)
