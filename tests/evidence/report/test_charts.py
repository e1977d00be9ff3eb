"""Charts: valid XML with text alternatives, figures where the scale says, texts of anybody escaped."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from redct.evidence.report.charts import Mark, Series, bars, columns, dots, flow, lines, matrix
from redct.evidence.report.drawing import WIDTH, Alt, Axis, around

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</svg><script>alert('1')</script> & \x00\x1b"
ALT = Alt("key", HOSTILE, HOSTILE)
AXIS = Axis("share", 0, 1, str)
MARKS = [Mark(HOSTILE, 0.25, "25 %", 0.2, 0.4), Mark("b", 0.75, "75 %", series=7)]

CHARTS = {
    "bars": lambda: bars(ALT, [(HOSTILE, MARKS), ("", MARKS)]),
    "dots": lambda: dots(ALT, MARKS, AXIS, 0.5),
    "lines": lambda: lines(
        ALT, [Series(HOSTILE, [0, 1], [0, 1], [0, 0.5], [0.5, 1])], AXIS, AXIS, True, mark=(0.4, HOSTILE)
    ),
    "points": lambda: lines(ALT, [Series("a", [0, 1], [0, 1], [0, 0.5], [0.5, 1])], AXIS, AXIS, joined=False),
    "columns": lambda: columns(ALT, [0, 0.5, 1], [(AXIS, [0.1, 1]), (AXIS, [0, 0])], AXIS),
    "matrix": lambda: matrix(ALT, [HOSTILE, "b"], [HOSTILE, "b", "none"], [[1, 2, 0], [0, 0, 0]]),
    "flow": lambda: flow(ALT, [(HOSTILE, HOSTILE * 4), ("b", "")]),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_valid_and_has_a_text_alternative(name) -> None:
    svg = ET.fromstring(CHARTS[name]())
    assert svg.get("role") == "img"
    title, desc = svg[0], svg[1]
    assert (title.tag, desc.tag) == (f"{SVG}title", f"{SVG}desc")
    assert svg.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert title.text == HOSTILE.replace("\x00", " ").replace("\x1b", " ")
    assert {each.tag.removeprefix(SVG) for each in svg.iter()} <= {
        "svg", "title", "desc", "rect", "line", "path", "polyline", "polygon", "text"
    }  # fmt: skip
    assert not any("style" in each.attrib or each.get("fill", "none") != "none" for each in svg.iter())


def test_bars_are_as_long_as_their_values() -> None:
    svg = ET.fromstring(bars(ALT, [("", MARKS)]))
    widths = [float(each.get("width")) for each in svg.iter(f"{SVG}rect") if each.get("class") != "track"]
    assert widths[1] == pytest.approx(WIDTH)
    assert widths[0] == pytest.approx(WIDTH / 3, abs=0.1)


def test_dots_and_intervals_are_where_the_axis_says() -> None:
    axis = Axis("x", -1, 1, str)
    svg = ET.fromstring(dots(ALT, [Mark("a", 0, "0", -1, 1)], axis, reference=0.5))
    interval = next(each for each in svg.iter(f"{SVG}line") if each.get("class", "").startswith("line"))
    assert float(interval.get("x1")) + float(interval.get("x2")) == pytest.approx(WIDTH)
    marker = next(svg.iter(f"{SVG}path"))
    assert marker.get("transform").startswith(f"translate({WIDTH / 2:.1f} ")
    reference = next(each for each in svg.iter(f"{SVG}line") if each.get("class") == "reference")
    inside = (float(reference.get("x1")) - float(interval.get("x1"))) / (
        float(interval.get("x2")) - float(interval.get("x1"))
    )
    assert inside == pytest.approx(0.75, abs=0.01)


def test_series_differ_in_more_than_colour() -> None:
    series = [Series(name, [0, 1], [0, n / 5]) for n, name in enumerate("abcde")]
    svg = ET.fromstring(lines(ALT, series, AXIS, AXIS))
    drawn = list(svg.iter(f"{SVG}polyline"))
    assert len({each.get("stroke-dasharray") for each in drawn}) == 5
    assert len({each.get("d") for each in svg.iter(f"{SVG}path")}) == 5
    assert all(name in [each.text for each in svg.iter(f"{SVG}text")] for name in "abcde")


@pytest.mark.parametrize("seed", range(20))
def test_axes_hold_their_values_and_have_round_ticks(seed) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=3) * 10 ** rng.uniform(-4, 6)).tolist()
    axis = around("x", values, str)
    assert axis.low < min(values)
    assert max(values) < axis.high
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 9
    assert axis.low <= ticks[0]
    assert ticks[-1] <= axis.high
    assert np.ptp(np.diff(ticks)) == pytest.approx(0, abs=1e-9 * abs(axis.high - axis.low))


def test_an_axis_of_equal_values_has_a_width() -> None:
    for value in (0.0, 0.5, -3.0):
        axis = around("x", [value, value], str)
        assert axis.low < value < axis.high
        assert 0 < axis.at(value) < 1
    assert Axis("x", 0, 1, str).at(7) == 1
