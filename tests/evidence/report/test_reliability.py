"""Reliability diagrams: which are drawn, on which axes, and what is said of them."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest
from scipy.special import softmax

from redct.calibration import reliability as judged
from redct.evidence.plain import plain
from redct.evidence.report.reliability import reliability

SVG = "{http://www.w3.org/2000/svg}"


def step(temperature: float, n: int = 500, seed: int = 0) -> dict:
    """What `fit` writes about distributions that are too sure by a temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 3))
    label = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return plain(judged(logits * temperature, label, np.ones(n)))


def content(steps: dict, **more: object) -> dict:
    calibration = {"reliability": {"answers": 500, **steps}, "regression": None, **more}
    return {"calibration": calibration, "metrics": None, "bundle": None, "task": {"labels": ["a", "b", "c"]}}


def test_before_and_after_are_told_apart() -> None:
    steps = {"llm": step(2.5), "temperature": step(1.0), "regression": step(1.0, seed=1)}
    (figure,) = reliability(content(steps, regression={"labels_changed": 1}))
    assert figure.title == "Reliability of the LLM, before and after correction"
    gap = 100 * sum(each["documents"] / 500 * (each["confidence"] - each["accuracy"]) for each in steps["llm"]["bins"])
    assert f"As it came, the LLM is too sure of itself (confidence minus accuracy {gap:.1f} points [" in figure.caption
    assert "; corrected by regression, calibrated as far as these tell (" in figure.caption
    ends = [f"{100 * steps[name]['ece']:.1f} %" for name in ("llm", "regression")]
    assert f"The calibration error goes from {ends[0]} to {ends[1]}: the correction helps. On 500" in figure.caption
    assert "and judged by a correction that was made without it, in bins of equal weight" in figure.caption


def test_a_correction_that_harms_is_said_to() -> None:
    (figure,) = reliability(content({"llm": step(1.0), "temperature": step(0.3)}, temperature={"value": 3.0}))
    assert "corrected by a temperature, not sure enough of itself" in figure.caption
    assert "the correction does not help" in figure.caption


def test_without_a_correction_there_is_one_diagram() -> None:
    (only,) = reliability(content({"llm": step(1.0), "regression": step(1.0)}))  # judged, but not taken
    assert only.title == "Reliability of the LLM, as it came"


@pytest.mark.parametrize(
    "done", [None, {}, {"reliability": None}, {"reliability": {"answers": 9, "llm": {"ece": 0.1}}}]
)
def test_without_bins_there_is_none(done) -> None:
    assert [*reliability({**content({}), "calibration": done})] == []


def test_points_and_intervals_are_those_of_the_bins() -> None:
    found = content({"llm": step(2.5)})
    (figure,) = reliability(found)
    svg, bins = ET.fromstring(figure.svg), found["calibration"]["reliability"]["llm"]["bins"]
    marks = list(svg.iter(f"{SVG}path"))[1:]  # the first is the legend's
    bars = [each for each in svg.iter(f"{SVG}line") if each.get("class") == "thin s0"]
    assert len(marks) == len(bars) == len(bins) == 10
    places = np.array([each.get("transform")[10:-1].split() for each in marks], dtype=float)
    x, y = (
        np.polyfit([each[what] for each in bins], places[:, n], 1) for n, what in enumerate(("confidence", "accuracy"))
    )
    assert x[0] > 0 > y[0]
    for each, place, bar in zip(bins, places, bars, strict=True):
        assert place == pytest.approx([np.polyval(x, each["confidence"]), np.polyval(y, each["accuracy"])], abs=0.2)
        ends = [float(bar.get("y1")), float(bar.get("y2"))]
        assert ends == pytest.approx([np.polyval(y, each["low"]), np.polyval(y, each["high"])], abs=0.2)


def test_the_gap_is_found_as_often_as_its_interval_says() -> None:
    """Of distributions that are calibrated, one in twenty is called too sure or too little sure."""
    captions = [next(reliability(content({"llm": step(1.0, 200, seed)}))).caption for seed in range(120)]
    assert 0.01 <= np.mean(["calibrated as far" not in caption for caption in captions]) <= 0.08
