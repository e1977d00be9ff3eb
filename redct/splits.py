"""The corpora of a study: train, validation, test and reserve."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from redct.assets import resolve_documents
from redct.digests import Mask
from redct.documents import Corpus, Documents, read_documents
from redct.errors import InputError
from redct.task import Task

Files = str | Sequence[str]


@dataclass(frozen=True)
class Splits:
    """The documents of a study and what was noticed when they were read.

    Attributes:
        train: The corpus to label and to train on.
        test: Held-out documents; empty where the study has none.
        validation: Documents of a validation file; empty where validation is a share of train.
        reserve: Documents of reserved files; empty where the study has none.
        notes: One line for each thing that the user should know.
    """

    train: Corpus
    test: Corpus = field(default_factory=Corpus)
    validation: Corpus = field(default_factory=Corpus)
    reserve: Corpus = field(default_factory=Corpus)
    notes: list[str] = field(default_factory=list)


def read_splits(
    task: Task,
    train: Files,
    test: float | Files | None = None,
    validation: Files | None = None,
    drop: Collection[str] = (),
    seed: int = 0,
    reserve: Files | None = None,
) -> Splits:
    """Reads the corpora of a study.

    Args:
        task: The task.
        train: Files of the corpus.
        test: Held-out files, or the share (0 to 1) of train to hold out.
        validation: Files to validate on.
        drop: What to leave out: `empty` texts, `duplicates` within train, and train texts in `overlap` with test.
        seed: Draws the share.
        reserve: Files to reserve; what stands in another corpus too is left out of them.

    Raises:
        InputError: When a file or a row is not as it must be.
    """
    notes: list[str] = []

    def read(source: Files) -> Corpus:
        names = [source] if isinstance(source, str) else list(source)
        corpus = read_documents([resolve_documents(name) for name in names], task, drop=drop)
        notes.extend(corpus.notes())
        return corpus

    documents = read(train)
    held_out = Corpus()
    if isinstance(test, float | int):
        if not 0 < test < 1:
            raise InputError(f"data.test: found {test}, expected files or a share between 0 and 1")
        documents, held_out = split_corpus(documents, test, seed)
    elif test is not None:
        held_out = read(test)
    validating = read(validation) if validation is not None else Corpus()
    for name, part in (("train", documents), ("test", held_out), ("validation", validating)):
        if part:
            notes.append(f"data.{name}: {len(part):,} documents")
    for name, others in (("test", held_out), ("validation", validating)):
        check_ids_disjoint(documents, others)
        shared = overlap(documents, others)
        if not shared.any():
            continue
        texts = np.count_nonzero(shared & ~documents.texts.repeated(among=shared))
        found = f"in {name} too: {texts} of the training texts ({np.count_nonzero(shared)} documents)"
        if "overlap" in drop:
            documents = documents.select(~shared)
            notes.append(f"{found}; left out of training")
        else:
            notes.append(f"{found}; leave them out with data.drop: [overlap]")
    reserved = Corpus()
    if reserve is not None:
        reserved = _unseen(read(reserve), (documents, held_out, validating), notes)
        notes.append(f"data.reserve: {len(reserved):,} documents")
    return Splits(documents, held_out, validating, reserved, notes)


def _unseen(reserve: Corpus, others: Sequence[Corpus], notes: list[str]) -> Corpus:
    """Returns the documents of a reserve whose texts stand in no other corpus."""
    unseen = reserve
    for other in others:
        check_ids_disjoint(reserve, other)
        unseen = unseen.select(~overlap(reserve, other))
    if not unseen:
        raise InputError(f"data.reserve: all {len(reserve):,} documents stand in train, test or validation too")
    if len(unseen) < len(reserve):
        count = len(reserve) - len(unseen)
        notes.append(f"data.reserve: {count:,} documents left out: they stand in train, test or validation too")
    return unseen


def overlap(train: Corpus, test: Corpus) -> Mask:
    """Returns, for each row of train's files, whether it is a document whose text and context stand in test too.

    What is the same says `same_text`.
    """
    return train.keep & train.texts.found_in(test.texts, among=test.keep)


def check_ids_disjoint(train: Corpus, test: Corpus) -> None:
    """Checks that no id stands for two documents.

    Raises:
        InputError: When an id stands in both.
    """
    shared = train.keep & train.ids.found_in(test.ids, among=test.keep)
    if shared.any():
        first = min(document.id for document in train.select(shared))
        raise InputError(
            f"id {first!r} stands in two files of the study ({np.count_nonzero(shared):,} ids in all), expected "
            "different ids; name a column of unique ids (task.columns.id), or rename a file"
        )


def split_corpus(corpus: Corpus, share: float, seed: int) -> tuple[Corpus, Corpus]:
    """Splits a corpus at random, see `draw_share`, into the rest and the share; both in the order of the files.

    Raises:
        InputError: When a part would be empty.
    """
    drawn = np.zeros(len(corpus.keep), dtype=bool)
    drawn[corpus.keep] = draw_share(corpus, share, seed)
    return corpus.select(~drawn), corpus.select(drawn)


def draw_share(documents: Documents, share: float, seed: int) -> Mask:
    """Draws documents at random, stratified by gold label where every document has one.

    Args:
        documents: N documents.
        share: How many, as a share of N.
        seed: Draws them.

    Returns:
        (N,) whether a document is drawn: exactly round(share * N) are.

    Raises:
        InputError: When none would be drawn, or all.
    """
    total = round(share * len(documents)) if 0 < share < 1 else 0
    if not 0 < total < len(documents):
        raise InputError(f"a share of {share} of {len(documents):,} documents leaves a part empty")
    rng = np.random.default_rng(seed)
    strata = _strata(documents)
    drawn = np.zeros(len(documents), dtype=bool)
    for stratum, size in enumerate(_apportion(np.bincount(strata), share, total, rng)):
        drawn[rng.permutation(np.flatnonzero(strata == stratum))[:size]] = True
    return drawn


def _strata(documents: Documents) -> npt.NDArray[np.int16]:
    """Returns (N,) the position of each gold label among those that occur, sorted; all 0 where one is missing."""
    numbers: dict[str | None, int] = {}
    strata = np.fromiter((numbers.setdefault(d.gold, len(numbers)) for d in documents), np.int16, len(documents))
    if None in numbers:
        return np.zeros_like(strata)
    places = {label: place for place, label in enumerate(sorted(map(str, numbers)))}
    return np.array([places[str(label)] for label in numbers], dtype=np.int16)[strata]


def _apportion(
    counts: npt.NDArray[np.int64], share: float, total: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Shares `total` out by largest remainder; equal ones in random order, so that no name is favoured."""
    quotas = share * counts
    sizes: npt.NDArray[np.int64] = np.floor(quotas).astype(np.int64)
    order = np.lexsort((rng.permutation(len(counts)), -(quotas - sizes)))
    sizes[order[: total - int(sizes.sum())]] += 1
    return sizes
