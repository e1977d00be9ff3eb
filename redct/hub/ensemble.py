"""Several labelers of one task: their label distributions joined, and how often they agree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from redct.confidence import log_floored, margins
from redct.errors import InputError
from redct.hub.store import LabelStore, LabelTable

Combination = Literal["average", "votes", "last"]
Ints = npt.NDArray[np.int64]

# Probabilities are stored as float32: means that differ by less are equal.
_EQUAL = 1e-6


@dataclass(frozen=True)
class Agreement:
    """How often labelers say the same.

    Args:
        documents: Documents that they all labeled.
        share: Share of these on which all say the same, 0 to 1; nan without documents.
        kappa: Cohen's kappa of two labelers, -1 to 1; nan where chance alone explains everything.
    """

    documents: int
    share: float
    kappa: float


class Ensemble:
    """The labels of one or more stores.

    Args:
        folders: S label stores of the same task.
        labels: The task's labels.
        how: `average` takes the mean of the distributions; `votes` the shares of the labelers that say each label;
            `last` the last store of the list that has a label, for cascades.

    Raises:
        InputError: When there is no store, or one holds other labels.
    """

    def __init__(self, folders: Sequence[str | Path], labels: Sequence[str], how: Combination = "average") -> None:
        if not folders:
            raise InputError("data.labels: found an empty list, expected folders of labels")
        self.folders, self.how = [Path(folder) for folder in folders], how
        self.tables = [LabelStore(folder).read(labels) for folder in self.folders]
        self.table = combine(self.tables, how)

    def record(self, ids: Sequence[str]) -> dict[str, Any]:
        """Returns where the labels of documents come from and how often the stores agree, as JSON values.

        Args:
            ids: The documents to look at.
        """
        said = _said(self.tables, _rows(self.tables, ids))
        sizes = Counter((said >= 0).sum(axis=0).tolist())
        record: dict[str, Any] = {
            "folders": [str(folder) for folder in self.folders],
            "combine": self.how,
            "documents_by_number_of_stores": {str(size): sizes[size] for size in sorted(sizes)},
        }
        if len(self.tables) > 1:
            pairs = combinations(zip(record["folders"], said, strict=True), 2)
            named = [{"stores": [a, b], **_plain(agreement(one, other))} for (a, one), (b, other) in pairs]
            record |= {"agreement": named, "agreement_of_all": _plain(agreement_of_all(said))}
        return record


def notes(record: dict[str, Any]) -> list[str]:
    """Returns lines for the user about several stores, from `Ensemble.record`; none about a single one."""
    folders = record["folders"]
    if len(folders) == 1:
        return []
    sizes = record["documents_by_number_of_stores"]
    counts = ", ".join(f"{count:,} by {size}" for size, count in sizes.items())
    lines = [
        f"labels of {len(folders)} stores ({record['combine']}); documents by the number that labeled them: {counts}"
    ]
    lines += [f"{' and '.join(found['stores'])}: {_sentence(found)}" for found in record["agreement"]]
    if len(folders) > 2:
        lines.append(f"all {len(folders)} stores: {_sentence(record['agreement_of_all'])}")
    return lines


def combine(tables: Sequence[LabelTable], how: Combination = "average") -> LabelTable:
    """Joins label tables; a document has the labels of those tables that label it, error rows left aside.

    The label is the most probable one; of equally probable ones, that of the first table that says one of them.

    Args:
        tables: S >= 1 tables with the same labels; a single one is returned as it is.
        how: See `Ensemble`.

    Returns:
        A row for each id of any table, in the order in which they first appear; an error row where no table has a
        label. Log-probabilities are those of the joint distribution, none below log 1e-6 (`last`: the table's own).
    """
    if len(tables) == 1:
        return tables[0]
    ids = list(dict.fromkeys(document_id for table in tables for document_id in table.ids))
    joint = _error_rows(tables[0].labels, ids)
    rows = _rows(tables, ids)
    said = _said(tables, rows)
    if how == "last":
        _take_last(joint, tables, rows, said)
    else:
        _take_mean(joint, tables, rows, said, how)
    return joint


def agreement(one: npt.ArrayLike, other: npt.ArrayLike) -> Agreement:
    """How often two labelers say the same, with Cohen's kappa (Cohen 1960).

    Args:
        one: (N,) labels, -1 where there is none; only documents with two labels count.
        other: (N,) likewise.
    """
    both = (np.asarray(one) >= 0) & (np.asarray(other) >= 0)
    first, second = np.asarray(one)[both], np.asarray(other)[both]
    n = int(both.sum())
    if n == 0:
        return Agreement(0, float("nan"), float("nan"))
    share = float((first == second).mean())
    k = int(max(first.max(), second.max())) + 1
    chance = float(np.bincount(first, minlength=k) @ np.bincount(second, minlength=k)) / n**2
    return Agreement(n, share, (share - chance) / (1 - chance) if chance < 1 else float("nan"))


def agreement_of_all(said: npt.ArrayLike) -> Agreement:
    """How often all of several labelers say the same.

    Args:
        said: (S, N) labels, -1 where there is none; only documents with S labels count for the share.

    Returns:
        Its kappa is Light's: the mean of Cohen's over all pairs that have one (Light 1971).
    """
    labels = np.asarray(said)
    full = labels[:, (labels >= 0).all(axis=0)]
    kappas = [agreement(*labels[list(pair)]).kappa for pair in combinations(range(len(labels)), 2)]
    known = [kappa for kappa in kappas if not np.isnan(kappa)]
    n = full.shape[1]
    share = float((full == full[0]).all(axis=0).mean()) if n else float("nan")
    return Agreement(n, share, float(np.mean(known)) if known else float("nan"))


def _rows(tables: Sequence[LabelTable], ids: Sequence[str]) -> Ints:
    """(S, N) row of each document in each table, -1 where it has none."""
    places = [{document_id: row for row, document_id in enumerate(table.ids)} for table in tables]
    return np.array([[place.get(i, -1) for i in ids] for place in places], dtype=np.int64).reshape(len(tables), -1)


def _said(tables: Sequence[LabelTable], rows: Ints) -> Ints:
    """(S, N) label that each table gives each document, -1 where it gives none."""
    return np.stack([np.append(table.label, -1)[row] for table, row in zip(tables, rows, strict=True)])


def _error_rows(labels: list[str], ids: list[str]) -> LabelTable:
    n, shape = len(ids), (len(ids), len(labels))
    nothing = [np.full(size, np.nan, np.float32) for size in (shape, shape, n)]
    return LabelTable(labels, ids, np.full(n, -1, np.int64), *nothing)


def _take_last(joint: LabelTable, tables: Sequence[LabelTable], rows: Ints, said: Ints) -> None:
    for table, row, says in zip(tables, rows, said, strict=True):
        has = says >= 0
        for name in ("label", "probs", "logprobs", "margin"):
            getattr(joint, name)[has] = getattr(table, name)[row[has]]


def _take_mean(joint: LabelTable, tables: Sequence[LabelTable], rows: Ints, said: Ints, how: Combination) -> None:
    total = np.zeros(joint.probs.shape)
    for table, row, says in zip(tables, rows, said, strict=True):
        has = says >= 0
        total[has] += np.eye(len(joint.labels))[says[has]] if how == "votes" else table.probs[row[has]]
    known = (said >= 0).any(axis=0)
    probs = total[known] / total[known].sum(axis=1, keepdims=True)
    logprobs = log_floored(probs)
    joint.label[known] = _most_probable(probs, said[:, known])
    joint.probs[known], joint.logprobs[known], joint.margin[known] = probs, logprobs, margins(logprobs)


def _most_probable(probs: npt.NDArray[np.float64], said: Ints) -> Ints:
    best = probs >= probs.max(axis=1, keepdims=True) - _EQUAL
    label: Ints = probs.argmax(axis=1)
    for one in said[::-1]:
        preferred = (one >= 0) & best[np.arange(len(best)), one]
        label[preferred] = one[preferred]
    return label


def _plain(found: Agreement) -> dict[str, int | float | None]:
    share, kappa = (None if np.isnan(value) else value for value in (found.share, found.kappa))
    return {"documents": found.documents, "share": share, "kappa": kappa}


def _sentence(found: dict[str, Any]) -> str:
    if not found["documents"]:
        return "no document in common"
    kappa = "undefined" if found["kappa"] is None else f"{found['kappa']:.2f}"
    return f"agree on {found['share']:.1%} of {found['documents']:,} documents, kappa {kappa}"
