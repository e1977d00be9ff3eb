"""Running redct's commands on the study in the working directory."""

from redct.cli.main import main


def run(command: str, *options: str) -> int:
    """Returns the exit code."""
    return main([command, "--config", "study.yaml", *options])


def refused(capfd, command: str, *options: str) -> str:
    """Runs a command that must fail with exit code 2 and one line, and returns the line."""
    capfd.readouterr()
    assert run(command, *options) == 2
    err = [line for line in capfd.readouterr().err.splitlines() if line.startswith("redct: error:")]
    assert len(err) == 1
    return err[0]
