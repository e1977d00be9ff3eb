import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from training.answered import answered

from redct.calibration import fit_temperature
from redct.documents import Document
from redct.errors import InputError
from redct.hub.store import LabelTable
from redct.training.answers import Answers
from redct.training.corrections import Calibration, correct, notes

N = 200
DOCUMENTS = [Document(f"d{n}", "text", {"target": "tea" if n % 2 else "coffee"}, None) for n in range(N)]


@pytest.fixture
def table() -> LabelTable:
    """Labels of an LLM that prefers the last label; every tenth row is an error."""
    rng = np.random.default_rng(0)
    logprobs = rng.normal([-3, -3, -1.5], 2, (N, 3))
    logprobs[::10] = np.nan
    probs = np.exp(log_softmax(logprobs, axis=1))
    label = np.where(np.isnan(probs[:, 0]), -1, np.nan_to_num(probs).argmax(axis=1))
    top = np.sort(logprobs, axis=1)
    arrays = [x.astype(np.float32) for x in (probs, logprobs, top[:, 2] - top[:, 1])]
    return LabelTable(["a", "b", "c"], [d.id for d in DOCUMENTS], label, *arrays)


def answers(n: int, why: str | None = None) -> Answers:
    rng = np.random.default_rng(1)
    at = rng.permutation(N)[:n].tolist()
    label = {i: int(rng.integers(3)) for i in at}
    return answered(label, {i: float(1 / rng.uniform(0.1, 1)) for i in at}, 3, why=why)


def plain(table: LabelTable) -> tuple[np.ndarray, ...]:
    return table.label, table.probs, table.logprobs, table.margin


@pytest.mark.parametrize(
    ("given", "kind", "options", "reason"),
    [
        (answers(90, "it was foggy"), "soft", Calibration(), "stay uncorrected: it was foggy"),
        (Answers(), "soft", Calibration(), "stay uncorrected: no experts were asked"),
        (
            answers(40),
            "soft",
            Calibration(),
            "answers of a randomised choice to documents with an LLM label, expected at least 50",
        ),
        (answers(90), "soft", Calibration(experts="none"), None),
        (answers(90), "hard", Calibration(experts="temperature"), None),
        (answers(90), "expit", Calibration(), None),
        (answers(90), "expit", Calibration("batch"), "label prior not divided out: targets: expit reproduces"),
    ],
)
def test_nothing_is_corrected_without_reason(table, given, kind, options, reason) -> None:
    corrected, record = correct(table, DOCUMENTS, kind, options, given, 0)
    for before, after in zip(plain(table), plain(corrected), strict=True):
        np.testing.assert_array_equal(before, after)
    lines = notes(record)
    assert len(lines) == (reason is not None)
    assert not lines or reason in lines[0]
    assert record["temperature"] is None


def test_a_temperature_weighs_answers_and_leaves_labels(table) -> None:
    given = answers(90)
    at = [n for n in given.shares if table.label[n] >= 0]
    corrected, record = correct(table, DOCUMENTS, "soft", Calibration(experts="temperature"), given, 0)
    weight = [given.weight[n] for n in at]
    expected = fit_temperature(table.logprobs[at], [int(given.shares[n].argmax()) for n in at], weight)
    assert record["temperature"]["value"] == expected
    found = record["reliability"]
    assert found["answers"] == len(at) < 90
    assert found["temperature"]["log_loss"] < found["llm"]["log_loss"]
    known = table.label >= 0
    np.testing.assert_allclose(corrected.probs[known], softmax(table.logprobs[known] / expected, axis=1), atol=1e-6)
    np.testing.assert_allclose(corrected.margin[known], table.margin[known] / expected, rtol=1e-4)
    np.testing.assert_array_equal(corrected.label, table.label)
    assert np.isnan(corrected.probs[~known]).all()
    first, second = notes(record)
    assert first == f"soft targets scaled by a temperature of {expected:.2f}"
    assert f"on {len(at)} answers of a randomised choice, weighted: {found['llm']['ece']:.3f} and " in second


def wrong_on_a_kind(n: int = 400) -> tuple[LabelTable, list[Document], np.ndarray, np.ndarray]:
    """Labels of an LLM that is wrong where the first coordinate of a document's embedding is large."""
    rng = np.random.default_rng(5)
    truth, embeddings = rng.integers(3, size=n), rng.normal(size=(n, 6)).astype(np.float32)
    kind = embeddings[:, 0] > 0.5
    logprobs = rng.normal(size=(n, 3)) + 3 * np.eye(3)[np.where(kind, (truth + 1) % 3, truth)]
    embeddings[np.arange(n), truth + 1] += 2
    documents = [Document(f"d{i}", "text", {}, None) for i in range(n)]
    arrays = [x.astype(np.float32) for x in (softmax(logprobs, axis=1), log_softmax(logprobs, axis=1))]
    label = logprobs.argmax(axis=1)
    label[0] = -1
    return (
        LabelTable(["a", "b", "c"], [d.id for d in documents], label, *arrays, np.ones(n)),
        documents,
        truth,
        embeddings,
    )


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_regression_on_answers_corrects_all_documents(kind) -> None:
    table, documents, truth, embeddings = wrong_on_a_kind()
    at = np.random.default_rng(6).permutation(400)[:100].tolist()
    given = answered({n: int(truth[n]) for n in at}, dict.fromkeys(at, 4.0), 3)
    found, record = correct(table, documents, kind, Calibration(), given, 0, lambda: embeddings)
    others = np.setdiff1d(np.arange(1, 400), at)
    before, after = (np.mean(x.label[others] == truth[others]) for x in (table, found))
    assert after > before + 0.1
    assert found.label[0] == -1
    assert record["regression"]["labels_changed"] == int((found.label != table.label).sum()) > 40
    steps = record["reliability"]
    assert steps["regression"]["log_loss"] < steps["temperature"]["log_loss"] < steps["llm"]["log_loss"]
    first, second = notes(record)
    assert "corrected by a regression of the experts' answers" in first
    assert "(regression, cross-fitted)" in second
    np.testing.assert_array_equal(found.label[1:], found.probs[1:].argmax(axis=1))


@pytest.mark.parametrize(("offset", "bound", "value"), [(0, "smallest", 0.01), (1, "largest", 100)])
def test_a_temperature_at_a_bound_is_said(table, offset, bound, value) -> None:
    known = np.flatnonzero(table.label >= 0)[:60].tolist()
    label = {n: int(table.label[n] + offset) % 3 for n in known}
    given = answered(label, dict.fromkeys(known, 2.0), 3)
    _, record = correct(table, DOCUMENTS, "soft", Calibration(experts="temperature"), given, 0)
    assert record["temperature"]["value"] == value
    assert f"the {bound} allowed" in notes(record)[0]


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_the_prior_of_the_corpus_is_divided_out(table, kind) -> None:
    corrected, record = correct(table, DOCUMENTS, kind, Calibration("batch"), Answers(), 0)
    known = table.label >= 0
    prior = table.probs[known].mean(axis=0)
    expected = table.probs[known] / prior
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(corrected.probs[known], expected, atol=1e-5)
    np.testing.assert_array_equal(corrected.label[known], expected.argmax(axis=1))
    changed = int((expected.argmax(axis=1) != table.label[known]).sum())
    assert 0 < changed == record["prior"]["labels_changed"]
    line = notes(record)[0]
    assert line.startswith(f"label prior divided out (batch): a {prior[0]:.2f}, ")
    assert line.endswith(f"{changed} of {known.sum()} labels changed")


def test_the_temperature_is_fitted_after_the_prior_is_divided_out(table) -> None:
    given = answers(90)
    without, _ = correct(table, DOCUMENTS, "soft", Calibration("batch", "none"), given, 0)
    both, record = correct(table, DOCUMENTS, "soft", Calibration("batch", "temperature"), given, 0)
    steps = record["reliability"]
    assert [*steps] == ["answers", "llm", "prior", "temperature"]
    at = [n for n in given.shares if table.label[n] >= 0]
    weight, right = [given.weight[n] for n in at], [int(given.shares[n].argmax()) for n in at]
    losses = [-log_softmax(t.logprobs[at], axis=1)[np.arange(len(at)), right] for t in (table, without)]
    expected = [np.average(loss, weights=weight) for loss in losses]
    assert [steps["llm"]["log_loss"], steps["prior"]["log_loss"]] == pytest.approx(expected, rel=1e-5)
    again, alone = correct(without, DOCUMENTS, "soft", Calibration(experts="temperature"), given, 0)
    assert record["temperature"]["value"] == pytest.approx(alone["temperature"]["value"])
    np.testing.assert_allclose(both.probs, again.probs, atol=1e-6)


def test_the_content_free_prior_is_that_of_the_context(table) -> None:
    with pytest.raises(InputError, match="make them with `redct predict"):
        correct(table, DOCUMENTS, "soft", Calibration("content_free"), Answers(), 0)
    free = np.array([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]], dtype=np.float32)
    stored = LabelTable(
        table.labels,
        [*table.ids, "content-free:N/A|target=coffee", "content-free:...|target=tea"],
        np.append(table.label, [2, 2]),
        np.vstack([table.probs, free]),
        np.vstack([table.logprobs, np.log(free)]),
        np.append(table.margin, [1, 1]),
    )
    corrected, _ = correct(stored, DOCUMENTS, "soft", Calibration("content_free"), Answers(), 0)
    assert corrected.ids == table.ids
    for n in (1, 2, 3, 4):
        expected = table.probs[n] / free[n % 2]
        np.testing.assert_allclose(corrected.probs[n], expected / expected.sum(), atol=1e-5)


def test_of_equally_likely_labels_the_llms_own_stays() -> None:
    even = np.array([[0.5, 0.5], [0.5, 0.5], [1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    label, logs = np.array([1, 0, 0, 1]), np.log(even.clip(1e-6))
    table = LabelTable(["a", "b"], [d.id for d in DOCUMENTS[:4]], label, even, logs, logs[:, 0] * 0)
    corrected, _ = correct(table, DOCUMENTS[:4], "soft", Calibration("batch"), Answers(), 0)
    assert corrected.label.tolist() == [1, 0, 0, 1]
