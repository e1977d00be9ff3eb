"""`redct status`: what of a study is done, and the next command. Needs no torch."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from redct.cli.show import show_table
from redct.cli.studyfile import read_study
from redct.evidence.raters import EDGE
from redct.experts import Ledger, verdicts, waiting
from redct.experts.records import GOLD
from redct.files import sha256
from redct.hub.store import LabelStore
from redct.hub.times import duration
from redct.training.corpus import LabeledCorpus


class Step(NamedTuple):
    """A step of a study.

    Attributes:
        command: The command that does it.
        done: Whether it is done; None where the study has no such step.
        what: What there is, in words.
    """

    command: str
    done: bool | None
    what: str


def run(args: Sequence[str]) -> None:
    """Runs the command."""
    corpus, given = read_study(args, "Says what of a study is done, and the next command.")
    folder = corpus.folder
    steps = [*map(_predict, corpus.label_folders), *_experts(corpus), _fit(folder), _test(folder), _export(folder)]
    marks = {True: "yes", False: "no", None: "-"}
    study = Path(str(given.config[-1]))
    rows = [[step.command, marks[step.done], step.what] for step in steps]
    show_table(f"{study.stem}: {folder}", ["step", "done", "what"], rows)
    todo = next((step.command for step in steps if step.done is False), None)
    print(f"next: redct {todo} {shlex.join(args[1:])}" if todo else f"next: redct classify {folder / 'edge'} FILE")


def _predict(folder: str | Path) -> Step:
    store = LabelStore(folder)
    if not store.manifest_path.exists():
        return Step("predict", False, f"no labels yet in {folder}")
    manifest = store.manifest()
    if not manifest.get("complete"):
        return Step("predict", False, f"interrupted after {store.rows():,} documents; the same command goes on")
    what = f"{store.rows():,} documents, {manifest['counts']['errors']:,} without label"
    return Step("predict", True, what + (f"; {duration(time['seconds'])}" if (time := manifest.get("time")) else ""))


def _experts(corpus: LabeledCorpus) -> list[Step]:
    experts = corpus.experts
    if experts is None:
        return [Step("sample", None, "nobody is asked (data.experts)")]
    if experts.answers == "gold":
        return [Step("sample", None, "the gold column stands for the experts")]
    if experts.answers != "ledger":
        return [Step("sample", None, f"answers stand in {experts.answers}")]
    if not corpus.asking.ledger.exists():
        return [Step("sample", False, "no documents chosen yet"), Step("annotate", False, "no answers yet")]
    with Ledger(corpus.asking.ledger) as ledger:
        rounds = ledger.rounds_for_people()
        answers = [answer for answer in ledger.answers() if answer.annotator != GOLD]
        again = len(waiting(ledger.second_looks(), answers))
    chosen, found = {document for each in rounds for document in each.ids}, verdicts(answers)
    left = len(chosen - found.keys())
    open_cases = sum(verdict.disputed or verdict.left_out() == "flagged" for verdict in found.values())
    what = f"{len(found):,} of {len(chosen):,} documents"
    if open_cases:
        what += f"; {open_cases:,} disputed or flagged, to be settled under Adjudicate"
    if again:
        what += f"; {again:,} to be looked at again under Adjudicate"
    named = {answer.label for answer in answers if answer.label is not None}
    if foreign := sorted(named - set(corpus.task.labels)):
        what += f"; answers are labeled {foreign[0]!r}, which task.labels lacks"
    return [
        Step("sample", bool(chosen), f"{len(chosen):,} documents in {len(rounds)} round(s)"),
        Step("annotate", bool(chosen) and not (left or again or foreign), what),
    ]


def _fit(folder: Path) -> Step:
    best, saved = folder / "checkpoints" / "best.ckpt", folder / "checkpoints" / "best"
    if not best.exists():
        return Step("fit", False, "no checkpoint yet")
    # The folder for transformers is written at the end of a training.
    if not saved.is_dir() or saved.stat().st_mtime < best.stat().st_mtime:
        return Step("fit", False, "interrupted; go on with --ckpt_path last")
    return Step("fit", True, str(best))


def _test(folder: Path) -> Step:
    path, best = folder / "metrics.json", folder / "checkpoints" / "best.ckpt"
    if not path.exists():
        return Step("test", False, "no metrics yet")
    metrics = json.loads(path.read_text(encoding="utf-8"))
    if not best.exists() or metrics.get("checkpoint_sha256") != sha256(best):
        return Step("test", False, f"{path} is of another checkpoint")
    value = metrics["scores"][EDGE]["macro_f1"]["value"]
    return Step("test", True, f"macro F1 {100 * value:.1f} %: {path}")


def _export(folder: Path) -> Step:
    path = folder / "edge" / "bundle.json"
    if not path.exists():
        return Step("export", False, "no bundle yet")
    bundle = json.loads(path.read_text(encoding="utf-8"))
    best, trained = folder / "checkpoints" / "best.ckpt", bundle["provenance"]["training"]["checkpoint_sha256"]
    if not best.exists() or trained != sha256(best):
        return Step("export", False, f"{path.parent} is of another checkpoint")
    what = f"{bundle['precision']}, {bundle['parity']['agreement']:.1%} of labels equal: {path.parent}"
    return Step("export", True, what)
