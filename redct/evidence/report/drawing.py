"""Shapes and text of charts in SVG, and the scales of their axes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

Shown = Callable[[float], str]
"""Writes a number of an axis."""

WIDTH: Final = 460
_DASHES: Final = ("", "7 4", "2 3", "10 3 2 3", "12 6")
KINDS: Final = 5
"""How many series can be told apart, by colour and by the form of their marks and lines."""


@dataclass(frozen=True)
class Alt:
    """The text alternative of a chart.

    Args:
        key: Unique on the page; letters, digits and dashes.
        title: What it shows.
        desc: The figures themselves.
    """

    key: str
    title: str
    desc: str


@dataclass(frozen=True)
class Axis:
    """What an axis shows.

    Args:
        name: In words.
        low: Where it begins.
        high: Where it ends, above `low`.
        shown: Writes its numbers.
    """

    name: str
    low: float
    high: float
    shown: Shown

    def at(self, value: float) -> float:
        """Returns the place of a value, 0 at the beginning, 1 at the end; what is outside stays at the edge."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def ticks(self) -> list[float]:
        """Returns about five round numbers."""
        rough = (self.high - self.low) / 4
        power = 10 ** math.floor(math.log10(rough))
        step = min((power * factor for factor in (1, 2, 2.5, 5, 10)), key=lambda each: abs(each - rough))
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def around(name: str, values: Sequence[float], shown: Shown) -> Axis:
    """Returns an axis that holds values, with some air."""
    low, high = min(values), max(values)
    air = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(name, low - air, high + air, shown)


def along(axis: Axis, start: float, length: float) -> Callable[[float], float]:
    """Returns what places values on an axis that begins and is as long as given."""
    return lambda value: start + axis.at(value) * length


def stroke(n: int) -> dict[str, str]:
    """Returns how the line of a series is drawn."""
    return {"class_": f"line s{n % KINDS}", "stroke_dasharray": _DASHES[n % KINDS] or "none"}


def fill(n: int) -> str:
    """Returns the class of a series' areas."""
    return f"fill s{n % KINDS}"


def marker(svg: ET.Element, x: float, y: float, n: int) -> None:
    """A shape for each series, so that they can be told apart without their colours."""
    shapes = (
        "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
        "M-4-4h8v8h-8z",
        "M0-5.5L5 4h-10z",
        "M0-5.5L5 0 0 5.5-5 0z",
        "M-1.5-5h3v10h-3z",
    )
    add(svg, "path", d=shapes[n % KINDS], transform=f"translate({x:.1f} {y:.1f})", class_=fill(n))


def ticks_below(svg: ET.Element, axis: Axis, x: Callable[[float], float], y: float) -> None:
    """Draws a horizontal axis."""
    add(svg, "line", x1=x(axis.low), x2=x(axis.high), y1=y, y2=y, class_="axis")
    for tick in axis.ticks():
        add(svg, "line", x1=x(tick), x2=x(tick), y1=y, y2=y + 4, class_="axis")
        edge = "start" if x(tick) < 20 else "end" if x(tick) > WIDTH - 24 else "middle"
        write(svg, x(tick), y + 17, axis.shown(tick), "quiet", edge)
    write(svg, (x(axis.low) + x(axis.high)) / 2, y + 34, axis.name, "quiet", "middle")


def canvas(alt: Alt, height: float) -> ET.Element:
    """Returns an empty chart with its text alternative."""
    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {height:.0f}",
            "role": "img",
            "aria-labelledby": f"{alt.key}-title {alt.key}-desc",
        },
    )
    for name in ("title", "desc"):
        ET.SubElement(svg, name, {"id": f"{alt.key}-{name}"}).text = _printable(getattr(alt, name))
    return svg


def add(svg: ET.Element, name: str, **given: object) -> None:
    """Adds a shape; names are those of SVG, with _ for - and class_ for class."""
    values = {key.rstrip("_").replace("_", "-"): value for key, value in given.items()}
    shown = {key: f"{value:.1f}" if isinstance(value, float) else str(value) for key, value in values.items()}
    ET.SubElement(svg, name, shown)


def write(svg: ET.Element, x: float, y: float, text: str, kind: str = "", anchor: str = "start", **more: str) -> None:
    """Adds a text."""
    given = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, **({"class": kind} if kind else {}), **more}
    ET.SubElement(svg, "text", given).text = _printable(text)


def short(text: str, longest: int) -> str:
    """Returns a text, cut where it is too long."""
    return text if len(text) <= max(longest, 3) else f"{text[: max(longest, 3) - 1]}…"


def _printable(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(each if each.isprintable() else " " for each in text)


def written(svg: ET.Element) -> str:
    """Returns the chart as text."""
    return ET.tostring(svg, encoding="unicode")
