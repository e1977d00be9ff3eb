"""Drift: counts without texts, and when they mean that the world is another."""

import json
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from edge.conftest import LABELS, TEXTS

from redct.edge import Bundle, BundleError, Classified
from redct.edge.runtime import LENGTHS, add, add_summary, drift, read_summaries, stability, summarise


def documents(n: int, seed: int, shift: float = 0.0, longer: int = 0, strange: float = 0.0) -> Classified:
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1, (n, 3)) + np.array([shift, 0, 0])
    probs = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    lengths = generator.poisson(20 + longer, n) + 2
    unknown = generator.binomial(lengths, 0.01 + strange)
    labels = [LABELS[i] for i in probs.argmax(axis=1)]
    return Classified(labels, probs, probs.max(axis=1) < 0.4, [None] * n, lengths, unknown)


INFO = {"labels": LABELS, "reference": summarise(documents(3000, 1)), "sha256": "a" * 64}


def test_a_summary_counts(bundle: Path) -> None:
    found = Bundle(bundle).classify([*TEXTS, "", "\udcff"])
    summary = summarise(found)
    assert (summary["documents"], summary["errors"], summary["deferred"]) == (len(TEXTS), 2, 0)
    assert summary["tokens"] == found.lengths.sum()
    assert summary["labels"] == Counter(label for label in found.labels if label)
    top = [int(20 * float(p)) for p in found.probs[: len(TEXTS)].max(axis=1)]
    assert summary["confidence"] == [top.count(i) for i in range(20)]
    edges = [0, *LENGTHS, 10**9]
    expected = [sum(low < n <= high for n in found.lengths.tolist()) for low, high in pairwise(edges)]
    assert summary["length"] == expected


def test_certainty_and_the_longest_have_a_bin() -> None:
    sure = Classified(["a", "a"], np.array([[1, 0], [1, 0]], "f4"), np.zeros(2, bool), [None] * 2,
                      np.array([5000, 1]), np.array([5000, 0]))  # fmt: skip
    summary = summarise(sure)
    assert summary["confidence"][-1] == 2
    assert summary["length"][-1] == summary["length"][0] == 1
    assert summary["unknown"] == [1, 0, 0, 1]


def test_sums_are_those_of_all_documents() -> None:
    one, other = documents(40, 1), documents(60, 2, shift=3)
    both = Classified(
        one.labels + other.labels,
        *(np.concatenate([getattr(each, name) for each in (one, other)]) for name in ("probs", "abstained")),
        one.errors + other.errors,
        *(np.concatenate([getattr(each, name) for each in (one, other)]) for name in ("lengths", "unknown")),
    )
    assert add(summarise(one), summarise(other)) == summarise(both)


def test_weights_count_as_the_effective_number_of_documents() -> None:
    found = documents(500, 3)
    same = summarise(found, np.full(500, 7.0))
    assert same["documents"] == pytest.approx(500)
    assert same["confidence"] == pytest.approx(summarise(found)["confidence"])
    w = np.random.default_rng(0).uniform(1, 20, 500)
    weighted = summarise(found, w)
    assert weighted["documents"] == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert sum(weighted["labels"].values()) == pytest.approx(weighted["documents"])
    share = w[[label == "for" for label in found.labels]].sum() / w.sum()
    assert weighted["labels"]["for"] / weighted["documents"] == pytest.approx(share)


def test_the_index_is_the_sum_of_both_divergences() -> None:
    from scipy.stats import entropy

    before, after = np.array([3000, 5000, 2000]), np.array([300, 100, 700])
    p, q = (before + 0.5) / (before + 0.5).sum(), (after + 0.5) / (after + 0.5).sum()
    assert stability(before, after)[0] == pytest.approx(entropy(p, q) + entropy(q, p))


@pytest.mark.parametrize("bins", [2, 3, 5, 17, 20])
def test_the_chance_value_is_a_quantile_of_chi2(bins: int) -> None:
    from scipy.stats import chi2

    chance = stability(np.full(bins, 100), np.full(bins, 30))[1]
    expected = chi2.ppf(0.99, bins - 1) * (1 / (100 * bins) + 1 / (30 * bins))
    assert chance == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("bins", "even", "n", "m"), [(3, 5, 2000, 200), (20, 1, 5000, 50000), (20, 1, 300, 300)])
def test_chance_exceeds_its_value_once_in_a_hundred(bins: int, even: float, n: int, m: int) -> None:
    generator = np.random.default_rng(0)
    above = 0
    for _ in range(1500):
        p = generator.dirichlet(np.full(bins, even))
        index, chance = stability(generator.multinomial(n, p), generator.multinomial(m, p))
        above += index >= chance
    # 15 are expected; 3.5 standard errors more are not. Rare bins may only make it more careful.
    assert above <= 15 + 3.5 * 15**0.5
    assert above > 0


def test_empty_bins_change_nothing() -> None:
    assert stability([5, 5, 0, 0], [9, 1, 0, 0]) == stability([5, 5], [9, 1])
    assert stability([7], [9]) == (0.0, 0.0)
    assert stability([7, 1], [0, 0]) == (0.0, np.inf)


def test_the_same_world_needs_no_audit() -> None:
    lines, due = drift(INFO, summarise(documents(2000, 2)))
    assert not due
    assert lines[-1] == "no re-audit due: every index is below 0.2"
    assert all("no change beyond chance" in line for line in lines[1:-1])


@pytest.mark.parametrize(
    ("change", "feature"), [({"shift": 2.0}, "labels"), ({"longer": 20}, "length"), ({"strange": 0.2}, "unknown")]
)
def test_another_world_needs_an_audit(change: dict[str, float], feature: str) -> None:
    lines, due = drift(INFO, summarise(documents(2000, 2, **change)))
    assert due
    assert lines[-1].startswith("re-audit due: ")
    assert feature in lines[-1]


def test_a_small_change_is_said_and_needs_no_audit() -> None:
    lines, due = drift(INFO, summarise(documents(3000, 2, shift=0.2)))
    assert not due
    assert "changed: against 34.1% -> 40.9%" in lines[1]


def test_too_few_documents_are_said() -> None:
    lines, due = drift(INFO, summarise(documents(20, 2)))
    assert not due
    assert lines[-1].startswith("too few documents to tell")


def test_a_day_adds_up_and_belongs_to_one_bundle(tmp_path: Path) -> None:
    parts = [summarise(documents(20, seed)) for seed in range(3)]
    for part in parts:
        add_summary(tmp_path, "a" * 64, part)
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    found = read_summaries(tmp_path, "a" * 64)
    assert found == {day: add(add(parts[0], parts[1]), parts[2])}
    assert read_summaries(tmp_path, "a" * 64, since="9999-01-01") == {}
    with pytest.raises(BundleError, match=r"summary of bundle aaaaaaaaaaaa, expected bbbbbbbbbbbb"):
        add_summary(tmp_path, "b" * 64, parts[0])
    (tmp_path / "2020-01-01.json").write_text(json.dumps([]))
    with pytest.raises(BundleError, match=r"2020-01-01.json: no summary"):
        read_summaries(tmp_path, "a" * 64)
