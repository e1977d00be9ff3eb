"""`redct status`: what of a study is done, and the next command. Needs no torch."""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import yaml
from jsonargparse import ArgumentParser

from redct.cli.show import show_table
from redct.errors import InputError
from redct.hub.store import LabelStore


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    parser = ArgumentParser(
        prog="redct status", description="Says what of a study is done, and the next command.", exit_on_error=False
    )
    parser.add_argument("--config", required=True, help="the study's YAML")
    parser.add_argument("--trainer.default_root_dir", help="the study's folder, by default runs/<stem of the YAML>")
    options = parser.parse_args(list(args[1:]))
    study = Path(options.config)
    folder = Path(options.trainer.default_root_dir or _folder_in(study) or Path("runs") / study.stem)
    steps = [_predict(folder), _experts(folder), _fit(folder), _test(folder), _export(folder)]
    show_table(f"{study.stem}: {folder}", ["step", "done", "what"], [list(step) for step in steps])
    todo = next((name for name, done, _ in steps if done == "no" and name != "experts"), None)
    command = f"redct {todo} --config {study}" if todo else f"redct classify {folder / 'edge'} FILE"
    print(f"next: {command}")


def _folder_in(study: Path) -> str | None:
    try:
        content = yaml.safe_load(study.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{study}: no such file, expected the YAML of a study") from None
    except yaml.YAMLError as error:
        raise InputError(f"{study}: not valid YAML ({' '.join(str(error).split())})") from None
    trainer = content.get("trainer") if isinstance(content, dict) else None
    folder = trainer.get("default_root_dir") if isinstance(trainer, dict) else None
    return str(folder) if folder else None


Step = tuple[str, str, str]


def _predict(folder: Path) -> Step:
    store = LabelStore(folder / "labels")
    if not store.manifest_path.exists():
        return "predict", "no", "no labels yet"
    manifest = store.manifest()
    labeled = store.rows()
    if not manifest.get("complete"):
        return "predict", "no", f"interrupted after {labeled:,} documents; the same command goes on"
    return "predict", "yes", f"{labeled:,} documents, {manifest['counts']['errors']:,} without label"


def _experts(folder: Path) -> Step:
    path = folder / "experts.sqlite"
    if not path.exists():
        return "experts", "no", "nobody asked; fit does, where data.experts has answers"
    with closing(connect(f"file:{path}?mode=ro", uri=True)) as ledger:
        answers = ledger.execute("SELECT count(*) FROM answers").fetchone()[0]
    return "experts", "yes", f"{answers:,} answers in the ledger"


def _fit(folder: Path) -> Step:
    path = folder / "checkpoints" / "best.ckpt"
    return ("fit", "yes", str(path)) if path.exists() else ("fit", "no", "no checkpoint yet")


def _test(folder: Path) -> Step:
    path = folder / "metrics.json"
    if not path.exists():
        return "test", "no", "no metrics yet"
    scores = json.loads(path.read_text(encoding="utf-8"))["scores"]["edge classifier"]
    return "test", "yes", f"macro F1 {100 * scores['macro_f1']['value']:.1f} %: {path}"


def _export(folder: Path) -> Step:
    path = folder / "edge" / "bundle.json"
    if not path.exists():
        return "export", "no", "no bundle yet"
    bundle = json.loads(path.read_text(encoding="utf-8"))
    return "export", "yes", f"{bundle['precision']}, {bundle['parity']['agreement']:.1%} of labels equal: {path.parent}"
