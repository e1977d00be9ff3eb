"""RED-CT's example runs that label through an API, against a real server."""

import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import ROOT

from redct.hub.store import read_labels

HEADLINES = ["Council opens bridge {}", "Moon cures all, says secret report {}"]
TWEETS = ["We love {} so much", "Stop {} now", "The bus is late {}"]


def write_raw(folder: Path) -> None:
    """Files of the form of the originals, with texts of our own."""
    (folder / "misinfo").mkdir()
    (folder / "SemEval2016").mkdir()
    rows = [f"{HEADLINES[n % 2].format(n)}\t{['real', 'misinfo'][n % 2]}\tx" for n in range(40)]
    (folder / "misinfo/test.tsv").write_text("\n".join(["headline\tgold_label\tsource", *rows]) + "\n")
    for name, count in (("trainingdata-all-annotations", 30), ("testdata-taskA-all-annotations", 9)):
        rows = [
            f"{name}{n}\tTea\t{TWEETS[n % 3].format(n)}\t{['FAVOR', 'AGAINST', 'NONE'][n % 3]}" for n in range(count)
        ]
        (folder / f"SemEval2016/{name}.txt").write_text("\n".join(["ID\tTarget\tTweet\tStance", *rows]) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "labels", "documents"),
    [("misinfo", ["Misinformation", "Trustworthy"], 40), ("stance", ["AGAINST", "FAVOR", "NONE"], 39)],
)
def test_labels_through_an_api(llama_server, tmp_path, study, labels, documents) -> None:
    write_raw(tmp_path)
    # The tiny model knows nothing of headlines: its 20 most probable tokens begin no label, all of them do.
    server = {"model": llama_server.model, "base_url": llama_server.base_url, "top_logprobs": "6000"}
    options = [word for name, value in server.items() for word in (f"--labeler.init_args.{name}", value)]
    words = ["--label_only", "--trainer.accelerator", "cpu", "--trainer.default_root_dir", str(tmp_path / "run")]
    command = ["bash", f"scripts/label_train_{study}.sh", *options, *words, "--task.prompt.rationale_tokens", "12"]
    environment = {**os.environ, "REDCT_RAW": str(tmp_path), "OPENAI_API_KEY": llama_server.api_key}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300)
    table = read_labels(tmp_path / "run/labels", labels)
    assert len(set(table.ids)) == len(table.ids) == documents
    assert (table.label >= 0).all()
    rows = pq.read_table(sorted((tmp_path / "run/labels").glob("*.parquet"))).to_pylist()
    assert {row["source"] for row in rows} == {"logprobs"}
    assert all(bool(row["rationale"]) == (study == "stance") for row in rows)
