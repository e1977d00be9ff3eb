import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy as reference_entropy

from redct.experts.scores import disagreement, entropy, least_confidence

RNG = np.random.default_rng(0)
P, Q = RNG.dirichlet(np.full(5, 0.4), 50), RNG.dirichlet(np.full(5, 0.4), 50)


def test_scores_equal_scipy() -> None:
    np.testing.assert_allclose(least_confidence(P), 1 - np.sort(P)[:, -1])
    np.testing.assert_allclose(entropy(P), reference_entropy(P, axis=1, base=5))
    np.testing.assert_allclose(disagreement(P, Q), jensenshannon(P, Q, axis=1, base=2) ** 2, atol=1e-12)


@pytest.mark.parametrize("score", [least_confidence, entropy])
def test_scores_run_from_certain_to_even(score) -> None:
    certain, even, unknown = score(np.array([[0.0, 1.0, 0.0], [1 / 3] * 3, [np.nan] * 3]))
    assert certain == 0
    assert even == pytest.approx(2 / 3 if score is least_confidence else 1)
    assert np.isnan(unknown)


def test_disagreement_runs_from_same_to_disjoint() -> None:
    llm = np.array([[0.2, 0.8], [1.0, 0.0], [np.nan, np.nan]])
    edge = np.array([[0.2, 0.8], [0.0, 1.0], [0.5, 0.5]])
    np.testing.assert_allclose(disagreement(llm, edge), [0, 1, np.nan], atol=1e-12)
    np.testing.assert_allclose(disagreement(edge, llm), [0, 1, np.nan], atol=1e-12)
