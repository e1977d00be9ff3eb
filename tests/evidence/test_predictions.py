"""Predictions on disk: the scores computed from them are those of the assessment that they come from."""

import numpy as np
import pytest

from redct.documents import Document
from redct.errors import InputError
from redct.evidence import Design
from redct.evidence.assessment import Rater, assess
from redct.evidence.plain import plain
from redct.evidence.predictions import Predictions, read_predictions

LABELS = ["a", "b", "c"]
N = 90


def made(design: Design) -> Predictions:
    rng = np.random.default_rng(0)
    gold = rng.integers(3, size=N)
    probs = rng.dirichlet([1, 1, 1], size=N)
    single = probs.astype(np.float32)
    single[:4] = np.nan
    label = np.where(np.arange(N) < 4, -1, single.argmax(axis=1))
    raters = {"edge": Rater(probs.argmax(axis=1), probs), "LLM": Rater(label, single), "plain": Rater(np.zeros(N, int))}
    return Predictions(LABELS, [f"d{n}" for n in range(N)], gold, raters, design, seed=3)


@pytest.mark.parametrize(
    "design",
    [
        Design(),
        Design(weight=np.where(np.arange(N) % 3, 1.5, 4.0)),
        Design(cluster=np.array([f"author {n // 3}" for n in range(N)])),
        Design(stratum=np.array(["x", "y"] * (N // 2))),
    ],
    ids=["plain", "weighted", "clusters", "strata"],
)
def test_scores_are_those_of_the_assessment(tmp_path, design) -> None:
    before = made(design)
    before.write(tmp_path / "predictions.parquet")
    after = read_predictions(tmp_path / "predictions.parquet")
    assert after.ids == before.ids
    assert list(after.raters) == ["edge", "LLM", "plain"]
    assert after.raters["plain"].probs is None
    np.testing.assert_array_equal(after.raters["LLM"].label, before.raters["LLM"].label)
    found = after.scores()
    documents = [Document(each, each, {}, None) for each in before.ids]
    expected = assess(documents, before.gold, before.raters, LABELS, design=design, seed=3)
    assert found["scores"] == plain(expected.comparison.scores)
    assert found["differences"] == plain(expected.comparison.differences)
    assert found["probabilities"] == plain(expected.probabilities)
    assert found["confusion"] == expected.confusion
    assert list(found["classes"]["LLM"].values()) == plain(expected.comparison.classes["LLM"])


def test_without_a_file_the_command_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no such file; make it with `redct test`"):
        read_predictions(tmp_path / "none.parquet")
