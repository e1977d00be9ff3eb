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
    label = np.array([rng.choice(3, p=p) for p in softmax(logits, axis=1)])
    return plain(judged(logits * temperature, label, np.ones(n)))


def content(steps: dict, **more: object) -> dict:
    calibration = {"reliability": {"answers": 500, **steps}, "regression": None, **more}
    return {"calibration": calibration, "metrics": None, "bundle": None, "task": {"labels": ["a", "b", "c"]}}


def test_before_and_after_are_told_apart() -> None:
    found = content({"llm": step(2.5), "temperature": step(1.0), "regression": step(1.0)}, regression={"changed": 1})
    before, after = reliability(found)
    assert "LLM, as it came: too sure of itself" in before.caption
    bins = found["calibration"]["reliability"]["llm"]["bins"]
    gap = 100 * sum(each["documents"] / 500 * (each["confidence"] - each["accuracy"]) for each in bins)
    assert f"its confidence minus its accuracy is {gap:.1f} % [" in before.caption
    assert "LLM, corrected by a regression of the experts' answers: calibrated on the whole" in after.caption
    assert "each weighted by the documents it stands for and judged by a correction that was made" in after.caption
    ece = 100 * found["calibration"]["reliability"]["llm"]["ece"]
    assert after.caption.endswith(f"Before it was {ece:.1f} %: the correction made it smaller.")
    axes = [[each.text for each in ET.fromstring(one.svg).iter(f"{SVG}text")][1:-1] for one in (before, after)]
    assert axes[0] == axes[1]


def test_a_correction_that_harms_is_said_to() -> None:
    *_, after = reliability(content({"llm": step(1.0), "temperature": step(0.3)}, temperature={"value": 3.0}))
    assert "LLM, scaled by a temperature: too little sure of itself" in after.caption
    assert after.caption.endswith("the correction did not make it smaller.")


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
    captions = [next(reliability(content({"llm": step(1.0, 200, seed)}))).caption for seed in range(300)]
    assert 0.01 <= np.mean(["sure of itself" in caption for caption in captions]) <= 0.08
