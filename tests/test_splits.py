"""Splits against plain lists of documents: the same documents for every seed, without holding them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redct.documents import Corpus, Document, read_documents, same_text
from redct.errors import InputError
from redct.splits import check_ids_disjoint, draw_share, overlap, read_splits
from redct.task import Columns, Task

TASK = Task(["b", "a", "c"], Columns(gold="label", id="id", context={"t": "t"}))


def write(path: Path, documents: list[Document]) -> str:
    rows = [{"id": d.id, "text": d.text, "t": d.context.get("t"), "label": d.gold} for d in documents]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def corpus(path: Path, documents: list[Document]) -> Corpus:
    return read_documents(write(path, documents), TASK)


def test_overlap_and_ids(tmp_path: Path) -> None:
    train = [Document(str(n), f"text {n}", {"t": "x"}, None) for n in range(5)]
    test = [Document("9", "Text 3", {"t": "x"}, None), Document("10", "text 4", {"t": "y"}, None)]
    left, right = corpus(tmp_path / "a.jsonl", train), corpus(tmp_path / "b.jsonl", test)
    assert [d.id for d in left.select(overlap(left, right))] == ["3"]
    check_ids_disjoint(left, right)
    with pytest.raises(InputError, match=r"id '0' stands in two files of the study \(5 ids in all\)"):
        check_ids_disjoint(left, left)


def corpus_of(labels: list[str | None]) -> list[Document]:
    return [Document(f"d{n}", f"text {n}", {}, label) for n, label in enumerate(labels)]


@settings(max_examples=200, deadline=None)
@given(
    labels=st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=2, max_size=120),
    share=st.floats(0.02, 0.98),
    seed=st.integers(0, 5),
    unlabelled=st.booleans(),
)
def test_share(labels: list[str | None], share: float, seed: int, unlabelled: bool) -> None:
    if unlabelled:
        labels = [None, *labels[1:]]
    documents = corpus_of(labels)
    total = round(share * len(documents))
    if total in (0, len(documents)):
        with pytest.raises(InputError):
            draw_share(documents, share, seed)
        return
    drawn = draw_share(documents, share, seed)
    assert drawn.sum() == total
    assert drawn.tolist() == draw_share(documents, share, seed).tolist()
    if not unlabelled:
        counts = Counter(labels)
        taken = Counter(label for label, is_drawn in zip(labels, drawn, strict=True) if is_drawn)
        assert all(abs(taken[label] - share * count) < 1 + 1e-9 for label, count in counts.items())


def test_share_depends_on_the_seed_and_reaches_everyone() -> None:
    documents = corpus_of([*["a"] * 8, "b", "c", "d", "e"])  # 2 of a, and one of the others by lot
    times = sum(draw_share(documents, 0.25, seed).astype(int) for seed in range(300))
    assert times.min() > 45
    assert times.max() < 110


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 1.5, 0.01])
def test_share_that_leaves_a_part_empty_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="leaves a part empty"):
        draw_share(corpus_of(["a"] * 10), share, 0)


def by_lists(documents: list[Document], share: float, seed: int) -> tuple[list[Document], list[Document]]:
    """The same draw from lists: largest remainders over the sorted gold labels, then a permutation of each."""
    rng = np.random.default_rng(seed)
    golds = [d.gold or "" for d in documents] if all(d.gold for d in documents) else [""] * len(documents)
    names = sorted(set(golds))
    quotas = [share * golds.count(name) for name in names]
    lot = rng.permutation(len(names))
    order = sorted(range(len(names)), key=lambda k: (int(quotas[k]) - quotas[k], lot[k]))
    sizes = [int(quota) for quota in quotas]
    for k in order[: round(share * len(documents)) - sum(sizes)]:
        sizes[k] += 1
    taken: set[int] = set()
    for name, size in zip(names, sizes, strict=True):
        taken |= set(rng.permutation([n for n, gold in enumerate(golds) if gold == name])[:size].tolist())
    rest = [d for n, d in enumerate(documents) if n not in taken]
    return rest, [d for n, d in enumerate(documents) if n in taken]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("unlabeled", [False, True])
@pytest.mark.parametrize("drop", [[], ["duplicates"], ["empty", "duplicates", "overlap"]])
def test_splits_are_those_of_lists(tmp_path: Path, seed: int, unlabeled: bool, drop: list[str]) -> None:
    rng = np.random.default_rng(seed)

    def some(name: str, count: int) -> list[Document]:
        texts = [f"Post {rng.integers(40)}{'!' * rng.integers(3)}" for _ in range(count)]
        texts = [text if "empty" not in drop or rng.random() > 0.1 else " " for text in texts]
        golds = [None if unlabeled and not rng.integers(9) else "abc"[rng.integers(3)] for _ in texts]
        pairs = enumerate(zip(texts, golds, strict=True))
        return [Document(f"{name}{n}", text, {"t": "xy"[n % 2]}, gold) for n, (text, gold) in pairs]

    train, validation = some("d", 90), some("v", 9)
    files = {"train": write(tmp_path / "a.jsonl", train), "validation": write(tmp_path / "v.jsonl", validation)}
    splits = read_splits(TASK, **files, test=0.2, drop=drop, seed=seed)

    def screened(documents: list[Document]) -> list[Document]:
        documents = [d for d in documents if d.text.strip()]
        firsts: dict[Any, Document] = {}
        for document in documents:
            firsts.setdefault(same_text(document), document)
        return list(firsts.values()) if "duplicates" in drop else documents

    rest, held_out = by_lists(screened(train), 0.2, seed)
    for name, others in (("test", held_out), ("validation", screened(validation))):
        seen = {same_text(d) for d in others}
        shared = [d for d in rest if same_text(d) in seen]
        said = f"in {name} too: {len({same_text(d) for d in shared})} of the training texts ({len(shared)} documents)"
        assert any(note.startswith(said) for note in splits.notes) == bool(shared)
        if "overlap" in drop:
            rest = [d for d in rest if d not in shared]
    assert splits.train.documents == rest
    assert list(splits.test) == held_out
    assert len(splits.test) == len(held_out)
    assert list(splits.validation) == screened(validation)
