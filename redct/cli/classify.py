"""`redct classify`: labels documents with a bundle, as the bundle's own classify.py does. Needs no torch."""

from collections.abc import Sequence
from pathlib import Path

from redct.edge import runtime
from redct.errors import InputError


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    given = list(args[1:])
    if not given or given[0].startswith("-"):
        if given and given[0] not in ("-h", "--help"):
            raise InputError(f"classify: found {given[0]!r}, expected the folder of a bundle first")
        print("usage: redct classify BUNDLE [FILE] [options]; redct classify BUNDLE --help lists them")
        return
    try:
        code = runtime.run(Path(given[0]), given[1:], f"redct classify {given[0]}")
    except runtime.BundleError as error:
        raise InputError(str(error)) from None
    if code:
        raise SystemExit(code)
