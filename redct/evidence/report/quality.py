"""How good the edge classifier is, beside whom, and how far its probabilities can be believed."""

from collections.abc import Iterator
from typing import Any

from redct.evidence.report.charts import Mark, Series, dots, lines, matrix
from redct.evidence.report.drawing import Alt, Axis, around
from redct.evidence.report.parts import Figure, Section, Table, Values, known, p_value, percent, share, tick_percent
from redct.evidence.report.reliability import reliability, taken


def quality(content: dict[str, Any]) -> Section:
    """Returns the section about scores on held-out documents."""
    metrics = content["metrics"]
    if metrics is None:
        return Section("quality", "How good it is", tables=[*_corrections(content)])
    figures = [_scores(metrics), *_differences(metrics), *_confusions(metrics), *reliability(content)]
    figures += _risk(metrics, content["bundle"])
    tables = [_comparison(metrics), _classes(metrics), *_probabilities(metrics), *_corrections(content)]
    return Section("quality", "How good it is", figures=figures, tables=tables)


def _scores(metrics: Values) -> Figure:
    marks = [
        Mark(
            name,
            each["macro_f1"]["value"],
            percent(each["macro_f1"]),
            each["macro_f1"]["low"],
            each["macro_f1"]["high"],
            series=int(n > 0),
        )
        for n, (name, each) in enumerate(metrics["scores"].items())
    ]
    desc = "; ".join(f"{mark.name} {mark.text}" for mark in marks)
    axis = around("macro-F1, 95 % interval", [v for m in marks for v in (m.low or 0.0, m.high or 0.0)], tick_percent)
    best = max(marks, key=lambda mark: mark.value)
    svg = dots(Alt("scores", "Macro-F1 of everybody who labeled the held-out documents", desc), marks, axis)
    edge, floor = marks[0], marks[-1]
    above = "above" if (edge.low or 0) > (floor.high or 0) else "not clearly above"
    return Figure(
        svg,
        f"The highest macro-F1 is that of {best.name}, {best.text}; the {edge.name} is {above} {floor.name}. Whether "
        "two differ is read from the next chart, since intervals of the same documents move together.",
    )


def _differences(metrics: Values) -> Iterator[Figure]:
    found = [(each["other"], each["metrics"]["macro_f1"]) for each in metrics["differences"]]
    marks = [
        Mark(f"minus {name}", gap["value"], percent(gap, ""), gap["low"], gap["high"], series=n % 4)
        for n, (name, gap) in enumerate(found)
        if known(gap)
    ]
    if not marks:
        return
    desc = "; ".join(f"{mark.name} {mark.text} points" for mark in marks)
    bounds = [0.0, *(v for m in marks for v in (m.low or 0.0, m.high or 0.0))]
    axis = around("difference of macro-F1, 95 % interval", bounds, tick_percent)
    alt = Alt("differences", f"{metrics['differences'][0]['rater']} minus others, paired by document", desc)
    yield Figure(dots(alt, marks, axis, reference=0.0), _told_apart(marks, str(metrics["differences"][0]["rater"])))


def _told_apart(marks: list[Mark], edge: str) -> str:
    names = {"better than": [], "worse than": [], "not told apart from": []}  # type: dict[str, list[str]]
    for mark in marks:
        low, high = mark.low or 0.0, mark.high or 0.0
        way = "better than" if low > 0 else "worse than" if high < 0 else "not told apart from"
        names[way].append(mark.name.removeprefix("minus "))
    found = [f"{way} {', '.join(those)}" for way, those in names.items() if those]
    return f"On the same documents the {edge} is {'; '.join(found)} (an interval that holds 0 tells nothing apart)."


def _confusions(metrics: Values) -> Iterator[Figure]:
    edge = next(iter(metrics["scores"]))
    for n, rater in enumerate(name for name in (edge, "LLM") if name in metrics["confusion"]):
        counts, names = metrics["confusion"][rater], metrics["labels"]
        if any(row[-1] for row in counts):
            named = [*names, "none"]
        else:
            named, counts = names, [row[:-1] for row in counts]
        errors = [
            (count, gold, said)
            for gold, row in zip(names, counts, strict=True)
            for said, count in zip(named, row, strict=True)
            if count and said != gold
        ]
        lines = [
            f"{gold}: " + ", ".join(f"{count} as {said}" for said, count in zip(named, row, strict=True))
            for gold, row in zip(names, counts, strict=True)
        ]
        svg = matrix(Alt(f"confusion-{n}", f"Confusion matrix of the {rater}", "; ".join(lines)), names, named, counts)
        if not errors:
            yield Figure(svg, f"{rater}: no error.")
            continue
        most, gold, said = max(errors)
        total = sum(count for count, *_ in errors)
        yield Figure(
            svg,
            f"{rater}: '{said}' for '{gold}' is the most frequent error, {most:,} of {total:,} ({share(most, total)}). "
            "Rows are gold labels, a frame marks what is right, shade is the share of the row.",
        )


def _risk(metrics: Values, bundle: Values | None) -> list[Figure]:
    edge = next(iter(metrics["scores"]))
    raters = [name for name in (edge, "LLM") if name in metrics["probabilities"]]
    series = []
    for rater in raters:
        curve = [each for each in metrics["probabilities"][rater]["risk_coverage"] if known(each["risk"])]
        ends = (
            [e["risk"][end] if e["risk"][end] is not None else e["risk"]["value"] for e in curve]
            for end in ("low", "high")
        )
        series.append(Series(rater, [e["coverage"] for e in curve], [e["risk"]["value"] for e in curve], *ends))
    if not series or not series[0].x:
        return []
    limit = None if bundle is None else bundle["abstention"]
    up = Axis("errors among answers", 0, max(max(each.high) for each in series) * 1.05 or 1.0, tick_percent)
    places = {0.5: 0.0, 1.0: 0.0} | {round(x, 2): y for x, y in zip(series[0].x, series[0].y, strict=True)}
    desc = f"{edge}: {share(places[0.5], 1)} errors answering half, {share(places[1.0], 1)} answering all"
    svg = lines(
        Alt("risk", "Errors among the answers, by how many documents are answered, surest first", desc),
        series,
        Axis("documents answered", 0, 1, tick_percent),
        up,
        mark=None if limit is None else (limit["coverage"], "threshold of the bundle"),
    )
    half, every = (share(places[each], 1) for each in (0.5, 1.0))
    saved = f"Answering only the surer half, the {edge} errs on {half} instead of {every}"
    if limit is None:
        return [Figure(svg, f"{saved}. No threshold was chosen: the bundle answers every document.")]
    kept = (
        f"the bundle answers {100 * limit['coverage']:.1f} % so that at most {100 * limit['max_error']:.1f} % are wrong"
    )
    return [Figure(svg, f"{saved}; {kept}, with probability {1 - limit['delta']:.2f}.")]


def _comparison(metrics: Values) -> Table:
    gaps = {each["other"]: each for each in metrics["differences"]}
    rows = []
    for name, scores in metrics["scores"].items():
        gap = gaps.get(name)
        paired = (
            ["-", "-", "-"]
            if gap is None
            else [
                percent(gap["metrics"]["macro_f1"], ""),
                f"{gap['only_rater']:,} : {gap['only_other']:,}",
                p_value(gap["p_value"]),
            ]
        )
        rows.append([name, *(percent(scores[m], "") for m in ("accuracy", "macro_f1", "mcc")), *paired])
    first = next(iter(metrics["scores"]))
    header = ["", "accuracy", "macro-F1", "MCC", f"{first} minus it, macro-F1", "only one right", "McNemar's p"]
    caption = f"{metrics['documents']:,} held-out documents, % [95 % interval]; differences are paired by document"
    return Table(caption, header, rows)


def _classes(metrics: Values) -> Table:
    edge = next(iter(metrics["scores"]))
    rows = [
        [
            label,
            f"{metrics['gold'][label]:,}",
            *(percent(scores[m], "") for m in ("precision", "recall", "f1")),
            *([percent(metrics["classes"]["LLM"][label]["f1"], "")] if "LLM" in metrics["classes"] else []),
        ]
        for label, scores in metrics["classes"][edge].items()
    ]
    header = ["label", "documents", "precision", "recall", "F1", *(["LLM: F1"] if "LLM" in metrics["classes"] else [])]
    worst = min(metrics["classes"][edge].items(), key=lambda pair: pair[1]["f1"]["value"] or 0)
    return Table(f"Labels of the {edge}, %; the hardest is '{worst[0]}', F1 {percent(worst[1]['f1'])}", header, rows)


def _probabilities(metrics: Values) -> Iterator[Table]:
    if metrics["probabilities"]:
        names = ("ece", "brier", "auroc", "auprc", "aurc")
        rows = [[r, *(percent(each["metrics"][m], "") for m in names)] for r, each in metrics["probabilities"].items()]
        header = ["", "ECE", "Brier", "AUROC", "AUPRC", "AURC"]
        yield Table(
            "Probabilities, % [95 % interval]; small ECE, Brier and AURC are good, large AUROC and AUPRC", header, rows
        )


def _corrections(content: dict[str, Any]) -> Iterator[Table]:
    done = content["calibration"] or {}
    steps = done.get("reliability")
    if not steps:
        return
    rows = [
        [name + (" (taken)" if name == taken(done) else ""), f"{each['ece']:.3f}", f"{each['log_loss']:.3f}"]
        for name, each in steps.items()
        if isinstance(each, dict)
    ]
    header = ["the LLM's distributions", "ECE", "log loss"]
    yield Table(f"Before and after correction, on {steps['answers']:,} answers of experts, cross-fitted", header, rows)
