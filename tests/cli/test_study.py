import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from cli.commands import refused, run

from redct.cli.main import main
from redct.evidence.edge_labels import read_edge_labels
from redct.hub.store import LabelStore, read_labels

LABELS = ["against", "for", "neutral"]
RUN = Path("runs/study")


def in_processes(command: str, *options: str) -> None:
    words = [sys.executable, "-m", "redct", command, "--config", "study.yaml", *options]
    subprocess.run(words, check=True, capture_output=True, timeout=300)


def test_the_main_job(study, capfd) -> None:
    for command in ("predict", "fit"):
        assert run(command) == 0
    assert run("test", "--by", "target") == 0
    out = capfd.readouterr().out
    assert "edge classifier by target" in out
    assert "121 documents labeled" in out
    assert "18 with expert labels" in out
    metrics = json.loads((RUN / "metrics.json").read_text())
    assert metrics["documents"] == 31
    assert list(metrics["scores"]) == ["edge classifier", "LLM", "TF-IDF + logistic", "majority class"]
    llm = metrics["scores"]["LLM"]["accuracy"]
    said_right = sum(i % 5 != 0 for i in range(90, 121)) / 31
    assert llm["value"] == pytest.approx(said_right)
    assert llm["low"] < llm["value"] < llm["high"]

    targets = pq.read_table(RUN / "targets.parquet").to_pandas()
    assert len(targets) == 90
    assert (targets.source == "expert").sum() == 18
    experts = targets[targets.source == "expert"]
    assert [LABELS[int(i.removeprefix("d")) % 3] for i in experts.id] == experts.label.tolist()
    assert np.allclose(np.stack(targets.target).sum(axis=1), 1, atol=1e-6)

    assert set(metrics["groups"]["target"]) == {"tea", "coffee"}
    assert "colour" in refused(capfd, "test", "--by", "colour")

    from transformers import pipeline

    classify = pipeline("text-classification", str(RUN / "checkpoints" / "best"))
    assert classify("post good")[0]["label"] in LABELS

    assert main(["status", "--config", "study.yaml"]) == 0
    assert "121 documents" in capfd.readouterr().out
    assert run("fit", "--ckpt_path", "last", "--trainer.max_epochs", "3") == 0
    assert run("validate") == 0


def test_the_same_seed_gives_the_same_classifier(study) -> None:
    assert run("predict") == 0
    weights = {}
    for name, seed in (("one", "3"), ("again", "3"), ("other", "4")):
        words = ("--trainer.default_root_dir", f"runs/{name}", "--data.labels", "runs/study/labels")
        assert run("fit", *words, "--seed_everything", seed, "--trainer.max_epochs", "1") == 0
        kept = torch.load(f"runs/{name}/checkpoints/best.ckpt", weights_only=True)["state_dict"]
        weights[name] = torch.cat([value.flatten().double() for value in kept.values()])
    assert torch.equal(weights["one"], weights["again"])
    assert not torch.equal(weights["one"], weights["other"])


def test_the_last_epoch_is_kept_and_scored_only_by_its_own_validation(study, capfd) -> None:
    assert run("predict") == 0
    for epochs, validated in (("2", True), ("3", False)):
        assert run("fit", "--trainer.max_epochs", epochs, "--trainer.check_val_every_n_epoch", "2") == 0
        kept = torch.load(RUN / "checkpoints" / "best.ckpt", weights_only=True)
        out = capfd.readouterr().out
        assert kept["epoch"] == int(epochs) - 1
        said = [kept["validation_confusion"] is not None, "(val_loss" in out, "validation macro-F1" in out]
        assert said == [validated] * 3
    assert "trainer.limit_test_batches: found 0.5" in refused(capfd, "test", "--trainer.limit_test_batches", "0.5")


def test_two_devices_test_as_one(study) -> None:
    assert run("predict") == 0
    in_processes("fit", "--trainer.strategy", "ddp", "--trainer.devices", "2")
    assert run("test") == 0
    one = json.loads((RUN / "metrics.json").read_text())
    of_corpus = read_edge_labels(RUN / "edge_labels.parquet")
    (RUN / "edge_labels.parquet").unlink()
    shutil.rmtree(RUN / "cache")  # so that both processes need the tokens anew
    in_processes("test", "--trainer.strategy", "ddp", "--trainer.devices", "2")
    assert json.loads((RUN / "metrics.json").read_text()) == one
    again = read_edge_labels(RUN / "edge_labels.parquet")
    assert again.ids == of_corpus.ids == [f"d{n}" for n in range(90)]
    np.testing.assert_allclose(again.probs, of_corpus.probs, rtol=0, atol=1e-6)


def use_local_labeler(study: Path, llm: Path) -> None:
    content = yaml.safe_load(study.read_text())
    content["labeler"] = {"class_path": "redct.hub.LocalLabeler", "init_args": {"model": str(llm)}}
    study.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_two_devices_label_as_one(study, tiny_llm, dtype, tolerance) -> None:
    use_local_labeler(study, tiny_llm)
    words = ("--labeler.init_args.dtype", dtype)
    assert run("predict", *words) == 0
    one = read_labels(RUN / "labels", LABELS)
    two_devices = ("--trainer.strategy", "ddp", "--trainer.devices", "2", "--trainer.default_root_dir", "runs/two")
    in_processes("predict", *words, *two_devices)
    took = LabelStore("runs/two/labels").manifest()["time"]
    assert (took["documents"], took["runs"], took["processes"]) == (121, 1, 2)
    two = read_labels("runs/two/labels", LABELS)
    assert len(two.ids) == len(set(two.ids)) == 121
    assert len(list(Path("runs/two/labels").glob("part-00001-*.parquet"))) == 1
    two = two.aligned(one.ids)
    np.testing.assert_allclose(two.logprobs, one.logprobs, rtol=0, atol=tolerance)
    clear = one.margin > 2 * tolerance
    assert (two.label == one.label)[clear].all()


def test_labels_equal_one_run_per_document(study, tiny_llm) -> None:
    use_local_labeler(study, tiny_llm)
    assert run("predict", "--data.predict", "test") == 0
    table = read_labels(RUN / "labels", LABELS)
    assert sorted(table.ids) == sorted(f"d{i}" for i in range(90, 121))
    np.testing.assert_allclose(table.probs.sum(axis=1), 1, atol=1e-5)
    ordered = np.sort(table.logprobs, axis=1)
    np.testing.assert_allclose(table.margin, ordered[:, -1] - ordered[:, -2], atol=1e-4)
    assert run("predict", "--data.predict", "train") == 0  # the store grows
    assert len(read_labels(RUN / "labels", LABELS).ids) == 121


@pytest.mark.slow
def test_resumes_after_a_kill_without_relabeling(study, tiny_llm) -> None:
    use_local_labeler(study, tiny_llm)
    slow = (
        "import redct.hub.writer as w, redct.hub.local as m, time, sys\n"
        "w.LabelWriter.__init__.__defaults__ = (8, 20.0, dict)\n"
        "real = m.LabelScorer.score\n"
        "def score(*a): time.sleep(0.2); return real(*a)\n"
        "m.LabelScorer.score = score\n"
        "from redct.cli.main import main\n"
        "sys.argv = ['redct', *sys.argv[1:]]\n"
        "sys.exit(main())"
    )
    words = [sys.executable, "-c", slow, "predict", "--config", "study.yaml"]
    process = subprocess.Popen([*words, "--labeler.init_args.tokens_per_batch", "600"], stderr=subprocess.DEVNULL)
    store = LabelStore(RUN / "labels")
    deadline = time.monotonic() + 120
    while len(list((RUN / "labels").glob("part-*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    stored = {path.name: path.read_bytes() for path in (RUN / "labels").glob("part-*.parquet")}
    before = store.ids()
    assert 0 < len(before) < 121
    assert run("predict") == 0
    table = read_labels(RUN / "labels", LABELS)
    assert len(table.ids) == len(set(table.ids)) == 121
    assert store.manifest()["time"]["runs"] == 2
    for sidecar in (RUN / "labels").glob("part-*.json"):
        name = sidecar.with_suffix(".parquet").name
        assert name not in stored or sidecar.with_suffix(".parquet").read_bytes() == stored[name]


def test_device_map_needs_one_process(study, tiny_llm) -> None:
    use_local_labeler(study, tiny_llm)
    words = ["--labeler.init_args.device_map", "auto", "--trainer.strategy", "ddp", "--trainer.devices", "2"]
    command = [sys.executable, "-m", "redct", "predict", "--config", "study.yaml", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "expected --trainer.devices 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_input_is_one_line_and_exit_code_2(study, capfd, tmp_path) -> None:
    assert "no label store there" in refused(capfd, "fit")
    assert "no such file" in refused(capfd, "predict", "--data.train", "absent.jsonl")
    assert "tweet" in refused(capfd, "predict", "--task.columns.text", "tweet")
    assert "no_such_option" in refused(capfd, "predict", "--data.no_such_option", "1")
    assert "best.ckpt: no such checkpoint" in refused(capfd, "test")
    assert "maybe" in refused(capfd, "predict", "--task.labels", '["for", "against", "maybe"]')
    Path("empty.jsonl").write_text("")
    assert "empty.jsonl" in refused(capfd, "predict", "--data.train", "empty.jsonl")
    row = '{"id": "1", "text": "x", "stance": "for", "target": "t"}\n'
    Path("double.jsonl").write_text(row * 2)
    assert "'1'" in refused(capfd, "predict", "--data.train", "double.jsonl")
    Path("study.yaml").write_text(Path("study.yaml").read_text() + "surprise: 1\n")
    assert "surprise" in refused(capfd, "predict")
    Path("study.yaml").write_text(Path("study.yaml").read_text().replace("surprise: 1\n", ""))
    assert "trainer: No supported gpu" in refused(capfd, "predict", "--trainer.accelerator", "gpu")
    strategy = refused(capfd, "predict", "--data.experts.strategy", "guess")
    assert "margin_randomised, margin, random" in strategy
    assert "NoneType" not in strategy
    assert not RUN.exists()


def test_what_does_not_fit_together_is_refused(study, capfd) -> None:
    assert run("predict") == 0
    assert "made with prompt" in refused(capfd, "predict", "--task.codebook", "Another codebook.")
    assert "made with prompt" in refused(capfd, "fit", "--task.codebook", "Another codebook.")
    assert run("fit", "--trainer.max_epochs", "1") == 0
    assert "model.encoder: found 'minilm'" in refused(capfd, "test", "--model.encoder", "minilm")
    other = '["against", "for", "neutral", "other"]'
    assert "checkpoint of another task" in refused(capfd, "test", "--task.labels", other)
    assert "budget" in refused(capfd, "fit", "--data.experts.budget", "7.5")


def test_a_task_without_gold_labels_says_what_needs_them(study, capfd) -> None:
    content = yaml.safe_load(Path("task.yaml").read_text())
    del content["columns"]["gold"]
    Path("task.yaml").write_text(yaml.safe_dump(content))
    assert run("predict") == 0
    assert "no gold label" in refused(capfd, "fit")
    assert run("fit", "--data.experts", "null", "--trainer.max_epochs", "1") == 0
    assert "no document has a gold label" in refused(capfd, "test")


@pytest.mark.parametrize("targets", ["hard", "soft", "expit"])
def test_every_kind_of_target_trains(study, targets) -> None:
    assert run("predict") == 0
    assert run("fit", "--data.targets", targets, "--trainer.max_epochs", "1") == 0
    rows = pq.read_table(RUN / "targets.parquet").to_pandas()
    sums = np.stack(rows[rows.source == "llm"].target).sum(axis=1)
    assert np.allclose(sums, 1, atol=1e-6) == (targets != "expit")


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_trains_in_mixed_precision_with_and_without_clipped_gradients(study, clip) -> None:
    assert run("predict") == 0
    options = ("--trainer.precision", "bf16-mixed", "--trainer.max_epochs", "1")
    assert run("fit", *options, "--trainer.gradient_clip_val", str(clip)) == 0
    weights = torch.load("runs/study/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in weights.values() if value.is_floating_point())


def test_another_optimizer_by_yaml(study) -> None:
    assert run("predict") == 0
    content = yaml.safe_load(study.read_text())
    content["model"]["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}
    study.write_text(yaml.safe_dump(content))
    assert run("fit", "--trainer.max_epochs", "1") == 0
    assert run("test") == 0
