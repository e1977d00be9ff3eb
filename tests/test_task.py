import pytest

from redct.errors import InputError
from redct.task import Columns, Example, Prompt, Task, load_task

GOOD = {"labels": ["a", "b"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["a"]}, "at least two"),
        ({"labels": ["a", "a"]}, "'a' twice"),
        ({"labels": ["a", " "]}, "empty entry"),
        ({"verbalizers": {"c": "C"}}, "'c' is no label"),
        ({"verbalizers": {"a": "b"}}, "'b' twice"),
        ({"definitions": {"c": "C"}}, "'c' is no label"),
        ({"gold_values": {"0": "c"}}, "'c' is no label"),
        ({"columns": Columns(text="")}, "empty name"),
        ({"columns": Columns(text="x", gold="x")}, "'x' twice"),
        ({"columns": Columns(gold="g", context={"c": "g"})}, "the answer would be shown"),
        ({"question": "About {target}?"}, "'target' is no context field"),
        ({"question": "About {target?"}, "task.question"),
        ({"examples": [Example("x", "c")]}, "number 1: 'c' is no label"),
        ({"examples": [Example("x", "a", {"t": "y"})]}, "context fields"),
        ({"prompt": Prompt(shots=-1)}, "found -1"),
        ({"prompt": Prompt(shots=1), "examples": [Example("x", "a")]}, "task.examples has 0 of 'b'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(change, message) -> None:
    with pytest.raises(InputError, match=message):
        Task(**{**GOOD, **change})


def test_gold_values() -> None:
    task = Task(labels=["False", "True"], gold_values={"0": "False", "1": "True"})
    assert [task.label_of(value) for value in ("0", "1", "True")] == ["False", "True", "True"]
    with pytest.raises(KeyError):
        task.label_of("2")
    assert task.gold_choices() == ["0", "1", "False", "True"]


def test_yaml_is_strict(tmp_path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("labels: [a, b]\ncolumns: {text: t, context: {target: T}}\nquestion: 'About {target}?'\n")
    assert load_task(path).columns.context == {"target": "T"}
    for text, message in [
        ("labels: [a, b]\nlables: [c]\n", "lables"),
        ("labels: [a, b]\ncolumns: {txt: t}\n", "txt"),
        ("labels: a\n", "labels"),
        ("labels: [a, b]\nprompt: {layout: sideways}\n", "sideways"),
        ("columns: {text: t}\n", "labels"),
    ]:
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            load_task(path)
    with pytest.raises(InputError, match="no such file"):
        load_task(tmp_path / "absent.yaml")


def test_hash_depends_on_every_field() -> None:
    changes = [
        {},
        {"codebook": "x"},
        {"question": "x"},
        {"definitions": {"a": "x"}},
        {"prompt": Prompt(layout="text_first")},
    ]
    assert len({Task(**{**GOOD, **change}).hash() for change in changes}) == len(changes)
