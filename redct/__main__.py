"""Runs `python -m redct`."""

from redct.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
