"""Thresholds with a guarantee: against sums by hand, a plain second implementation, and where the truth is known."""

import json
from dataclasses import asdict
from math import ceil, comb, log

import numpy as np
import pytest

from redct.edge.abstention import choose_thresholds, fewest_documents, fixed_sequence, threshold_grid
from redct.errors import InputError

DELTA = 0.1


def tail(errors: int, answered: int, share: float) -> float:
    """P(Bin(answered, share) <= errors), term by term."""
    terms = (comb(answered, e) * share**e * (1 - share) ** (answered - e) for e in range(errors + 1))
    return sum(terms)


@pytest.mark.parametrize("max_error", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("delta", [0.01, 0.05, 0.2])
def test_the_fewest_documents(max_error: float, delta: float) -> None:
    assert fewest_documents(0, max_error, delta) == ceil(log(delta) / log(1 - max_error))
    for errors in range(6):
        fewest = fewest_documents(errors, max_error, delta)
        assert tail(errors, fewest, max_error) <= delta < tail(errors, fewest - 1, max_error)


def straightforward(confidence: list[float], wrong: list[bool], grid: list[float], max_error: float) -> float | None:
    """The lowest threshold of which all, from the first on, are rejected."""
    taken = None
    for threshold in grid:
        answered = [w for c, w in zip(confidence, wrong, strict=True) if c >= threshold]
        if tail(sum(answered), len(answered), max_error) > DELTA:
            break
        taken = threshold
    return taken


@pytest.mark.parametrize("digits", [1, 2, 8])  # with few, many confidences are tied, with each other and the grid
def test_a_sequence_is_that_of_a_plain_loop(digits: int) -> None:
    rng = np.random.default_rng(digits)
    taken = []
    for _ in range(200):
        n, max_error = int(rng.integers(1, 150)), float(rng.uniform(0.05, 0.4))
        confidence = np.round(rng.random(n), digits)
        wrong = rng.random(n) < (1 - confidence) * rng.random()
        grid = np.unique(np.round(rng.random(8), digits))[::-1]
        found = fixed_sequence(confidence, wrong, grid, max_error, DELTA)
        expected = straightforward(confidence.tolist(), wrong.tolist(), grid.tolist(), max_error)
        assert (float(grid[found.rejected - 1]) if found.rejected else None) == expected
        for at, threshold in enumerate(grid):
            answered = confidence >= threshold
            assert found.answered[at] == answered.sum()
            assert found.errors[at] == wrong[answered].sum()
            assert found.p_value[at] == pytest.approx(tail(int(found.errors[at]), int(answered.sum()), max_error))
        taken.append(expected)
    assert 20 < sum(threshold is None for threshold in taken) < 180


@pytest.mark.parametrize("documents", [20, 60, 200, 5000])
def test_a_grid_begins_where_an_error_is_allowed_and_ends_with_everything(documents: int) -> None:
    reference = np.random.default_rng(0).random(10_000)
    grid = threshold_grid(reference, documents, 0.1, DELTA)
    assert (np.diff(grid) < 0).all()
    assert grid[-1] == 0
    assert set(grid[:-1]) <= set(reference)
    if documents < fewest_documents(1, 0.1, DELTA):
        assert grid.tolist() == [0.0]  # all of them may be just enough
        return
    first = documents * np.mean(reference >= grid[0])
    assert fewest_documents(1, 0.1, DELTA) <= first <= fewest_documents(10, 0.1, DELTA) + 1
    assert len(threshold_grid(np.round(reference, 1), documents, 0.1, DELTA)) <= 11


def test_no_grid_without_reference_or_documents() -> None:
    assert threshold_grid([], 100, 0.1, DELTA).size == 0
    assert threshold_grid([0.5], 0, 0.1, DELTA).size == 0


class World:
    """Documents of L levels of confidence, of which the share that is labeled wrongly is known.

    Args:
        confidence: (L,) probability of the likeliest label, above 1/3.
        wrong: (3, L) share of wrong labels, for each predicted label, or (L,) for all.
        mass: (L,) share of the documents.
    """

    def __init__(self, confidence, wrong, mass=None) -> None:
        self.confidence = np.asarray(confidence, dtype=np.float32)
        self.wrong = np.broadcast_to(wrong, (3, len(self.confidence)))
        self.mass = np.full(len(self.confidence), 1 / len(self.confidence)) if mass is None else np.asarray(mass)

    def draw(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Returns (n, 3) distributions and (n,) right labels."""
        level, label = rng.choice(len(self.mass), n, p=self.mass), rng.integers(3, size=n)
        probs = np.repeat((1 - self.confidence[level])[:, None] / 2, 3, axis=1)
        probs[np.arange(n), label] = self.confidence[level]
        is_wrong = rng.random(n) < self.wrong[label, level]
        return probs, np.where(is_wrong, (label + rng.integers(1, 3, size=n)) % 3, label)

    def error(self, thresholds: list[float | None], per_class: bool) -> float:
        """The true share of wrong answers, the largest of any label where it is by class; 0 without answers."""
        mass = np.array([self.mass * (self.confidence >= (2 if t is None else t)) for t in thresholds])
        if not per_class:
            mass, wrong = mass.sum(axis=0, keepdims=True), self.wrong.mean(axis=0, keepdims=True)
            assert len(set(thresholds)) == 1
        else:
            wrong = self.wrong
        return max(float((m @ w) / m.sum()) for m, w in zip(mass, wrong, strict=True) if m.sum()) if mass.any() else 0.0


LEVELS = np.linspace(0.7, 0.995, 60)
WORLDS = {
    "calibrated": World(LEVELS, 1 - LEVELS),
    # The surest are worse than the next: the share of wrong answers falls, rises, falls and rises with coverage.
    "not monotone": World(LEVELS, np.interp(LEVELS, [0.7, 0.85, 0.86, 0.98, 0.981], [0.3, 0.25, 0.02, 0.02, 0.2])),
    "three levels": World([0.5, 0.8, 0.95], [0.25, 0.12, 0.03], [0.2, 0.3, 0.5]),
    # Nothing may be answered, by a hair: the hardest case, in which every answer breaks the promise.
    "just above": World(LEVELS, np.full(60, 0.1001)),
    "unequal labels": World(LEVELS, np.array([0.3, 0.8, 1.2])[:, None] * (1 - LEVELS)),
}
FEASIBLE = {"calibrated", "not monotone", "three levels", "unequal labels"}


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("name", WORLDS)
def test_the_promise_is_kept(name: str, per_class: bool) -> None:
    world, rng, runs, n = WORLDS[name], np.random.default_rng(7), 1000, 1500 if per_class else 600
    reference, _ = world.draw(300, rng)
    broken, naive_broken, coverage = 0, 0, []
    for _ in range(runs):
        probs, gold = world.draw(n, rng)
        try:
            found = choose_thresholds(probs, gold, reference, max_error=0.1, delta=DELTA, per_class=per_class)
        except InputError:
            coverage.append(0.0)
        else:
            coverage.append(found.coverage)
            broken += world.error(found.thresholds, per_class) > 0.1
        naive_broken += world.error([naive(probs, gold)] * 3, per_class=False) > 0.1
    three_sigma = 3 * (DELTA * (1 - DELTA) / runs) ** 0.5
    assert broken / runs <= DELTA + three_sigma
    if name in FEASIBLE:
        assert np.mean(np.array(coverage) > 0) > 0.6
        assert naive_broken / runs > 2 * DELTA
    elif not per_class:
        assert broken / runs > DELTA / 10  # the level is used


def naive(probs: np.ndarray, gold: np.ndarray) -> float:
    """The lowest threshold at which at most a tenth of these very answers is wrong."""
    order = np.argsort(-probs.max(axis=1), kind="stable")
    confidence, wrong = probs.max(axis=1)[order], (probs.argmax(axis=1) != gold)[order]
    kept = np.flatnonzero(wrong.cumsum() <= 0.1 * np.arange(1, len(wrong) + 1))
    return float(confidence[kept[-1]]) if len(kept) else 2.0


def test_what_is_written_says_what_was_found() -> None:
    world, rng = WORLDS["unequal labels"], np.random.default_rng(3)
    (probs, gold), (reference, _) = world.draw(6000, rng), world.draw(300, rng)
    probs[0] = np.nan  # a document that the classifier could not read
    for per_class in (False, True):
        found = choose_thresholds(probs, gold, reference, max_error=0.08, per_class=per_class)
        assert json.loads(json.dumps(asdict(found), allow_nan=False)) == asdict(found)
        assert len(found.p_values) == len(found.tested) == (3 if per_class else 1)
        # As the runtime decides, from its float32 probabilities.
        limits = [2.0 if threshold is None else threshold for threshold in found.thresholds]
        answered = np.array([float(row.max()) >= limits[row.argmax()] for row in probs])
        assert not answered[0]
        assert (found.documents, found.answered) == (6000, answered.sum())
        assert found.errors == ((probs.argmax(axis=1) != gold) & answered).sum()
        assert found.coverage == answered.mean()
        assert f"of these {found.answered:,} (" in str(found)
        least = set(reference.max(axis=1).tolist()) | {0.0}
        assert set(found.thresholds) <= least
    assert found.thresholds[0] < found.thresholds[1] < found.thresholds[2]


def test_a_label_that_is_never_sure_enough_is_never_given() -> None:
    world, rng = World(LEVELS, np.array([0.02, 0.02, 0.5])[:, None]), np.random.default_rng(3)
    (probs, gold), (reference, _) = world.draw(900, rng), world.draw(300, rng)
    found = choose_thresholds(probs, gold, reference, max_error=0.1, per_class=True)
    assert found.thresholds[2] is None
    assert found.p_values[2] is None
    assert found.tested[2] == 1
    assert found.thresholds[:2] == [0.0, 0.0]
    assert found.answered == np.isin(probs.argmax(axis=1), [0, 1]).sum()


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (40, {"max_error": 0.05}, "found 40 documents, but max_error 0.05 at delta 0.05 takes at least 59 answered"),
        (0, {"max_error": 0.05}, "found 0 documents, but"),
        (400, {"max_error": 0.05}, r"of the 400 documents, \d+ of \d+ with the surest answers are wrong, but .* 93 w"),
        (400, {"max_error": 0.05, "per_class": True}, r"\d+ of \d+ and \d+ of \d+ and .* 0.05 / 3 labels takes at l"),
        (400, {"max_error": 0.0}, "max_error: found 0.0, expected above 0 and below 1"),
        (400, {"max_error": 0.1, "delta": 1.0}, "delta: found 1.0"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(n: int, options: dict, message: str) -> None:
    world, rng = WORLDS["just above"], np.random.default_rng(0)
    with pytest.raises(InputError, match=message):
        choose_thresholds(*world.draw(n, rng), world.draw(300, rng)[0], **options)


def test_arrays_that_do_not_fit() -> None:
    probs, gold = WORLDS["calibrated"].draw(50, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"found \(50, 3\) probs, \(49,\) gold"):
        choose_thresholds(probs, gold[1:], probs, max_error=0.1)
    with pytest.raises(ValueError, match="gold: found 1 to 3, expected 0 to 2"):
        choose_thresholds(probs, gold % 3 + 1, probs, max_error=0.1)
    with pytest.raises(ValueError, match=r"\(50, 2\) reference"):
        choose_thresholds(probs, gold, probs[:, :2], max_error=0.1)
