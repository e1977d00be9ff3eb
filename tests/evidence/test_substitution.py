import numpy as np
import pytest
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests

from redct.evidence.substitution import FEWEST_DOCUMENTS, human_ceiling, stand_in_test

Votes = dict[str, dict[str, str]]


def annotated(skills: dict[str, float], machine: float, n: int = 120, seed: int = 0) -> tuple[Votes, dict[str, str]]:
    """Annotators and a machine that say the truth with some probability, and else one of three labels."""
    rng = np.random.default_rng(seed)

    def said(truth: str, skill: float) -> str:
        return truth if rng.random() < skill else "xyz"[rng.integers(3)]

    truths = ["xyz"[k] for k in rng.integers(0, 3, n)]
    votes = {f"d{i}": {who: said(truth, skill) for who, skill in skills.items()} for i, truth in enumerate(truths)}
    return votes, {f"d{i}": said(truth, machine) for i, truth in enumerate(truths)}


def by_the_paper(votes: Votes, machine: dict[str, str], epsilon: float) -> tuple[float, float, list[float]]:
    """Section 3 of the paper, written out: winning rate, advantage probability, p-values."""
    names = sorted({name for each in votes.values() for name in each})
    p_values, advantages = [], []
    for j in names:
        w_f, w_h = [], []
        for i, each in votes.items():
            others = [each[k] for k in each if k != j]
            s_f = np.mean([machine[i] == other for other in others])
            s_h = np.mean([each[j] == other for other in others])
            w_f.append(float(s_f >= s_h))
            w_h.append(float(s_h >= s_f))
        d = np.array(w_h) - np.array(w_f)
        statistic = (d.mean() - epsilon) / (d.std(ddof=1) / np.sqrt(len(d)))
        p_values.append(float(student.cdf(statistic, len(d) - 1)))
        advantages.append(np.mean(w_f))
    rejected = multipletests(p_values, alpha=0.05, method="fdr_by")[0]
    return float(np.mean(rejected)), float(np.mean(advantages)), p_values


@pytest.mark.parametrize("machine", [0.95, 0.75, 0.55, 0.3])
@pytest.mark.parametrize("epsilon", [0.1, 0.2])
def test_equals_the_paper_written_out(machine: float, epsilon: float) -> None:
    votes, said = annotated({"a": 0.8, "b": 0.7, "c": 0.9, "d": 0.6}, machine)
    found = stand_in_test(votes, said, epsilon)
    assert found is not None
    rate, advantage, p_values = by_the_paper(votes, said, epsilon)
    assert found.winning_rate == rate
    assert found.advantage.value == pytest.approx(advantage)
    assert [each.p_value for each in found.annotators] == pytest.approx(p_values)
    assert found.passes == (rate >= 0.5)


def test_a_good_machine_passes_and_a_poor_one_does_not() -> None:
    experts = {"a": 0.8, "b": 0.8, "c": 0.8}
    good, poor = (stand_in_test(*annotated(experts, skill, 200)) for skill in (0.9, 0.3))
    assert good is not None
    assert good.passes
    assert poor is not None
    assert not poor.passes
    assert poor.winning_rate == 0


def test_few_annotators_or_documents() -> None:
    assert stand_in_test(*annotated({"a": 0.8, "b": 0.8}, 0.9)) is None
    assert stand_in_test(*annotated({"a": 0.8, "b": 0.8, "c": 0.8}, 0.9, FEWEST_DOCUMENTS - 1)) is None
    votes, machine = annotated({"a": 0.8, "b": 0.8, "c": 0.8}, 0.9, 60)
    for i in range(40):
        del votes[f"d{i}"]["c"]
    del machine["d59"]
    found = stand_in_test(votes, machine)
    assert found is not None
    assert found.left_out == {"c": 19}
    assert [(each.annotator, each.documents) for each in found.annotators] == [("a", 59), ("b", 59)]


def test_annotators_who_never_differ_from_the_machine() -> None:
    votes, machine = annotated({"a": 1, "b": 1, "c": 1}, 1, 40)
    found = stand_in_test(votes, machine)
    assert found is not None
    assert [each.p_value for each in found.annotators] == [0, 0, 0]
    assert found.winning_rate == 1


def test_the_ceiling_is_the_agreement_of_pairs() -> None:
    votes, machine = annotated({"a": 0.9, "b": 0.7, "c": 0.5}, 0.8, 150)
    del votes["d0"]["a"], votes["d0"]["b"]  # one expert is no pair
    found = human_ceiling(votes, machine)
    assert found is not None
    assert found.documents == 149
    pairs, by_machine = [], []
    for document, each in list(votes.items())[1:]:
        said = list(each.values())
        pairs.append(np.mean([said[i] == said[j] for i in range(3) for j in range(3) if i != j]))
        by_machine.append(np.mean([label == machine[document] for label in said]))
    assert found.experts.value == pytest.approx(np.mean(pairs))
    assert found.machine.value == pytest.approx(np.mean(by_machine))
    difference = np.subtract(by_machine, pairs)
    assert found.difference.value == pytest.approx(difference.mean())
    error = difference.std() / np.sqrt(149)
    assert found.difference.high - found.difference.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert human_ceiling({"d0": {"a": "x"}}, machine) is None


def test_intervals_of_the_advantage_are_those_of_means_over_documents() -> None:
    votes, machine = annotated({"a": 0.8, "b": 0.7, "c": 0.9}, 0.8, 400)
    del votes["d0"]["a"]
    found = stand_in_test(votes, machine, resamples=4000)
    assert found is not None
    scores = []
    for i, each in votes.items():
        agreeing = {k: [machine[i] == each[k], [each[k] == each[other] for other in each if other != k]] for k in each}
        row = {j: np.mean([agreeing[k][0] for k in each if k != j]) >= np.mean(agreeing[j][1]) for j in each}
        scores.append([float(row[j]) if j in row else np.nan for j in "abc"])
    table = np.array(scores)
    for each, column in zip(found.annotators, table.T, strict=True):
        known = column[np.isfinite(column)]
        assert each.advantage.value == pytest.approx(known.mean())
        width = 2 * 1.96 * known.std() / np.sqrt(len(known))
        assert each.advantage.high - each.advantage.low == pytest.approx(width, rel=0.12)
    mean = table[1:].mean(axis=1)
    width = 2 * 1.96 * mean.std() / np.sqrt(len(mean))
    assert found.advantage.high - found.advantage.low == pytest.approx(width, rel=0.12)


def test_intervals_hold_the_advantage_of_endless_documents() -> None:
    experts = {"a": 0.8, "b": 0.7, "c": 0.75}
    truth = stand_in_test(*annotated(experts, 0.7, 40_000, seed=1), resamples=1)
    assert truth is not None
    held = []
    for seed in range(200):
        found = stand_in_test(*annotated(experts, 0.7, 100, seed=seed + 2), resamples=500)
        assert found is not None
        held.append(found.advantage.low <= truth.advantage.value <= found.advantage.high)
    assert 0.90 <= np.mean(held) <= 0.99
