"""The summary of a label store against one made from the whole table."""

import numpy as np
import pytest

from redct.documents import Document
from redct.errors import InputError
from redct.evidence import confusion, evaluate, evaluate_confusion, summarise_labels
from redct.hub.rows import LabelRow
from redct.hub.store import LabelStore

LABELS = ["x", "y", "never"]


@pytest.fixture
def store(tmp_path) -> LabelStore:
    rng = np.random.default_rng(3)
    store = LabelStore(tmp_path)
    store.begin({"model": "m"}, LABELS)
    rows = []
    for n in rng.permutation(400):
        if n % 11 == 0:
            rows.append(LabelRow(f"d{n}", error="no label"))
            continue
        p = np.append(rng.dirichlet([1, 1]), 0.0)
        margin = float(abs(np.log(p[0] / p[1])))
        rows.append(LabelRow(f"d{n}", LABELS[int(p.argmax())], p.tolist(), p.tolist(), margin))
    for start in range(0, 400, 60):
        store.write_part(rows[start : start + 60], rank=start % 3)
    return store


def test_summary(store) -> None:
    documents = [Document(f"d{n}", "x", {}, [None, *LABELS[:2]][n % 3]) for n in range(300)]  # the store holds more
    table = store.read(LABELS).aligned([d.id for d in documents])
    summary = summarise_labels(documents, store, LABELS)
    assert summary.counts.tolist() == [int((table.label == k).sum()) for k in range(3)]
    assert summary.unlabeled == int((table.label < 0).sum()) > 0
    for k in range(2):
        np.testing.assert_allclose(
            summary.quartiles[k], np.quantile(table.margin[table.label == k], [0.25, 0.5, 0.75]), rtol=1e-6
        )
    assert np.isnan(summary.quartiles[2]).all()
    known = [n for n, d in enumerate(documents) if d.gold is not None]
    gold = [LABELS.index(str(documents[n].gold)) for n in known]
    assert summary.confusion.tolist() == confusion(gold, table.label[known], 3).tolist()
    assert evaluate_confusion(summary.confusion) == evaluate(gold, table.label[known], 3)


def test_documents_without_label_are_named(store) -> None:
    documents = [Document(name, "x", {}, None) for name in ("d1", "new", "d2", "newer")]
    with pytest.raises(InputError, match=r"2 of 4 documents have no label \(the first: 'new'\)"):
        summarise_labels(documents, store, LABELS)
    with pytest.raises(InputError, match="task has"):
        summarise_labels(documents, store, ["x"])
