"""`redct serve`: answers over HTTP with a bundle. Needs no torch."""

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from redct.edge.server.options import Options
from redct.errors import InputError


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    parser = ArgumentParser(
        prog="redct serve",
        description="Answers POST /classify with a bundle, until told to stop; /docs says how to ask.",
        exit_on_error=False,
    )
    parser.add_argument("bundle", help="folder of the bundle, such as runs/stance/edge")
    parser.add_class_arguments(Options)
    given = vars(parser.parse_args(list(args[1:])))
    folder = given.pop("bundle")
    options = Options(**given)
    try:
        from redct.edge.server.process import serve  # noqa: PLC0415 - `redct serve --help` needs none of it
    except ModuleNotFoundError as error:
        raise InputError(f"redct serve: {error.name} is not installed, expected: pip install 'redct[serve]'") from None
    serve(folder, options)
