"""Judging by answers that served nothing: the deal, the mathematics, the race and the forecast."""

import numpy as np
import pytest
from scipy.stats import sem
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from training.answered import answered

from redct.documents import Document
from redct.hub.store import LabelTable
from redct.training.expected_gain import ExpectedGain, compare, expected_gain, notes
from redct.training.held_out import Judges, judges, log_losses, paired
from redct.training.parts import Part
from redct.training.tuning import Candidate, candidates, race

N = 240


def documents(n: int) -> list[Document]:
    return [Document(f"d{i}", f"text {i}", {}, None) for i in range(n)]


def table(label: np.ndarray) -> LabelTable:
    probs = np.where(np.eye(2)[label] > 0, 0.9, 0.1)
    logs = np.log(probs).astype(np.float32)
    names, margin = [f"d{i}" for i in range(len(label))], np.full(len(label), np.log(9), np.float32)
    return LabelTable(["no", "yes"], names, label, probs.astype(np.float32), logs, margin)


@pytest.fixture
def world():
    """Vectors that tell the truth, an LLM that is wrong on every fifth document, and 90 answers."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, N)
    vectors = rng.normal(0, 1, (N, 6)).astype(np.float32)
    vectors[:, 0] += 4 * truth - 2
    said = np.where(np.arange(N) % 5 == 0, 1 - truth, truth)
    given = answered({n: int(truth[n]) for n in range(90)}, {n: 1.0 + n % 3 for n in range(90)}, 2)
    return truth, vectors, said, given


def dealt(world) -> tuple[Judges, list]:
    truth, _, said, given = world
    served = []

    def teach(known):
        served.append(known)
        label = said.copy()
        label[list(known.shares)] = truth[list(known.shares)]
        return Part.known(documents(N), label, 2, "llm")

    found = judges(documents(N), table(said), given, teach, seed=1)
    assert found is not None
    return found, served


def test_no_answer_serves_what_it_judges(world) -> None:
    found, served = dealt(world)
    assert sorted(np.bincount(found.fold)) == [30, 30, 30]
    for number, (known, part) in enumerate(zip(served, found.taught, strict=True)):
        out = set(found.at[found.fold == number].tolist())
        assert known.shares.keys() == set(range(90)) - out == known.weight.keys()
        assert {document.id for document in part.documents} == {f"d{n}" for n in range(N) if n not in out}
    assert found.weight.tolist() == [1.0 + n % 3 for n in range(90)]


def test_too_few_answers_or_a_deterministic_choice_judge_nothing(world) -> None:
    _, _, said, _ = world
    few = answered(dict.fromkeys(range(74), 0), dict.fromkeys(range(74), 1.0), 2)
    margin = answered(dict.fromkeys(range(90), 0), {}, 2, "margin", why="deterministic")
    for given in (few, margin):
        assert judges(documents(N), table(said), given, lambda _: pytest.fail("served"), seed=1) is None


def test_the_standard_error_is_the_textbooks_and_holds_for_uneven_weights() -> None:
    rng = np.random.default_rng(1)
    d = rng.normal(0.3, 2, 50)
    found = paired(d, np.full(50, 7.0))
    assert (found.value, found.standard_error) == pytest.approx((d.mean(), sem(d)))
    covered = 0
    for _ in range(1000):
        share = rng.uniform(0.05, 0.4, 1500)
        values = rng.normal(share, 1)
        drawn = rng.random(1500) < share
        mean = paired(values[drawn], 1 / share[drawn])
        covered += mean.low <= values.mean() <= mean.high
    assert 925 <= covered <= 985


def test_losses_are_scikit_learns() -> None:
    rng = np.random.default_rng(2)
    probs, label = rng.dirichlet(np.ones(3), 40), rng.integers(0, 3, 40)
    assert log_losses(probs, label).mean() == pytest.approx(log_loss(label, probs, labels=[0, 1, 2]))
    assert log_losses([[np.nan, np.nan], [0.0, 1.0]], [0, 0]) == pytest.approx(-np.log([1e-7, 1e-7]))


def test_the_light_classifier_is_scikit_learns_and_beats_the_llm_where_it_can(world) -> None:
    found, _ = dealt(world)
    _, vectors, _, _ = world
    position = {f"d{n}": n for n in range(N)}
    told = expected_gain(found, vectors, position, seed=0)
    centred = vectors - vectors.mean(axis=0)
    centred /= np.sqrt((centred**2).sum(axis=1).mean())
    predicted = np.empty(90, dtype=np.int64)
    for number, part in enumerate(found.taught):
        rows = [position[document.id] for document in part.documents]
        model = LogisticRegression(C=3, tol=1e-8).fit(centred[rows], part.label)
        predicted[found.fold == number] = model.predict(centred[found.at[found.fold == number]])
    assert told.classifier == pytest.approx(np.average(predicted == found.label, weights=found.weight), abs=0.02)
    assert told.llm == pytest.approx(np.average(np.arange(90) % 5 != 0, weights=found.weight))
    assert notes(told, None)[-1] == "the classifier is predicted to beat the LLM"


def test_what_would_help_is_said_only_where_the_classifier_loses(world) -> None:
    found, _ = dealt(world)
    lost = compare(1 - found.label, found)
    assert isinstance(lost, ExpectedGain)
    assert (lost.classifier, lost.gain.value) == (0, pytest.approx(-lost.llm))
    lines = notes(lost, None)
    assert lines[1] == "the classifier is predicted not to beat the LLM; what would help:"
    assert f"makes the LLM {50 * (1 - lost.llm):.1f} points more accurate" in lines[2]
    narrow = compare(np.where(np.arange(90) % 5 == 1, 1 - found.label, found.label), found)
    assert narrow.gain.low < 0 < narrow.gain.high
    verdict = notes(narrow, None)[1]
    assert verdict.endswith("from so few answers" if narrow.gain.value > 0 else "rather not; what would help:")


def run_race(world, right, seconds: float = 1e9, clock=lambda: 0.0):
    found, _ = dealt(world)
    asked, trained, said = candidates(1e-4, 4), [], []

    def predict(candidate: Candidate, fold: int) -> np.ndarray:
        trained.append((candidate, fold))
        p = right(candidate) + np.random.default_rng(fold).uniform(-0.05, 0.05, int((found.fold == fold).sum()))
        label = found.label[found.fold == fold]
        return np.where(np.eye(2)[label] > 0, p[:, None], 1 - p[:, None])

    return race(asked, found, predict, seconds, said.append, clock), trained, said


def test_the_race_finds_the_best_and_gives_up_the_hopeless(world) -> None:
    choice, trained, said = run_race(world, lambda each: 0.9 if each == Candidate(2e-4, 8) else 0.6)
    assert choice.chosen == choice.best == Candidate(2e-4, 8)
    assert choice.loss == pytest.approx(choice.default_loss + choice.difference.value)
    assert choice.difference.high < 0
    after = trained[trained.index((Candidate(2e-4, 8), 2)) + 1 :]
    assert after
    assert {fold for _, fold in after} == {0}
    assert sum("given up" in line for line in said) == len(after)


def test_the_defaults_stay_where_nothing_is_better_or_time_is_up(world) -> None:
    choice, trained, _ = run_race(world, lambda _: 0.7)
    assert choice.chosen == Candidate(1e-4, 4)
    assert len(trained) == 15 * 3
    ticks = iter(range(100))
    choice, trained, said = run_race(world, lambda each: 0.6 + each.learning_rate, 3, lambda: float(next(ticks)))
    assert (choice, len(trained), said) == (None, 2, ["time is up"])
    assert candidates(1e-4, None)[0] == Candidate(1e-4, None)
    assert len(candidates(1e-4, 1)) == 10  # half of one epoch is one
