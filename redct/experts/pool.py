"""What is known about the documents that can be chosen."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """The documents that can be chosen for the experts, as the LLM, the edge classifier and the encoder see them.

    Args:
        label: (N,) the LLM's label, 0 to K - 1, or -1 where it gave none.
        probs: (N, K) the LLM's label distributions; rows of nan where it gave none.
        margin: (N,) the LLM's margin, at least 0, inf allowed; nan where it gave none.
        edge_probs: (N, K) label distributions of edge classifiers that did not train on the document.
        embeddings: (N, D) of the encoder.
    """

    label: Ints
    probs: npt.NDArray[np.floating]
    margin: npt.NDArray[np.floating]
    edge_probs: npt.NDArray[np.floating] | None = None
    embeddings: npt.NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        """Checks shapes and ranges.

        Raises:
            ValueError: When they do not fit together.
        """
        if self.label.ndim != 1 or self.probs.ndim != 2:
            raise ValueError(f"label {self.label.shape}, probs {self.probs.shape}: expected (N,) and (N, K)")
        n = len(self)
        for name, array, shape in (
            ("probs", self.probs, (n, self.n_labels)),
            ("margin", self.margin, (n,)),
            ("edge_probs", self.edge_probs, (n, self.n_labels)),
        ):
            if array is not None and array.shape != shape:
                raise ValueError(f"{name}: found shape {array.shape}, expected {shape}")
        if self.embeddings is not None and (self.embeddings.ndim != 2 or len(self.embeddings) != n):
            raise ValueError(f"embeddings: found shape {self.embeddings.shape}, expected ({n}, D)")
        self._check_values()

    def __len__(self) -> int:
        return len(self.label)

    @property
    def n_labels(self) -> int:
        """K, the number of labels of the task."""
        return int(self.probs.shape[1])

    def rows(self, which: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Pool":
        """Returns the documents at these positions, or where this mask is true."""
        edge = None if self.edge_probs is None else self.edge_probs[which]
        embeddings = None if self.embeddings is None else self.embeddings[which]
        return replace(
            self,
            label=self.label[which],
            probs=self.probs[which],
            margin=self.margin[which],
            edge_probs=edge,
            embeddings=embeddings,
        )

    def _check_values(self) -> None:
        if len(self) and (self.label.min() < -1 or self.label.max() >= self.n_labels):
            found = f"{self.label.min()} to {self.label.max()}"
            raise ValueError(f"label: found {found}, expected -1 to {self.n_labels - 1}")
        if (self.margin < 0).any():
            raise ValueError(f"margin: found {np.nanmin(self.margin)}, expected 0 or more")
        for name, probs in (("probs", self.probs), ("edge_probs", self.edge_probs)):
            # Comparisons with nan are false: rows of nan pass.
            if probs is not None and ((probs < 0).any() or (np.abs(probs.sum(axis=1) - 1) > 1e-3).any()):
                raise ValueError(f"{name}: expected rows of probabilities that sum to 1")
        if self.embeddings is not None and not np.isfinite(self.embeddings).all():
            raise ValueError("embeddings: expected finite numbers")
