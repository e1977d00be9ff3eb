"""Gathers what a study has on disk, with every number that the report shows. Needs no torch."""

import csv
import json
import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeVar

from redct import __version__
from redct.documents import Corpus
from redct.errors import InputError
from redct.evidence.plain import plain
from redct.evidence.raters import EDGE
from redct.evidence.report.answered import experts, learning
from redct.evidence.report.labeled import edge, labeled, margins, rescaled, stores, targets
from redct.files import sha256
from redct.hub.store import LabelTable
from redct.training.answers import Answers
from redct.training.corpus import LabeledCorpus

T = TypeVar("T")
_PACKAGES: Final = ("numpy", "scipy", "scikit-learn", "torch", "lightning", "transformers", "onnxruntime")
_OF_BUNDLE: Final = ("sha256", "precision", "temperature", "max_length", "parity", "abstention")


class Missing(list[dict[str, str]]):
    """What the report lacks, each with the section, what it is, why, and the command that makes it.

    Args:
        study: Options that name the study to a command.
    """

    def __init__(self, study: str) -> None:
        super().__init__()
        self.study = study

    def note(self, section: str, what: str, command: str, why: str = "") -> None:
        """Notes something."""
        made_by = f"redct {command} {self.study}"
        self.append({"section": section, "what": what, "why": why, "command": made_by})

    def unless(self, section: str, what: str, command: str, make: Callable[[], T]) -> T | None:
        """Returns what is made, or notes why it cannot be."""
        try:
            return make()
        except InputError as error:
            self.note(section, what, command, str(error))
            return None


def gather(corpus: LabeledCorpus, study: str, configs: Sequence[Path]) -> dict[str, Any]:
    """Returns all numbers of a study, as JSON values.

    Args:
        corpus: The study.
        study: Options that name it to a command, such as `--config study.yaml`.
        configs: Its YAML files.

    Raises:
        InputError: When the study's own documents cannot be read.
    """
    missing, folder, splits = Missing(study), corpus.folder, corpus.splits()
    table = missing.unless("labels", "labels of the LLM", "predict", corpus.own_labels)
    answers = missing.unless("labels", "answers of experts", _asks(corpus), lambda: _answers(corpus, table))
    checkpoint = folder / "checkpoints" / "best.ckpt"
    digest = sha256(checkpoint) if checkpoint.exists() else None
    if digest is None:
        missing.note("study", "the edge classifier", "fit")
    metrics, bundle = _metrics(folder, digest, missing), _bundle(folder, digest, missing)
    content = {
        "redct": __version__,
        "study": folder.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": corpus.seed,
        "task": {**asdict(corpus.task), "sha256": corpus.task.hash()},
        "data": {
            part: _files(read)
            for part, read in (
                ("train", splits.train),
                ("test", splits.test),
                ("validation", splits.validation),
                ("reserve", splits.reserve),
            )
            if len(read)
        },
        "stores": [stores(each) for each in corpus.label_folders],
        "llm": None if table is None else labeled(table),
        "margins": None if table is None else margins(table, answers),
        "experts": experts(corpus, answers),
        "learning": _learning(corpus, table, answers, missing),
        "targets": missing.unless(
            "study", "what the edge classifier was trained towards", "fit", lambda: targets(corpus)
        ),
        "edge": _edge(corpus, digest, missing),
        "training": _training(folder, digest),
        "metrics": metrics,
        "bundle": bundle,
        "rescaled": None if metrics is None else rescaled(folder, bundle),
        **_files_of_commands(folder, missing),
        "configs": {path.name: path.read_text(encoding="utf-8") for path in configs if path.is_file()},
        "versions": _versions(),
        "missing": missing,
    }
    return {name: plain(value) for name, value in content.items()}


def _answers(corpus: LabeledCorpus, table: LabelTable | None) -> Answers | None:
    """The experts' answers as they stand; None where nobody is to be asked, or the LLM was not."""
    return None if table is None else corpus.asking.standing(corpus.splits().train.documents, table)


def _asks(corpus: LabeledCorpus) -> str:
    """The command that the experts' answers come from next."""
    if corpus.experts is not None and corpus.experts.answers == "gold":
        return "fit"
    return "annotate" if corpus.asking.ledger.exists() else "sample"


def _files(corpus: Corpus) -> dict[str, Any]:
    return {
        "documents": len(corpus),
        "files": [
            {"name": Path(file.path).name, "rows": file.rows, "sha256": _hash(Path(file.path))} for file in corpus.files
        ],
    }


def _hash(path: Path) -> str | None:
    return sha256(path) if path.is_file() else None  # a hub's data set is no file


def _learning(
    corpus: LabeledCorpus, table: LabelTable | None, answers: Answers | None, missing: Missing
) -> dict[str, Any] | None:
    if table is None or answers is None:
        return None
    found = learning(corpus, table, answers)
    if found is None:
        missing.note("labels", "the learning curve over the experts' budget, which takes 50 answers", "sample")
    return found


def _edge(corpus: LabeledCorpus, digest: str | None, missing: Missing) -> dict[str, Any]:
    found = edge(corpus, digest)
    if digest is not None and found["in_sample"] is None:
        missing.note("labels", "what the edge classifier says about every document of the corpus", "test --corpus true")
    return found


def _training(folder: Path, digest: str | None) -> dict[str, Any] | None:
    """The course of the last training, as its log has it."""
    logs = sorted(folder.glob("logs/version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    if not logs or digest is None:
        return None
    epochs: dict[int, dict[str, float]] = {}
    with logs[-1].open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row.get("epoch"):
                values = {name: row.get(name) for name in ("step", "train_loss", "val_loss", "val_macro_f1")}
                epochs.setdefault(int(row["epoch"]), {}).update({k: float(v) for k, v in values.items() if v})
    started, ended = logs[-1].with_name("hparams.yaml"), folder / "checkpoints" / "last.ckpt"
    seconds = None
    if 0 in epochs:  # a training that went on has logs of its last part only
        with suppress(OSError):
            seconds = ended.stat().st_mtime - started.stat().st_mtime
    # A copied folder has the times of the copy.
    return {"epochs": epochs, "seconds": seconds if seconds and seconds > 1 else None, "checkpoint_sha256": digest}


def _metrics(folder: Path, digest: str | None, missing: Missing) -> dict[str, Any] | None:
    metrics = _read(folder / "metrics.json")
    if metrics is None:
        missing.note("quality", "scores on held-out documents", "test")
    elif "substitutions" not in metrics or metrics.get("checkpoint_sha256") != digest:
        missing.note("quality", "scores of this classifier", "test", "metrics.json is of another checkpoint or version")
        return None
    elif metrics["ceilings"] and EDGE not in metrics["ceilings"]:
        why = "which takes its labels out of fold, after a randomised choice; then redct test"
        missing.note("labels", "how the edge classifier compares with experts", "estimate --labels edge", why)
    return metrics


def _bundle(folder: Path, digest: str | None, missing: Missing) -> dict[str, Any] | None:
    bundle = _read(folder / "edge" / "bundle.json")
    if bundle is None:
        missing.note("study", "the edge bundle", "export")
        return None
    if bundle["provenance"]["training"]["checkpoint_sha256"] != digest:
        missing.note("study", "the edge bundle", "export", "edge/ is of another checkpoint")
        return None
    size = sum(path.stat().st_size for path in (folder / "edge").rglob("*") if path.is_file())
    if bundle["abstention"] is None:
        missing.note("quality", "a threshold below which the edge does not answer", "export --max_error 0.1")
    training = bundle["provenance"]["training"]
    return {**{name: bundle[name] for name in _OF_BUNDLE}, "bytes": size, "training": training}


def _files_of_commands(folder: Path, missing: Missing) -> dict[str, Any]:
    """What commands wrote whose figures need no other look."""
    found = {name: _read(folder / f"{name}.json") for name in ("calibration", "agreement", "estimates")}
    if found["calibration"] is None:
        missing.note("quality", "how the LLM's probabilities were corrected", "fit")
    if found["agreement"] is None or not found["agreement"]["overlap"]:
        missing.note(
            "labels", "agreement of experts", "annotate", "it takes answers of two or more, and redct agreement"
        )
    if found["estimates"] is None:
        missing.note("estimates", "shares of labels with valid intervals", "estimate")
    return found


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None
    return content


def _versions() -> dict[str, str]:
    found = {"redct": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
