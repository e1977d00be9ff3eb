import numpy as np
import pytest

from redct.documents import Document
from redct.hub.rows import error_row, labeled_row, no_label
from redct.task import Task

TASK = Task(labels=["for", "against", "neutral"])
DOCUMENT = Document("7", "We need the tram.", {}, None)


def test_a_labeled_row_holds_the_distribution_and_the_digest_of_its_text():
    logprobs = np.log([0.2, 0.5, 0.1])
    row = labeled_row(DOCUMENT, TASK, logprobs, 0.2, source="logprobs")
    assert (row.id, row.digest, row.label, row.error) == ("7", DOCUMENT.digest(), "against", None)
    np.testing.assert_allclose(row.probs, np.array([0.2, 0.5, 0.1]) / 0.8)
    assert row.margin == pytest.approx(np.log(0.5 / 0.2))
    assert (row.unlabeled_mass, row.source) == (0.2, "logprobs")


@pytest.mark.parametrize(
    ("probs", "unlabeled", "kind"),
    [
        ([0.4, 0.4, 0.1], 0.1, "tie"),
        ([0.2, 0.2, 0.2], 0.4, "tie"),
        ([0.03, 0.01, 0.01], 0.95, "no label"),
        ([np.nan, 0.5, 0.1], 0.4, "not finite"),
        ([0.5, 0.4, 0.1], 0.0, None),
        ([0.5, 0.5 - 1e-6, 0.0], 0.0, None),
    ],
)
def test_a_distribution_that_gives_no_label_is_an_error_row(probs, unlabeled, kind):
    with np.errstate(divide="ignore"):
        row = labeled_row(DOCUMENT, TASK, np.log(probs), unlabeled, max_unlabeled_mass=0.9, reply="x")
    if kind is None:
        assert row.error is None
        return
    assert row.error.startswith(f"{kind}: ")
    assert row.label is None
    assert (row.reply, row.unlabeled_mass, row.digest) == ("x", unlabeled, DOCUMENT.digest())


def test_the_message_of_a_tie_names_the_labels():
    assert no_label(np.log([0.5, 0.5, 1e-9]), TASK.labels, 0.0, 1.0) == (
        "tie: 'for' and 'against' are equally probable (0.500)"
    )


def test_an_error_row_names_the_document_and_why():
    row = error_row(DOCUMENT, "refused: no", reply="no")
    assert (row.id, row.digest, row.label, row.error, row.reply) == ("7", DOCUMENT.digest(), None, "refused: no", "no")
