"""Whether a bundle answers as the checkpoint it was made from."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from redct.evidence import confusion, metrics_of

LEAST_AGREEMENT: Final = 0.99
MOST_F1_LOST: Final = 0.01
MOST_DIFFERENCE: Final = 0.02


@dataclass(frozen=True)
class Parity:
    """A bundle beside its checkpoint, on the same documents.

    Args:
        documents: Number of documents.
        agreement: Share of documents with the same label.
        macro_f1_checkpoint: Macro-F1 of the checkpoint's labels on the documents with a known label, 0 to 1.
        macro_f1_bundle: Macro-F1 of the bundle's labels.
        mean_difference: Mean absolute difference of a probability.
        largest_difference: Largest absolute difference of a probability.
    """

    documents: int
    agreement: float
    macro_f1_checkpoint: float
    macro_f1_bundle: float
    mean_difference: float
    largest_difference: float

    @property
    def equal(self) -> bool:
        """Whether the bundle may stand for the checkpoint."""
        lost = self.macro_f1_checkpoint - self.macro_f1_bundle
        return (
            self.agreement >= LEAST_AGREEMENT
            and lost <= MOST_F1_LOST + 1e-12
            and self.mean_difference <= MOST_DIFFERENCE
        )

    def __str__(self) -> str:
        return (
            f"{self.agreement:.2%} of {self.documents:,} labels agree (at least {LEAST_AGREEMENT:.0%}), macro F1 "
            f"{100 * self.macro_f1_checkpoint:.1f} -> {100 * self.macro_f1_bundle:.1f} (at most "
            f"{100 * MOST_F1_LOST:.0f} point less), mean difference of a probability {self.mean_difference:.4f} "
            f"(at most {MOST_DIFFERENCE})"
        )


def compare(checkpoint: npt.ArrayLike, bundle: npt.ArrayLike, label: npt.ArrayLike) -> Parity:
    """Compares two classifiers' probabilities for N documents and K labels.

    Args:
        checkpoint: (N, K) probabilities, N >= 1.
        bundle: (N, K) probabilities of the same documents; NaN in a document without an answer, which counts as
            a wrong label and as differences of 1.
        label: (N,) indices of the labels that macro-F1 is measured against; -1 where none is known or may be used.
    """
    exact, ours = np.asarray(checkpoint, dtype=np.float64), np.asarray(bundle, dtype=np.float64)
    answered = np.isfinite(ours[:, 0])
    said = np.where(answered, np.where(answered[:, None], ours, 0).argmax(axis=1), -1)
    difference = np.where(answered[:, None], np.abs(exact - ours), 1)
    right = np.asarray(label)
    known = right >= 0
    scores = [
        metrics_of(confusion(right[known], labels[known], exact.shape[1]))["macro_f1"]
        for labels in (exact.argmax(axis=1), said)
    ]
    return Parity(
        documents=len(exact),
        agreement=float((said == exact.argmax(axis=1)).mean()),
        macro_f1_checkpoint=float(scores[0]),
        macro_f1_bundle=float(scores[1]),
        mean_difference=float(difference.mean()),
        largest_difference=float(difference.max()),
    )
