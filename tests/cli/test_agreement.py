import pytest

from redct.cli.agreement import show_agreement
from redct.experts import Answer
from redct.experts.agreement import report

LABELS = ["[red]", "blue", "unused"]


def test_figures_and_words_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    one = {f"d{i}": LABELS[i % 2] for i in range(20)}
    two = one | {"d0": "blue"}
    answers = [Answer(d, who, label=said) for who, all_ in (("ann", one), ("bob", two)) for d, said in all_.items()]
    show_agreement(report(answers, LABELS, one), {"d0": "a text"})
    printed = capsys.readouterr().out
    assert "Agreement over 20 documents" in printed
    assert "[red]" in printed  # no markup
    assert "ann, bob" in printed
    assert "bob, the LLM" in printed
    assert "confused: '[red]' and 'blue' on 1 document, such as d0 (a text)" in printed
    assert "nan" not in printed


def test_without_answers_there_are_only_words(capsys: pytest.CaptureFixture[str]) -> None:
    show_agreement(report([], LABELS))
    assert capsys.readouterr().out == "no labels of annotators yet, so no agreement to measure\n"
