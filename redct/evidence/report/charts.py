"""Charts as SVG with text alternatives; they hold no colour, so that the page can choose it, and never colour alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final
from xml.etree import ElementTree as ET

Shown = Callable[[float], str]
"""Writes a number of an axis."""

WIDTH: Final = 460
_ROW: Final = 34
_LONGEST: Final = 40  # characters of a name beside a figure
_DASHES: Final = ("", "7 4", "2 3", "10 3 2 3")


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
class Mark:
    """A figure in a row of its own.

    Args:
        name: What it is of.
        value: The figure.
        text: The figure as it is to be read.
        low: Lower end of its interval; None without one.
        high: Upper end.
        series: 0, 1, ... of equal meaning.
    """

    name: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    series: int = 0


@dataclass(frozen=True)
class Series:
    """Points of a line, N of them.

    Args:
        name: In the legend.
        x: N places.
        y: N figures.
        low: Lower ends of their intervals; empty without any.
        high: Upper ends.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


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


def bars(alt: Alt, groups: Sequence[tuple[str, Sequence[Mark]]]) -> str:
    """Returns groups of horizontal bars, each with its name and figure above it."""
    top = max((mark.value for _, marks in groups for mark in marks), default=0.0) or 1.0
    svg = _svg(alt, sum(22 * bool(title) + _ROW * len(marks) for title, marks in groups) + 4)
    y = 0.0
    for title, marks in groups:
        if title:
            _text(svg, 0, y + 16, title, "strong")
            y += 22
        for mark in marks:
            _named(svg, y, mark)
            _add(svg, "rect", x=0, y=y + 19, width=WIDTH, height=9, rx=2, class_="track")
            _add(svg, "rect", x=0, y=y + 19, width=WIDTH * mark.value / top, height=9, rx=2, class_=_fill(mark.series))
            y += _ROW
    return _written(svg)


def dots(alt: Alt, marks: Sequence[Mark], axis: Axis, reference: float | None = None) -> str:
    """Returns figures with their intervals, one below the other; the reference is a dashed line through all."""
    bottom = _ROW * len(marks) + 2
    svg, inset = _svg(alt, bottom + 40), 12
    x = lambda value: inset + axis.at(value) * (WIDTH - 2 * inset)  # noqa: E731
    _ticks_below(svg, axis, x, bottom)
    if reference is not None:
        _add(svg, "line", x1=x(reference), x2=x(reference), y1=2, y2=bottom, class_="reference")
    for n, mark in enumerate(marks):
        y = n * _ROW
        _named(svg, y, mark)
        if mark.low is not None and mark.high is not None:
            _add(svg, "line", x1=x(mark.low), x2=x(mark.high), y1=y + 24, y2=y + 24, class_=f"line s{mark.series % 4}")
        _marker(svg, x(mark.value), y + 24, mark.series)
    return _written(svg)


def lines(
    alt: Alt,
    series: Sequence[Series],
    across: Axis,
    up: Axis,
    diagonal: bool = False,
    joined: bool = True,
    mark: tuple[float, str] | None = None,
) -> str:
    """Returns lines over two axes, with bands or bars of intervals.

    Args:
        alt: The text alternative.
        series: The lines.
        across: The horizontal axis.
        up: The vertical axis.
        diagonal: Whether to draw where both are equal.
        joined: Whether intervals form a band; else each point has a bar.
        mark: A place across, and what is there.
    """
    legend = 20 * len(series)
    left, top, width, height = 48, legend + 8, WIDTH - 60, 240
    svg = _svg(alt, top + height + 44)
    x = lambda value: left + across.at(value) * width  # noqa: E731
    y = lambda value: top + (1 - up.at(value)) * height  # noqa: E731
    for n, each in enumerate(series):
        _add(svg, "line", x1=left, x2=left + 28, y1=20 * n + 10, y2=20 * n + 10, **_stroke(n))
        _marker(svg, left + 14, 20 * n + 10, n)
        _text(svg, left + 36, 20 * n + 14, _short(each.name, 55))
    for tick in up.ticks():
        _add(svg, "line", x1=left, x2=left + width, y1=y(tick), y2=y(tick), class_="grid")
        _text(svg, left - 6, y(tick) + 4, up.shown(tick), "quiet", "end")
    _ticks_below(svg, across, x, top + height)
    _text(svg, 12, top + height / 2, up.name, "quiet", "middle", transform=f"rotate(-90 12 {top + height / 2:.1f})")
    if diagonal:
        both = max(across.low, up.low), min(across.high, up.high)
        _add(svg, "line", x1=x(both[0]), x2=x(both[1]), y1=y(both[0]), y2=y(both[1]), class_="reference")
    if mark is not None:
        _add(svg, "line", x1=x(mark[0]), x2=x(mark[0]), y1=top, y2=top + height, class_="reference")
        leftward = across.at(mark[0]) > 0.5
        _text(svg, x(mark[0]) + (-6 if leftward else 6), top + 14, mark[1], "", "end" if leftward else "start")
    for n, each in enumerate(series):
        _draw(svg, n, each, x, y, joined)
    return _written(svg)


def columns(alt: Alt, edges: Sequence[float], panels: Sequence[tuple[Axis, Sequence[float]]], across: Axis) -> str:
    """Returns panels of columns over the same axis, one below the other.

    Args:
        alt: The text alternative.
        edges: (B + 1,) of the bins.
        panels: The vertical axis of each, and (B,) figures.
        across: The horizontal axis.
    """
    left, width, height = 48, WIDTH - 60, 120
    svg = _svg(alt, (height + 26) * len(panels) + 40)
    x = lambda value: left + across.at(value) * width  # noqa: E731
    for n, (up, values) in enumerate(panels):
        top = n * (height + 26) + 22
        _text(svg, left, top - 8, up.name, "strong")
        for tick in up.ticks():
            y = top + (1 - up.at(tick)) * height
            _add(svg, "line", x1=left, x2=left + width, y1=y, y2=y, class_="grid")
            _text(svg, left - 6, y + 4, up.shown(tick), "quiet", "end")
        for low, high, value in zip(edges, edges[1:], values, strict=False):
            tall = up.at(value) * height
            wide = max(x(high) - x(low) - 1, 0.5)
            _add(svg, "rect", x=x(low), y=top + height - tall, width=wide, height=tall, class_=_fill(n))
    _ticks_below(svg, across, x, (height + 26) * len(panels) - 4)
    return _written(svg)


def matrix(alt: Alt, rows: Sequence[str], named: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Returns a table of counts, shaded by their share of the row; what is right has a frame."""
    left, size = 104, (WIDTH - 106) / len(named)
    tall = min(max(size * 0.55, 22), 44)
    svg = _svg(alt, 44 + tall * len(rows))
    _text(svg, 0, 36, "gold", "quiet")
    _text(svg, left, 12, "given label", "quiet")
    for k, name in enumerate(named):
        _text(svg, left + (k + 0.5) * size, 36, _short(name, int(size / 7.5)), "", "middle")
    for g, (name, row) in enumerate(zip(rows, counts, strict=True)):
        y = 42 + g * tall
        _text(svg, 0, y + tall / 2 + 4, _short(name, 14))
        for k, count in enumerate(row):
            share = count / max(sum(row), 1)
            place = {"x": left + k * size + 1, "y": y + 1, "width": size - 2, "height": tall - 2}
            _add(svg, "rect", **place, class_="fill s0", fill_opacity=f"{0.06 + 0.84 * share:.2f}")
            if g == k:
                _add(svg, "rect", **place, class_="frame")
            if size > 22:
                where = left + (k + 0.5) * size, y + tall / 2 + 4
                _text(svg, *where, f"{count:,}", "over" if share > 0.55 else "", "middle")
    return _written(svg)


def flow(alt: Alt, steps: Sequence[tuple[str, str]]) -> str:
    """Returns boxes, each with a title and what is in it, with arrows from one to the next."""
    texts = [wrap(text, 62) or [""] for _, text in steps]
    svg = _svg(alt, sum(30 + 17 * len(text) + 24 for text in texts) - 20)
    y = 1.0
    for n, ((title, _), text) in enumerate(zip(steps, texts, strict=True)):
        height = 30 + 17 * len(text)
        _add(svg, "rect", x=1, y=y, width=WIDTH - 2, height=height, rx=6, class_="box")
        _text(svg, 12, y + 20, title, "strong")
        for line, words in enumerate(text):
            _text(svg, 12, y + 38 + 17 * line, words)
        if n < len(steps) - 1:
            end = y + height + 21
            _add(svg, "path", d=f"M{WIDTH / 2} {y + height + 3:.0f}V{end - 6:.0f}", class_="line ink")
            _add(svg, "path", d=f"M{WIDTH / 2 - 5} {end - 7:.0f}l5 6 5-6z", class_="ink")
        y += height + 24
    return _written(svg)


def _draw(
    svg: ET.Element, n: int, each: Series, x: Callable[[float], float], y: Callable[[float], float], joined: bool
) -> None:
    points = [(x(a), y(b)) for a, b in zip(each.x, each.y, strict=True)]
    if each.low and joined:
        upper = [f"{x(a):.1f},{y(b):.1f}" for a, b in zip(each.x, each.high, strict=True)]
        lower = [f"{x(a):.1f},{y(b):.1f}" for a, b in zip(each.x, each.low, strict=True)]
        _add(svg, "polygon", points=" ".join([*upper, *reversed(lower)]), class_=f"band s{n % 4}")
    elif each.low:
        for a, low, high in zip(each.x, each.low, each.high, strict=True):
            _add(svg, "line", x1=x(a), x2=x(a), y1=y(low), y2=y(high), class_=f"thin s{n % 4}")
    _add(svg, "polyline", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in points), fill="none", **_stroke(n))
    for a, b in points:
        _marker(svg, a, b, n)


def _stroke(n: int) -> dict[str, str]:
    return {"class_": f"line s{n % 4}", "stroke_dasharray": _DASHES[n % 4] or "none"}


def _fill(n: int) -> str:
    return f"fill s{n % 4}"


def _marker(svg: ET.Element, x: float, y: float, n: int) -> None:
    """A shape for each series, so that they can be told apart without their colours."""
    shapes = (
        "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
        "M-4-4h8v8h-8z",
        "M0-5.5L5 4h-10z",
        "M0-5.5L5 0 0 5.5-5 0z",
    )
    _add(svg, "path", d=shapes[n % 4], transform=f"translate({x:.1f} {y:.1f})", class_=_fill(n))


def _named(svg: ET.Element, y: float, mark: Mark) -> None:
    _text(svg, 0, y + 14, _short(mark.name, _LONGEST))
    _text(svg, WIDTH, y + 14, mark.text, "", "end")


def _ticks_below(svg: ET.Element, axis: Axis, x: Callable[[float], float], y: float) -> None:
    _add(svg, "line", x1=x(axis.low), x2=x(axis.high), y1=y, y2=y, class_="axis")
    for tick in axis.ticks():
        _add(svg, "line", x1=x(tick), x2=x(tick), y1=y, y2=y + 4, class_="axis")
        _text(svg, x(tick), y + 17, axis.shown(tick), "quiet", "middle")
    _text(svg, (x(axis.low) + x(axis.high)) / 2, y + 34, axis.name, "quiet", "middle")


def _svg(alt: Alt, height: float) -> ET.Element:
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


def _add(svg: ET.Element, name: str, **given: object) -> None:
    values = {key.rstrip("_").replace("_", "-"): value for key, value in given.items()}
    shown = {key: f"{value:.1f}" if isinstance(value, float) else str(value) for key, value in values.items()}
    ET.SubElement(svg, name, shown)


def _text(svg: ET.Element, x: float, y: float, text: str, kind: str = "", anchor: str = "start", **more: str) -> None:
    given = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, **({"class": kind} if kind else {}), **more}
    ET.SubElement(svg, "text", given).text = _printable(text)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= max(longest, 3) else f"{text[: max(longest, 3) - 1]}…"


def _printable(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(each if each.isprintable() else " " for each in text)


def _written(svg: ET.Element) -> str:
    return ET.tostring(svg, encoding="unicode")
