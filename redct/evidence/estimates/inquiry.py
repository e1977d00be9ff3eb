"""Asks questions of a study: joins its corpus, its labels and the experts' answers for the estimators."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from redct.errors import InputError
from redct.evidence.estimates import planner
from redct.evidence.estimates.estimators import ppi
from redct.evidence.estimates.formulas import parse, regression
from redct.evidence.estimates.intervals import precision
from redct.evidence.estimates.questions import FEWEST_ANSWERS, FEWEST_OF_A_KIND, Question, by_group, overall
from redct.evidence.estimates.results import Row, known_probs, rows, samples
from redct.evidence.estimates.sample import Design, Sample, no_estimate
from redct.experts import RANDOMISED, Ledger, Pool, choose, needs, waves_of
from redct.training.answers import Answers
from redct.training.corpus import LabeledCorpus

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FEWEST_CLUSTERS: Final = 30


@dataclass(frozen=True)
class EstimateOptions:
    """What is to be estimated.

    Args:
        labels: Whose labels: the LLM's, or the edge classifier's. Since it learned from the experts' answers, it
            labels each document as trained on others, see `folds`.
        by: A column of the corpus: shares in each of its groups, and how they differ from the largest group's.
        formula: A regression of a label on columns, such as `favor ~ age + C(source)`, in patsy's language.
        regression: Coefficients are differences in probability (linear) or in log odds (logistic).
        cluster: A column of the corpus: documents with the same value, such as an author's, are not independent.
        about: What the intervals are about: the corpus at hand, or a wider population of which it is a sample. By
            default the corpus for shares, a wider population for regressions and clusters.
        half_width: Of the widest interval that `plan` allows.
        folds: Classifiers that are trained for the labels of the edge, each on the documents of the others.
    """

    labels: Literal["llm", "edge"] = "llm"
    by: str | None = None
    formula: str | None = None
    regression: Literal["linear", "logistic"] = "linear"
    cluster: str | None = None
    about: Literal["corpus", "wider"] | None = None
    half_width: float = 0.02
    folds: int = 2

    def __post_init__(self) -> None:
        """Checks the options against each other.

        Raises:
            InputError: When they do not fit.
        """
        if not 0 < self.half_width < 0.5:
            raise InputError(f"--half_width: found {self.half_width}, expected more than 0 and less than 0.5")
        if self.by is not None and self.formula is not None:
            raise InputError("--by and --formula: found both, expected one of them")
        if self.about == "corpus" and self.cluster is not None:
            raise InputError(
                "--about: found corpus beside --cluster, which tells how a wider population would vary; expected wider"
            )

    @property
    def wider(self) -> bool:
        """Whether the intervals are about a wider population."""
        return self.about == "wider" or (self.about is None and bool(self.formula or self.cluster))


class Inquiry:
    """A study that is asked something.

    Attributes:
        answers: Of the experts; None where there are fewer than 10, which only `plans` can do with.
        notes: What the user should know.

    Args:
        corpus: The study.
        options: What is asked.
        planning: Whether answers may be missing.

    Raises:
        InputError: When labels, answers or columns are missing, or the answers allow no valid estimate.
    """

    def __init__(self, corpus: LabeledCorpus, options: EstimateOptions, planning: bool = False) -> None:
        self.corpus, self.options = corpus, options
        self.documents, self.table = corpus.splits().train.documents, corpus.own_labels()
        self.answers = self._answers(planning)
        self._design = None if self.answers is None else self._drawn(self.answers)
        self._formula = None if options.formula is None else parse(options.formula, self.table.labels)
        self._question = self._asked()
        self._cluster = None if options.cluster is None else _numbered(self._column(options.cluster))
        self.notes = [*(self.answers.notes() if self.answers is not None else []), *self._question.notes]
        if self._cluster is not None and (count := int(self._cluster.max()) + 1) < FEWEST_CLUSTERS:
            few = f"found {count} clusters; with fewer than {FEWEST_CLUSTERS} intervals are too narrow"
            self.notes.append(f"--cluster {options.cluster}: {few}")

    def __len__(self) -> int:
        return len(self.documents)

    def _answers(self, planning: bool) -> Answers | None:
        asking = self.corpus.asking
        by_people = asking.experts is not None and asking.experts.answers == "ledger"
        if not (planning and by_people):
            answers = asking.answers(self.documents, self.table)
        elif asking.ledger.exists():
            answers = asking.so_far(self.documents)
        else:
            return None
        return answers if not planning or len(answers.shares) >= FEWEST_ANSWERS else None

    def _drawn(self, answers: Answers) -> Design:
        if answers.why is not None:
            raise no_estimate(answers.why)
        answered = np.zeros(len(self), dtype=np.bool_)
        answered[list(answers.shares)] = True
        with Ledger(self.corpus.asking.ledger, create=False) as ledger:
            return Design(waves_of(ledger, answers.rounds, self.table.ids), answered)

    def rows(self, probs: Floats | None = None) -> list[Row]:
        """Answers what is asked, for every label or the one of the formula.

        Args:
            probs: (N, K) the edge classifier's label distributions; by default those of the LLM count.
        """
        assert self._design is not None
        found: list[Row] = []
        for label, sample in self._samples(self._design, probs).items():
            if self._formula is None or self._formula.label == label:
                self._note_rarity(label, sample)
                found += rows(label, sample, self._question, self.options.wider, self._cluster)
        if self._formula is not None:
            self.notes += [note for row in found if (note := _on_few(row)) is not None]
        return found

    def _note_rarity(self, label: str, sample: Sample) -> None:
        """Unlike those of shares, intervals of coefficients were seen to fail: 91 % held with 9 answers of a kind."""
        yes = float(sample.known.sum())
        rarer = min(yes, len(sample.design.at) - yes)
        if self._formula is not None and rarer < FEWEST_OF_A_KIND:
            kind = f"{rarer:.0f} answers that {'are' if rarer == yes else 'are not'} {label!r}"
            few = f"with fewer than {FEWEST_OF_A_KIND} intervals of coefficients are too narrow"
            self.notes.append(f"--formula: found {kind}; {few}")

    def plans(self) -> dict[str, planner.Plan]:
        """Returns, for each label, the answers that its share needs, or the least certain share of a group."""
        half_width, wider = self.options.half_width, self.options.wider
        plans = {}
        if self._design is None:
            inclusion, probs = self._inclusion(), known_probs(self.table.probs)
            for label, machine in zip(self.table.labels, probs.T, strict=True):
                plans[label] = planner.before(machine, self._question.columns, half_width, inclusion, wider)
            return plans
        n = len(self._design.at)
        for label, sample in self._samples(self._design).items():
            now = ppi(sample, self._question)
            found = precision(now, sample, wider)
            plans[label] = planner.after(now.value, half_width, found, n, len(self))
        return plans

    def _samples(self, design: Design, probs: Floats | None = None) -> dict[str, Sample]:
        assert self.answers is not None
        votes = np.zeros(self.table.probs.shape)
        for position, shares in self.answers.shares.items():
            votes[position] = shares
        each = samples(design, votes, np.asarray(self.table.probs if probs is None else probs, dtype=np.float64))
        return dict(zip(self.table.labels, each, strict=True))

    def _asked(self) -> Question:
        options = self.options
        if self._formula is not None:
            columns = self.corpus.splits().train.columns(self._formula.columns)
            return regression(self._formula, columns, options.regression)
        if options.by is not None:
            answered = np.ones(len(self), dtype=np.bool_) if self._design is None else self._design.answered
            return by_group(self._column(options.by), options.by, answered)
        return overall(len(self))

    def _column(self, name: str) -> list[str | None]:
        return self.corpus.splits().train.columns([name])[name]

    def _inclusion(self) -> planner.Inclusion:
        """Returns how `redct sample` would draw; uniformly where it needs more than labels, or would not draw."""
        experts, n = self.corpus.experts, len(self)
        table = self.table
        if experts is None or experts.strategy not in RANDOMISED or needs(experts.strategy, experts.mix):
            self.notes.append("planned for documents drawn uniformly (data.experts.strategy random)")
            return lambda answers: np.full(n, answers / n)
        self.notes.append(f"planned for documents drawn by {experts.strategy}")
        pool = Pool(table.label, table.probs, table.margin)

        def inclusion(answers: int) -> Floats:
            drawn = choose(experts.strategy, pool, answers, self.corpus.seed, experts.floor, experts.mix)
            return np.maximum(drawn.inclusion, 1e-9)  # few answers may leave a stratum without any

        return inclusion


def _numbered(values: Sequence[str | None]) -> Ints:
    """(N,) the number of each document's cluster; one without a value is a cluster of its own."""
    numbers: dict[object, int] = {}
    named = [value if value is not None and value.strip() else n for n, value in enumerate(values)]
    return np.array([numbers.setdefault(value, len(numbers)) for value in named], dtype=np.int64)


def _on_few(row: Row) -> str | None:
    """A note where a coefficient rests on few answers, as in a small group: 71 % held with 3, 87 % with 6."""
    worth = None if row.best.freedom is None else row.best.freedom + 1
    if worth is None or worth >= FEWEST_OF_A_KIND:
        return None
    few = f"with fewer than {FEWEST_OF_A_KIND} its interval is too narrow"
    return f"--formula: '{row.label}, {row.figure}' rests on about {worth:.0f} answers; {few}"
