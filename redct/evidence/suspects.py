"""Answers of people, or gold labels, that are probably wrong: what a second look is best spent on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

FEWEST_PER_LABEL = 5
"""Documents that a label needs to say how confident a classifier is when it is right."""


@dataclass(frozen=True)
class Suspect:
    """A document whose label is probably wrong.

    Args:
        row: Its position.
        label: The label it has, 0 to K-1.
        likelier: The one that the probabilities speak for.
        quality: How far they speak for its own label, 0 to 1: that label's probability.
    """

    row: int
    label: int
    likelier: int
    quality: float


def find_suspects(label: npt.ArrayLike, probs: npt.ArrayLike) -> list[Suspect]:
    """Finds labels that are probably wrong, by confident learning (Northcutt, Jiang & Chuang 2021), through cleanlab.

    Documents are counted by their label and the one whose probability is above the mean that it has on its own
    documents; of each such pair of different labels, as many documents are suspected as this count comes to, those with
    the largest difference of the two probabilities.

    Args:
        label: (N,) 0 to K-1, the label to check; -1 where there is none.
        probs: (N, K) label distributions of somebody who has not learned from these labels: an LLM, the edge classifier
            on held-out documents, or out-of-fold predictions. Rows of nan are left out.

    Returns:
        The suspects, the most suspect first; none where fewer than two labels have 5 documents.
    """
    given, values = np.asarray(label, dtype=np.int64), np.asarray(probs, dtype=np.float64)
    usable = np.flatnonzero((given >= 0) & np.isfinite(values).all(axis=1))
    present = np.flatnonzero(np.bincount(given[usable], minlength=values.shape[1]) >= FEWEST_PER_LABEL)
    rows = usable[np.isin(given[usable], present)]
    if len(present) < 2:
        return []
    from cleanlab.filter import find_label_issues  # noqa: PLC0415 - slow to import

    # A label that hardly occurs has no threshold of its own, so it can neither be suspected nor be the likelier one.
    place = np.searchsorted(present, given[rows])
    among = values[rows][:, present] + 1e-12
    among /= among.sum(axis=1, keepdims=True)
    found = find_label_issues(place, among, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [
        Suspect(int(rows[n]), int(given[rows[n]]), int(present[among[n].argmax()]), float(among[n, place[n]]))
        for n in found
    ]


def agreed_suspects(label: npt.ArrayLike, probs: Sequence[npt.ArrayLike]) -> list[Suspect]:
    """Finds labels that are suspect to all of several raters, who take the same other label for likelier.

    Args:
        label: (N,) 0 to K-1, the label to check; -1 where there is none.
        probs: Of each rater, at least one, (N, K) as for `find_suspects`.

    Returns:
        The suspects with the mean of their qualities, the most suspect first.
    """
    found = [{(s.row, s.likelier): s for s in find_suspects(label, each)} for each in probs]
    shared = set(found[0]).intersection(*found[1:])
    agreed = [replace(found[0][key], quality=float(np.mean([each[key].quality for each in found]))) for key in shared]
    return sorted(agreed, key=lambda suspect: (suspect.quality, suspect.row))
