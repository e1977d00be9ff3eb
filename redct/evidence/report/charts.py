"""Charts as SVG with text alternatives; they hold no colour, so that the page can choose it, and never colour alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final
from xml.etree import ElementTree as ET

from redct.evidence.report.drawing import (
    KINDS,
    WIDTH,
    Alt,
    Axis,
    add,
    along,
    canvas,
    fill,
    marker,
    short,
    stroke,
    ticks_below,
    write,
    written,
)

_ROW: Final = 34
_MOST_NAMED: Final = 6  # columns of a matrix that have room for their names
_LONGEST: Final = 48  # characters of a name and its figure


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


def bars(alt: Alt, groups: Sequence[tuple[str, Sequence[Mark]]]) -> str:
    """Returns groups of horizontal bars, each with its name and figure above it."""
    top = max((mark.value for _, marks in groups for mark in marks), default=0.0) or 1.0
    svg = canvas(alt, sum(22 * bool(title) + _ROW * len(marks) for title, marks in groups) + 4)
    y = 0.0
    for title, marks in groups:
        if title:
            write(svg, 0, y + 16, title, "strong")
            y += 22
        for mark in marks:
            _named(svg, y, mark)
            add(svg, "rect", x=0, y=y + 19, width=WIDTH, height=9, rx=2, class_="track")
            add(svg, "rect", x=0, y=y + 19, width=WIDTH * mark.value / top, height=9, rx=2, class_=fill(mark.series))
            y += _ROW
    return written(svg)


def dots(alt: Alt, marks: Sequence[Mark], axis: Axis, reference: float | None = None) -> str:
    """Returns figures with their intervals, one below the other; the reference is a line through all."""
    bottom = _ROW * len(marks) + 2
    svg, inset = canvas(alt, bottom + 40), 12
    x = along(axis, inset, WIDTH - 2 * inset)
    ticks_below(svg, axis, x, bottom)
    for n, mark in enumerate(marks):
        y = n * _ROW
        _named(svg, y, mark)
        if reference is not None:  # between the names, not through them
            add(svg, "line", x1=x(reference), x2=x(reference), y1=y + 18, y2=y + _ROW - 1, class_="reference")
        if mark.low is not None and mark.high is not None:
            add(
                svg,
                "line",
                x1=x(mark.low),
                x2=x(mark.high),
                y1=y + 24,
                y2=y + 24,
                class_=f"line s{mark.series % KINDS}",
            )
        marker(svg, x(mark.value), y + 24, mark.series)
    return written(svg)


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
    left, top, width, height = 56, legend + 28, WIDTH - 70, 240
    svg = canvas(alt, top + height + 44)
    x = along(across, left, width)
    y = along(up, top + height, -height)
    for n, each in enumerate(series):
        add(svg, "line", x1=left, x2=left + 28, y1=20 * n + 10, y2=20 * n + 10, **stroke(n))
        marker(svg, left + 14, 20 * n + 10, n)
        write(svg, left + 36, 20 * n + 14, short(each.name, 55))
    for tick in up.ticks():
        add(svg, "line", x1=left, x2=left + width, y1=y(tick), y2=y(tick), class_="grid")
        write(svg, left - 6, y(tick) + 4, up.shown(tick), "quiet", "end")
    ticks_below(svg, across, x, top + height)
    write(svg, 0, top - 14, up.name, "quiet")
    if diagonal:
        both = max(across.low, up.low), min(across.high, up.high)
        add(svg, "line", x1=x(both[0]), x2=x(both[1]), y1=y(both[0]), y2=y(both[1]), class_="reference")
    if mark is not None:
        add(svg, "line", x1=x(mark[0]), x2=x(mark[0]), y1=top, y2=top + height, class_="reference")
        leftward = across.at(mark[0]) > 0.5
        write(svg, x(mark[0]) + (-6 if leftward else 6), top + 14, mark[1], "", "end" if leftward else "start")
    for n, each in enumerate(series):
        _draw(svg, n, each, x, y, joined)
    return written(svg)


def columns(alt: Alt, edges: Sequence[float], panels: Sequence[tuple[Axis, Sequence[float]]], across: Axis) -> str:
    """Returns panels of columns over the same axis, one below the other.

    Args:
        alt: The text alternative.
        edges: (B + 1,) of the bins.
        panels: The vertical axis of each, and (B,) figures.
        across: The horizontal axis.
    """
    left, width, height = 56, WIDTH - 70, 120
    svg = canvas(alt, (height + 26) * len(panels) + 40)
    x = along(across, left, width)
    for n, (up, values) in enumerate(panels):
        top = n * (height + 26) + 22
        write(svg, left, top - 8, up.name, "strong")
        for tick in up.ticks():
            y = top + (1 - up.at(tick)) * height
            add(svg, "line", x1=left, x2=left + width, y1=y, y2=y, class_="grid")
            write(svg, left - 6, y + 4, up.shown(tick), "quiet", "end")
        for low, high, value in zip(edges, edges[1:], values, strict=False):
            tall = up.at(value) * height
            wide = max(x(high) - x(low) - 1, 0.5)
            add(svg, "rect", x=x(low), y=top + height - tall, width=wide, height=tall, class_=fill(n))
    ticks_below(svg, across, x, (height + 26) * len(panels) - 4)
    return written(svg)


def matrix(alt: Alt, rows: Sequence[str], named: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Returns a table of counts, shaded by their share of the row; what is right has a frame.

    Where there are many labels, columns are numbered as the rows are.
    """
    many = len(named) > _MOST_NAMED
    left = 148 if many else 104
    size, longest = (WIDTH - left - 2) / len(named), left // 9
    heads = [str(k + 1) if many else short(name, int(size / 9)) for k, name in enumerate(named)]
    tall = min(max(size * 0.55, 22), 44)
    svg = canvas(alt, 44 + tall * len(rows))
    write(svg, 0, 36, "gold", "quiet")
    write(svg, left, 12, "given label", "quiet")
    for k, head in enumerate(heads):
        write(svg, left + (k + 0.5) * size, 36, head, "", "middle")
    for g, (name, row) in enumerate(zip(rows, counts, strict=True)):
        y = 42 + g * tall
        write(svg, 0, y + tall / 2 + 4, short(f"{g + 1} {name}" if many else name, longest))
        for k, count in enumerate(row):
            share = count / max(sum(row), 1)
            place = {"x": left + k * size + 1, "y": y + 1, "width": size - 2, "height": tall - 2}
            add(svg, "rect", **place, class_="heat", fill_opacity=f"{0.05 + 0.6 * share:.2f}")
            if g == k:
                add(svg, "rect", **place, class_="frame")
            if size > 22:
                where = left + (k + 0.5) * size, y + tall / 2 + 4
                write(svg, *where, f"{count:,}", "", "middle")
    return written(svg)


def flow(alt: Alt, steps: Sequence[tuple[str, str]]) -> str:
    """Returns boxes, each with a title and what is in it, with arrows from one to the next."""
    texts = [wrap(text, 62) or [""] for _, text in steps]
    svg = canvas(alt, sum(30 + 17 * len(text) + 24 for text in texts) - 20)
    y = 1.0
    for n, ((title, _), text) in enumerate(zip(steps, texts, strict=True)):
        height = 30 + 17 * len(text)
        add(svg, "rect", x=1, y=y, width=WIDTH - 2, height=height, rx=6, class_="box")
        write(svg, 12, y + 20, title, "strong")
        for line, words in enumerate(text):
            write(svg, 12, y + 38 + 17 * line, words)
        if n < len(steps) - 1:
            end = y + height + 21
            add(svg, "path", d=f"M{WIDTH / 2} {y + height + 3:.0f}V{end - 6:.0f}", class_="line ink")
            add(svg, "path", d=f"M{WIDTH / 2 - 5} {end - 7:.0f}l5 6 5-6z", class_="ink")
        y += height + 24
    return written(svg)


def _draw(
    svg: ET.Element, n: int, each: Series, x: Callable[[float], float], y: Callable[[float], float], joined: bool
) -> None:
    points = [(x(a), y(b)) for a, b in zip(each.x, each.y, strict=True)]
    if each.low and joined:
        upper = [f"{x(a):.1f},{y(b):.1f}" for a, b in zip(each.x, each.high, strict=True)]
        lower = [f"{x(a):.1f},{y(b):.1f}" for a, b in zip(each.x, each.low, strict=True)]
        add(svg, "polygon", points=" ".join([*upper, *reversed(lower)]), class_=f"band s{n % KINDS}")
    elif each.low:
        for a, low, high in zip(each.x, each.low, each.high, strict=True):
            add(svg, "line", x1=x(a), x2=x(a), y1=y(low), y2=y(high), class_=f"thin s{n % KINDS}")
    add(svg, "polyline", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in points), fill="none", **stroke(n))
    for a, b in points:
        marker(svg, a, b, n)


def _named(svg: ET.Element, y: float, mark: Mark) -> None:
    write(svg, 0, y + 14, short(mark.name, _LONGEST - len(mark.text)))
    write(svg, WIDTH, y + 14, mark.text, "", "end")
