"""Slices, leaks, mistakes and suspects: where a classifier fails, and where gold does."""

import numpy as np
import pytest
import statsmodels.api as sm
from cleanlab.filter import find_label_issues
from scipy.stats import hypergeom
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests

from redct.documents import Document
from redct.evidence import Design, confusion
from redct.evidence.leakage import find_leaks
from redct.evidence.mistakes import confident_mistakes, confused_labels
from redct.evidence.slices import find_slices, length_quartiles
from redct.evidence.suspects import agreed_suspects, find_suspects


def document(n: str, text: str, **context: str) -> Document:
    return Document(n, text, context, None)


def test_slices_equal_scipy_and_statsmodels() -> None:
    rng = np.random.default_rng(0)
    source = rng.choice(["news", "blog", "forum"], 400)
    topic = rng.choice(["tea", "coffee"], 400)
    wrong = rng.random(400) < np.where(source == "blog", 0.5, 0.2)
    found = find_slices(wrong, {"source": source.tolist(), "topic": topic.tolist()})
    assert (found[0].column, found[0].value) == ("source", "blog")
    assert len(found) == 5
    for each in found:
        inside = (source if each.column == "source" else topic) == each.value
        n, errors = int(inside.sum()), int((wrong & inside).sum())
        assert each.p_value == pytest.approx(hypergeom.sf(errors - 1, 400, wrong.sum(), n))
        assert (each.documents, each.error.value) == (n, pytest.approx(errors / n))
        assert each.excess.value == pytest.approx(errors / n - wrong[~inside].mean())
        assert each.excess.low < each.excess.value < each.excess.high
    adjusted = multipletests([each.p_value for each in found], method="fdr_bh")[1]
    assert [each.q_value for each in found] == pytest.approx(adjusted)
    assert [each.is_worse for each in found] == [True, False, False, False, False]


def test_slices_that_are_as_good_as_others_are_seldom_called_worse() -> None:
    rng = np.random.default_rng(1)
    column = rng.choice(list("abcdef"), 300)
    alarms = sum(any(s.is_worse for s in find_slices(rng.random(300) < 0.3, {"c": column.tolist()})) for _ in range(40))
    assert alarms <= 6  # 5 % of 40, and three standard errors


def test_slices_of_clusters_take_their_size_into_account() -> None:
    author = np.repeat(np.arange(20), 10)
    source = np.where(author < 10, "a", "b")
    wrong = (author % 10 < np.where(author < 10, 4, 2)).astype(bool)  # whole authors are wrong: 4 of 10, and 2 of 10
    plain, clustered = (
        {each.value: each for each in find_slices(wrong, {"source": source.tolist()}, design)}
        for design in (Design(), Design(cluster=author))
    )
    assert plain["a"].is_worse
    assert not clustered["a"].is_worse
    assert clustered["a"].excess.value == plain["a"].excess.value == pytest.approx(0.2)


@pytest.mark.parametrize("kind", ["cluster", "weight"])
def test_slices_of_other_designs_equal_statsmodels(kind: str) -> None:
    """The excess is a coefficient of a weighted regression, with a robust standard error."""
    rng = np.random.default_rng(2)
    author, weight = np.repeat(np.arange(80), 6), rng.random(480) + 0.2
    inside = author % 2 == 0
    wrong = rng.random(480) < (0.25 + 0.12 * inside) * rng.beta(2, 2, 80)[author] * 2
    design = Design(cluster=author) if kind == "cluster" else Design(weight=weight)
    found = {each.value: each for each in find_slices(wrong, {"c": np.where(inside, "a", "b").tolist()}, design)}
    model = sm.WLS(wrong.astype(float), sm.add_constant(inside.astype(float)), 1.0 if kind == "cluster" else weight)
    groups = author if kind == "cluster" else np.arange(480)
    known = model.fit(cov_type="cluster", cov_kwds={"groups": groups})
    assert found["a"].excess.value == pytest.approx(known.params[1])
    statistic = student.isf(found["a"].p_value, (40 if kind == "cluster" else 240) - 1)
    assert statistic == pytest.approx(known.tvalues[1], rel=0.06)
    assert found["b"].p_value == pytest.approx(1 - found["a"].p_value, abs=2e-3)


def test_slices_without_any_spread() -> None:
    column, weight = {"c": ["x"] * 50 + ["y"] * 50}, np.full(100, 2.0)
    assert [each.p_value for each in find_slices(np.zeros(100), column, Design(weight=weight))] == [1, 1]
    always = find_slices(np.arange(100) < 50, column, Design(weight=weight))
    assert [(each.value, each.p_value) for each in always] == [("x", 0), ("y", 1)]


def test_a_slice_of_one_author_says_nothing_about_others() -> None:
    """Resamples have its documents all together or not at all, and so know nothing of its spread."""
    author = np.concatenate([np.zeros(100, int), np.arange(1, 101)])
    wrong = np.concatenate([np.arange(100) < 40, np.arange(100) < 10])
    found = find_slices(wrong, {"c": ["x"] * 100 + ["y"] * 100}, Design(cluster=author))
    assert [each.p_value for each in found] == [1, 1]


def test_small_slices_and_constant_columns_are_not_tested() -> None:
    values = ["rare"] * 19 + ["often"] * 100
    assert find_slices(np.zeros(119, dtype=bool), {"a": values, "b": ["one"] * 119}) == []


def test_length_quartiles() -> None:
    texts = ["x" * n for n in range(1, 101)]
    assert list(dict.fromkeys(length_quartiles(texts))) == [
        "1 to 25 characters", "26 to 50 characters", "51 to 75 characters", "76 to 100 characters",
    ]  # fmt: skip
    assert set(length_quartiles(["same"] * 9)) == {"4 to 4 characters"}


def test_leaks() -> None:
    train = [
        document("a", "The council votes on the new tram line next Tuesday evening", target="tram"),
        document("b", "Nobody asked us about the tram", target="tram"),
        document("c", "Entirely different words stand here", target="bus"),
    ]
    test = [
        document("1", "the council VOTES on the new tram line, next Tuesday evening!", target="tram"),
        document("2", "The council votes on the new tram line next Tuesday evening at 8", target="tram"),
        document("3", "The council votes on the new tram line next Tuesday evening at 8", target="bus"),
        document("4", "What will the weather be like?", target="train"),
    ]
    found = find_leaks(train, test)
    assert [(leak.test, leak.train, leak.similarity) for leak in found.exact] == [("1", "a", 1.0)]
    assert [(leak.test, leak.train) for leak in found.near] == [("2", "a")]  # 3 has another target
    assert 0.9 <= found.near[0].similarity < 1
    assert found.ids == {"1", "2"}
    assert found.searched == 1
    assert find_leaks([], test).ids == set()


def test_too_many_pairs_are_searched_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redct.evidence.leakage.MOST_PAIRS", 50)
    train = [document(f"a{n}", f"some text number {n} about {n * n}") for n in range(100)]
    found = find_leaks(train, [document("1", "something else"), document("2", "some text number 7 about 49")])
    assert found.searched == 0.5  # 50 for the one document that is not found exactly
    assert [leak.train for leak in found.exact] == ["a7"]  # exact ones are found in all


def test_confident_mistakes() -> None:
    documents = [document(f"d{n}", f"text {n}") for n in range(5)]
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [np.nan, np.nan], [0.6, 0.4]])
    found = confident_mistakes(documents, [0, 0, 0, 0, 1], probs, ["no", "yes"])
    assert [(each.id, each.gold, each.said, each.confidence) for each in found] == [
        ("d1", "no", "yes", 0.8), ("d2", "no", "yes", 0.7), ("d4", "yes", "no", 0.6),
    ]  # fmt: skip
    assert confident_mistakes(documents, [0, 0, 0, 0, 1], probs, ["no", "yes"], most=1) == found[:1]


def test_confused_labels() -> None:
    found = confused_labels(confusion([0, 0, 0, 0, 1, 1], [0, 1, 1, -1, 0, 1], 2), ["no", "yes"])
    assert [(each.gold, each.said, each.documents) for each in found] == [
        ("no", "yes", 2), ("no", None, 1), ("yes", "no", 1),
    ]  # fmt: skip
    assert (found[0].share_of_gold, found[0].share_of_errors) == (0.5, 0.5)


def planted(seed: int = 0, n: int = 600, k: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of which some are wrong, and probabilities that mostly know better; label 3 hardly occurs."""
    rng = np.random.default_rng(seed)
    true = rng.choice(k, n, p=[0.4, 0.35, 0.247, 0.003])
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), true] += 2.5
    wrong = rng.random(n) < 0.08
    return np.where(wrong, (true + 1) % 3, true), np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), wrong


def test_suspects_find_planted_errors() -> None:
    label, probs, wrong = planted()
    found = find_suspects(label, probs)
    rows = [each.row for each in found]
    assert wrong[rows].mean() > 0.5  # of all labels, 8 % are wrong
    assert wrong[rows].sum() > 0.6 * wrong.sum()
    assert all(each.label == label[each.row] != each.likelier for each in found)
    assert [each.quality for each in found] == sorted(each.quality for each in found)


def test_suspects_equal_cleanlab_where_all_labels_are_frequent() -> None:
    label, probs, _ = planted()
    often = label < 3
    among = probs[often][:, :3] / probs[often][:, :3].sum(axis=1, keepdims=True)
    theirs = find_label_issues(label[often], among, return_indices_ranked_by="self_confidence", n_jobs=1)
    found = find_suspects(label, probs)
    assert [each.row for each in found] == np.flatnonzero(often)[theirs].tolist()
    holes = probs.copy()
    holes[found[0].row] = np.nan
    assert found[0].row not in [each.row for each in find_suspects(label, holes)]
    unknown = label.copy()
    unknown[found[1].row] = -1
    assert found[1].row not in [each.row for each in find_suspects(unknown, probs)]
    assert find_suspects(np.zeros(50, dtype=int), probs[:50]) == []


def test_agreed_suspects_are_suspect_to_all() -> None:
    label, probs, wrong = planted()
    other = np.roll(probs, 1, axis=0) * 0.3 + probs * 0.7  # a second rater, who errs in other places
    both = agreed_suspects(label, [probs, other])
    single = [{each.row: each for each in find_suspects(label, p)} for p in (probs, other)]
    assert {each.row for each in both} == {
        r for r in single[0] if r in single[1] and single[0][r].likelier == single[1][r].likelier
    }
    assert wrong[[each.row for each in both]].mean() > wrong[list(single[0])].mean()
    first = both[0]
    assert first.quality == pytest.approx(np.mean([each[first.row].quality for each in single]))
