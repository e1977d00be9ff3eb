"""The entry point: a table of commands, each imported when it is called."""

import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from redct import __version__
from redct.errors import RedctError


class Command(NamedTuple):
    """A command: the module with its function `run`, and one line of help."""

    module: str
    help: str


COMMANDS = {
    "init": Command("redct.cli.init", "look at a corpus and write a codebook and a study for it"),
    "predict": Command("redct.cli.study", "label documents with a large language model"),
    "sample": Command("redct.cli.study", "choose the documents that experts are to label"),
    "annotate": Command("redct.cli.annotate", "open a local web page on which experts label them"),
    "agreement": Command("redct.cli.agreement", "say how far annotators agree, with each other and the LLM"),
    "exchange": Command("redct.cli.exchange", "write the experts' documents and answers to a file, or read them"),
    "fit": Command("redct.cli.study", "relabel with experts, then train the edge classifier"),
    "validate": Command("redct.cli.study", "score the checkpoint on the validation documents"),
    "test": Command("redct.cli.study", "score the checkpoint on held-out documents, beside the LLM"),
    "estimate": Command("redct.cli.estimate", "estimate shares of labels and regressions, with valid intervals"),
    "report": Command("redct.cli.report", "write one HTML file with all evidence about a study, and its numbers"),
    "export": Command("redct.cli.study", "write the edge bundle, for machines without torch and network"),
    "classify": Command("redct.cli.classify", "label documents with an exported bundle; needs no torch"),
    "serve": Command("redct.cli.serve", "answer over HTTP with an exported bundle; needs no torch"),
    "status": Command("redct.cli.status", "say what of a study is done, and the next command"),
}

_NO_TYPE_FITS = "Does not validate against any of the Union subtypes"

HELP = "\n".join(
    [
        "usage: redct COMMAND [--config STUDY.yaml] [options]",
        "",
        "Turns a codebook and a corpus into a classifier that runs anywhere.",
        "",
        *(f"  {name:<10}{command.help}" for name, command in COMMANDS.items()),
        "",
        "redct COMMAND --help lists a command's options. --debug shows the traceback of an error.",
    ]
)


def main(args: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        args: Command and options; by default those of the process.

    Returns:
        The exit code: 0, or 2 for wrong input, which is said in one line on standard error.
    """
    given = list(sys.argv[1:] if args is None else args)
    if not given or given[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if given[0] == "--version":
        print(f"redct {__version__}")
        return 0
    if given[0] not in COMMANDS:
        return _refuse(f"unknown command {given[0]!r}; expected one of {', '.join(COMMANDS)}")
    return _run(given)


def _run(given: list[str]) -> int:
    from jsonargparse import ArgumentError  # noqa: PLC0415 - `redct --help` needs none of it

    debug = "--debug" in given
    try:
        import_module(COMMANDS[given[0]].module).run([word for word in given if word != "--debug"])
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as leaving:
        if isinstance(leaving.__context__, KeyboardInterrupt):  # Lightning's way to leave
            return _interrupted()
        raise
    except Exception as error:
        # An error of ours, raised while jsonargparse builds a class, comes in one of its own.
        if debug or not (isinstance(error, RedctError | ArgumentError | OSError) or _ours(error)):
            raise
        return _refuse(_one_line(error))
    return 0


def _interrupted() -> int:
    print("\nredct: interrupted; what was finished is kept, the same command goes on from there", file=sys.stderr)
    return 130


def _ours(error: BaseException) -> RedctError | None:
    cause = error.__cause__ or error.__context__
    while cause is not None and not isinstance(cause, RedctError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _one_line(error: Exception) -> str:
    """Returns the message in one line; jsonargparse's are wrapped over several."""
    message = " ".join(str(_ours(error) or error).split())
    # Of all the types that an option may have, jsonargparse says why each did not fit; the first is the one meant.
    meant = re.match(rf"(.*?): {_NO_TYPE_FITS} .*? Errors: - (.*?) - Expected a <class 'NoneType'>", message)
    return f"{meant[1]}: {meant[2]}" if meant else message


def _refuse(message: str) -> int:
    print(f"redct: error: {message}", file=sys.stderr)
    return 2
