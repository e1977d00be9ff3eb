"""Reliability diagrams: how far the probabilities of LLM and edge classifier can be believed, before and after."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redct.evidence.report.charts import Series, lines
from redct.evidence.report.drawing import Alt, Axis
from redct.evidence.report.parts import Figure, Values, known, percent, tick_percent

_CORRECTIONS: Final = {
    "regression": "corrected by regression",
    "temperature": "corrected by a temperature",
    "prior": "with its label prior divided out",
}
_NEGLIGIBLE: Final = 0.01  # calibration error


@dataclass(frozen=True)
class _State:
    """A rater's distributions, as they came or as they were corrected.

    Args:
        name: Which of these.
        bins: With confidence and accuracy, an interval.
        told: What they say.
        ece: The expected calibration error.
    """

    name: str
    bins: Sequence[Values]
    told: str
    ece: Values

    @property
    def series(self) -> Series:
        """What is drawn of it."""
        points = [(each["confidence"], each["accuracy"]) for each in self.bins]
        low, high = ([a[end] if a[end] is not None else a["value"] for _, a in points] for end in ("low", "high"))
        return Series(self.name, [c for c, _ in points], [a["value"] for _, a in points], low, high)

    @property
    def desc(self) -> str:
        """Its figures."""
        points = (f"{100 * each['confidence']:.1f} %, right {percent(each['accuracy'])}" for each in self.bins)
        return f"{self.name}: confidence {'; '.join(points)}"


def reliability(content: dict[str, Any]) -> Iterator[Figure]:
    """Yields a diagram of the LLM and one of the edge classifier, each before and after its correction."""
    labels = len(content["task"]["labels"])
    done, metrics = content["calibration"] or {}, content["metrics"]
    steps, correction = done.get("reliability") or {}, taken(done)
    if steps.get("llm", {}).get("bins"):
        states = [_of_step("as it came", steps["llm"])]
        if correction is not None and correction in steps:
            states.append(_of_step(_CORRECTIONS[correction], steps[correction]))
        on = f"{steps['answers']:,} answers of experts, each weighted by the documents it stands for"
        made = ", and judged by a correction that was made without it" if len(states) > 1 else ""
        yield _drawn("LLM", states, on + made, labels)
    elif metrics is not None and "LLM" in metrics["probabilities"]:
        yield from _held_out("LLM", {"as it came": metrics["probabilities"]["LLM"]}, labels)
    if metrics is not None:
        edge, judged = next(iter(metrics["probabilities"].items()))
        states_of_edge = {"as trained": judged}
        if content["bundle"] is not None and content["rescaled"] is not None:
            scaled = f"scaled by the bundle's temperature, {content['bundle']['temperature']:.2f}"
            states_of_edge[scaled] = content["rescaled"]
        yield from _held_out(edge, states_of_edge, labels)


def taken(calibration: Values) -> str | None:
    """Returns the correction that the LLM's distributions got, if any.

    Args:
        calibration: Of `calibration.json`.
    """
    return next((name for name in _CORRECTIONS if calibration.get(name)), None)


def _of_step(name: str, step: Values) -> _State:
    """Of what `fit` wrote: the gap between confidence and accuracy over all bins says how they are off."""
    bins = [
        {**each, "accuracy": {"value": each["accuracy"], "low": each["low"], "high": each["high"]}}
        for each in step["bins"]
    ]
    gap = sum(each["share"] * (each["confidence"] - each["accuracy"]) for each in step["bins"])
    half = math.sqrt(sum((each["share"] * (each["high"] - each["low"]) / 2) ** 2 for each in step["bins"]))
    shown = percent({"value": gap, "low": gap - half, "high": gap + half}, " points")
    told = f"{_way(gap, abs(gap) > half)} (confidence minus accuracy {shown})"
    return _State(name, bins, told, {"value": step["ece"], "low": None, "high": None})


def _held_out(rater: str, judged: dict[str, Values], labels: int) -> Iterator[Figure]:
    """Of what `redct test` wrote."""
    states = []
    for name, each in judged.items():
        bins = [one for one in each["reliability"] if known(one["accuracy"])]
        ece = each["metrics"]["ece"]
        gap = sum(one["documents"] * (one["confidence"] - one["accuracy"]["value"]) for one in bins)
        told = _way(gap, ece["low"] is None or ece["low"] > _NEGLIGIBLE)
        states += [_State(name, bins, told, ece)] if bins else []
    if states:
        yield _drawn(rater, states, f"{next(iter(judged.values()))['documents']:,} held-out documents", labels)


def _way(gap: float, is_off: bool) -> str:
    if not is_off:
        return "calibrated as far as these tell"
    return "too sure of itself" if gap > 0 else "not sure enough of itself"


def _drawn(rater: str, states: Sequence[_State], on: str, labels: int) -> Figure:
    series = [each.series for each in states]
    least = min([0.5, 1 / labels, *(low for each in series for low in (*each.x, *each.low))])
    both = (Axis("confidence", least, 1, tick_percent), Axis("share that is right", least, 1, tick_percent))
    when = "before and after correction" if len(states) > 1 else states[0].name
    desc = ". ".join(each.desc for each in states)
    alt = Alt(f"reliability-{rater.split(maxsplit=1)[0].lower()}", f"Reliability of the {rater}, {when}", desc)
    caption = f"{_sentence(rater, states)} On {on}, in bins of equal weight; below the dashed line: too sure."
    return Figure(lines(alt, series, *both, diagonal=True, joined=False), caption)


def _sentence(rater: str, states: Sequence[_State]) -> str:
    """What to conclude."""
    first, *after = states
    told = f"{first.name[:1].upper()}{first.name[1:]}, the {rater} is {first.told}"
    if not after:
        return f"{told}; expected calibration error {percent(first.ece)}."
    (last,) = after
    helps = "helps" if last.ece["value"] < first.ece["value"] else "does not help"
    errors = f"from {percent(first.ece)} to {percent(last.ece)}"
    return f"{told}; {last.name}, {last.told}. The calibration error goes {errors}: the correction {helps}."
