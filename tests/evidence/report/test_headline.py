"""The verdict: by the interval of the difference, not by the better figure."""

import pytest

from redct.evidence.report.headline import verdict


def interval(value: float, low: float, high: float) -> dict:
    return {"value": value, "low": low, "high": high, "method": "bca"}


def metrics(llm: tuple[float, float, float] | None, majority: float = 0.2, ceiling: dict | None = None) -> dict:
    gaps = {"majority class": interval(majority + 0.2, majority, majority + 0.4)}
    if llm is not None:
        gaps = {"LLM": interval(*llm), **gaps}
    return {
        "documents": 1234,
        "scores": {"edge classifier": {"macro_f1": interval(0.8, 0.77, 0.83)}},
        "differences": [{"other": name, "metrics": {"macro_f1": gap}} for name, gap in gaps.items()],
        "ceilings": {} if ceiling is None else {"LLM": ceiling},
    }


@pytest.mark.parametrize(
    ("gap", "word"),
    [
        ((0.02, 0.01, 0.03), "Yes, better than the LLM"),
        ((0.00, -0.04, 0.03), "Yes, as good as the LLM"),
        ((-0.02, -0.04, -0.01), "Yes, nearly as good as the LLM"),
        ((-0.08, -0.11, -0.05), "No, worse than the LLM"),
        ((0.01, -0.08, 0.10), "Not shown"),
    ],
)
def test_the_verdict_follows_the_interval(gap, word) -> None:
    found, why = verdict(metrics(gap))
    assert found == word
    assert "On 1,234 held-out documents" in why
    assert "80.0 % [77.0, 83.0]" in why
    assert f"difference {100 * gap[0]:+.1f} [{100 * gap[1]:+.1f}, {100 * gap[2]:+.1f}]" in why


def test_a_classifier_no_better_than_the_majority_is_said_to_be_so() -> None:
    assert "not shown to be better than majority class" in verdict(metrics((0.0, -0.01, 0.01), majority=-0.1))[1]
    assert "majority" not in verdict(metrics((0.0, -0.01, 0.01)))[1]


def test_the_human_ceiling_stands_beside_it() -> None:
    assert "Two experts agree on 90.0 % [85.0, 95.0]" in verdict(
        metrics((0.0, -0.01, 0.01), ceiling={"experts": interval(0.9, 0.85, 0.95)})
    )[1]  # fmt: skip


def test_without_scores_or_an_llm_nothing_is_claimed() -> None:
    assert verdict(None) == ("Not known yet", "No held-out document has been scored: run redct test.")
    word, why = verdict(metrics(None))
    assert word == "Cannot be told"
    assert "the LLM's labels of the same documents are missing" in why
