import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from redct.training.error_model import (
    Evidence,
    corrected,
    cross_fit_errors,
    fit_errors,
    gather,
    standardised,
    student_logprobs,
)
from redct.training.regression import fit

K = 3


def corpus(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An LLM that prefers label 0 and errs on one kind of document: log-probabilities, embeddings and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(K, size=n)
    kind = rng.random(n) < 0.3
    embeddings = rng.normal(size=(n, 20)) * 0.5
    embeddings[np.arange(n), truth] += 1.5
    embeddings[kind, 10] += 3
    seen = np.where(kind, (truth + 1) % K, truth)
    logprobs = rng.normal(size=(n, K)) * 0.7
    logprobs[np.arange(n), seen] += 2.5
    logprobs[:, 0] += 1
    return log_softmax(logprobs, axis=1), embeddings, truth


def loss(logprobs: np.ndarray, truth: np.ndarray) -> float:
    return float(-logprobs[np.arange(len(truth)), truth].mean())


@pytest.mark.parametrize("unequal", [False, True])
def test_a_tenth_of_answers_corrects_the_other_documents(unequal) -> None:
    gains = []
    for seed in range(5):
        logprobs, embeddings, truth = corpus(1500, seed)
        rng = np.random.default_rng(seed)
        inclusion = rng.uniform(0.04, 0.16, len(truth)) if unequal else np.full(len(truth), 0.1)
        at = np.flatnonzero(rng.random(len(truth)) < inclusion)
        others = np.setdiff1d(np.arange(len(truth)), at)
        evidence = gather(logprobs, embeddings, seed)
        found = corrected(fit_errors(evidence.rows(at), np.eye(K)[truth[at]], 1 / inclusion[at]), evidence)
        np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
        before, after = (np.mean(x.argmax(axis=1)[others] == truth[others]) for x in (logprobs, found))
        gains.append(after - before)
        assert loss(found[others], truth[others]) < loss(logprobs[others], truth[others]) - 0.1
        # What cross-fitting says about the answers holds for the documents that nobody answered.
        judged = cross_fit_errors(evidence.rows(at), np.eye(K)[truth[at]], truth[at], 1 / inclusion[at], seed)
        assert judged.log_loss == pytest.approx(loss(found[others], truth[others]), abs=0.15)
    assert min(gains) > 0.03
    assert np.mean(gains) > 0.08


def test_few_answers_leave_a_good_llm_nearly_as_it_is() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(K, size=500)
    logprobs = log_softmax(rng.normal(size=(500, K)) + 4 * np.eye(K)[truth], axis=1)
    evidence = gather(logprobs, rng.normal(size=(500, 30)), 0)
    at = rng.permutation(500)[:50]
    found = corrected(fit_errors(evidence.rows(at), np.eye(K)[truth[at]], np.ones(50)), evidence)
    changed = found.argmax(axis=1) != logprobs.argmax(axis=1)
    assert changed.mean() < 0.05
    assert np.mean(found.argmax(axis=1) == truth) >= np.mean(logprobs.argmax(axis=1) == truth) - 0.01


def test_without_answers_that_count_the_llm_stays() -> None:
    logprobs, embeddings, _ = corpus(50, 1)
    evidence = gather(logprobs, embeddings, 0)
    model = fit_errors(evidence.rows([0]), softmax(logprobs[:1], axis=1), [1.0])
    np.testing.assert_allclose(corrected(model, evidence), logprobs, atol=0.15)


def test_a_student_is_never_taught_by_the_document_it_judges() -> None:
    rng = np.random.default_rng(1)
    vectors = standardised(rng.normal(size=(200, 150)))  # enough dimensions to learn every label by heart
    label = rng.integers(2, size=200)
    found = student_logprobs(vectors, np.eye(2)[label], seed=0)
    assert np.mean(found.argmax(axis=1) == label) == pytest.approx(0.5, abs=0.15)
    by_heart = fit(np.eye(2)[label], np.ones(200), features=vectors, ridge=1 / 3).logprobs((), vectors)
    assert np.mean(by_heart.argmax(axis=1) == label) > 0.85


def test_vectors_are_centred_and_of_length_one() -> None:
    vectors = standardised(np.random.default_rng(2).normal(5, 3, size=(400, 8)))
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-5)
    assert np.square(vectors).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)
    assert not np.isnan(standardised(np.ones((5, 3)))).any()


def test_embeddings_may_be_absent() -> None:
    logprobs, _, truth = corpus(300, 3)
    evidence = gather(logprobs, None, 0)
    assert evidence.student is None
    assert evidence.vectors.shape == (300, 0)
    found = corrected(fit_errors(evidence, np.eye(K)[truth], np.ones(300)), evidence)
    assert loss(found, truth) < loss(logprobs, truth)
    assert isinstance(evidence.rows([1, 2]), Evidence)
