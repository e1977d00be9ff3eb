"""`redct classify`: labels documents with a bundle, as the bundle's own classify.py does. Needs no torch."""

from collections.abc import Sequence
from pathlib import Path

from redct.edge import runtime
from redct.errors import InputError


def run(args: Sequence[str]) -> None:
    """Runs the command.

    Raises:
        InputError: On wrong input.
        SystemExit: With the code of the runtime, where that is not 0.
    """
    given = list(args[1:])
    if not given:
        raise InputError("redct classify: found no bundle, expected redct classify BUNDLE [FILE] [options]")
    folder, options = (".", given) if given[0] in ("-h", "--help") else (given[0], given[1:])
    try:
        code = runtime.run(Path(folder), options, "redct classify BUNDLE")
    except runtime.BundleError as error:
        raise InputError(str(error)) from None
    if code:
        raise SystemExit(code)
