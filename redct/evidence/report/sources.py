"""What may be estimated with the labels, and where everything comes from."""

import json
from collections.abc import Iterator
from typing import Any

from redct.evidence.report.charts import Mark, dots
from redct.evidence.report.drawing import Alt, around
from redct.evidence.report.parts import Figure, Section, Table, ranged, tick, tick_percent


def estimates(content: dict[str, Any]) -> Section:
    """Returns the section about shares of labels or regressions."""
    found = content["estimates"]
    if not found:
        return Section("estimates", "What may be concluded")
    shares = found["asked"]["formula"] is None
    times, digits, unit = (100, 1, " %") if shares else (1, 3, "")
    marks, rows = [], []
    names = {"naive": "machine alone", "experts only": "experts only"}
    for each in found["estimates"]:
        name = f"{each['label']}, {each['figure']}"
        every = {
            "PPI++": each["best"],
            **{names[k]: each["others"][k] for k in names if each["others"].get(k)},
        }
        marks += [
            Mark(f"{name}: {how}", one["value"], ranged(one, times, digits, unit), one["low"], one["high"], series=n)
            for n, (how, one) in enumerate(every.items())
        ]
        others = [ranged(each["others"][k], times, digits) for k in ("naive", "experts only", "DSL")]
        gain = "-" if each["gain"] is None else f"{each['gain']:.1f}"
        rows.append([name, ranged(each["best"], times, digits), *others, f"{each['answers']:,}", gain])
    axis = around(
        "share of documents" if shares else "coefficient",
        [v for m in marks for v in (m.low or 0, m.high or 0)],
        tick_percent if shares else tick,
    )
    desc = "; ".join(f"{mark.name} {mark.text}" for mark in marks)
    svg = dots(Alt("estimates", "Estimates with 95 % intervals", desc), marks[:36], axis)
    caption = "; ".join(found["notes"][-2:])
    what = f"From {found['asked']['documents']:,} documents, about {found['asked']['about']}, by the labels of the "
    what += {"llm": "LLM", "edge": "edge classifier"}[found["asked"]["labels"]]
    header = ["figure", "PPI++ (to report)", "machine alone", "experts only", "DSL", "answers", "worth, times"]
    tables = [Table(f"{what}{', %' if shares else ''} [95 % interval]", header, rows)]
    return Section(
        "estimates",
        "What may be concluded",
        figures=[Figure(svg, f"{caption[:1].upper()}{caption[1:]}.")],
        tables=tables,
    )


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
