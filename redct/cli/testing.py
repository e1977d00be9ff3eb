"""`redct test`: gathers who labeled the held-out documents, and has them examined."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from redct.cli.findings import show_assessment, show_experts
from redct.documents import Document
from redct.errors import InputError
from redct.evidence import Design, majority
from redct.evidence.assessment import Assessment, Rater, assess
from redct.evidence.baselines import tfidf_probs
from redct.evidence.comparison import Comparison
from redct.evidence.doubts import Doubt, doubted_answers
from redct.evidence.plain import plain
from redct.evidence.predictions import FILE, Predictions
from redct.evidence.raters import EDGE, LLM, MAJORITY, TFIDF
from redct.evidence.stand_ins import stand_ins
from redct.evidence.substitution import Ceiling, Substitution
from redct.files import sha256, write_json
from redct.training.corpus import LabeledCorpus
from redct.training.parts import Part

DESIGN: Final = ("inclusion", "cluster", "strata")
SMALL_CORPUS: Final = 10_000
"""Documents that take a minute or two on a CPU: so many are labeled unasked."""


class Asked(NamedTuple):
    """What the flags ask for.

    Attributes:
        by: Columns whose values are scored each by itself, with a value for each document.
        design: How the documents were sampled.
        columns: The columns that say so.
    """

    by: dict[str, list[str]]
    design: Design
    columns: dict[str, str]


class Examined(NamedTuple):
    """What was found.

    Attributes:
        assessment: On the held-out documents.
        ceilings: By machine, how often experts agree, and it with them, on documents that several of them labeled.
        substitutions: Whether LLM and edge classifier may stand in for an expert.
        doubted_answers: People's answers that the LLM makes look wrong, the most doubtful first.
        columns: The columns that say how the documents were sampled.
        predictions: Who said what about the held-out documents.
    """

    assessment: Assessment
    ceilings: dict[str, Ceiling]
    substitutions: dict[str, Substitution]
    doubted_answers: list[Doubt]
    columns: dict[str, str]
    predictions: Predictions


def add_flags(parser: Any) -> None:  # noqa: ANN401 - jsonargparse's parser
    """Adds the flags to the parser of `test`."""
    helps = {
        "inclusion": "column with the probability with which a test document was sampled, where these are unequal",
        "cluster": "column that names what test documents were sampled together, such as their author",
        "strata": "column that names the parts of the corpus in which fixed numbers of test documents were sampled",
    }
    parser.add_argument("--by", type=str, nargs="+", default=[], help="columns whose values are scored each by itself")
    for name, text in helps.items():
        parser.add_argument(f"--{name}", type=str | None, help=text)
    corpus = f"label the corpus too, for the evidence archive; by default one of {SMALL_CORPUS:,} documents or fewer"
    parser.add_argument("--corpus", type=bool | None, help=corpus)


def labels_corpus(config: Any, corpus: LabeledCorpus) -> bool:  # noqa: ANN401 - jsonargparse's namespace
    """Tells whether the corpus is to be labeled too."""
    asked: bool | None = config["corpus"]
    return len(corpus.splits().train) <= SMALL_CORPUS if asked is None else asked


def read_flags(config: Any, corpus: LabeledCorpus) -> Asked:  # noqa: ANN401 - jsonargparse's namespace
    """Reads the columns that the flags name.

    Raises:
        InputError: When a file lacks one, or an inclusion probability is none.
    """
    names = {what: config[what] for what in DESIGN if config[what] is not None}
    corpus.test_part()  # first: without held-out documents there are no columns
    columns = corpus.test_columns(list(dict.fromkeys([*config["by"], *names.values()])))
    values = {what: columns[name] for what, name in names.items()}
    weight = 1 / _inclusions(values["inclusion"], names["inclusion"]) if "inclusion" in names else None
    cluster, strata = (np.array(values[what]) if what in names else None for what in ("cluster", "strata"))
    return Asked({name: columns[name] for name in config["by"]}, Design(weight, cluster, strata), names)


def _inclusions(values: Sequence[str], column: str) -> npt.NDArray[np.float64]:
    found = np.zeros(len(values))
    for n, value in enumerate(values):
        try:
            found[n] = float(value)
        except ValueError:
            found[n] = np.nan
        if not 0 < found[n] <= 1:
            raise InputError(f"--inclusion {column}: found {value!r}, expected probabilities above 0, at most 1")
    return found


def examine(
    corpus: LabeledCorpus,
    documents: Sequence[Document],
    probs: npt.NDArray[np.float64],
    asked: Asked,
    others: Mapping[str, npt.NDArray[np.float64]] | None = None,
    encoder: str | None = None,
) -> Examined:
    """Examines the edge classifier beside everybody else who labeled the held-out documents.

    Args:
        corpus: The study's documents.
        documents: The N held-out ones with gold labels.
        probs: (N, K) the edge classifier's label distributions.
        asked: What the flags ask for.
        others: (N, K) label distributions of classifiers that were trained in another way, by name.
        encoder: The edge classifier's, see `stand_ins`.
    """
    task, train = corpus.task, _trained_on(corpus)
    gold = corpus.test_part().label
    raters = {EDGE: Rater(probs.argmax(axis=1), probs), **_llms(corpus, documents)}
    raters |= {name: Rater(each.argmax(axis=1), each) for name, each in (others or {}).items()}
    if train is not None:
        baseline = tfidf_probs(train, documents, corpus.seed)
        raters[TFIDF] = Rater(baseline.argmax(axis=1), baseline)
    raters[MAJORITY] = Rater(majority(gold, len(task.labels)))
    known = None if train is None else train.documents
    found = assess(documents, gold, raters, task.labels, known, asked.by, asked.design, corpus.seed)
    ids = [document.id for document in documents]
    predictions = Predictions(list(task.labels), ids, gold, raters, asked.design, corpus.seed)
    ceilings, substitutions = stand_ins(corpus, predictions, encoder)
    if ceilings and EDGE not in ceilings:
        how = "redct estimate --labels edge, after a randomised choice of the experts' documents"
        corpus.notes.append(f"the {EDGE} beside experts needs its labels out of fold: {how}")
    return Examined(found, ceilings, substitutions, _doubted(corpus), asked.columns, predictions)


def _doubted(corpus: LabeledCorpus) -> list[Doubt]:
    """People's doubted answers; none where they are of another codebook, or the LLM was not asked."""
    try:
        return doubted_answers(corpus)
    except InputError:  # other commands say so
        return []


def report(found: Examined, checkpoint: Path, path: Path) -> None:
    """Prints what was found, writes it to a file with the checkpoint's hash, and who said what beside it."""
    show_assessment(found.assessment)
    show_experts(found.ceilings, found.substitutions, found.doubted_answers)
    write_json(path, {"checkpoint_sha256": sha256(checkpoint), **contents(found)})
    found.predictions.write(path.with_name(FILE))
    print(f"metrics: {path}")


def contents(found: Examined) -> dict[str, Any]:
    """Returns what was found as JSON values."""
    assessment, comparison = found.assessment, found.assessment.comparison
    labels = assessment.labels
    written = {
        "documents": comparison.documents,
        "labels": labels,
        "gold": dict(zip(labels, assessment.gold, strict=True)),
        "sampling": found.columns,
        "scores": comparison.scores,
        # Rows are gold labels, columns what was said; the last column is "no label".
        "confusion": assessment.confusion,
        "classes": _by_label(comparison, labels),
        "differences": comparison.differences,
        "probabilities": assessment.probabilities,
        "groups": {
            column: {v: _group(each, labels) for v, each in by.items()} for column, by in assessment.groups.items()
        },
        "slices": assessment.slices,
        "mistakes": assessment.mistakes,
        "confused": assessment.confused,
        "doubts": assessment.doubts,
        "leakage": assessment.leakage,
        "unleaked": assessment.unleaked,
        "llm_alpha": assessment.llm_alpha,
        "ceilings": found.ceilings,
        "substitutions": found.substitutions,
        "doubted_answers": found.doubted_answers,
    }
    return {name: plain(value) for name, value in written.items()}


def _by_label(comparison: Comparison, labels: Sequence[str]) -> dict[str, Any]:
    return {name: dict(zip(labels, classes, strict=True)) for name, classes in comparison.classes.items()}


def _group(comparison: Comparison, labels: Sequence[str]) -> dict[str, Any]:
    return {
        "documents": comparison.documents,
        "scores": comparison.scores,
        "classes": _by_label(comparison, labels),
        "differences": comparison.differences,
    }


def _trained_on(corpus: LabeledCorpus) -> Part | None:
    """The part that the last `fit` trained on; None, with a note, where it cannot be told."""
    try:
        return corpus.written_parts()["train"]
    except InputError as error:
        corpus.notes.append(f"without {TFIDF} and a search for leaks: {error}")
        return None


def _llms(corpus: LabeledCorpus, documents: Sequence[Document]) -> dict[str, Rater]:
    """The LLM's labels or, of several stores, the joint ones and those of each."""
    joint, single = corpus.labels_of(documents), corpus.labels_by_store(documents)
    if joint is None:
        corpus.notes.append("the LLM's row needs its labels on the test documents: redct predict --data.predict test")
        return {}
    found = {LLM: Rater(joint.label, joint.probs)}
    return found | {f"{LLM} {name}": Rater(table.label, table.probs, is_llm=True) for name, table in single.items()}
