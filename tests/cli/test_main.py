import sys
from pathlib import Path

import pytest
import yaml

from redct import __version__
from redct.cli.main import COMMANDS, main
from redct.experts import STRATEGIES
from redct.task import load_task

ROOT = Path(__file__).parent.parent.parent


def test_help_names_every_command(capsys) -> None:
    assert main(["--help"]) == main([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in COMMANDS)


def test_version(capsys) -> None:
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out


def test_unknown_command(capsys) -> None:
    assert main(["predikt"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_stands_in_the_readme_and_has_help(command, capsys) -> None:
    assert f"redct {command}" in (ROOT / "README.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "--" in capsys.readouterr().out


def test_sampling_says_which_strategy_to_use_and_why(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["sample", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "Use margin_randomised, the default" in out
    assert "the same answers give valid estimates" in out
    assert all(f"{name} (" in out for name in STRATEGIES)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "tasks").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_tasks_load(path) -> None:
    assert len(load_task(path).labels) >= 2


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_studies_parse_for_every_command(path, capsys) -> None:
    for command in ("predict", "fit"):
        with pytest.raises(SystemExit) as stop:
            main([command, "--config", str(path), "--print_config"])
        assert stop.value.code == 0
        config = yaml.safe_load(capsys.readouterr().out)
        assert config["task"]["labels"] == config["model"]["labels"] if "labels" in config["model"] else True
        assert config["labeler"]["class_path"].startswith("redct.hub.")


def test_init_writes_a_study_that_loads(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{i},{'some longer text ' * 3}{i},{'yes' if i % 2 else 'no'}" for i in range(20))
    Path("mine.csv").write_text(f"id,body,label\n{rows}\n")
    assert main(["init", "mine.csv"]) == 0
    out = capsys.readouterr().out
    assert "body" in out
    assert "20 rows" in out
    task = load_task("configs/tasks/mine.yaml")
    assert (task.columns.text, task.columns.gold, task.columns.id) == ("body", "label", "id")
    assert task.labels == ["no", "yes"]
    assert main(["init", "mine.csv"]) == 2  # never overwrites
    with pytest.raises(SystemExit) as stop:
        main(["predict", "--config", "configs/mine.yaml", "--print_config"])
    assert stop.value.code == 0


@pytest.mark.parametrize("leaving", [KeyboardInterrupt, "as Lightning does"])
def test_an_interruption_is_said(monkeypatch, capsys, leaving) -> None:
    def run(args: list[str]) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            if leaving is KeyboardInterrupt:
                raise
            sys.exit(1)

    monkeypatch.setattr("redct.cli.init.run", run)
    assert main(["init", "x.csv"]) == 130
    assert "redct: interrupted; what was finished is kept" in capsys.readouterr().err
