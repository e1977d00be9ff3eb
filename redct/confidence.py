"""From log-probabilities of the labels to probabilities and margins."""

import numpy as np
import numpy.typing as npt

IMPORT_FLOOR = 1e-6
"""Smallest probability that imported labels are given, so that their logarithm stays finite."""


def normalise(logprobs: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Turns unnormalised log-probabilities into label distributions (softmax over the labels).

    Args:
        logprobs: (N, K); -inf marks a label that cannot be, as long as one of its row is finite.

    Returns:
        (N, K), each row sums to 1.

    Raises:
        ValueError: When a row holds nan or +inf, or no finite value.
    """
    values = _checked(logprobs)
    # Subtracting the maximum changes nothing in the quotient and keeps exp from overflowing.
    weights = np.exp(values - values.max(axis=1, keepdims=True))
    probs: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return probs


def log_normalise(logprobs: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Logarithm of `normalise`, exact also where a probability is too small for a float.

    Args:
        logprobs: (N, K); -inf stays -inf.

    Returns:
        (N, K), the exponentials of each row sum to 1.

    Raises:
        ValueError: When a row holds nan or +inf, or no finite value.
    """
    values = _checked(logprobs)
    values = values - values.max(axis=1, keepdims=True)
    logs: npt.NDArray[np.float64] = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    return logs


def margins(logprobs: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Difference of the two largest log-probabilities: small where the LLM hesitated between two labels.

    Args:
        logprobs: (N, K), K >= 2; normalised or not, the margin is the same.

    Returns:
        (N,), at least 0; inf where only one label is possible.

    Raises:
        ValueError: When there are fewer than two labels, or a row holds nan or +inf, or no finite value.
    """
    values = _checked(logprobs)
    if values.shape[1] < 2:
        raise ValueError(f"logprobs: found {values.shape[1]} label(s) per row, expected at least 2")
    top = np.partition(values, -2, axis=1)[:, -2:]
    difference: npt.NDArray[np.float64] = top[:, 1] - top[:, 0]
    return difference


def log_floored(probs: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Logarithm of probabilities, none below `IMPORT_FLOOR`: hard labels get a finite margin.

    Args:
        probs: Any shape, values in [0, 1].

    Returns:
        The same shape, values in [log(1e-6), 0].
    """
    logs: npt.NDArray[np.float64] = np.log(np.maximum(np.asarray(probs, dtype=np.float64), IMPORT_FLOOR))
    return logs


def _checked(logprobs: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(logprobs, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] == 0:
        raise ValueError(f"logprobs: found shape {values.shape}, expected (documents, labels)")
    wrong = np.isnan(values).any(axis=1) | (values == np.inf).any(axis=1) | ~np.isfinite(values).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"logprobs, row {row}: found {values[row].tolist()}, expected a finite value, no nan or inf")
    return values
