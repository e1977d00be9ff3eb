import json

import numpy as np
import pytest

from redct.documents import Document
from redct.errors import InputError
from redct.evidence import Design, majority
from redct.evidence.assessment import MOST_GROUPS, Rater, assess
from redct.evidence.comparison import compare
from redct.evidence.plain import plain
from redct.evidence.probabilities import judge

LABELS = ["against", "for", "neutral"]
N = 200


def documents() -> list[Document]:
    rng = np.random.default_rng(5)
    texts = ["".join(rng.choice(list("abcdefghij klmnop"), rng.integers(30, 60))) for _ in range(N)]
    return [Document(f"d{n}", text, {"target": "tea" if n % 2 else "bus"}, None) for n, text in enumerate(texts)]


def raters() -> tuple[np.ndarray, dict[str, Rater]]:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, N)
    found = {}
    for name, skill in (("edge", 2.0), ("LLM", 1.5), ("LLM b", 1.0)):
        logits = rng.normal(size=(N, 3))
        logits[np.arange(N), gold] += skill * np.where(np.arange(N) % 2, 1.0, 0.1)  # all are bad at odd targets
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        found[name] = Rater(probs.argmax(axis=1), probs, is_llm=name != "edge")
    return gold, found | {"majority": Rater(majority(gold, 3))}


def test_all_parts_are_those_of_their_modules() -> None:
    gold, found = raters()
    train = [*documents()[:3], Document("t", "something else altogether", {"target": "tea"}, None)]
    language = ["en" if n % 3 else "fr" for n in range(N)]
    got = assess(documents(), gold, found, LABELS, train, {"language": language}, seed=4)
    said = {name: rater.label for name, rater in found.items()}
    assert got.first == "edge"
    assert plain(got.comparison) == plain(compare(gold, said, 3, seed=4))  # nan is not equal to itself
    assert list(got.probabilities) == ["edge", "LLM", "LLM b"]
    assert got.probabilities["LLM"] == judge(gold, found["LLM"].probs, seed=4)
    french = np.array(language) == "fr"
    alone = compare(gold[french], {name: label[french] for name, label in said.items()}, 3, seed=4)
    assert plain(got.groups["language"]["fr"]) == plain(alone)
    assert {each.column for each in got.slices} == {"target", "language", "length"}
    assert [each.value for each in got.slices if each.is_worse] == ["bus"]
    assert got.leakage is not None
    assert got.leakage.ids == {"d0", "d1", "d2"}
    assert got.unleaked is not None
    clean = compare(gold[3:], {name: label[3:] for name, label in said.items()}, 3, seed=4)
    assert got.unleaked == clean.scores
    assert got.llm_alpha is not None
    wrong = int((said["edge"] != gold).sum())
    assert sum(each.documents for each in got.confused) == wrong
    assert len(got.mistakes) == 20
    assert np.array(got.confusion["edge"]).sum() == N
    assert {each.id for each in got.doubts} <= {f"d{n}" for n in np.flatnonzero(said["edge"] != gold)}
    json.dumps(plain(got), allow_nan=False)


def test_a_rater_alone() -> None:
    gold, found = raters()
    got = assess(documents(), gold, {"edge": found["edge"]}, LABELS)
    assert (got.comparison.differences, got.leakage, got.unleaked, got.llm_alpha, got.groups) == (
        [],
        None,
        None,
        None,
        {},
    )


def test_the_design_reaches_everything() -> None:
    gold, found = raters()
    weight = np.random.default_rng(1).random(N) + 0.1
    got = assess(documents(), gold, found, LABELS, design=Design(weight=weight), by={"target": ["bus", "tea"] * 100})
    right = found["edge"].label == gold
    assert got.comparison.scores["edge"]["accuracy"].value == pytest.approx(np.average(right, weights=weight))
    first = got.groups["target"]["bus"].scores["edge"]["accuracy"].value
    assert first == pytest.approx(np.average(right[::2], weights=weight[::2]))
    (bus, *_) = [each for each in got.slices if each.value == "bus"]
    assert bus.error.value == pytest.approx(1 - np.average(right[::2], weights=weight[::2]))
    with pytest.raises(InputError, match=f"--by id: found 200 values, expected at most {MOST_GROUPS}"):
        assess(documents(), gold, found, LABELS, by={"id": [str(n) for n in range(N)]})
