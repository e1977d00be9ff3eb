"""The flags of `redct predict`."""

import json
import math
from pathlib import Path

from redct.cli.main import main
from redct.hub.store import LabelStore, read_labels

LABELS = ["against", "for", "neutral"]
TO_B = ("--trainer.default_root_dir", "runs/b")


def run(*options: str) -> int:
    return main(["predict", "--config", "study.yaml", *options])


def refused(capfd, *options: str) -> str:
    capfd.readouterr()
    assert run(*options) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("redct: error:")]
    return line


def hesitate(path: Path, step: int) -> set[str]:
    """Makes the labels of every so-manieth document nearly a tie, and returns these documents."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[::step]:
        said = row["llm_label"]
        row["llm_probs"] |= {said: 0.5, next(label for label in LABELS if label != said): 0.4}
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return {row["id"] for row in rows[::step]}


def test_a_cascade_labels_what_the_cheap_labeler_was_unsure_of(study, capfd) -> None:
    unsure = hesitate(Path("train.jsonl"), 4) | hesitate(Path("test.jsonl"), 3)
    assert run() == 0
    capfd.readouterr()
    assert run("--only_below", "1.0", "--of", "runs/study/labels", *TO_B) == 0
    assert (
        f"{len(unsure)} of 121 documents have no label or a margin below 1 in runs/study/labels"
        in capfd.readouterr().out
    )
    assert set(read_labels("runs/b/labels", LABELS).ids) == unsure
    assert math.log(0.5 / 0.4) < 1 < math.log(0.8 / 0.1)
    assert run("--only_below", "0.1", "--of", "runs/study/labels", "--trainer.default_root_dir", "runs/none") == 0
    assert read_labels("runs/none/labels", LABELS).ids == []


def test_a_dry_run_labels_nothing(study, capfd) -> None:
    assert run("--dry_run") == 0
    out = capfd.readouterr().out
    assert "== d0\n[user]\n" in out
    assert "post 2 " in out
    assert "post 3 " not in out
    assert "│ documents │ 121 │" in out
    assert not Path("runs").exists()


def test_flags_that_make_no_sense_are_refused(study, capfd) -> None:
    assert "expected both" in refused(capfd, "--only_below", "1")
    assert "runs/a/labels: no label store there" in refused(capfd, "--only_below", "1", "--of", "runs/a/labels")
    assert "expected more than 0" in refused(capfd, "--max_cost", "-1")
    assert "expected more than 0" in refused(capfd, "--max_cost", ".nan")
    assert "ImportedLabels costs nothing" in refused(capfd, "--max_cost", "1")
    assert run() == 0
    assert "expected a margin above 0" in refused(capfd, "--only_below", "0", "--of", "runs/study/labels")


def test_errors_are_tried_again(study, capfd) -> None:
    rows = Path("train.jsonl").read_text().splitlines()
    Path("some.jsonl").write_text("\n".join(rows[:80]) + "\n")
    content = study.read_text().replace("- train.jsonl", "- some.jsonl")
    study.write_text(content)
    assert run() == 0
    assert "10 without label" in capfd.readouterr().out
    Path("some.jsonl").write_text("\n".join(rows) + "\n")
    assert run() == 0
    assert "10 without label" in capfd.readouterr().out
    assert run("--retry_errors") == 0
    assert "without label" not in capfd.readouterr().out
    assert len(set(read_labels("runs/study/labels", LABELS).ids)) == 121


def test_what_a_labeler_refuses_is_one_line(study, capfd) -> None:
    api = ("--labeler", "redct.hub.ApiLabeler", "--labeler.init_args.model", "m")
    line = refused(capfd, *api, "--labeler.init_args.limits.in_flight", "0")
    assert line == "redct: error: labeler.limits.in_flight: found 0, expected more than 0"
    line = refused(capfd, *api, "--labeler.init_args.prices", "absent.yaml")
    assert line.endswith("absent.yaml: no such file, expected a table of prices (labeler.prices)")


def test_a_store_without_labels_contradicts_nothing(study, capfd) -> None:
    store = LabelStore("runs/study/labels")
    store.begin({"model": "misspelt"}, ["a", "b"])
    assert run() == 0
    assert len(read_labels("runs/study/labels", LABELS).ids) == 121
    assert "made with" in refused(capfd, "--labeler.init_args.label_column", "stance")
