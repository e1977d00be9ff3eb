import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare
from training.answered import answered

from redct.errors import InputError
from redct.experts import Pool, choose
from redct.files import sha256
from redct.splits import read_splits
from redct.task import Columns, Task
from redct.training.answers import Answers
from redct.training.parts import Part, Provenance, write_targets
from redct.training.reserve import check_unused, draw_reserve


def answers(n_documents: int, n: int, seed: int, strategy: str = "random") -> Answers:
    """Answers to documents that were chosen as a study of this seed chooses them."""
    pool = Pool(np.zeros(n_documents, dtype=int), np.full((n_documents, 2), 0.5), np.ones(n_documents))
    choice = choose(strategy, pool, n, seed)
    chosen = choice.chosen.tolist()
    return answered({i: i % 2 for i in chosen}, {i: 1 / float(choice.inclusion[i]) for i in chosen}, 2, strategy)


def test_the_reserve_is_a_uniform_draw_from_the_corpus() -> None:
    """The choice and the draw from it have one seed, and yet every document and pair is as likely as any other."""
    single, pairs = np.zeros(8), np.zeros((8, 8))
    for seed in range(4000):
        drawn = draw_reserve(answers(8, 5, seed), 0.4, seed)
        assert len(drawn) == 2
        single[drawn] += 1
        pairs[tuple(drawn)] += 1
    assert chisquare(single).pvalue > 0.001
    assert chisquare(pairs[np.triu_indices(8, 1)]).pvalue > 0.001
    assert pairs.sum() == pairs[np.triu_indices(8, 1)].sum()  # ascending


def test_the_reserve_is_the_same_every_time() -> None:
    given = answers(100, 40, 3)
    drawn = draw_reserve(given, 0.3, 3)
    assert len(drawn) == 12
    assert set(drawn) <= set(given.shares)
    shuffled = replace(given, shares=dict(reversed(given.shares.items())))
    assert draw_reserve(shuffled, 0.3, 3).tolist() == drawn.tolist()
    assert draw_reserve(given, 0.3, 4).tolist() != drawn.tolist()


@pytest.mark.parametrize(
    ("given", "share", "message"),
    [
        (
            Answers(),
            0.3,
            "0.3 of the experts' answers, but no experts were asked; expected data.experts with strategy ra",
        ),
        (
            answers(90, 40, 0, "margin_randomised"),
            0.3,
            "but their documents were chosen by margin_randomised; expected",
        ),
        (
            answers(90, 40, 0, "margin"),
            0.3,
            "chosen by margin; expected data.experts.strategy random, or files with gold",
        ),
        (replace(answers(90, 40, 0), unanswered=3), 0.3, "3 of the chosen documents have no answer yet; expected"),
        (answers(90, 40, 0), 0.01, r"0.01 of the experts' answers \(40\) leaves a part empty"),
        (answers(90, 40, 0), 0.0, "leaves a part empty"),
        (answers(90, 40, 0), 1.0, "1 of the experts' answers .* expected a share between 0 and 1"),
        (answers(90, 40, 0), -0.5, "leaves a part empty"),
    ],
)
def test_what_is_not_a_uniform_draw_is_refused(given: Answers, share: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw_reserve(given, share, 0)


def test_answers_keep_their_documents() -> None:
    given = answered({7: 1, 2: 0, 5: 2}, {7: 0.5, 2: 0.25, 5: 1.0}, 3)
    left = replace(given, left_out={1: "skipped", 3: "flagged"}).rows([0, 2, 3, 7])
    assert {n: shares.tolist() for n, shares in left.shares.items()} == {3: [0, 1, 0], 1: [1, 0, 0]}
    assert (left.weight, left.left_out) == ({3: 0.5, 1: 0.25}, {2: "flagged"})
    assert left.annotators == {3: ["ann"], 1: ["ann"]}


def part(*ids: str) -> Part:
    from redct.documents import Document

    return Part.known([Document(i, "text", {}, None) for i in ids], [1] * len(ids), 2, "expert")


def test_what_served_is_noticed(tmp_path: Path) -> None:
    targets = tmp_path / "targets.parquet"
    parts = {"train": part("a", "b"), "validation": part("c"), "reserve": part("d", "e")}
    write_targets(targets, parts, ["x", "y"], Provenance())
    trained = sha256(targets)
    check_unused(["d", "e", "elsewhere"], targets, trained)
    with pytest.raises(
        InputError, match=r"data.reserve: 2 of its 3 documents served training \(.*run `redct fit` again"
    ):
        check_unused(["a", "b", "d"], targets, trained)
    with pytest.raises(InputError, match=r"data.reserve: 1 of its 2 documents served validation"):
        check_unused(["c", "d"], targets, trained)
    for missing, hash_of in ((targets, "0" * 64), (targets, None), (tmp_path / "nothing.parquet", trained)):
        with pytest.raises(
            InputError, match="found other targets than the checkpoint was trained with; run `redct fit`"
        ):
            check_unused(["d"], missing, hash_of)


TASK = Task(["x", "y"], Columns(gold="label", id="id"))


def write(path: Path, **texts: str) -> str:
    rows = [{"id": i, "text": text, "label": "x"} for i, text in texts.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_reserved_files_lose_what_stands_elsewhere(tmp_path: Path) -> None:
    files = {
        "train": write(tmp_path / "train.jsonl", a="one", b="two"),
        "test": write(tmp_path / "test.jsonl", c="three"),
        "validation": write(tmp_path / "validation.jsonl", d="four"),
    }
    others = {"e": "ONE!", "f": "three", "g": "Four", "h": "five", "i": "six"}
    splits = read_splits(TASK, **files, reserve=write(tmp_path / "reserve.jsonl", **others))
    assert [document.id for document in splits.reserve] == ["h", "i"]
    assert [document.id for document in splits.train] == ["a", "b"]
    notes = [note for note in splits.notes if note.startswith("data.reserve")]
    left_out = "data.reserve: 3 documents left out: they stand in train, test or validation too"
    assert notes == [left_out, "data.reserve: 2 documents"]
    with pytest.raises(InputError, match=r"data.reserve: all 2 documents stand in train, test or validation too"):
        read_splits(TASK, **files, reserve=write(tmp_path / "all.jsonl", e="one", f="two"))
    for known in "acd":
        with pytest.raises(InputError, match=f"id '{known}' stands in two files of the study"):
            read_splits(TASK, **files, reserve=write(tmp_path / "clash.jsonl", **{known: "seven"}))
    assert Counter(note.split(":")[0] for note in read_splits(TASK, **files).notes)["data.reserve"] == 0
