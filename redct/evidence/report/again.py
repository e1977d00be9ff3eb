"""Computes again what follows from the evidence in an archive: by the same functions, from the files that are in it."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from redct.documents import Corpus, Document
from redct.errors import InputError
from redct.evidence.edge_labels import out_of_fold_labels
from redct.evidence.estimates.inquiry import EstimateOptions, Inquiry
from redct.evidence.plain import plain
from redct.evidence.predictions import FILE, Predictions, read_predictions
from redct.evidence.report.answered import experts
from redct.evidence.report.labeled import edge, labeled, margins, rescaled, targets
from redct.evidence.stand_ins import stand_ins
from redct.experts import Experts, Ledger
from redct.experts.agreement import report
from redct.hub.store import LabelTable
from redct.splits import Splits
from redct.task import Task
from redct.training.answers import Answers
from redct.training.asking import Asking
from redct.training.corpus import LabeledCorpus

DOCUMENTS: Final = "documents.parquet"
ANSWERS: Final = "answers.csv"
_SAME: Final = 1e-6  # other machines and versions differ in the last digits


def study_of(corpus: LabeledCorpus) -> dict[str, Any]:
    """Returns what `again` needs to know of a study beside its files, as JSON values."""
    asked = None if corpus.experts is None else asdict(corpus.experts)
    names = ("combine", "targets", "expert_eps", "seed")
    return {"stores": len(corpus.label_folders), "experts": asked, **{name: getattr(corpus, name) for name in names}}


def again(folder: Path, study: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Computes the numbers of a report from the files of its archive.

    What rests on texts, on further columns, on the log of the training or on weights is not among them.

    Args:
        folder: The unpacked archive.
        study: See `study_of`.
        content: Of its `report.json`: what it does not show is not computed.

    Returns:
        JSON values by their place in `report.json`, such as `metrics.scores`.
    """
    corpus = _Archived(folder, content["task"]["labels"], study)
    found: dict[str, Any] = {}
    for name, compute in _figures(corpus, content):
        with suppress(InputError, FileNotFoundError):  # what an archive lacks
            found[name] = json.loads(json.dumps(plain(compute())))
    return found


def differing(found: Mapping[str, Any], content: Mapping[str, Any]) -> list[str]:
    """Returns the places at which `report.json` says something else than what was computed."""
    return [name for name, value in found.items() if not _same(value, _at(content, name))]


def _figures(corpus: "_Archived", content: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield "llm", lambda: labeled(corpus.own_labels())
    yield "margins", lambda: margins(corpus.own_labels(), corpus.standing())
    yield "experts", lambda: experts(corpus, corpus.standing())
    yield "targets", lambda: targets(corpus)
    own = content["edge"]["in_sample"]
    yield "edge", lambda: edge(corpus, own and own["about"]["checkpoint_sha256"])
    if content["agreement"] is not None:
        yield "agreement", lambda: _agreement(corpus)
    if content["metrics"] is not None:
        with suppress(InputError):
            tested = read_predictions(corpus.folder / FILE)
            scores = {**tested.scores(), **_beside_experts(corpus, tested, content["metrics"])}
            yield from ((f"metrics.{name}", partial(scores.get, name)) for name in scores)
    if content["rescaled"] is not None:
        yield "rescaled", lambda: rescaled(corpus.folder, content["bundle"])
    if content["estimates"] is not None:
        yield "estimates.estimates", lambda: _estimates(corpus, content["estimates"]["asked"])


def _beside_experts(corpus: LabeledCorpus, tested: Predictions, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """How machines compare with experts, those whose labels `redct test` had."""
    ceilings, substitutions = stand_ins(corpus, tested)
    return {
        "ceilings": {name: ceilings[name] for name in metrics["ceilings"] if name in ceilings},
        "substitutions": {name: substitutions[name] for name in metrics["substitutions"] if name in substitutions},
    }


def _agreement(corpus: LabeledCorpus) -> Any:  # noqa: ANN401 - JSON
    with Ledger(corpus.asking.ledger, create=False) as ledger:
        return report(ledger.answers(), corpus.task.labels, corpus.said_by_llm(), corpus.seed)


def _estimates(corpus: LabeledCorpus, asked: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    options = EstimateOptions(**{each.name: asked[each.name] for each in fields(EstimateOptions) if each.name in asked})
    if options.by or options.formula or options.cluster:
        raise InputError("columns of the corpus are not in an archive")
    if options.labels == "llm":
        return Inquiry(corpus, options).rows()
    kept = out_of_fold_labels(corpus)
    if kept is None:
        raise InputError("the edge classifier's labels out of fold are not there")
    return Inquiry(corpus, options).rows(kept.probs)


@dataclass(frozen=True, slots=True)
class _Remembered(Document):
    """A document whose text may be missing, but not its digest."""

    known: str = ""

    def digest(self) -> str:
        return self.known


@dataclass(frozen=True, eq=False)
class _Rows(Corpus):
    """Documents that no file holds."""

    rows: list[Document] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Document]:
        return iter(self.rows)


class _Answered(Asking):
    """Experts who have answered: nobody is asked any more."""

    def __init__(self, given: Experts | None, task: Task, folder: Path, seed: int) -> None:
        super().__init__(None, task, folder / "experts.sqlite", seed)
        self.experts, self.file = given, folder / ANSWERS

    def answers(self, documents: Sequence[Document], table: LabelTable) -> Answers:
        return self.standing(documents, table) or Answers()

    def _answers_of_file(self, path: str, ids: Sequence[str]) -> Answers:
        found = super()._answers_of_file(str(self.file), ids)
        return replace(found, why=str(found.why).replace(str(self.file), path))


class _Archived(LabeledCorpus):
    """A study as its archive has it."""

    def __init__(self, folder: Path, labels: list[str], study: Mapping[str, Any]) -> None:
        given = None if study["experts"] is None else Experts(**study["experts"])
        options = {name: study[name] for name in ("combine", "targets", "expert_eps", "seed")}
        stores: list[str | Path] = [folder / f"labels-{n}" for n in range(study["stores"])]
        super().__init__(Task(labels), "", labels=stores, folder=folder, **options)  # type: ignore[arg-type]
        self.experts, self.asking = given, _Answered(given, self.task, folder, self.seed)
        parts: dict[str, list[Document]] = {"train": [], "test": [], "validation": [], "reserve": []}
        for row in pq.read_table(folder / DOCUMENTS).to_pylist():
            parts[row["part"]].append(_Remembered(row["id"], row["text"] or "", {}, row["gold"], row["digest"]))
        train, test, validation, reserve = (_Rows(rows=rows) for rows in parts.values())
        self._splits = Splits(train, test, validation, reserve)

    def standing(self) -> Answers | None:
        """Returns the experts' answers."""
        return self.asking.standing(self.splits().train.documents, self.own_labels())


def _at(content: Any, name: str) -> Any:  # noqa: ANN401 - JSON
    for key in name.split("."):
        content = content[key]
    return content


def _same(one: Any, other: Any) -> bool:  # noqa: ANN401 - JSON
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=_SAME, abs_tol=1e-9)
    return bool(one == other)
