"""A regression as a formula, such as `favor ~ age + C(source)`: a label on columns of the corpus."""

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from redct.errors import InputError
from redct.evidence.estimates.questions import Link, Question

Floats = npt.NDArray[np.float64]
Values = Sequence[str | None]


@dataclass(frozen=True)
class Formula:
    """A formula that was taken apart.

    Args:
        label: The label on its left.
        terms: What stands on its right, in patsy's language.
        columns: The columns that the right side names.
    """

    label: str
    terms: str
    columns: tuple[str, ...]


def parse(formula: str, labels: Sequence[str]) -> Formula:
    """Takes a formula apart.

    Args:
        formula: A label, `~` and terms in patsy's language, which is R's: `age + C(source)`, `age * C(source)`,
            `np.log(age)`, `Q("a column")`.
        labels: The labels of the task; on the left one may stand in quotes.

    Raises:
        InputError: When it is no formula, or its left side is no label.
    """
    left, tilde, terms = formula.partition("~")
    label = left.strip().strip("\"'`")
    if not tilde or not terms.strip():
        raise InputError(f"--formula: found {formula!r}, expected LABEL ~ TERMS, such as {labels[0]} ~ age")
    if label not in labels:
        raise InputError(f"--formula: {label!r} is no label (task.labels); expected one of {', '.join(labels)}")
    return Formula(label, terms.strip(), tuple(_names(terms)))


def regression(formula: Formula, columns: Mapping[str, Values], link: Link) -> Question:
    """Asks for the coefficients of a regression.

    A column is numeric where all its values are numbers. A document without a value in some column is left out.

    Args:
        formula: Of `parse`.
        columns: The named columns, (N,) each.
        link: `linear`: coefficients are differences in the label's probability; or `logistic`: in its log odds.

    Raises:
        InputError: When the terms cannot be evaluated.
    """
    n = len(next(iter(columns.values())))
    known = np.ones(n, dtype=np.bool_)
    for values in columns.values():
        known &= np.array([value is not None and bool(value.strip()) for value in values])
    if not known.any():
        raise InputError(f"--formula: no document has a value in each of {', '.join(columns)}")
    kept = np.flatnonzero(known)
    names, found = _matrix(formula.terms, {name: _typed(values, kept) for name, values in columns.items()}, len(kept))
    x = np.zeros((n, len(names)))
    x[kept] = found
    left_out = n - len(kept)
    notes = [f"--formula: {left_out:,} documents left out that lack a value in {', '.join(columns)}"]
    return Question(names, x, np.eye(len(names)), False, link, notes if left_out else ())


def _names(terms: str) -> list[str]:
    """Returns the columns that the terms name: all names but the functions of patsy and numpy."""
    import patsy  # noqa: PLC0415 - half a second, and only formulas need it

    functions = {name for name in dir(patsy.builtins) if not name.startswith("_")} | {"np"}
    names: list[str] = []
    for code in _evaluated(
        lambda: [f.code for t in patsy.ModelDesc.from_formula(terms).rhs_termlist for f in t.factors]
    ):
        for node in ast.walk(ast.parse(code, mode="eval")):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Q":
                names += [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
            elif isinstance(node, ast.Name) and node.id not in functions:
                names.append(node.id)
    if not names:
        raise InputError(f"--formula: found no column in {terms.strip()!r}, expected at least one")
    return list(dict.fromkeys(names))


def _typed(values: Values, kept: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Returns numbers where all values are, else texts."""
    texts = np.array([str(values[n]).strip() for n in kept])
    try:
        numbers = texts.astype(np.float64)
    except ValueError:
        return texts
    return numbers if np.isfinite(numbers).all() else texts


def _matrix(terms: str, columns: Mapping[str, npt.NDArray[Any]], n: int) -> tuple[list[str], Floats]:
    import patsy  # noqa: PLC0415

    # Nothing of this module is to be seen by a formula; numpy is, as in statsmodels.
    scope = patsy.EvalEnvironment([{"np": np}])
    action = patsy.NAAction(NA_types=[])  # a row that is left out here would be missing below
    with np.errstate(all="ignore"):  # what is not finite is refused below
        found = _evaluated(lambda: patsy.dmatrix(terms, dict(columns), scope, NA_action=action))
    matrix = np.asarray(found, dtype=np.float64)
    if len(matrix) != n or not np.isfinite(matrix).all():
        raise InputError(f"--formula: {terms!r} has no finite value for some documents, expected numbers")
    return list(found.design_info.column_names), matrix


def _evaluated(what: Callable[[], Any]) -> Any:  # noqa: ANN401 - patsy has no types
    try:
        return what()
    except InputError:
        raise
    except Exception as error:  # whatever a formula does
        said = str(error).splitlines()
        raise InputError(f"--formula: cannot be evaluated: {said[0] if said else type(error).__name__}") from None
