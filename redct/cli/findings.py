"""Prints what held-out documents tell about a classifier."""

from collections.abc import Iterator, Mapping, Sequence

from redct.cli.show import INTERVALS, figure, percent, show_scores, show_table
from redct.evidence.assessment import Assessment
from redct.evidence.comparison import Comparison
from redct.evidence.doubts import Doubt
from redct.evidence.leakage import Leakage
from redct.evidence.slices import Slice
from redct.evidence.substitution import AgainstAnnotator, Ceiling, Substitution

SHOWN = 3  # mistakes and confusions; the others are in the file
LONGEST = 80


def show_assessment(found: Assessment) -> None:
    """Prints tables of scores, then what to look at, each in a line."""
    first, comparison = found.first, found.comparison
    show_scores(f"{comparison.documents:,} held-out documents, % [95 % interval]", comparison.scores)
    _show_classes(found)
    if comparison.differences:
        _show_differences(comparison)
    if found.probabilities:
        rows = [[name, *map(percent, judged.metrics.values())] for name, judged in found.probabilities.items()]
        show_table("Probabilities, % [95 % interval]", ["", "ECE", "Brier", "AUROC", "AUPRC", "AURC"], rows)
    for column, values in found.groups.items():
        _show_groups(column, values)
    print(INTERVALS)
    for line in _remarks(found, first):
        print(line)


def show_experts(
    ceilings: Mapping[str, Ceiling], substitutions: Mapping[str, Substitution], doubted: Sequence[Doubt]
) -> None:
    """Prints how the machines compare with experts, on documents that several of these labeled."""
    for machine, ceiling in ceilings.items():
        print(
            f"human ceiling, % on {ceiling.documents:,} documents with several experts: two agree "
            f"on {percent(ceiling.experts)}, the {machine} and an expert on {percent(ceiling.machine)}, "
            f"difference {percent(ceiling.difference)}"
        )
    rows = [
        [each.annotator, machine, f"{each.documents:,}", percent(each.advantage), _p_value(each.p_value), _won(each)]
        for machine, found in substitutions.items()
        for each in found.annotators
    ]
    if rows:
        header = ["expert", "in the place", "documents", "as good, %", "p", "could replace"]
        show_table("Alternative annotator test [95 % interval]", header, rows)
    for machine, found in substitutions.items():
        print(
            f"alternative annotator test: the {machine} {'may' if found.passes else 'may not'} stand in for an expert "
            f"(it could replace {found.winning_rate:.0%} of {len(found.annotators)} experts at epsilon "
            f"{found.epsilon}, half are needed; it is as good as one on {percent(found.advantage)} % of documents)"
        )
    if doubted:
        print(_on_doubts("experts' answers", doubted) + "; look again: redct sample --from suspects")


def _won(each: AgainstAnnotator) -> str:
    return "yes" if each.wins else "no"


def _show_classes(found: Assessment) -> None:
    of_first = found.comparison.classes[found.first]
    # The classifier that taught the first one is the one to compare with.
    other = next(iter(list(found.probabilities)[1:2]), None)
    rows = []
    for k, (label, scores) in enumerate(zip(found.labels, of_first, strict=True)):
        others = [percent(found.comparison.classes[other][k]["f1"])] if other else []
        rows.append([label, f"{found.gold[k]:,}", *(percent(each) for each in scores.values()), *others])
    header = ["label", "documents", *(name if name != "f1" else "F1" for name in of_first[0])]
    show_table(f"Labels of the {found.first}, % [95 % interval]", header + ([f"{other}: F1"] if other else []), rows)


def _show_differences(comparison: Comparison) -> None:
    first = comparison.differences[0].rater
    rows = [
        [
            each.other,
            percent(each.metrics["accuracy"]),
            percent(each.metrics["macro_f1"]),
            f"{each.only_rater:,} : {each.only_other:,}",
            _p_value(each.p_value),
        ]
        for each in comparison.differences
    ]
    header = ["other", "accuracy", "macro f1", "only one right", "McNemar's p"]
    show_table(f"{first} minus other, on the same documents, % points [95 % interval]", header, rows)


def _show_groups(column: str, values: dict[str, Comparison]) -> None:
    first, other = list(next(iter(values.values())).scores)[:2]
    shown = [(first, "accuracy"), (first, "macro_f1"), (other, "macro_f1")]
    rows = [
        [value or "(none)", f"{each.documents:,}", *(percent(each.scores[name][metric]) for name, metric in shown)]
        for value, each in values.items()
    ]
    header = [column, "documents", "accuracy", "macro f1", f"{other}: macro f1"]
    show_table(f"{first} by {column}, % [95 % interval]", header, rows)


def _remarks(found: Assessment, first: str) -> Iterator[str]:
    yield from _on_leaks(found, first)
    worse = [each for each in found.slices if each.is_worse]
    yield from (_on_slice(each) for each in worse)
    if found.slices and not worse:
        yield f"none of {len(found.slices)} parts tested (columns, text length) has significantly more errors"
    if found.llm_alpha is not None:
        yield f"agreement of the LLMs, Krippendorff's alpha: {figure(found.llm_alpha)}"
    if found.confused:
        shown = [f"{each.said!r} for {each.gold!r} {each.documents:,} times" for each in found.confused[:SHOWN]]
        yield f"most frequent errors: {', '.join(shown)}"
    for mistake in found.mistakes[:SHOWN]:
        said = f"{mistake.said!r} ({mistake.confidence:.2f}) for {mistake.gold!r}"
        yield f"sure and wrong: {said}: {_excerpt(mistake.text)} [{mistake.id}]"
    if found.doubts:
        yield _on_doubts("gold labels", found.doubts) + "; what is wrong, correct in the file"


def _on_leaks(found: Assessment, first: str) -> Iterator[str]:
    leakage: Leakage | None = found.leakage
    if leakage is not None and leakage.ids:
        line = (
            f"warning: {len(leakage.ids):,} test documents stand among the training documents too "
            f"({len(leakage.exact):,} exactly, {len(leakage.near):,} nearly)"
        )
        clean = found.unleaked[first]["macro_f1"] if found.unleaked else None
        yield line + (f"; macro f1 without them: {percent(clean)}" if clean else "")
    if leakage is not None and leakage.searched < 1:
        yield f"near duplicates were searched in {leakage.searched:.0%} of the training documents, drawn at random"


def _on_slice(each: Slice) -> str:
    value = each.value or "(none)"
    return (
        f"warning: more errors where {each.column} is {value} ({each.documents:,} documents): {percent(each.error)} %, "
        f"{percent(each.excess)} points above the others (p {each.p_value:.2g}, adjusted {each.q_value:.2g})"
    )


def _on_doubts(what: str, doubts: Sequence[Doubt]) -> str:
    first = doubts[0]
    return f"{what} that may be wrong: {len(doubts):,}, most of all {first.id} ({first.label!r}, or {first.likelier!r})"


def _p_value(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
