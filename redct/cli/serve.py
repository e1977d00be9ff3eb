"""`redct serve`: answers over HTTP with a bundle. Needs no torch."""

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from redct.edge.server.options import Options
from redct.edge.server.process import serve


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
    serve(folder, Options(**given))
