"""`redct init`: looks at a corpus and writes a codebook and a study for it. Needs no torch."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from jsonargparse import ArgumentParser

from redct.cli.show import show_table
from redct.errors import InputError
from redct.tables import read_table

MOST_LABELS = 20  # a column with more distinct values is no set of labels
LABEL_NAMES = re.compile(r"label|gold|stance|class|category|sentiment|leaning|annotation", re.IGNORECASE)
ID_NAMES = re.compile(r"(^|_)id$", re.IGNORECASE)

Columns = Mapping[str, Sequence[str | None]]


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    parser = ArgumentParser(
        prog="redct init",
        description="Shows a corpus' columns and writes a codebook and a study for it, to be completed by hand.",
        exit_on_error=False,
    )
    parser.add_argument("corpus", help="CSV, TSV, JSONL, JSON or Parquet file")
    parser.add_argument("--text", help="column with the texts; by default the one with the longest")
    parser.add_argument("--gold", help="column with reference labels; by default a guess, 'none' for none")
    parser.add_argument("--id", help="column with unique ids; by default a guess, 'none' for none")
    parser.add_argument("--labels", type=list[str] | None, help="labels without a gold column, such as '[yes, no]'")
    parser.add_argument("--to", default="configs", help="folder for the two YAML files")
    options = parser.parse_args(list(args[1:]))
    table = read_table(options.corpus)
    if not table.rows:
        raise InputError(f"{options.corpus}: no rows; expected a corpus")
    _show(options.corpus, table.columns, table.rows)
    text = _named("--text", options.text, table.columns) or _longest(table.columns)
    gold = _named("--gold", options.gold, table.columns) if options.gold else _guess_gold(table.columns, text)
    identity = _named("--id", options.id, table.columns) if options.id else _guess_id(table.columns)
    labels = options.labels or (_values(table.columns[gold]) if gold else ["yes", "no"])
    _write(Path(options.corpus), Path(options.to), {"text": text, "gold": gold, "id": identity}, labels)


def _show(name: str, columns: Columns, rows: int) -> None:
    lines = []
    for column, values in columns.items():
        filled = [value for value in values if value]
        counts = Counter(filled)
        common = ", ".join(f"{value[:20]!r} {count}" for value, count in counts.most_common(3))
        lines.append([column, str(len(filled)), str(len(counts)), common if len(counts) <= MOST_LABELS else ""])
    show_table(f"{name}: {rows:,} rows", ["column", "filled", "distinct", "most common"], lines)


def _named(option: str, column: str | None, columns: Columns) -> str | None:
    if column is None or column == "none":
        return None
    if column not in columns:
        raise InputError(f"{option}: no column {column!r}; expected one of {', '.join(columns)}")
    return column


def _longest(columns: Columns) -> str:
    return max(columns, key=lambda column: sum(len(value or "") for value in columns[column]))


def _values(values: Sequence[str | None]) -> list[str]:
    return sorted({value for value in values if value})


def _guess_gold(columns: Columns, text: str) -> str | None:
    fitting = [c for c in columns if c != text and 2 <= len(_values(columns[c])) <= MOST_LABELS]
    return next((c for c in fitting if LABEL_NAMES.search(c)), None)


def _guess_id(columns: Columns) -> str | None:
    unique = (c for c in columns if ID_NAMES.search(c) and all(columns[c]) and len(set(columns[c])) == len(columns[c]))
    return next(unique, None)


def _write(corpus: Path, folder: Path, columns: dict[str, str | None], labels: list[str]) -> None:
    name = corpus.name.split(".")[0]
    task, study = folder / "tasks" / f"{name}.yaml", folder / f"{name}.yaml"
    for path in (task, study):
        if path.exists():
            raise InputError(f"{path}: exists already; expected a new file, name another folder with --to")
    codebook = {
        "labels": labels,
        "columns": {role: column for role, column in columns.items() if column},
        "codebook": "Say here, as you would to a new annotator, what the labels are about.",
        "definitions": {label: f"say here when a text is {label}" for label in labels},
        "question": "Which label describes the text best?",
    }
    data: dict[str, object] = {"train": str(corpus.resolve())}
    if columns["gold"]:
        data |= {"test": 0.2, "predict": "both"}
    answers = "gold" if columns["gold"] else "ledger"
    data["experts"] = {"budget": 0.1, "strategy": "margin_randomised", "answers": answers}
    plan = {
        "seed_everything": 1,
        "task": f"tasks/{name}.yaml",
        "data": data | {"targets": "soft"},
        "labeler": {
            "class_path": "redct.hub.LocalLabeler",
            "init_args": {"model": "mistralai/Mistral-7B-Instruct-v0.2"},
        },
        "model": {"encoder": "roberta-base"},
    }
    task.parent.mkdir(parents=True, exist_ok=True)
    for path, content in ((task, codebook), (study, plan)):
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
        print(f"wrote {path}")
    print(f"Complete the codebook in {task}, then: redct predict --config {study}")
