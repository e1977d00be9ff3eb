"""The reserve: documents with known labels that serve nothing but to find out when the edge may answer."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from redct.errors import InputError
from redct.files import sha256
from redct.training.answers import Answers


def draw_reserve(answers: Answers, share: float, seed: int) -> npt.NDArray[np.int64]:
    """Draws some of the experts' documents; as these were drawn uniformly from the corpus, so are they.

    Args:
        answers: The experts' answers.
        share: How many of them, above 0 and below 1.
        seed: Of the draw.

    Returns:
        Ascending positions in the corpus, round(share * answers) of them.

    Raises:
        InputError: When the experts' documents were not drawn uniformly, or a part would be empty.
    """
    asked, expected = f"data.reserve: {share:g} of the experts' answers", "or files with gold labels"
    if not answers.shares:
        raise InputError(f"{asked}, but no experts were asked; expected data.experts with strategy random, {expected}")
    if set(answers.strategies) != {"random"}:
        chosen = f"their documents were chosen by {', '.join(answers.strategies) or 'nobody knows whom'}"
        raise InputError(f"{asked}, but {chosen}; expected data.experts.strategy random, {expected}")
    if answers.unanswered:
        missing = f"{answers.unanswered:,} of the chosen documents have no answer yet"
        raise InputError(f"{asked}, but {missing}; expected answers to all of them, {expected}")
    if answers.uneven:
        raise InputError(f"{asked}, but {answers.uneven}; expected one uniform draw from the corpus, {expected}")
    count = round(share * len(answers.shares)) if 0 < share < 1 else 0
    if not 0 < count < len(answers.shares):
        total = len(answers.shares)
        raise InputError(f"{asked} ({total:,}) leaves a part empty; expected a share between 0 and 1, {expected}")
    # The seed itself drew the experts' documents: a second draw by it would not be independent of the first.
    rng = np.random.default_rng([seed, 1])
    return np.sort(rng.permutation(sorted(answers.shares))[:count])


def check_unused(reserve: Iterable[str], targets: Path, trained_on: str | None) -> None:
    """Checks that no document of the reserve served training or validation.

    Args:
        reserve: Ids of the reserve.
        targets: The study's targets.parquet, which says what each document served.
        trained_on: SHA-256 of the targets.parquet that the checkpoint was trained with, as the checkpoint has it.

    Raises:
        InputError: When one did, or it cannot be known.
    """
    if not targets.is_file() or sha256(targets) != trained_on:
        raise InputError(f"{targets}: found other targets than the checkpoint was trained with; run `redct fit` again")
    ids = set(reserve)
    rows = pq.read_table(targets, columns=["id", "part"]).to_pydict()
    served = Counter(part for document, part in zip(rows["id"], rows["part"], strict=True) if document in ids)
    for part, what in (("train", "training"), ("validation", "validation")):
        if count := served[part]:
            found = f"{count:,} of its {len(ids):,} documents served {what}"
            raise InputError(f"data.reserve: {found} ({targets}); run `redct fit` again")
