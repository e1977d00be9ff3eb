"""The one sentence: is the edge classifier good enough, against what, how surely."""

from collections.abc import Iterator
from typing import Any, Final

from redct.evidence.raters import LLM, MAJORITY, TFIDF
from redct.evidence.report.parts import Values, known, percent
from redct.training.baselines import TITLES

TOLERATED: Final = 0.05
"""Macro-F1 by which a classifier may fall short of the LLM that taught it and still be called as good as it."""


def verdict(metrics: Values | None) -> tuple[str, str]:
    """Returns whether the edge classifier is good enough, in a word, and why, in a sentence or two.

    It is where the 95 % interval of its macro-F1 minus the LLM's lies above -0.05, and it is not where that interval
    lies below 0.

    Args:
        metrics: Of `redct test`; None without them.
    """
    if metrics is None:
        return "Not known yet", "No held-out document has been scored: run redct test."
    edge = next(iter(metrics["scores"]))
    reached = f"On {metrics['documents']:,} held-out documents the {edge} has a macro-F1 of "
    reached += f"{percent(metrics['scores'][edge]['macro_f1'])}"
    by_other = {each["other"]: each["metrics"]["macro_f1"] for each in metrics["differences"]}
    if LLM not in by_other or not known(by_other[LLM]):
        return "Cannot be told", f"{reached}; the LLM's labels of the same documents are missing to compare it with."
    gap = by_other[LLM]
    word, why = _compared(gap)
    sentence = f"{reached}, {_points(gap)} than the LLM that taught it: {why}."
    return word, " ".join([sentence, *_floor(by_other), *_ceiling(metrics)])


def _compared(gap: Values) -> tuple[str, str]:
    if gap["low"] > 0:
        return "Yes, better than the LLM", "the difference is more than chance"
    if gap["high"] < 0 and gap["low"] > -TOLERATED:
        return "Yes, nearly as good as the LLM", f"it is worse, but by less than {100 * TOLERATED:.0f} points"
    if gap["high"] < 0:
        return "No, worse than the LLM", "the difference is more than chance"
    if gap["low"] > -TOLERATED:
        return "Yes, as good as the LLM", f"it may be worse, but by less than {100 * TOLERATED:.0f} points"
    return "Not shown", f"these documents are too few to rule out that it is {-100 * gap['low']:.1f} points worse"


def _points(gap: Values) -> str:
    way = "higher" if gap["value"] >= 0 else "lower"
    low, high = 100 * gap["low"], 100 * gap["high"]
    return (
        f"{abs(100 * gap['value']):.1f} points {way} (difference {100 * gap['value']:+.1f} [{low:+.1f}, {high:+.1f}])"
    )


def _floor(by_other: dict[str, Any]) -> Iterator[str]:
    for name in (*TITLES.values(), TFIDF, MAJORITY):
        if name in by_other and known(by_other[name]) and by_other[name]["low"] <= 0:
            yield f"It is not shown to be better than {name.replace('logistic', 'logistic regression')}."


def _ceiling(metrics: Values) -> Iterator[str]:
    for ceiling in list(metrics["ceilings"].values())[:1]:  # experts agree alike, whoever is beside them
        yield f"Two experts agree on {percent(ceiling['experts'])} of documents: more cannot be asked of a classifier."
