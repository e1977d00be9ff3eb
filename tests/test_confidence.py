import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, softmax

from redct.confidence import IMPORT_FLOOR, log_floored, log_normalise, margins, normalise

rows = arrays(
    np.float64,
    st.tuples(st.integers(0, 6), st.integers(2, 5)),
    elements=st.one_of(st.floats(-2000, 5), st.just(-np.inf)),
)


@given(rows)
def test_normalise_equals_scipy(logprobs: np.ndarray) -> None:
    logprobs[:, 0] = np.where(np.isfinite(logprobs).any(axis=1), logprobs[:, 0], -3.0)
    probs = normalise(logprobs)
    assert probs.dtype == np.float64
    np.testing.assert_allclose(probs, softmax(logprobs, axis=1), atol=1e-12)
    np.testing.assert_allclose(probs.sum(axis=1), 1.0)
    np.testing.assert_allclose(log_normalise(logprobs), log_softmax(logprobs, axis=1), atol=1e-12)


@given(rows)
def test_margins_equal_sorting_each_row(logprobs: np.ndarray) -> None:
    logprobs[:, 0] = np.where(np.isfinite(logprobs).any(axis=1), logprobs[:, 0], -3.0)
    expected = [sorted(row)[-1] - sorted(row)[-2] for row in logprobs.tolist()]
    np.testing.assert_array_equal(margins(logprobs), np.array(expected))


def test_margin_does_not_depend_on_the_mass_outside_the_labels() -> None:
    logprobs = np.random.default_rng(0).normal(-8, 3, (50, 4))
    np.testing.assert_allclose(margins(logprobs), margins(log_softmax(logprobs, axis=1)))


def test_a_single_possible_label_is_certain() -> None:
    logprobs = np.array([[-np.inf, -900.0, -np.inf]])
    assert normalise(logprobs).tolist() == [[0, 1, 0]]
    assert margins(logprobs).tolist() == [np.inf]


@pytest.mark.parametrize("bad", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
def test_impossible_rows_are_refused_by_number(bad: list[float]) -> None:
    for function in (normalise, log_normalise, margins):
        with pytest.raises(ValueError, match="row 1"):
            function(np.array([[0.0, -1.0], bad]))


@pytest.mark.parametrize("shape", [(3,), (3, 0), (2, 2, 2)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        normalise(np.zeros(shape))


def test_one_label_has_no_margin() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        margins(np.zeros((3, 1)))


def test_hard_imported_labels_get_a_finite_margin() -> None:
    logs = log_floored([[1.0, 0.0], [0.5, 0.5]])
    np.testing.assert_allclose(logs, np.log([[1.0, IMPORT_FLOOR], [0.5, 0.5]]))
    np.testing.assert_allclose(margins(logs), [-np.log(1e-6), 0.0])
