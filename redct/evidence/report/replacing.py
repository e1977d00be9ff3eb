"""Whether LLM or edge classifier may stand in for an expert: the alternative annotator test."""

from collections.abc import Iterator

from redct.evidence.report.parts import Table, Values, p_value, percent


def replacing(metrics: Values) -> Iterator[Table]:
    """Yields the table of the test, and that of how often machines agree with an expert.

    Args:
        metrics: Of `redct test`.
    """
    if tests := metrics["substitutions"]:
        rows = [
            [f"{machine} for {each['annotator']}", *_told(each)]
            for machine, found in tests.items()
            for each in found["annotators"]
        ]
        rows += [[f"{machine}, on the whole", *_on_the_whole(found)] for machine, found in tests.items()]
        header = ["who for whom", "documents", "as good as the expert, %", "p", "could replace"]
        yield Table(f"Alternative annotator test [95 % interval]: {verdicts(tests)}", header, rows)
    if ceilings := metrics["ceilings"]:
        rows = [
            [machine, f"{each['documents']:,}", *(percent(each[what], "") for what in ("machine", "difference"))]
            for machine, each in ceilings.items()
        ]
        first = next(iter(ceilings.values()))
        caption = f"Agreement with an expert, % [95 % interval]; two experts agree on {percent(first['experts'])}"
        yield Table(caption, ["", "documents", "same label as an expert", "minus two experts"], rows)


def verdicts(tests: Values) -> str:
    """Returns in words who may stand in for an expert.

    Args:
        tests: By machine, its test.
    """
    told = [
        f"the {name} {'may' if each['passes'] else 'may not'} stand in for an expert" for name, each in tests.items()
    ]
    epsilon = next(iter(tests.values()))["epsilon"]
    return f"{', '.join(told)} (epsilon {epsilon}; half of the experts must be replaceable)"


def _told(each: Values) -> list[str]:
    won = "yes" if each["wins"] else "no"
    return [f"{each['documents']:,}", percent(each["advantage"], ""), p_value(each["p_value"]), won]


def _on_the_whole(found: Values) -> list[str]:
    return ["", percent(found["advantage"], ""), "", f"{100 * found['winning_rate']:.0f} % of experts"]
