"""From a ledger into every form and back, and what other programs read in the files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redct.documents import Document
from redct.errors import InputError
from redct.experts import Answer, Choice, Ledger
from redct.experts.exchange import FORMS, spreadsheet, take, write
from redct.experts.exchange.flat import guarded, unguarded
from redct.task import Columns, Task

TASK = Task(
    ["FAVOR", "=AGAINST", "'none\"<&>"],
    Columns(context={"target": "target"}),
    definitions={"FAVOR": 'for "it" & more\n<b>'},
)
SUFFIX = {name: form.suffixes[0] for name, form in FORMS.items()}
HOSTILE = [
    "=1+1", "'=1", "''=1", "\"'=1\"", "'", "'quoted'", "+1", "-1", "@SUM(A1)", "\t=1", "\r\n=1", " =1", "\u00a0=1",
    "\uff1d1+1", "\uff20x", "\ufeff=1", "\u200b-1", "#N/A", "#REF!", "a\rb\r\nc\nd", "a\tb", ",;\"\"", "_x000D_",
    "_x005F_x000D_", "\x00\x01\x07\x1f\x7f", "\x85\u2028\u2029", "\ufffe\uffff", "\u202eabc\u202c", "👩‍👩‍👧 🇪🇺",
    " spaces ", "NA", "null", "None", "1", "01", "1e5", "TRUE", "2026-01-01", "<script>alert(1)</script>", "عربى",
    "\U0010ffff", "",
]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
NAMES = TEXTS.filter(lambda name: name.strip() != "")
KINDS = st.sampled_from(["label", "label", "label", "skip", "flag", "undo", "resolution", "reopen"])
MOMENTS = st.datetimes().map(lambda moment: f"{moment.isoformat(timespec='milliseconds')}+01:00")
SECONDS = st.none() | st.floats(0, 1e6)


@st.composite
def studies(draw: st.DrawFn) -> tuple[list[Document], list[Answer]]:
    ids = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    documents = [Document(each, draw(TEXTS), {"target": draw(TEXTS)}, None) for each in ids]
    answers = []
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(KINDS)
        label = draw(st.sampled_from(TASK.labels)) if kind in ("label", "resolution") else None
        said = (draw(st.sampled_from(ids)), draw(NAMES), kind, label, draw(TEXTS), draw(MOMENTS), draw(SECONDS))
        answers.append(Answer(*said))
    return documents, answers


@contextmanager
def ledger_of(path: Path, ids: list[str], answers: list[Answer] = ()) -> Iterator[Ledger]:
    path.unlink(missing_ok=True)
    with Ledger(path) as ledger:
        ledger.add_round("experts", "random", 1, {}, ids, Choice(np.arange(len(ids)), np.ones(len(ids))))
        ledger.record_all(answers)
        yield ledger


def said(answer: Answer) -> tuple[object, ...]:
    return (
        answer.document,
        answer.annotator,
        answer.kind,
        answer.label,
        answer.note,
        answer.answered_at,
        answer.duration_seconds,
    )


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=25, deadline=None)
@given(study=studies())
def test_nothing_is_lost(tmp_path_factory: pytest.TempPathFactory, form: str, study) -> None:
    documents, answers = study
    folder = tmp_path_factory.getbasetemp()
    ids, path = [document.id for document in documents], folder / f"there{SUFFIX[form]}"
    with ledger_of(folder / "from.sqlite", ids, answers) as ledger:
        recorded = ledger.answers()
        write(path, form, documents, recorded, TASK, dict.fromkeys(ids, 1), {ids[0]: "FAVOR"})
        assert take(ledger, str(path), form, TASK).recorded == 0
    with ledger_of(folder / "to.sqlite", ids) as ledger:
        taken = take(ledger, str(path), form, TASK)
        assert [said(each) for each in ledger.answers()] == [said(each) for each in recorded]
        assert {each.origin for each in ledger.answers()} <= {f"import:{path.name}"}
        assert (taken.recorded, taken.known, taken.problems) == (len(recorded), 0, [])
        again = take(ledger, str(path), form, TASK)
        assert (again.recorded, again.known) == (0, len(recorded))
        assert len(ledger.answers()) == len(recorded)


@pytest.mark.parametrize("text", HOSTILE)
def test_the_guard_comes_off_exactly(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert unguarded(guarded(guarded(text))) == guarded(text)


@given(st.text("'\"= \t\r\n+-@a\uff1d\u200b", max_size=6))
def test_no_guarded_text_begins_like_a_formula(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    assert cell[:1] not in tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")
    assert cell.strip(' \n"')[:1] not in tuple("=+-@\uff1d")


DOCUMENTS = [Document(f"d{i}", text, {"target": "=t"}, None) for i, text in enumerate(HOSTILE)]
ANSWERS = [
    Answer(f"d{i}", "ann@x.org" if i % 2 else "=bob", "label", TASK.labels[i % 3], note, "2026-01-02T03:04:05Z", i / 7)
    for i, note in enumerate(HOSTILE)
]


def written(tmp_path: Path, form: str, **more) -> Path:
    path = tmp_path / f"out{SUFFIX[form]}"
    numbered = [Answer(**{**{f: getattr(a, f) for f in a.__slots__}, "number": i}) for i, a in enumerate(ANSWERS, 1)]
    write(path, form, DOCUMENTS, numbered, TASK, {"d0": 2}, **more)
    return path


def test_pandas_reads_the_csv(tmp_path: Path) -> None:
    path = written(tmp_path, "csv", suggestions={"d1": "=AGAINST"})
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, engine="python")
    assert frame.id.tolist() == [document.id for document in DOCUMENTS]
    assert [unguarded(x) for x in frame.text] == HOSTILE
    assert frame.context[0] == "target: =t"
    assert (frame["round"][0], frame["round"][1]) == ("2", "")
    assert (frame.suggestion[1], frame.suggestion[0]) == ("'=AGAINST", "")
    assert frame.annotator.tolist()[:2] == ["'=bob", "ann@x.org"]
    risky = frame[["text", "note", "label", "annotator", "suggestion"]].to_numpy().ravel()
    assert not [cell for cell in risky if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff20")]


def test_pandas_and_openpyxl_read_the_xlsx_and_no_cell_is_a_formula(tmp_path: Path) -> None:
    path = written(tmp_path, "xlsx")
    frame = pd.read_excel(path, dtype=str, keep_default_na=False)
    plain = [i for i, text in enumerate(HOSTILE) if spreadsheet._UNFIT.search(text) is None]
    assert len(plain) > 30
    assert [frame.text[i] for i in plain] == [HOSTILE[i] for i in plain]
    cells = [cell for row in openpyxl.load_workbook(path).active.iter_rows(min_row=2) for cell in row]
    assert {cell.data_type for cell in cells if isinstance(cell.value, str)} <= {"s", "inlineStr"}
    assert {cell.data_type for cell in cells} <= {"s", "inlineStr", "n"}


def test_jsonl_is_read_as_json(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in written(tmp_path, "jsonl").read_text("utf-8").split("\n")[:-1]]
    assert [row["text"] for row in rows] == HOSTILE
    assert rows[3]["duration_seconds"] == 3 / 7
    assert rows[0]["suggestion"] is None


def test_label_studio_tasks_have_the_documented_shape(tmp_path: Path) -> None:
    path = written(tmp_path, "label_studio", suggestions={"d1": "FAVOR"})
    tasks = json.loads(path.read_text("utf-8"))
    assert [task["data"]["text"] for task in tasks] == HOSTILE
    task = tasks[1]
    view = ET.parse(path.with_suffix(".xml")).getroot()
    objects = {f"${name}": name for name in task["data"]}
    assert all(text.get("value") in objects for text in view.iter("Text"))
    choices = view.find("Choices")
    assert [choice.get("value") for choice in choices] == TASK.labels
    assert choices[0].get("hint") == TASK.definitions["FAVOR"]
    names = {text.get("name") for text in view.iter("Text")}
    assert choices.get("toName") in names
    for result in [task["annotations"][0]["result"], task["predictions"][0]["result"]]:
        (item,) = result
        assert (item["from_name"], item["to_name"]) == (choices.get("name"), choices.get("toName"))
        assert item["type"] == "choices"
        assert set(item["value"]["choices"]) <= set(TASK.labels)
    annotation = task["annotations"][0]
    assert (annotation["completed_by"], annotation["lead_time"]) == ({"email": "ann@x.org"}, 1 / 7)
    assert "completed_by" not in tasks[0]["annotations"][0]  # no address: Label Studio would refuse the file
    assert tasks[0]["predictions"] == []


def test_argilla_records_have_the_shape_of_from_json(tmp_path: Path) -> None:
    records = json.loads(written(tmp_path, "argilla", suggestions={"d1": "FAVOR"}).read_text("utf-8"))
    record = records[1]
    assert set(record) == {"id", "fields", "metadata", "suggestions", "responses", "vectors", "_server_id"}
    assert record["fields"] == {"text": HOSTILE[1], "context": "target: =t"}
    assert record["suggestions"] == {"label": {"value": "FAVOR", "score": None, "agent": "redct"}}
    (response,) = record["responses"]["label"]
    assert (response["value"], response["status"]) == (TASK.labels[1], "submitted")
    assert all(isinstance(value, str | int) for each in records for value in each["metadata"].values())
    assert records[3]["responses"]["label"][0]["user_id"] == response["user_id"]
    assert records[2]["responses"]["label"][0]["user_id"] != response["user_id"]


def test_skips_and_withdrawn_answers_show_as_what_stands(tmp_path: Path) -> None:
    history = [
        Answer("d0", "a@b.c", label="FAVOR", number=1),
        Answer("d0", "a@b.c", "skip", number=2),
        Answer("d1", "a@b.c", label="FAVOR", number=3),
        Answer("d1", "a@b.c", "undo", number=4),
        Answer("d1", "d@b.c", "resolution", "FAVOR", number=5),
    ]
    write(tmp_path / "x.json", "label_studio", DOCUMENTS[:2], history, TASK)
    first, second = json.loads((tmp_path / "x.json").read_text())
    assert [(a["id"], a["was_cancelled"], a["result"]) for a in first["annotations"]] == [(2, True, [])]
    assert second["annotations"] == []
    write(tmp_path / "y.json", "argilla", DOCUMENTS[:2], history, TASK)
    assert [record["responses"] for record in json.loads((tmp_path / "y.json").read_text())] == [{}, {}]


def test_excel_limits_are_told_and_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.xlsx"
    write(path, "xlsx", [Document("long", "😀" * 16_383 + "a", {}, None)], [], TASK)
    assert openpyxl.load_workbook(path).active["B2"].value == "😀" * 16_383 + "a"
    path.unlink()
    with pytest.raises(InputError, match="text of document 'long' has more than the 32,767 characters"):
        write(path, "xlsx", [Document("long", "😀" * 16_384, {}, None)], [], TASK)
    monkeypatch.setattr(spreadsheet, "_ROWS", 3)
    write(path, "xlsx", DOCUMENTS[:2], [], TASK)
    before = path.read_bytes()
    with pytest.raises(InputError, match="more than 2 rows, which Excel does not allow"):
        write(path, "xlsx", DOCUMENTS[:3], [], TASK)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("form", [form for form in FORMS if form != "jsonl"])  # that is a file without a column
def test_an_empty_queue_is_a_file_too(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"x{SUFFIX[form]}"
    write(path, form, [], [], TASK)
    with ledger_of(tmp_path / "l.sqlite", ["d"]) as ledger:
        assert take(ledger, str(path), form, TASK).recorded == 0
