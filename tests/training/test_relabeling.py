from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logsumexp
from training.answered import one_hot

from redct.errors import InputError
from redct.hub.store import LabelTable
from redct.training.relabeling import TargetKind, build_targets, choose_validation


@pytest.fixture
def table() -> LabelTable:
    rng = np.random.default_rng(0)
    logprobs = rng.normal(-3, 2, (7, 3))
    logprobs[5] = [0.0, -800.0, -np.inf]
    probs = np.exp(logprobs - logsumexp(logprobs, axis=1, keepdims=True))
    label = logprobs.argmax(axis=1)
    top = np.sort(logprobs, axis=1)
    margin = top[:, 2] - top[:, 1]
    for row in (2, 6):
        label[row], probs[row], logprobs[row], margin[row] = -1, np.nan, np.nan, np.nan
    return LabelTable(
        labels=["a", "b", "c"],
        ids=[f"d{i}" for i in range(7)],
        label=label,
        probs=probs.astype(np.float32),
        logprobs=logprobs.astype(np.float32),
        margin=margin.astype(np.float32),
    )


def other_label(table: LabelTable, row: int) -> int:
    return (int(table.label[row]) + 1) % 3


@pytest.mark.parametrize("kind", ["hard", "soft", "expit"])
def test_provenance_and_labels(table: LabelTable, kind: TargetKind) -> None:
    wrong = other_label(table, 3)
    targets = build_targets(table, one_hot({3: wrong, 2: 1}, 3), kind)
    assert targets.keep.tolist() == [0, 1, 2, 3, 4, 5]
    assert targets.source == ["llm", "llm", "expert", "expert", "llm", "llm"]
    expected = table.label[:6].copy()
    expected[[2, 3]] = [1, wrong]
    assert targets.label.tolist() == expected.tolist()
    assert targets.probs.dtype == targets.weight.dtype == np.float32
    assert targets.weight.tolist() == [1.0] * 6
    assert np.isfinite(targets.probs).all()
    assert (targets.probs.argmax(axis=1) == targets.label).all()
    assert table.label[2] == -1  # the table itself is left as it was


def test_hard_targets_are_one_hot(table: LabelTable) -> None:
    targets = build_targets(table, one_hot({2: 1}, 3), "hard")
    np.testing.assert_array_equal(targets.probs, np.eye(3)[targets.label])


def test_soft_targets_are_distributions(table: LabelTable) -> None:
    targets = build_targets(table, one_hot({2: 1}, 3), "soft", expert_eps=0.02)
    np.testing.assert_array_equal(targets.probs[0], table.probs[0])
    np.testing.assert_allclose(targets.probs[2], [0.01, 0.98, 0.01], rtol=1e-6)
    np.testing.assert_allclose(targets.probs.sum(axis=1), 1, rtol=1e-6)


def test_votes_are_shares_in_soft_targets_and_a_majority_in_hard_ones(table: LabelTable) -> None:
    """By hand: two say c and one says a; each vote is a row of its own, and the target their mean."""
    votes = {0: np.array([1, 0, 2]) / 3}
    soft = build_targets(table, votes, "soft", expert_eps=0.02)
    rows = np.array([[0.98, 0.01, 0.01], [0.01, 0.01, 0.98], [0.01, 0.01, 0.98]])
    np.testing.assert_allclose(soft.probs[0], rows.mean(axis=0), rtol=1e-6)
    assert build_targets(table, votes, "hard").probs[0].tolist() == [0, 0, 1]
    np.testing.assert_allclose(build_targets(table, votes, "expit").probs[0], [0.0001, 0.0001, 0.9998], rtol=1e-6)
    assert soft.label[0] == 2


def test_of_tied_labels_the_one_that_the_llm_thinks_likelier_counts(table: LabelTable) -> None:
    tied = {0: [0.5, 0.5, 0.0], 2: [0.0, 0.5, 0.5]}  # document 2 has no LLM label
    likelier = int(table.probs[0, :2].argmax())
    assert build_targets(table, tied, "soft").label.tolist()[:3] == [likelier, table.label[1], 1]


@pytest.mark.parametrize("kind", ["hard", "soft", "expit"])
def test_what_experts_left_out_gets_no_target(table: LabelTable, kind: TargetKind) -> None:
    targets = build_targets(table, one_hot({3: 1}, 3), kind, left_out=[0, 2, 4])
    assert targets.keep.tolist() == [1, 3, 5]
    assert targets.source == ["llm", "expert", "llm"]


def test_default_expert_row_is_that_of_red_ct_for_three_labels(table: LabelTable) -> None:
    for kind in ("soft", "expit"):
        np.testing.assert_allclose(
            build_targets(table, one_hot({0: 2}, 3), kind).probs[0], [0.0001, 0.0001, 0.9998], rtol=1e-6
        )


def test_expit_targets_are_those_of_red_ct(table: LabelTable) -> None:
    targets = build_targets(table, one_hot({0: 2}, 3), "expit", expert_eps=0.5)
    np.testing.assert_allclose(targets.probs[1], expit(table.logprobs[1]), rtol=1e-6)
    np.testing.assert_allclose(targets.probs[5 - 1], [0.5, 0.0, 0.0], atol=1e-7)
    np.testing.assert_allclose(targets.probs[0], [0.0001, 0.0001, 0.9998], rtol=1e-6)


def test_senseless_options_are_refused(table: LabelTable) -> None:
    with pytest.raises(InputError, match="targets: found 'firm', expected one of hard, soft, expit"):
        build_targets(table, {}, "firm")  # type: ignore[arg-type]
    for eps in (-0.1, 1.0):
        with pytest.raises(InputError, match="expert_eps"):
            build_targets(table, {}, "soft", expert_eps=eps)
    right = [1.0, 0.0, 0.0]
    for answers in ({7: right}, {-1: right}, {0: [1.0, 0.0]}, {0: [0.5, 0.0, 0.0]}):
        with pytest.raises(ValueError, match="answers: found"):
            build_targets(table, answers, "hard")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["llm", "expert"])), max_size=150),
    st.floats(0, 0.99),
    st.integers(0, 100),
    st.integers(0, 30),
)
def test_validation_is_a_stratified_share(
    rows: list[tuple[int, str]], share: float, seed: int, min_expert: int
) -> None:
    label, source = np.array([r[0] for r in rows], dtype=int), [r[1] for r in rows]
    positions, kind = choose_validation(label, source, share, seed, min_expert)
    n_expert = round(share * source.count("expert"))
    assert kind == ("expert" if n_expert >= max(min_expert, 1) else "llm")
    assert len(set(positions.tolist())) == len(positions)
    assert all(source[p] == kind for p in positions)
    wanted, total = round(share * source.count(kind)), Counter(label.tolist())
    taken, pool = Counter(label[positions].tolist()), Counter(c for c, s in rows if s == kind)
    spare = sum(min(pool[c], total[c] - 1) for c in pool)
    assert len(positions) == min(wanted, spare)
    assert all(total[c] - taken[c] >= 1 for c in total)
    if len(positions) == wanted and all(share * pool[c] + 1 < min(pool[c], total[c] - 1) for c in pool):
        assert all(abs(taken[c] - wanted * pool[c] / max(source.count(kind), 1)) < 1 for c in pool)


def test_validation_prefers_enough_experts() -> None:
    label = np.tile([0, 0, 0, 1], 300)
    source = ["expert"] * 600 + ["llm"] * 600
    positions, kind = choose_validation(label, source, 0.1, 0)
    assert (kind, len(positions)) == ("expert", 60)
    assert (label[positions] == 1).sum() == 15
    assert positions.max() < 600
    positions, kind = choose_validation(label, source, 0.08, 0)
    assert (kind, len(positions)) == ("llm", 48)
    assert positions.min() >= 600
    assert choose_validation(label, source, 0.08, 1)[0].tolist() != positions.tolist()
    assert choose_validation(label, source, 0.08, 0)[0].tolist() == positions.tolist()


def test_targets_that_only_train_are_in_no_validation() -> None:
    label, source = np.zeros(600, dtype=int), ["expert"] * 200 + ["unweighted"] * 200 + ["llm"] * 200
    positions, kind = choose_validation(label, source, 0.5, 0)
    assert (kind, len(positions), positions.max() < 200) == ("expert", 100, True)
    positions, kind = choose_validation(label, source, 0.2, 0)
    assert (kind, len(positions), positions.min() >= 400) == ("llm", 40, True)


def test_validation_of_nothing_is_empty() -> None:
    assert choose_validation([0, 1], ["llm", "expert"], 0.0, 0, min_expert=0)[0].tolist() == []
    assert choose_validation([], [], 0.2, 0)[0].dtype == np.int64
    with pytest.raises(InputError, match="validation share: found 1"):
        choose_validation([0], ["llm"], 1.0, 0)
    with pytest.raises(ValueError, match="one per target"):
        choose_validation([0, 1], ["llm"], 0.2, 0)
