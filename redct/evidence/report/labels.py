"""Who gave which labels: the LLM, the experts, the edge; where experts looked; how far they agree."""

from collections.abc import Iterator
from typing import Any, Final

from redct.evidence.report.charts import Mark, Series, bars, columns, dots, lines
from redct.evidence.report.drawing import Alt, Axis, around
from redct.evidence.report.parts import Figure, Section, Table, percent, ranged, share, tick, tick_percent
from redct.evidence.report.replacing import replacing
from redct.experts.agreement import RELIABLE, TENTATIVE

_SHOWN: Final = 6  # labels


def labels(content: dict[str, Any]) -> Section:
    """Returns the section about the labels."""
    figures = [*_distributions(content), *_margins(content), *_agreement(content), *_learning(content)]
    tables = [*_pairs(content), *(replacing(content["metrics"]) if content["metrics"] is not None else [])]
    return Section("labels", "The labels", figures=figures, tables=tables)


def shares_of(content: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Returns each rater's share of each label, 0 to 1, on the corpus or the held-out documents."""
    counts: dict[str, dict[str, float]] = {}
    if content["llm"] is not None:
        counts["LLM, corpus"] = content["llm"]["labels"]
    if content["experts"] is not None and content["experts"]["documents"]:
        counts["experts, documents chosen"] = content["experts"]["labels"]
    if (metrics := content["metrics"]) is not None:
        counts["gold, test"] = metrics["gold"]
        for rater, name in (("LLM", "LLM, test"), (next(iter(metrics["scores"])), "edge, test")):
            if rater in metrics["confusion"]:
                said = [sum(column) for column in zip(*metrics["confusion"][rater], strict=True)]
                counts[name] = dict(zip(metrics["labels"], said, strict=False))
    return {
        name: {label: count / sum(each.values()) for label, count in each.items()}
        for name, each in counts.items()
        if sum(each.values())
    }


def _distributions(content: dict[str, Any]) -> Iterator[Figure]:
    found = shares_of(content)
    if not found:
        return
    names = list(found)
    frequent = sorted(content["task"]["labels"], key=lambda label: -max(each[label] for each in found.values()))[
        :_SHOWN
    ]
    groups = [
        (
            label,
            [Mark(name, found[name][label], share(found[name][label], 1), series=n) for n, name in enumerate(names)],
        )
        for label in content["task"]["labels"]
        if label in frequent
    ]
    desc = "; ".join(f"{title}: " + ", ".join(f"{m.name} {m.text}" for m in marks) for title, marks in groups)
    svg = bars(Alt("distributions", "Share of each label, by who gave it", desc), groups)
    left_out = len(content["task"]["labels"]) - len(frequent)
    yield Figure(svg, _shift(found) + (f" Not shown: the {left_out} rarest labels." if left_out else ""))


def _shift(found: dict[str, dict[str, float]]) -> str:
    if "gold, test" not in found or "edge, test" not in found:
        return "How often each label was given; documents chosen for experts are not like the corpus."
    gold, edge = found["gold, test"], found["edge, test"]
    label = max(gold, key=lambda each: abs(edge[each] - gold[each]))
    gap = 100 * (edge[label] - gold[label])
    way = "more" if gap > 0 else "less"
    text = (
        f"On the held-out documents the edge gives '{label}' {abs(gap):.1f} points {way} often than gold, its largest "
    )
    return text + "shift: counting its labels would be off by that much, which redct estimate corrects."


def _margins(content: dict[str, Any]) -> Iterator[Figure]:
    found = content["margins"]
    if found is None:
        return
    every, chosen = found["documents"], found["chosen"]
    part = [c / d if d else 0.0 for c, d in zip(chosen, every, strict=True)]
    panels = [(Axis("documents", 0, max(every) * 1.08, tick), every)]
    if any(chosen):
        panels.append((Axis("share of them chosen for experts", 0, max(part) * 1.08, tick_percent), part))
    desc = f"Median margin {found['median']:.2f} nats"
    caption = f"Half of the documents have a margin below {found['median']:.2f} nats"
    if found["median_chosen"] is not None:
        desc += f"; of the {sum(chosen):,} chosen documents {found['median_chosen']:.2f}"
        way = (
            "the choice went to documents of which the LLM is unsure"
            if found["median_chosen"] < found["median"]
            else ("the choice did not go to documents of which the LLM is unsure")
        )
        caption += f", half of the chosen ones below {found['median_chosen']:.2f}: {way}"
    across = Axis("margin of the LLM, nats (0: two labels equally likely)", 0, found["edges"][-1], tick)
    svg = columns(Alt("margins", "How sure the LLM was, and what was chosen", desc), found["edges"], panels, across)
    yield Figure(svg, caption + ".")


def _agreement(content: dict[str, Any]) -> Iterator[Figure]:
    found = content["agreement"]
    if not found or not found["alpha"]:
        return
    rows = [("all labels", found["alpha"]), *((each["label"], each["alpha"]) for each in found["labels"])]
    marks = [
        Mark(name, alpha["value"], ranged(alpha), alpha["low"], alpha["high"], series=int(n > 0))
        for n, (name, alpha) in enumerate(rows)
        if alpha
    ]
    desc = "; ".join(f"{mark.name} {mark.text}" for mark in marks)
    axis = around("Krippendorff's alpha", [v for m in marks for v in (m.low or 0, m.high or 0, RELIABLE)], tick)
    svg = dots(Alt("agreement", "Agreement of the experts", desc), marks, axis, RELIABLE)
    value = found["alpha"]["value"]
    meaning = (
        "reliable"
        if value >= RELIABLE
        else "for tentative conclusions"
        if value >= TENTATIVE
        else "too low to train on"
    )
    yield Figure(
        svg,
        f"Alpha is {ranged(found['alpha'])} over {found['overlap']:,} documents: {meaning} (dashed: {RELIABLE}; "
        f"tentative from {TENTATIVE}; Krippendorff 2004).",
    )


def _pairs(content: dict[str, Any]) -> Iterator[Table]:
    found = content["agreement"]
    if not found or not (found["pairs"] or found["llm"]):
        return
    rows = [
        [f"{each['first']}, {each['second']}", f"{each['documents']:,}", percent(each["same"]), ranged(each["kappa"])]
        for each in (*found["pairs"], *found["llm"])
    ]
    yield Table("Agreement, two by two [95 % interval]", ["who", "documents", "same label", "Cohen's kappa"], rows)


def _learning(content: dict[str, Any]) -> Iterator[Figure]:
    found = content["learning"]
    if found is None:
        return
    sizes, scores, end = found["sizes"], found["scores"], found["answered"] + found["more"]
    now, then = (float(found["answered"]), found["now"]), (float(end), found["then"])
    low, high = found["now"] + found["low"], found["now"] + found["high"]
    series = [
        Series("cross-validated", [float(n) for n in sizes], scores),
        Series(
            f"expected of {found['more']} more", [now[0], then[0]], [now[1], then[1]], [now[1], low], [now[1], high]
        ),
    ]
    gain = f"{100 * (then[1] - now[1]):+.1f} points [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
    desc = "; ".join(f"{n} answers: {100 * score:.1f} %" for n, score in zip(sizes, scores, strict=True))
    svg = lines(
        Alt(
            "learning", "Macro-F1 of a light student over the experts' answers", f"{desc}; {found['more']} more: {gain}"
        ),
        series,
        around("experts' answers", [0.0, float(end)], tick),
        around("macro-F1", [*scores, now[1], low, high], tick_percent),
        mark=(now[0], "now"),
    )
    worth = "likely worth their time" if found["low"] > 0 else "not shown to be worth their time"
    yield Figure(
        svg,
        f"Another {found['more']} answers are expected to bring {gain} of macro-F1, {worth}. A light student "
        "stands in for the edge classifier: how it grows counts, not its level.",
    )
