"""What a bundle answers."""

from pathlib import Path

import numpy as np
from edge.conftest import TEXTS

from redct.edge import Bundle


def test_answers_do_not_depend_on_what_else_is_asked(bundle: Path) -> None:
    loaded = Bundle(bundle, threads=2)
    texts = [f"{text} {i}" for i in range(4) for text in TEXTS]
    together, backwards = loaded.classify(texts), loaded.classify(texts[::-1])
    alone = [loaded.classify([text]) for text in texts]
    assert together.labels == backwards.labels[::-1] == [each.labels[0] for each in alone]
    np.testing.assert_allclose(together.probs, backwards.probs[::-1], atol=1e-6)
    np.testing.assert_allclose(together.probs, np.concatenate([each.probs for each in alone]), atol=1e-6)
    assert len(set(together.labels)) > 1
