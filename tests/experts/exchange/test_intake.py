"""Files that people and other programs made: what is taken, and what is said about the rest."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from redct.documents import Document
from redct.errors import InputError
from redct.experts import Answer, Choice, Ledger
from redct.experts.exchange import UnmatchedError, form_of, take, write
from redct.experts.exchange.argilla import user_id
from redct.task import Columns, Task

TASK = Task(["FAVOR", "AGAINST", "NONE"], Columns(id="tweet"))
IDS = ["12", "x", "y", "=z", "'=w", " spaced "]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "experts.sqlite") as ledger:
        ledger.add_round("experts", "random", 1, {}, IDS, Choice(np.arange(len(IDS)), np.ones(len(IDS))))
        yield ledger


def file(tmp_path: Path, name: str, content: str | bytes) -> str:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def said(ledger: Ledger) -> list[tuple[str, str, str, str | None]]:
    return [(a.document, a.annotator, a.kind, a.label) for a in ledger.answers()]


def test_ids_and_labels_are_enough(tmp_path: Path, ledger: Ledger) -> None:
    path = file(tmp_path, "mine.csv", "id,label\n12,FAVOR\nx, AGAINST \ny,\n'=z,NONE\n'=w,NONE\nspaced,FAVOR\n")
    with pytest.raises(UnmatchedError) as refused:
        take(ledger, path, "csv", TASK)
    assert refused.value.problems[0] == (
        "row 2: no annotator, expected a name (in a column, or --annotator for the whole file)"
    )
    assert ledger.answers() == []
    with pytest.raises(UnmatchedError) as refused:  # '=w as people write it is the guarded form of =w
        take(ledger, path, "csv", TASK, "ann")
    assert refused.value.problems == [
        "row 6: id '=w' was never chosen for experts",
        "row 7: id 'spaced' was never chosen for experts",
    ]
    assert str(refused.value) == (
        f"{path}: 2 rows cannot be matched, so nothing was taken (--partial takes the others): "
        "row 6: id '=w' was never chosen for experts; row 7: id 'spaced' was never chosen for experts"
    )
    taken = take(ledger, path, "csv", TASK, "ann", partial=True)
    assert (taken.recorded, taken.known, taken.unanswered, len(taken.problems)) == (3, 0, 1, 2)
    assert said(ledger) == [
        ("12", "ann", "label", "FAVOR"),
        ("x", "ann", "label", "AGAINST"),
        ("=z", "ann", "label", "NONE"),
    ]
    assert {a.origin for a in ledger.answers()} == {"import:mine.csv"}
    assert (
        taken.lines()[0] == f"{path}: answers recorded: 3; rows without an answer: 1; rows that could not be matched: 2"
    )
    assert taken.lines()[1:] == refused.value.problems


def test_the_same_file_twice_adds_nothing_even_after_a_correction(tmp_path: Path, ledger: Ledger) -> None:
    path = file(tmp_path, "mine.csv", "id,label,annotator\nx,FAVOR,ann\nx,FAVOR,ann\ny,NONE, bob \n")
    assert take(ledger, path, "csv", TASK).recorded == 2
    ledger.record(Answer("x", "ann", label="NONE"))
    again = take(ledger, path, "csv", TASK)
    assert (again.recorded, again.known) == (0, 3)
    page = file(tmp_path, "other.csv", "id,label,annotator\nx,NONE,ann\nx,FAVOR,bob\n")  # the first is her last word
    assert take(ledger, page, "csv", TASK).recorded == 1
    changed = file(tmp_path, "third.csv", "id,label,annotator\nx,FAVOR,ann\n")
    assert take(ledger, changed, "csv", TASK).recorded == 1
    assert said(ledger)[-1] == ("x", "ann", "label", "FAVOR")


def test_every_kind_of_wrong_row_is_named_by_its_number(tmp_path: Path, ledger: Ledger) -> None:
    rows = [
        "id,label,annotator,kind,answered_at,duration_seconds,ledger_row",
        "nobody,FAVOR,ann,,,,",
        "x,favor,ann,,,,",
        "x,OTHER,ann,,,,",
        "x,FAVOR,,,,,",
        "x,FAVOR,ann,,yesterday,,",
        'x,FAVOR,ann,,,"12,5",',
        "x,FAVOR,ann,,,-1,",
        "x,FAVOR,ann,,,nan,",
        "x,FAVOR,ann,guess,,,",
        "x,FAVOR,ann,skip,,,",
        "x,FAVOR,ann,reopen,,,",
        ",FAVOR,ann,,,,",
        "x,FAVOR,ann,,,,first",
        "y,FAVOR,ann,,,,",
        "y,NONE,ann,,,,",
        "12,FAVOR,ann,,,,",
    ]
    path = file(tmp_path, "mine.csv", "\n".join(rows))
    with pytest.raises(UnmatchedError) as refused:
        take(ledger, path, "csv", TASK)
    known = "expected one of FAVOR, AGAINST, NONE"
    assert refused.value.problems == [
        "row 2: id 'nobody' was never chosen for experts",
        f"row 3: label 'favor', {known}; did you mean 'FAVOR'?",
        f"row 4: label 'OTHER', {known}",
        "row 5: no annotator, expected a name (in a column, or --annotator for the whole file)",
        "row 6: answered_at 'yesterday', expected a time such as 2026-01-31T14:05:00+01:00",
        "row 7: duration_seconds '12,5', expected seconds such as 12.5",
        "row 8: duration_seconds '-1', expected seconds such as 12.5",
        "row 9: duration_seconds 'nan', expected seconds such as 12.5",
        "row 10: kind 'guess', expected label, skip, flag, undo, resolution, reopen",
        "row 11: answer to 'x': a skip with label 'FAVOR'",
        "row 12: answer to 'x': a reopen with label 'FAVOR'",
        "row 13: no id, expected that of a document",
        "row 14: ledger_row 'first', expected a whole number or nothing",
        "row 16: 'ann' says 'NONE' about 'y', and 'FAVOR' in row 15",
    ]
    assert str(refused.value).endswith("; and 11 more")
    assert "\n" not in str(refused.value)
    assert ledger.answers() == []
    taken = take(ledger, path, "csv", TASK, partial=True)
    assert said(ledger) == [("12", "ann", "label", "FAVOR")]
    assert taken.problems == refused.value.problems


def test_rows_are_counted_as_a_spreadsheet_does(tmp_path: Path, ledger: Ledger) -> None:
    path = file(tmp_path, "mine.csv", 'id,label,text\nx,FAVOR,"two\nlines, and\nthree"\ny,WRONG,\n')
    with pytest.raises(UnmatchedError, match="row 3: label 'WRONG'"):
        take(ledger, path, "csv", TASK, "ann")
    path = file(tmp_path, "mine.jsonl", '{"id": "x", "label": "FAVOR"}\n{"id": 12, "label": "WRONG"}\n')
    with pytest.raises(UnmatchedError, match="row 2: label 'WRONG'"):
        take(ledger, path, "jsonl", TASK, "ann")


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffID , Label\r\n12,FAVOR\r\n".encode(),
        b"tweet\tlabel\ttext\n12\tFAVOR\tM\xfcnchen\n",
        b"label,extra,id\nFAVOR,1,12\n\n\n",
    ],
)
def test_encodings_tabs_and_other_orders(tmp_path: Path, ledger: Ledger, content: bytes) -> None:
    assert take(ledger, file(tmp_path, "mine.csv", content), "csv", TASK, "ann").recorded == 1
    assert said(ledger) == [("12", "ann", "label", "FAVOR")]


def test_a_workbook_as_excel_saves_it(tmp_path: Path, ledger: Ledger) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["id", "label", "annotator", "answered_at", "duration_seconds", "note", None])
    sheet.append([12, "FAVOR", "ann", datetime(2026, 1, 2, 3, 4, 5), 7, "a_x000D_\nb"])
    sheet.append(["x", "AGAINST", 7, "2026-01-02T03:04:05+01:00", 0.5, None])
    sheet.append(["y", None, "ann"])
    sheet.append([None, None, None])
    sheet.append(["y", "WRONG", "ann"])
    for _ in range(5):
        sheet.append(["", None])
    book.create_sheet("other").append(["nothing"])
    path = tmp_path / "mine.xlsx"
    book.save(path)
    with pytest.raises(UnmatchedError, match="row 6: label 'WRONG'"):
        take(ledger, str(path), "xlsx", TASK)
    taken = take(ledger, str(path), "xlsx", TASK, partial=True)
    assert (taken.recorded, taken.unanswered) == (2, 1)
    one, other = ledger.answers()
    assert (one.document, one.answered_at, one.duration_seconds, one.note) == (
        "12", "2026-01-02T03:04:05+00:00", 7.0, "a\r\nb",
    )  # fmt: skip
    assert (other.annotator, other.answered_at, other.duration_seconds) == ("7", "2026-01-02T03:04:05+01:00", 0.5)


@pytest.mark.parametrize(
    ("name", "form", "content", "message"),
    [
        ("a.csv", "csv", "tweet,text\n12,hello\n", "no column 'label'; there are 'tweet', 'text'"),
        ("a.csv", "csv", "name,label\n12,FAVOR\n", "no column 'id'; there are 'name', 'label'"),
        ("a.csv", "csv", "id;label\n12;FAVOR\n", "separate columns by comma or tab"),
        ("a.csv", "csv", "id,ID,label\n1,2,FAVOR\n", "column 'id' stands 2 times"),
        ("a.xlsx", "xlsx", "PK no workbook", "cannot be read as an Excel file"),
        ("a.json", "label_studio", "{", "not JSON"),
        ("a.json", "label_studio", '[{"id": "x", "fields": {}}]', "record 1: no 'data' in it, only 'id', 'fields'"),
        ("a.json", "argilla", '[{"id": 1, "data": {}, "annotations": []}]', "no 'fields' in it, .* another --form"),
        ("a.json", "label_studio", '{"data": {}}', "found a JSON dict, expected a list of objects"),
        ("a.json", "argilla", "[1]", "record 1: found a JSON int"),
        ("a.json", "argilla", b"\xff", "not JSON"),
        ("a.json", "argilla", "[" * 100_000, "not JSON"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(
    tmp_path: Path, ledger: Ledger, name: str, form: str, content: str | bytes, message: str
) -> None:
    path = file(tmp_path, name, content)
    with pytest.raises(InputError, match=message) as refused:
        take(ledger, path, form, TASK, "ann", partial=True)
    assert "\n" not in str(refused.value)
    assert path in str(refused.value)


@pytest.mark.parametrize("form", ["csv", "xlsx", "jsonl", "label_studio", "argilla"])
def test_a_missing_file(tmp_path: Path, ledger: Ledger, form: str) -> None:
    name = {"label_studio": "no.json", "argilla": "no.json"}.get(form, f"no.{form}")
    with pytest.raises(InputError, match=rf"{name}: (no such file|cannot be read: No such file)"):
        take(ledger, str(tmp_path / name), form, TASK)


def test_the_form_is_told_by_the_name_where_only_one_has_it() -> None:
    assert [form_of(name) for name in ("a.CSV", "a.tsv.gz", "a.xlsx", "a.jsonl")] == ["csv", "csv", "xlsx", "jsonl"]
    with pytest.raises(InputError, match="name it: label_studio, argilla"):
        form_of("a.json")
    with pytest.raises(InputError, match="found 'excel', expected csv, xlsx"):
        form_of("a.xlsx", "excel")


def choice(label: str, **more) -> dict[str, object]:
    result = {"id": "r1", "type": "choices", "value": {"choices": [label]}, "origin": "manual"}
    named = {"from_name": "sentiment", "to_name": "post"}
    return {"id": 901, "result": [{**result, **named}], "was_cancelled": False, "ground_truth": False, **more}


def test_an_export_of_label_studio(tmp_path: Path, ledger: Ledger) -> None:
    """In the shape that its documentation shows, with its own ids, users and times."""
    about = {"created_at": "2026-03-09T21:52:49.513742Z", "updated_at": "2026-03-09T22:16:08.746926Z", "project": 83}
    by_ann = {"completed_by": {"id": 1, "email": "ann@example.org", "first_name": "", "last_name": ""}}
    tasks = [
        {"id": 1, "data": {"id": 12, "text": "t"}, "meta": {}, "drafts": [choice("NONE")], "predictions": [], **about}
        | {
            "annotations": [choice("FAVOR", completed_by=10, lead_time=4.288, created_at="2026-03-09T22:16:08.728353Z")]
        },
        {"id": 2, "data": {"tweet": "x"}, **about}
        | {"annotations": [{**choice("NONE", **by_ann), "result": [], "was_cancelled": True}]},
        {"id": 3, "data": {"id": "y"}, **about} | {"annotations": [choice("Favor", **by_ann)]},
        {"id": 4, "data": {"id": "gone"}, **about} | {"annotations": [choice("FAVOR", **by_ann)]},
        {"id": 5, "data": {"id": "y"}, **about} | {"annotations": []},
    ]
    path = file(tmp_path, "export.json", json.dumps(tasks))
    with pytest.raises(UnmatchedError) as refused:
        take(ledger, path, "label_studio", TASK)
    assert refused.value.problems == [
        "task 3: label 'Favor', expected one of FAVOR, AGAINST, NONE; did you mean 'FAVOR'?",
        "task 4: id 'gone' was never chosen for experts",
    ]
    take(ledger, path, "label_studio", TASK, partial=True)
    one, other = ledger.answers()
    assert (one.document, one.annotator, one.label) == ("12", "user 10", "FAVOR")
    assert (one.duration_seconds, one.answered_at) == (4.288, "2026-03-09T22:16:08.728353Z")
    assert (other.document, other.annotator, other.kind, other.label) == ("x", "ann@example.org", "skip", None)


def test_what_label_studio_adds_to_our_tasks_is_new_and_what_it_gives_back_is_known(
    tmp_path: Path, ledger: Ledger
) -> None:
    ledger.record_all([Answer("x", "ann", label="FAVOR"), Answer("y", "bob", label="NONE")])
    path = tmp_path / "tasks.json"
    documents = [Document(name, name, {}, None) for name in ("x", "y")]
    write(path, "label_studio", documents, ledger.answers(), TASK)
    tasks = json.loads(path.read_text())
    for number, task in enumerate(tasks):  # as Label Studio keeps an imported annotation: under a number of its own
        (annotation,) = task["annotations"]
        annotation |= {"import_id": annotation["id"], "id": 500 + number, "completed_by": 1}
    tasks[1]["annotations"][0]["result"][0]["value"]["choices"] = ["AGAINST"]  # changed there
    tasks[0]["annotations"].append(choice("NONE", completed_by=2))
    path.write_text(json.dumps(tasks))
    taken = take(ledger, str(path), "label_studio", TASK)
    assert (taken.recorded, taken.known) == (2, 2)
    assert said(ledger)[2:] == [("x", "user 2", "label", "NONE"), ("y", "user 1", "label", "AGAINST")]


def test_records_of_argilla(tmp_path: Path, ledger: Ledger) -> None:
    ann, other = user_id("ann"), "1c2a3f3e-0d0e-4e2c-9a58-6a5a54b1a001"
    mine = [{"annotator": "ann", "kind": "label", "label": "FAVOR", "answered_at": "2026-01-01T00:00:00+00:00"}]
    left = json.dumps([{**mine[0], "ledger_row": 1}])
    records = [
        {"id": "x", "fields": {"text": "t"}, "metadata": {"redct": left}, "suggestions": {}, "vectors": {}}
        | {"responses": {"label": [{"value": "FAVOR", "user_id": ann}, {"value": "NONE", "user_id": other}]}},
        {"id": "y", "fields": {"text": "t"}, "metadata": {}, "suggestions": {}, "vectors": {}}
        | {
            "responses": {
                "stance": [
                    {"value": "AGAINST", "user_id": ann, "status": "submitted"},
                    {"value": "NONE", "user_id": other, "status": "discarded"},
                    {"value": "NONE", "user_id": "3", "status": "draft"},
                ]
            }
        },
        {"id": "12", "fields": {"text": "t"}, "metadata": {"redct": "{"}, "responses": {}},
    ]
    path = file(tmp_path, "records.json", json.dumps(records))
    assert take(ledger, path, "argilla", TASK).recorded == 4
    assert said(ledger) == [
        ("x", "ann", "label", "FAVOR"),
        ("x", other, "label", "NONE"),
        ("y", "ann", "label", "AGAINST"),
        ("y", other, "skip", None),
    ]
    assert take(ledger, path, "argilla", TASK).recorded == 0


def test_half_a_surrogate_pair_in_json_is_no_crash(tmp_path: Path, ledger: Ledger) -> None:
    tasks = '[{"data": {"id": "x"}, "meta": {"redct": [{"label": "FAVOR", "annotator": "\\ud83d", "ledger_row": 1}]}}]'
    assert take(ledger, file(tmp_path, "t.json", tasks), "label_studio", TASK).recorded == 1
    assert ledger.answers()[0].annotator == "?"


def test_nobody_is_called_as_the_gold_column_is(tmp_path: Path, ledger: Ledger) -> None:
    """Its answers are no person's, so they would never reach the training."""
    path = file(tmp_path, "mine.csv", "id,label,annotator\nx,FAVOR,gold\n")
    with pytest.raises(UnmatchedError, match="row 2: found the name 'gold', which stands for the gold column"):
        take(ledger, path, "csv", TASK)
    assert ledger.answers() == []


def test_one_annotator_has_one_name(tmp_path: Path, ledger: Ledger) -> None:
    """A second spelling would be a second vote."""
    ledger.record(Answer("12", "Ben Lee", label="FAVOR"))
    path = file(tmp_path, "more.csv", "id,label,annotator\nx,FAVOR, ben  lee \ny,NONE,BEN LEE\n")
    take(ledger, path, "csv", TASK)
    take(ledger, file(tmp_path, "own.csv", "id,label\n=z,NONE\n"), "csv", TASK, " Ben Lee")
    assert {answer.annotator for answer in ledger.answers()} == {"Ben Lee"}
