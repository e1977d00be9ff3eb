"""Prints results as tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from redct.evidence import Interval

INTERVALS: Final = "intervals: bootstrap as documents were sampled, BCa; * percentile (ECE: its upper end, mirrored)"


def show_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table; the first column is text, the others are figures."""
    table = Table()
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    needed = sum(min(width, 16 if n == 0 else 30) for n, width in enumerate(widths)) + 3 * len(widths) + 1
    # In a log file, too narrow a guess would break the figures; in a narrow terminal they are broken, not cut.
    console = Console(width=None if Console().is_terminal else max(120, needed))
    for n, (name, width) in enumerate(zip(header, widths, strict=True)):
        # The first column gives way, but not to its last letter.
        short = n > 0 and width <= 30 and needed <= console.width
        table.add_column(name, justify="left" if n == 0 else "right", no_wrap=short)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(f"[bold]{escape(title)}[/bold]", soft_wrap=True)
    console.print(table)


def show_scores(title: str, scores: Mapping[str, Mapping[str, Interval]]) -> None:
    """Prints a row for each rater, a column for each metric, in percent with 95 % intervals."""
    metrics = list(next(iter(scores.values())))
    header = ["", *(metric.replace("_", " ") for metric in metrics)]
    rows = [[name, *(percent(values[metric]) for metric in metrics)] for name, values in scores.items()]
    show_table(title, header, rows)


def percent(interval: Interval) -> str:
    """Returns a share in percent with its interval, marked with * where that is not BCa; - where there is none."""
    return _shown(interval, 100, 1)


def figure(interval: Interval) -> str:
    """Returns a number with its interval, as `percent`."""
    return _shown(interval, 1, 3)


def _shown(interval: Interval, times: float, digits: int) -> str:
    if not math.isfinite(interval.value):
        return "-"
    value, low, high = (f"{times * x:.{digits}f}" for x in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]" + ("" if interval.method == "bca" else "*")
