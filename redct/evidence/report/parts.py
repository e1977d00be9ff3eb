"""What a report is made of, and how it writes numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree as ET

Values = Mapping[str, Any]
"""JSON values, such as an interval: value, low and high, each of which may be null."""


@dataclass(frozen=True)
class Figure:
    """A chart with what to conclude from it.

    Args:
        svg: The chart.
        caption: What it says, in a sentence or two.
    """

    svg: str
    caption: str

    @property
    def title(self) -> str:
        """What the chart shows, as its text alternative says."""
        return ET.fromstring(self.svg)[0].text or ""  # noqa: S314 - our own


@dataclass(frozen=True)
class Table:
    """Rows of texts.

    Args:
        caption: What it says.
        header: Names of the columns; the first is text, the others are figures.
        rows: As many texts as columns each.
        prose: Whether all columns are texts to be read, not figures.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    prose: bool = False


@dataclass(frozen=True)
class Section:
    """A chapter of the report.

    Args:
        key: Its anchor.
        title: Its heading.
        text: Paragraphs.
        figures: Charts.
        tables: Tables.
        code: Texts to show as they are, by their names.
    """

    key: str
    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    code: Mapping[str, str] = field(default_factory=dict)


def known(interval: Values | None) -> bool:
    """Tells whether a figure exists."""
    return interval is not None and interval["value"] is not None


def percent(interval: Values | None, unit: str = " %") -> str:
    """Returns a share in percent with its 95 % interval; a dash where there is none."""
    return ranged(interval, 100, 1, unit)


def ranged(interval: Values | None, times: float = 1, digits: int = 2, unit: str = "") -> str:
    """Returns a figure with its 95 % interval; a dash where there is none."""
    if interval is None or interval["value"] is None:
        return "-"
    value = f"{times * interval['value']:.{digits}f}{unit}"
    if interval["low"] is None or interval["high"] is None:
        return value
    return f"{value} [{times * interval['low']:.{digits}f}, {times * interval['high']:.{digits}f}]"


def share(part: float, whole: float) -> str:
    """Returns a share in percent."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def tick_percent(value: float) -> str:
    """Writes a share on an axis."""
    return f"{100 * value:.3g} %"


def tick(value: float) -> str:
    """Writes a number on an axis."""
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.3g}"


def p_value(value: float | None) -> str:
    """Returns a p-value; a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"
