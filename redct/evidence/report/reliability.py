"""Reliability diagrams: how far the probabilities of LLM and edge classifier can be believed, before and after."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redct.evidence.report.charts import Series, lines
from redct.evidence.report.drawing import Alt, Axis
from redct.evidence.report.parts import Figure, Values, known, percent, tick_percent

_CORRECTIONS: Final = {
    "regression": "corrected by a regression of the experts' answers",
    "temperature": "scaled by a temperature",
    "prior": "with its label prior divided out",
}
_NEGLIGIBLE: Final = 0.01  # calibration error


@dataclass(frozen=True)
class _Diagram:
    """A reliability diagram.

    Args:
        key: Unique on the page.
        who: Whose probabilities.
        state: Before or after what.
        bins: Of documents, confidence and accuracy, an interval.
        told: What they say.
        ece: The expected calibration error, as it is to be read.
        on: On which documents.
        more: A last sentence.
    """

    key: str
    who: str
    state: str
    bins: Sequence[Values]
    told: str
    ece: str
    on: str
    more: str = ""

    @property
    def least(self) -> float:
        """The least of its figures."""
        return min(float(min(each["confidence"], each["accuracy"]["low"] or 0.0)) for each in self.bins)


def reliability(content: dict[str, Any]) -> Iterator[Figure]:
    """Yields the diagrams, those to compare beside each other and on the same axes."""
    for diagrams in (_of_llm(content), _of_edge(content)):
        least = min([0.5, 1 / len(content["task"]["labels"]), *(each.least for each in diagrams)])
        yield from (_drawn(each, least) for each in diagrams)


def taken(calibration: Values) -> str | None:
    """Returns the correction that the LLM's distributions got, if any.

    Args:
        calibration: Of `calibration.json`.
    """
    return next((name for name in _CORRECTIONS if calibration.get(name)), None)


def _of_llm(content: dict[str, Any]) -> list[_Diagram]:
    """On the experts' answers, before and after the correction by these; without them, on held-out documents."""
    done, metrics = content["calibration"] or {}, content["metrics"]
    steps, correction = done.get("reliability") or {}, taken(done)
    if not steps.get("llm", {}).get("bins"):
        judged = None if metrics is None else metrics["probabilities"].get("LLM")
        return _judged("llm", "LLM", "as it came", judged)
    answers = f"{steps['answers']:,} answers of experts, each weighted by the documents it stands for"
    before = _of_step("llm", "as it came", steps["llm"], answers)
    if correction is None or correction not in steps:
        return [before]
    smaller = steps[correction]["ece"] < steps["llm"]["ece"]
    more = f"Before it was {before.ece}: the correction {'made it smaller' if smaller else 'did not make it smaller'}."
    on = f"{answers} and judged by a correction that was made without it"
    return [before, _of_step("llm-corrected", _CORRECTIONS[correction], steps[correction], on, more)]


def _of_step(key: str, state: str, step: Values, on: str, more: str = "") -> _Diagram:
    bins = [
        {**each, "accuracy": {"value": each["accuracy"], "low": each["low"], "high": each["high"]}}
        for each in step["bins"]
    ]
    return _Diagram(key, "LLM", state, bins, _by_bins(step["bins"]), f"{100 * step['ece']:.1f} %", on, more)


def _of_edge(content: dict[str, Any]) -> list[_Diagram]:
    """On held-out documents, as it was trained and as its bundle scales it."""
    metrics, bundle = content["metrics"], content["bundle"]
    if metrics is None:
        return []
    edge = next(iter(metrics["probabilities"]))
    found = _judged("edge", edge, "as trained", metrics["probabilities"][edge])
    if bundle is not None and content["rescaled"] is not None:
        state = f"scaled by the bundle's temperature, {bundle['temperature']:.2f}"
        found += _judged("edge-scaled", edge, state, content["rescaled"])
    return found


def _judged(key: str, who: str, state: str, judged: Values | None) -> list[_Diagram]:
    bins = [] if judged is None else [each for each in judged["reliability"] if known(each["accuracy"])]
    if judged is None or not bins:
        return []
    ece, on = judged["metrics"]["ece"], f"{judged['documents']:,} held-out documents"
    return [_Diagram(key, who, state, bins, _on_the_whole(bins, ece), percent(ece), on)]


def _drawn(diagram: _Diagram, least: float) -> Figure:
    points = [(each["confidence"], each["accuracy"]) for each in diagram.bins]
    low, high = ([a[end] if a[end] is not None else a["value"] for _, a in points] for end in ("low", "high"))
    series = Series(diagram.state, [c for c, _ in points], [a["value"] for _, a in points], low, high)
    desc = "; ".join(f"confidence {100 * c:.1f} %, right {percent(a)}" for c, a in points)
    title = f"Reliability of the {diagram.who}, {diagram.state}"
    both = (Axis("confidence", least, 1, tick_percent), Axis("share that is right", least, 1, tick_percent))
    svg = lines(Alt(f"reliability-{diagram.key}", title, desc), [series], *both, diagonal=True, joined=False)
    caption = f"{diagram.who}, {diagram.state}: {diagram.told}. On {diagram.on}, in bins of equal weight; "
    return Figure(svg, f"{caption}expected calibration error {diagram.ece}. {diagram.more}".strip())


def _by_bins(bins: Sequence[Values]) -> str:
    """By how much confidence exceeds accuracy, over all bins."""
    gap = sum(each["share"] * (each["confidence"] - each["accuracy"]) for each in bins)
    half = math.sqrt(sum((each["share"] * (each["high"] - each["low"]) / 2) ** 2 for each in bins))
    told = "calibrated on the whole as far as these tell"
    if abs(gap) > half:
        told = f"too {'' if gap > 0 else 'little '}sure of itself (below the dashed line: too sure)"
    return (
        f"{told}, its confidence minus its accuracy is {percent({'value': gap, 'low': gap - half, 'high': gap + half})}"
    )


def _on_the_whole(bins: Sequence[Values], ece: Values) -> str:
    """What the calibration error says; intervals of bins by resampling have no width where all documents are right."""
    if ece["low"] is not None and ece["low"] <= _NEGLIGIBLE:
        return "calibrated as far as these tell"
    gap = sum(each["documents"] * (each["confidence"] - each["accuracy"]["value"]) for each in bins)
    return f"on the whole too {'' if gap > 0 else 'little '}sure of itself (below the dashed line: too sure)"
