"""The reserve through the commands: what is kept aside serves nothing; a checkpoint says what it was trained with."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from cli.commands import refused, run
from cli.conftest import LABELS, write_corpus

from redct.calibration import fit_temperature
from redct.errors import InputError
from redct.experts import Experts, Ledger
from redct.files import sha256
from redct.hub.store import read_labels
from redct.task import load_task
from redct.training.corpus import LabeledCorpus
from redct.training.reserve import check_unused

RUN = Path("runs/study")
BEST = RUN / "checkpoints" / "best.ckpt"
RANDOM = ("--data.experts", "{budget: 72, strategy: random}")
FIT = ("fit", *RANDOM, "--trainer.max_epochs", "1")


def targets() -> pd.DataFrame:
    return pq.read_table(RUN / "targets.parquet").to_pandas()


def state() -> dict:
    checkpoint = torch.load(BEST, weights_only=True, map_location="cpu")
    return checkpoint["LabeledTextDataModule"]


def test_a_share_of_the_answers_serves_nothing(study, capfd) -> None:
    assert run("predict") == 0
    capfd.readouterr()
    assert run(*FIT, "--data.reserve", "0.25", "--data.calibration", "{prior: batch, experts: temperature}") == 0
    out = capfd.readouterr().out
    assert "reserve: 18 documents with expert labels, which serve nothing else" in out
    rows = targets()
    assert sorted(rows.id) == sorted(f"d{i}" for i in range(90))
    reserved = rows[rows.part == "reserve"]
    assert (len(reserved), set(reserved.source)) == (18, {"expert"})
    assert {(*names, how) for names, how in zip(reserved.annotators, reserved.decided, strict=True)} == {
        ("gold", "answer")
    }
    assert [LABELS[int(i.removeprefix("d")) % 3] for i in reserved.id] == reserved.label.tolist()

    # Prior and temperature are those of the other documents alone.
    record = json.loads((RUN / "calibration.json").read_text())
    assert record["prior"]["documents"] == 72
    assert record["reliability"]["answers"] == 54
    table = read_labels(RUN / "labels", LABELS)
    left = [i for i in table.ids if int(i.removeprefix("d")) < 90 and i not in set(reserved.id)]
    prior = table.aligned(left).probs.mean(axis=0)
    assert list(record["prior"]["mean"].values()) == pytest.approx(prior.tolist(), abs=1e-6)
    with Ledger(RUN / "experts.sqlite") as ledger:
        given = {answer.document: str(answer.label) for answer in ledger.answers()}
    asked = [i for i in given if i in left]
    logprobs = table.aligned(asked).logprobs - np.log(prior)
    temperature = fit_temperature(logprobs, [LABELS.index(given[i]) for i in asked], np.ones(54))
    assert record["temperature"]["value"] == pytest.approx(temperature, rel=1e-4)


def test_a_checkpoint_says_what_it_was_trained_with(study, capfd) -> None:
    assert run("predict") == 0
    command, *options = (*FIT, "--data.reserve", "0.25", "--trainer.strategy", "ddp", "--trainer.devices", "2")
    words = [sys.executable, "-m", "redct", command, "--config", "study.yaml", *options]
    subprocess.run(words, check=True, capture_output=True, timeout=300)
    first = targets()
    assert state() == {"max_length": state()["max_length"], "targets": sha256(RUN / "targets.parquet")}
    assert isinstance(state()["max_length"], int)
    assert run("test", *RANDOM) == 0
    more = ("--ckpt_path", "last", "--trainer.max_epochs", "2")
    assert run(*FIT, "--data.reserve", "0.25", *more) == 0
    pd.testing.assert_frame_equal(targets(), first)
    assert state()["targets"] == sha256(RUN / "targets.parquet")
    # Another reserve has served the training that would go on.
    other = refused(capfd, *FIT, "--data.reserve", "0.5", *more)
    assert "the checkpoint was trained with other targets (answers or options have" in other
    assert state()["targets"] != sha256(RUN / "targets.parquet")
    assert run(*FIT, "--data.reserve", "0.5") == 0
    assert state()["targets"] == sha256(RUN / "targets.parquet")


def data(**options) -> LabeledCorpus:
    return LabeledCorpus(load_task("task.yaml"), "train.jsonl", "test.jsonl", folder=RUN, seed=1, **options)


def test_files_are_reserved_without_what_stands_elsewhere(study, capfd) -> None:
    write_corpus(Path("reserve.jsonl"), 25, start=200)
    rows = [json.loads(line) for line in Path("reserve.jsonl").read_text().splitlines()]
    rows[3] |= {key: json.loads(Path("train.jsonl").read_text().splitlines()[5])[key] for key in ("text", "target")}
    del rows[4]["stance"]
    Path("reserve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = yaml.safe_load(study.read_text())
    content["data"]["reserve"] = "reserve.jsonl"
    study.write_text(yaml.safe_dump(content))
    assert run("predict") == 0
    capfd.readouterr()
    assert run("fit", "--trainer.max_epochs", "1") == 0
    out = capfd.readouterr().out
    assert "data.reserve: 1 documents left out: they stand in train, test or validation too" in out
    assert "data.reserve: 1 documents without gold label are left out" in out
    assert "reserve: 23 documents with gold labels, which serve nothing else" in out
    reserved = targets().query("part == 'reserve'")
    assert reserved.id.tolist() == [f"d{i}" for i in range(200, 225) if i not in (203, 204)]
    part = data(experts=Experts(0.2), reserve="reserve.jsonl").reserve_part()
    assert [document.id for document in part.documents] == reserved.id.tolist()
    assert [LABELS[k] for k in part.label] == reserved.label.tolist()
    check_unused(reserved.id, RUN / "targets.parquet", state()["targets"])


def test_a_reserve_that_came_after_the_fit_is_noticed(study) -> None:
    assert run("predict") == 0
    assert run(*FIT) == 0
    late = data(experts=Experts(72, "random"), reserve=0.25).reserve_part()
    ids = [document.id for document in late.documents]
    with pytest.raises(
        InputError, match=r"data.reserve: \d+ of its 18 documents served training \(.*targets.parquet\)"
    ):
        check_unused(ids, RUN / "targets.parquet", state()["targets"])
    assert run(*FIT, "--data.reserve", "0.25") == 0
    check_unused(ids, RUN / "targets.parquet", state()["targets"])
    with pytest.raises(InputError, match=r"data.reserve: found nothing, expected files with gold labels"):
        data(experts=Experts(72, "random")).reserve_part()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--data.reserve", "0.3"), "but their documents were chosen by margin_randomised; expected"),
        (("--data.reserve", "0.3", "--data.experts", "null"), "but no experts were asked; expected data.experts with"),
        ((*RANDOM, "--data.reserve", "1.5"), "expected a share between 0 and 1"),
        (("--data.reserve", "test.jsonl"), "stands in two files of the study"),
        (("--data.reserve", "nothing.jsonl"), "nothing.jsonl: no such file"),
    ],
)
def test_a_reserve_that_promises_nothing_is_refused(study, capfd, options, message) -> None:
    assert run("predict") == 0
    assert message in refused(capfd, "fit", *options)
    assert not BEST.exists()
