"""The commands without torch read the same YAML as those of Lightning, and the same options."""

import subprocess
import sys
from pathlib import Path

import pytest
from cli.commands import refused

from redct.cli.studyfile import read_study

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_study_is_read(config: Path) -> None:
    corpus, _ = read_study(["annotate", "--config", str(config)], "Reads.")
    assert len(corpus.task.labels) >= 2
    assert corpus.folder == Path("runs") / config.stem
    assert corpus.experts is not None
    assert corpus.seed == 1


def test_options_win_over_the_file(study: Path) -> None:
    options = ["--data.experts.budget", "7", "--seed_everything", "5", "--trainer.default_root_dir", "elsewhere"]
    unused = ["--trainer.devices", "2", "--model.learning_rate", "1e-4", "--labeler.init_args.label_column", "x"]
    corpus, _ = read_study(["status", "--config", "study.yaml", *options, *unused, "--data.batch_size", "3"], "Reads.")
    assert corpus.experts is not None
    assert (corpus.experts.budget, corpus.seed, corpus.folder) == (7, 5, Path("elsewhere"))
    assert corpus.asking.ledger == Path("elsewhere/experts.sqlite")
    assert Path(str(corpus.train)) == study.parent / "train.jsonl"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data.experts.budgte", "7"], "budgte"),
        (["--data.experts.strategy", "guess"], "data.experts.strategy: found 'guess', expected one of margin"),
        (["--data.trian", "x"], "trian"),
        (["--config", "nothing.yaml"], "nothing.yaml"),
    ],
)
def test_a_wrong_option_is_refused(study: Path, capfd, options: list[str], said: str) -> None:
    assert said in refused(capfd, "status", *options)


def test_the_page_starts_without_torch(study: Path) -> None:
    code = (
        "from redct.cli.studyfile import read_study; read_study(['annotate', '--config', 'study.yaml'], '')[0].splits()"
    )
    check = f"{code}\nimport sys\nassert not {{'torch', 'lightning', 'transformers', 'datasets'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)
