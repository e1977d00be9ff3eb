"""How far annotators agree, with each other and with the LLM, and which labels they confuse."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.experts.coefficients import Floats, alphas, cohen_kappas, fleiss_kappas, observed_agreement
from redct.experts.records import Answer
from redct.experts.verdicts import votes_of_people

RESAMPLES: Final = 1000
RELIABLE: Final = 0.8
TENTATIVE: Final = 0.667
FEW: Final = 30  # documents with two votes, below which no interval of these figures says much
LLM: Final = "the LLM"
EXAMPLES: Final = 3

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A figure with its bootstrap interval.

    Args:
        value: The figure itself.
        low: Lower end of the 95 % percentile interval over documents.
        high: Upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement on one label against the rest.

    Args:
        label: The label.
        votes: How often it was given, over documents with two or more votes.
        alpha: Krippendorff's alpha; None where nobody, or everybody, always gave it.
        fleiss: Fleiss' kappa; None as for alpha.
    """

    label: str
    votes: int
    alpha: Estimate | None
    fleiss: Estimate | None


@dataclass(frozen=True)
class Pair:
    """Agreement of two annotators, or of one and the LLM, over the documents that both labeled.

    Args:
        first: An annotator.
        second: Another one, or the LLM.
        documents: How many both labeled; at least one.
        same: Share of them with the same label.
        kappa: Cohen's kappa; None where both gave one and the same label throughout.
        labels: Cohen's kappa of each label against the rest.
    """

    first: str
    second: str
    documents: int
    same: Estimate
    kappa: Estimate | None
    labels: dict[str, Estimate | None]


@dataclass(frozen=True)
class Confusion:
    """Two labels that were given to the same documents.

    Args:
        first: A label.
        second: Another one.
        documents: How many documents got both.
        examples: Ids of up to three of them.
    """

    first: str
    second: str
    documents: int
    examples: list[str]


@dataclass(frozen=True)
class Agreement:
    """How far annotators agree; plain values only, so `dataclasses.asdict` gives JSON.

    Args:
        annotators: How many documents each labeled.
        documents: Documents with a label.
        overlap: Documents with labels of two or more annotators; all figures but the LLM's rest on these.
        alpha: Krippendorff's alpha for nominal data; None without overlap, or where only one label was given.
        fleiss: Fleiss' kappa; None as for alpha.
        labels: Each label against the rest.
        pairs: Every two annotators who labeled a document in common.
        llm: Each annotator against the LLM.
        confusions: Pairs of labels that were confused, the most frequent first.
        foreign: Votes for labels that the task does not have; they are left out.
    """

    annotators: dict[str, int]
    documents: int
    overlap: int
    alpha: Estimate | None
    fleiss: Estimate | None
    labels: list[LabelAgreement]
    pairs: list[Pair]
    llm: list[Pair]
    confusions: list[Confusion]
    foreign: int


def report(
    answers: Sequence[Answer], labels: Sequence[str], llm: Mapping[str, str] | None = None, seed: int = 1
) -> Agreement:
    """Compares the votes of people, see `votes_of_people`.

    Args:
        answers: The ledger's, in the order of recording.
        labels: The task's.
        llm: The LLM's label of each document.
        seed: Of the bootstrap.
    """
    known = set(labels)
    given = votes_of_people(answers)
    votes = {d: {who: label for who, label in each.items() if label in known} for d, each in given.items()}
    votes = {document: each for document, each in votes.items() if each}
    counts = _counts(votes, labels)
    rng = np.random.default_rng(seed)
    annotators = Counter(who for each in votes.values() for who in each)
    names = sorted(annotators)
    by_llm = {d: label for d, label in (llm or {}).items() if label in known}
    said = {name: {d: each[name] for d, each in votes.items() if name in each} for name in names}
    alpha, fleiss = _group(counts, rng)
    return Agreement(
        annotators={name: annotators[name] for name in names},
        documents=len(votes),
        overlap=len(counts),
        alpha=alpha,
        fleiss=fleiss,
        labels=[_label(label, counts, position, rng) for position, label in enumerate(labels)],
        pairs=_pairs([(a, b, said[a], said[b]) for a, b in combinations(names, 2)], labels, rng),
        llm=_pairs([(name, LLM, said[name], by_llm) for name in names], labels, rng),
        confusions=_confusions(votes, labels),
        foreign=sum(map(len, given.values())) - sum(map(len, votes.values())),
    )


def notes(agreement: Agreement, texts: Mapping[str, str] | None = None) -> list[str]:
    """Returns the lines for the user: what the figures mean, what to do about them.

    Args:
        agreement: The figures.
        texts: Texts of documents, to show examples by; by default their ids are shown alone.
    """
    lines = [_overall(agreement), *_worst(agreement)]
    if agreement.foreign:
        lines.append(f"votes left out, since the task does not have their labels: {agreement.foreign:,}")
    lines += [_confusion_line(each, texts or {}) for each in agreement.confusions[:EXAMPLES]]
    if agreement.confusions:
        lines.append("a codebook to mend: say in it what tells these labels apart, with the examples")
    if agreement.llm:
        lines += [_llm_line(pair) for pair in agreement.llm]
        lines.append(
            "where documents were chosen because the LLM was unsure of them, it agrees less with people on these "
            "than it does over the corpus"
        )
    return lines


def _overall(agreement: Agreement) -> str:
    if not agreement.annotators:
        return "no labels of annotators yet, so no agreement to measure"
    if len(agreement.annotators) == 1:
        (name,) = agreement.annotators
        return f"only {name} has labeled documents: agreement takes a second annotator on some of the same documents"
    if not agreement.overlap:
        return "no document was labeled by two annotators: agreement takes some that are"
    if agreement.alpha is None:
        (label,) = [each.label for each in agreement.labels if each.votes]
        return f"all votes are {label!r}: agreement cannot be told from chance until another label is given too"
    alpha, few = agreement.alpha, agreement.overlap < FEW
    figure = f"Krippendorff's alpha {_shown(alpha)} over {agreement.overlap:,} documents: {_meaning(alpha)}"
    return figure + (f"; with fewer than {FEW} documents this says little yet" if few else "")


def _meaning(alpha: Estimate) -> str:
    """The thresholds of Krippendorff (2004), Content Analysis, 2nd edition, p. 241."""
    if alpha.value < TENTATIVE:
        return f"too low to train on (below {TENTATIVE}); mend the codebook before more is labeled"
    if alpha.low < TENTATIVE:
        return f"it may be below {TENTATIVE}, too low to train on; label more documents twice to tell"
    if alpha.value < RELIABLE:
        return f"for tentative conclusions only (below {RELIABLE})"
    if alpha.low < RELIABLE:
        return f"reliable ({RELIABLE} or more), though its interval reaches below"
    return f"reliable ({RELIABLE} or more)"


def _worst(agreement: Agreement) -> list[str]:
    known = [(each.alpha.value, each) for each in agreement.labels if each.alpha is not None]
    if len(known) < 3:  # of two labels, each is the other's rest
        return []
    value, worst = min(known, key=lambda pair: pair[0])
    if value >= RELIABLE or worst.alpha is None:
        return []
    return [f"agreed on least: {worst.label!r}, alpha {_shown(worst.alpha)} against the rest, {worst.votes:,} votes"]


def _confusion_line(confusion: Confusion, texts: Mapping[str, str]) -> str:
    shown = [f"{each} ({_excerpt(texts[each])})" if each in texts else each for each in confusion.examples]
    documents = "1 document" if confusion.documents == 1 else f"{confusion.documents:,} documents"
    return f"confused: {confusion.first!r} and {confusion.second!r} on {documents}, such as {', '.join(shown)}"


def _llm_line(pair: Pair) -> str:
    same = f"{pair.first} and {LLM}: the same label on {pair.same.value:.0%} of {pair.documents:,} documents"
    return same + (f", Cohen's kappa {_shown(pair.kappa)}" if pair.kappa else "; all of one label, so no kappa")


def _excerpt(text: str, longest: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _counts(votes: Mapping[str, Mapping[str, str]], labels: Sequence[str]) -> Counts:
    """Returns (N, K) votes per label, of the documents with two or more."""
    place = {label: position for position, label in enumerate(labels)}
    rows = [[place[label] for label in each.values()] for each in votes.values() if len(each) > 1]
    counts = np.zeros((len(rows), len(labels)), dtype=np.int64)
    for row, positions in zip(counts, rows, strict=True):
        np.add.at(row, positions, 1)
    return counts


def _label(label: str, counts: Counts, position: int, rng: np.random.Generator) -> LabelAgreement:
    own = counts[:, position]
    return LabelAgreement(label, int(own.sum()), *_group(np.stack([own, counts.sum(axis=1) - own], axis=1), rng))


def _group(counts: Counts, rng: np.random.Generator) -> tuple[Estimate | None, Estimate | None]:
    """Returns alpha and Fleiss' kappa of (N, K) votes per document and label."""
    if np.count_nonzero(counts.sum(axis=0)) < 2:
        return None, None
    import krippendorff  # noqa: PLC0415 - only where there is something to compare

    # Documents alike in their counts are one cell of a multinomial: a resample costs as much as there are kinds.
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    drawn = rng.multinomial(len(counts), times / len(counts), size=RESAMPLES)
    alpha = float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))
    fleiss = float(fleiss_kappas(kinds, times))
    return _estimate(alpha, alphas(kinds, drawn)), _estimate(fleiss, fleiss_kappas(kinds, drawn))


def _pairs(
    sides: Iterable[tuple[str, str, Mapping[str, str], Mapping[str, str]]],
    labels: Sequence[str],
    rng: np.random.Generator,
) -> list[Pair]:
    shared = ((a, b, [(ones[d], others[d]) for d in ones if d in others]) for a, b, ones, others in sides)
    return [_pair(a, b, said, labels, rng) for a, b, said in shared if said]


def _pair(
    first: str,
    second: str,
    said: Sequence[tuple[str, str]],
    labels: Sequence[str],
    rng: np.random.Generator,
) -> Pair:
    place = {label: position for position, label in enumerate(labels)}
    x, y = np.array([(place[one], place[other]) for one, other in said]).T
    size = len(labels)
    table = np.bincount(x * size + y, minlength=size * size).reshape(size, size)
    drawn = rng.multinomial(len(x), table.ravel() / len(x), size=RESAMPLES).reshape(-1, size, size)
    return Pair(
        first,
        second,
        len(x),
        _known_estimate(float(observed_agreement(table)), observed_agreement(drawn)),
        _cohen(x, y, drawn),
        {label: _cohen(x == k, y == k, _one_against_rest(drawn, k)) for k, label in enumerate(labels)},
    )


def _cohen(x: npt.NDArray[np.generic], y: npt.NDArray[np.generic], drawn: Floats | Counts) -> Estimate | None:
    if len(np.union1d(x, y)) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score  # noqa: PLC0415 - only where there is something to compare

    return _estimate(float(cohen_kappa_score(x, y)), cohen_kappas(drawn))


def _one_against_rest(tables: Counts, k: int) -> Counts:
    """Returns (..., 2, 2) tables of one label and all others."""
    hit, row, column = tables[..., k, k], tables[..., k, :].sum(axis=-1), tables[..., :, k].sum(axis=-1)
    rest = tables.sum(axis=(-2, -1)) - row - column + hit
    return np.stack([np.stack([hit, row - hit], axis=-1), np.stack([column - hit, rest], axis=-1)], axis=-2)


def _confusions(votes: Mapping[str, Mapping[str, str]], labels: Sequence[str]) -> list[Confusion]:
    found: dict[tuple[str, str], list[str]] = {}
    for document, each in votes.items():
        given = sorted(set(each.values()), key=labels.index)
        for pair in combinations(given, 2):
            found.setdefault(pair, []).append(document)
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return [Confusion(a, b, len(documents), documents[:EXAMPLES]) for (a, b), documents in ordered]


def _estimate(value: float, drawn: Floats) -> Estimate | None:
    return _known_estimate(value, drawn) if np.isfinite(value) else None


def _known_estimate(value: float, drawn: Floats) -> Estimate:
    """Percentile interval (Efron & Tibshirani 1993, chapter 13); resamples in which all votes are alike say nothing."""
    finite = drawn[np.isfinite(drawn)]
    low, high = np.quantile(finite, (0.025, 0.975)) if finite.size else (value, value)
    return Estimate(value, float(low), float(high))
