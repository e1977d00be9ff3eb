"""Questions: groups of documents, and formulas as statsmodels reads them."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from redct.errors import InputError
from redct.evidence.estimates import by_group
from redct.evidence.estimates.formulas import parse, regression

LABELS = ["favor", "not favor"]
EVERYONE = np.ones(60, bool)


def test_groups_are_compared_with_the_largest() -> None:
    values = ["news"] * 35 + ["blog"] * 15 + [" ", None] * 5
    question = by_group(values, "source", EVERYONE)
    assert list(question.names) == ["news", "blog", "(none)", "blog - news", "(none) - news"]
    means = np.linalg.lstsq(question.columns, np.arange(60.0), rcond=None)[0]
    np.testing.assert_allclose(question.contrast @ means, [17, 42, 54.5, 25, 37.5])
    assert not question.notes


def test_groups_with_few_answers_are_left_out() -> None:
    values = ["news"] * 30 + ["blog"] * 20 + ["chat"] * 10
    answered = np.arange(60) % 10 != 9
    question = by_group(values, "source", answered)
    assert list(question.names) == ["news", "blog", "blog - news"]
    assert not question.columns[50:].any()
    assert "left out" in question.notes[0]
    assert "chat (9)" in question.notes[0]
    for few, many in (
        ("found 1 groups with 10 answers or more", ["a"] * 60),
        ("found 60 different", map(str, range(60))),
    ):
        with pytest.raises(InputError, match=f"--by source: {few}"):
            by_group(list(many), "source", answered)


@pytest.mark.parametrize("terms", ["age + C(source)", "age * source", "np.log(age) - 1", 'Q("a year") + I(age**2)'])
def test_terms_mean_what_they_mean_in_statsmodels(terms: str) -> None:
    rng = np.random.default_rng(0)
    columns = {
        "age": [str(n) for n in rng.integers(18, 80, 60)],
        "source": rng.choice(["news", "blog", "chat"], 60).tolist(),
        "a year": [f"{n}.0" for n in rng.integers(2000, 2020, 60)],
    }
    formula = parse(f"favor ~ {terms}", LABELS)
    question = regression(formula, {name: columns[name] for name in formula.columns}, "linear")
    data = pd.DataFrame({"age": map(float, columns["age"]), "source": columns["source"]})
    data["a year"], data["y"] = [float(x) for x in columns["a year"]], rng.random(60)
    known = smf.ols(f"y ~ {terms}", data)
    assert list(question.names) == known.exog_names
    np.testing.assert_allclose(question.columns, known.exog)


def test_documents_without_a_value_have_no_part() -> None:
    formula = parse("'not favor' ~ age", LABELS)
    assert formula.label == "not favor"
    question = regression(formula, {"age": ["1", None, "3", " ", "5"]}, "logistic")
    np.testing.assert_array_equal(question.columns, [[1, 1], [0, 0], [1, 3], [0, 0], [1, 5]])
    assert question.notes == ["--formula: 2 documents left out that lack a value in age"]


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("favor", "expected LABEL ~ TERMS, such as favor ~ age"),
        ("for ~ age", "'for' is no label"),
        ("favor ~ age +", "cannot be evaluated"),
        ("favor ~ 1", "found no column"),
        ("favor ~ np.log(age - 100)", "has no finite value"),
        ("favor ~ C(age, Treatment('x'))", "cannot be evaluated"),
    ],
)
def test_what_is_no_formula_is_refused_in_one_line(formula: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        regression(parse(formula, LABELS), {"age": ["20", "30", "40"]}, "linear")
    assert str(caught.value).startswith("--formula: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_formula_reaches_nothing_but_columns_and_functions() -> None:
    """Any other name is taken for a column, which then is missing."""
    assert parse("favor ~ __import__('os').getpid() + age", LABELS).columns == ("__import__", "age")
