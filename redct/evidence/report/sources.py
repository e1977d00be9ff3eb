"""What may be estimated with the labels, and where everything comes from."""

import json
from collections.abc import Iterator
from typing import Any, Final

from redct.evidence.report.charts import Mark, dots
from redct.evidence.report.drawing import Alt, around
from redct.evidence.report.parts import Figure, Section, Table, Values, ranged, tick, tick_percent

_SHOWN: Final = 8  # figures that are drawn


def estimates(content: dict[str, Any]) -> Section:
    """Returns the section about shares of labels or regressions."""
    found = content["estimates"]
    if not found:
        return Section("estimates", "What may be concluded")
    return Section("estimates", "What may be concluded", figures=[_drawn(found)], tables=[_listed(found)])


def _drawn(found: Values) -> Figure:
    shares = _are_shares(found)
    shown = found["estimates"][:_SHOWN]
    marks = [
        Mark(f"{how}: {_name(each)}", one["value"], _figure(found, one, True), one["low"], one["high"], series=n)
        for each in shown
        for n, (how, one) in enumerate({"PPI++": each["best"], **_others(each)}.items())
        if one is not None
    ]
    bounds = [bound for mark in marks for bound in (mark.low, mark.high) if bound is not None]
    axis = around("share of documents" if shares else "coefficient", bounds, tick_percent if shares else tick)
    alt = Alt("estimates", "Estimates with 95 % intervals", "; ".join(f"{mark.name} {mark.text}" for mark in marks))
    more = (
        f" Drawn: the first {_SHOWN} of {len(found['estimates'])} figures."
        if len(shown) < len(found["estimates"])
        else ""
    )
    caption = "; ".join(found["notes"][-2:])
    return Figure(dots(alt, marks, axis), f"{caption[:1].upper()}{caption[1:]}.{more}")


def _listed(found: Values) -> Table:
    rows = [
        [
            _name(each),
            _figure(found, each["best"]),
            *(_figure(found, one) for one in (*_others(each).values(), each["others"]["DSL"])),
            f"{each['answers']:,}",
            "-" if each["gain"] is None else f"{each['gain']:.1f}",
        ]
        for each in found["estimates"]
    ]
    asked, machine = found["asked"], {"llm": "LLM", "edge": "edge classifier"}[found["asked"]["labels"]]
    what = f"From {asked['documents']:,} documents, about {asked['about']}, by the labels of the {machine}"
    header = ["figure", "PPI++ (to report)", "machine alone", "experts only", "DSL", "answers", "worth, times"]
    return Table(f"{what}{', %' if _are_shares(found) else ''} [95 % interval]", header, rows)


def _are_shares(found: Values) -> bool:
    return found["asked"]["formula"] is None


def _name(each: Values) -> str:
    return f"{each['label']}, {each['figure']}"


def _others(each: Values) -> dict[str, Values | None]:
    return {"machine alone": each["others"]["naive"], "experts only": each["others"]["experts only"]}


def _figure(found: Values, one: Values | None, unit: bool = False) -> str:
    return ranged(one, 100, 1, " %" if unit else "") if _are_shares(found) else ranged(one, 1, 3)


def provenance(content: dict[str, Any]) -> Section:
    """Returns the section about hashes, versions, seeds and configuration."""
    code = {**content["configs"], "task": json.dumps(content["task"], indent=2, ensure_ascii=False)}
    tables = [
        Table("Files and hashes (SHA-256)", ["what", "hash"], list(_hashes(content)), prose=True),
        Table("Versions and seeds", ["what", "value"], list(_versions(content)), prose=True),
    ]
    return Section("provenance", "Where it comes from", tables=tables, code=code)


def _hashes(content: dict[str, Any]) -> Iterator[list[str]]:
    for part, read in content["data"].items():
        for file in read["files"]:
            yield [f"{part}: {file['name']}, {file['rows']:,} rows", file["sha256"] or "-"]
    yield ["task", content["task"]["sha256"]]
    for store in content["stores"]:
        if store["documents"]:
            yield [f"prompt of {store['folder']}", str(store["fingerprint"].get("prompt") or "-")]
            for name, part in (store["parts"] or {}).items():
                yield [f"labels: {name}, {part['rows']:,} rows", part["sha256"]]
    if content["training"] is not None:
        yield ["checkpoint", content["training"]["checkpoint_sha256"]]
    if content["bundle"] is not None:
        yield ["edge bundle", content["bundle"]["sha256"]]


def _versions(content: dict[str, Any]) -> Iterator[list[str]]:
    yield ["seed", str(content["seed"])]
    for store in content["stores"]:
        if store["documents"]:
            made = store["fingerprint"]
            yield [
                f"LLM of {store['folder']}",
                f"{made.get('model') or made['labeler']}, revision {made.get('revision')}",
            ]
    if content["experts"] is not None:
        for n, each in enumerate(content["experts"]["rounds"], 1):
            yield [f"round {n} of experts", f"{each['strategy']}, seed {each['seed']}, {each['documents']:,} documents"]
    for name, version in content["versions"].items():
        yield [name, version]
