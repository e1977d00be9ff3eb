"""Documents from files of every kind."""

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redct.documents import Document, read_documents, same_text
from redct.errors import InputError
from redct.tables import read_table
from redct.task import Columns, Task

ROOT = Path(__file__).resolve().parents[1]
PLAIN = Task(["a", "b"])
GOLD = Task(["a", "b"], Columns(gold="label", id="id"), gold_values={"1": "a"})
TARGET = Task(["a", "b"], Columns(gold="label", id="id", context={"target": "about"}))


def write(path: Path, content: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def texts(source: str | list[str], task: Task = PLAIN, **options: Any) -> list[str]:
    return [document.text for document in read_documents(source, task, **options).documents]


def refusal(source: str | list[str], task: Task = PLAIN, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_documents(source, task, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---- kinds of files ------------------------------------------------------------------------------

ROWS = [
    {"id": "007", "text": 'He said "NA", twice', "label": "a"},
    {"id": "8", "text": "null", "label": "1"},
    {"id": "x", "text": "  spaces kept\u2028 ", "label": "b"},
    {"id": "NA", "text": "tab? no. Unbalanced \" quote, 'and' é", "label": ""},
]
EXPECTED = [
    Document(row["id"], row["text"], {}, {"a": "a", "1": "a", "b": "b", "": None}[row["label"]]) for row in ROWS
]


def as_csv(end: str = "\n", delimiter: str = ",") -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["id", "text", "label"], lineterminator=end, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return out.getvalue()


def as_literal(end: str = "\n") -> str:
    return end.join(["id\ttext\tlabel", *("\t".join(row.values()) for row in ROWS), ""])


def as_jsonl() -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", as_csv()),
        ("crlf.csv", as_csv("\r\n")),
        ("cr.csv", as_csv("\r")),
        ("cr.tsv", as_literal("\r")),
        ("bom.csv", "\ufeff" + as_csv()),
        ("noend.csv", as_csv().removesuffix("\n")),
        ("blank.csv", as_csv() + "\n\r\n"),
        ("x.tsv", as_literal()),
        ("crlf.tsv", as_literal("\r\n")),
        ("x.txt", as_literal("\r\n")),
        ("UPPER.TSV", as_literal()),
        ("quoted.tsv", as_csv("\r\n", "\t")),
        ("tabs.csv", as_literal()),
        ("commas.tsv", as_csv()),
        ("x.jsonl", as_jsonl()),
        ("crlf.jsonl", as_jsonl().replace("\n", "\r\n") + "\r\n"),
        ("x.json", json.dumps(ROWS)),
        ("bom.json", "\ufeff" + json.dumps(ROWS, ensure_ascii=False)),
    ],
)
def test_text_forms(tmp_path: Path, name: str, content: str) -> None:
    assert read_documents(write(tmp_path / name, content), GOLD).documents == EXPECTED
    zipped = read_documents(write(tmp_path / f"{name}.gz", gzip.compress(content.encode())), GOLD)
    assert zipped.documents == EXPECTED


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "label=9" / "x.parquet"  # must not become a column
    path.parent.mkdir()
    columns: dict[str, Any] = {name: [row[name] or None for row in ROWS] for name in ROWS[0]}
    columns["label"] = pa.array(columns["label"]).dictionary_encode()
    columns |= {"n": [1, 2, 3, 4], "x": [0.5, None, 1.0, float("nan")], "y": [True] * 4, "z": [[1]] * 4}
    pq.write_table(pa.table(columns), path)
    assert read_documents(str(path), GOLD).documents == EXPECTED
    table = read_table(str(path))
    assert table.columns["n"] == ["1", "2", "3", "4"]
    assert table.columns["x"] == ["0.5", None, "1.0", None]
    assert table.columns["y"] == ["true"] * 4
    assert list(table.columns) == ["id", "text", "label", "n", "x", "y"]
    assert "holds a list" in refusal(str(path), Task(["a", "b"], Columns(text="z")))
    assert "Parquet" in refusal(write(tmp_path / "broken.parquet", "no"))
    missing = refusal(str(path), Task(["a", "b"], Columns(text="body")))
    assert "no column 'body'; there are 'id', 'text', 'label'" in missing


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[tuple[str, str]] = []

    def load_dataset(name: str, split: str) -> Any:
        asked.append((name, split))
        if name == "gone":
            raise FileNotFoundError("not on\nthe hub")
        label = datasets.ClassLabel(names=["b", "a"])
        features = datasets.Features({"text": datasets.Value("string"), "label": label})
        return datasets.Dataset.from_dict({"text": ["NA", "y", "z"], "label": [1, 0, -1]}, features=features)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    task = Task(["a", "b"], Columns(gold="label"))
    corpus = read_documents(["hf://owner/set", "hf://owner/set:test"], task)
    assert asked == [("owner/set", "train"), ("owner/set", "test")]
    assert [(d.text, d.gold) for d in corpus.documents[:3]] == [("NA", "a"), ("y", "b"), ("z", None)]
    assert corpus.files[0].path == "hf://owner/set:train"
    assert len({d.id for d in corpus.documents}) == 6
    assert refusal("hf://gone", task) == "hf://gone:train: cannot be loaded: not on the hub"
    assert "no column 'text2'" in refusal("hf://owner/set", Task(["a", "b"], Columns(text="text2")))


def test_json_values(tmp_path: Path) -> None:
    task = Task(["1", "1.0", "true"], Columns(gold="label"))
    lines = '{"text": 12345678901234567890, "label": 1}\n\n{"text": false, "label": 1.0, "more": {"deep": []}}\n'
    path = write(tmp_path / "x.jsonl", lines + '{"text": 1e5, "label": true}\n{"text": "x", "label": null}\n')
    found = [(d.text, d.gold, d.id) for d in read_documents(path, task).documents]
    assert found == [
        ("12345678901234567890", "1", "x:1"),
        ("false", "1.0", "x:2"),
        ("1e5", "true", "x:3"),
        ("x", None, "x:4"),
    ]
    assert list(read_table(path).columns) == ["text", "label"]
    nested = write(tmp_path / "nested.json", '[{"text": "x"}, {"text": {"a": 1}}]')
    assert refusal(nested) == f"{nested}, row 2: column 'text' holds a dict, expected a text"
    assert "row 2: empty text (2 in all)" in refusal(
        write(tmp_path / "null.json", '[{"text": "x"}, {"text": null}, {"other": 1}]')
    )


def test_half_an_emoji_is_no_text(tmp_path: Path) -> None:
    whole, half = r'{"text": "so \ud83d\ude00"}', r'{"text": "so \ud83d"}'
    for name, content in (("x.jsonl", f"{whole}\n{half}\n"), ("x.json", f"[{whole}, {half}]")):
        found = read_documents(write(tmp_path / name, content), Task(["a", "b"])).documents
        assert [d.text for d in found] == ["so \U0001f600", "so \ufffd"]


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("x.jsonl", '{"text": "x"}\n{"text": \n', "x.jsonl, line 2: not JSON"),
        ("x.jsonl", '{"text": "x"}\n[1]\n', "row 2: found a JSON list, expected an object"),
        ("x.json", '{"text": "x"}', "found a JSON dict, expected a list of objects"),
        ("x.json", '{"text": "x"}\n{"text": "y"}', "name a file with one object a line .jsonl"),
        ("x.json", "[[]]", "row 1: found a JSON list"),
        ("x.json", "[]", "no rows"),
        ("x.json", '[{"a": 1, "b": 2}]', "no column 'text'; there are 'a', 'b'"),
        ("x.jsonl", "", "no rows"),
        ("x.csv", "", "the file is empty"),
        ("x.csv", "\n\n", "the file is empty"),
        ("x.csv", "text,label\n", "no rows"),
        ("x.csv", "a,b\n1,2\n", "no column 'text'; there are 'a', 'b'"),
        ("x.csv", "text,text\n1,2\n", "column 'text' stands 2 times in the header"),
        ("x.csv", 'text,b\n1,2\n"two\nlines",2\n3,4,5\n', "line 5: found 3 fields, expected 2"),
        ("x.csv", "text,b\n1,2\n\n3,4\n", "line 3: found 0 fields, expected 2"),
        ("x.csv", 'text,b\n1,2\n"open,2\n3,4\n', "line 3: unexpected end of data"),
        ("x.csv", 'text,b\n"a"b,2\n', "line 2: ',' expected after '\"'"),
        ("x.tsv", "text\tb\n1\t2\t3\n", "line 2: found 3 fields, expected 2"),
        ("x.tsv", 'text\tb\n"1\n2\t"3"\n', "line 2: found 1 field, expected 2"),
        ("x.txt", "text\tb\n1\t2\n\n3\t4\n", "line 3: found 1 field, expected 2"),
        (
            "x.csv",
            b"text,b\nok,1\n\xe9\x81,2\n",
            "line 3: byte 0x81 at offset 13 is neither UTF-8 nor cp1252",
        ),
        ("x.csv", "text\nx".encode("utf-16"), "found UTF-16"),
        ("x.csv.gz", b"text\nx", "x.csv.gz: cannot be read"),
        ("x.csv.gz", gzip.compress(b"text\n" + os.urandom(900))[:-400], "x.csv.gz: cannot be read"),
        ("x.xlsx", b"", "unknown kind of file, expected .csv, .tsv"),
        ("x.parquet.gz", b"", "unknown kind of file"),
        (
            "x.csv",
            "text,b\nok,1\n ,2\n,3\n",
            "row 2: empty text (2 in all); leave them out with data.drop: [empty]",
        ),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: str | bytes, part: str) -> None:
    path = write(tmp_path / name, content)
    message = refusal(path)
    assert message.startswith(path)
    assert part in message


def test_other_refusals(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "id,text,label\n1,x,a\n2,y,c\n3,z,\n")
    assert refusal(path, GOLD) == f"{path}, row 2: gold value 'c' in column 'label', expected one of 1, a, b"
    assert refusal(str(tmp_path / "none.csv")) == f"{tmp_path / 'none.csv'}: no such file"
    assert "is a folder" in refusal(str(write_folder(tmp_path / "folder.csv")))
    assert "no file matches" in refusal(str(tmp_path / "*.tsv"))
    assert "no files given" in refusal([])
    assert "named twice" in refusal([path, str(tmp_path / "x.*")])
    assert "data.drop: found 'emty'" in refusal(path, drop=["emty"])
    assert "'about'" in refusal(path, TARGET)
    twice = write(tmp_path / "twice.csv", "id,text,label\n1,x,a\n2,y,a\n1,z,b\n")
    assert refusal(twice, GOLD) == f"{twice}, row 3: id '1' stands in row 1 too, expected unique ids"
    other = write(tmp_path / "other.csv", "id,text,label\n9,x,a\n1,w,a\n")
    first = write(tmp_path / "first.csv", "id,text,label\n1,x,a\n")
    assert refusal([first, other], GOLD).startswith(f"{other}, row 2: id '1' stands in {first}, row 1 too")
    assert "row 2: no id" in refusal(write(tmp_path / "noid.csv", "id,text,label\n1,x,a\n,y,a\n"), GOLD)
    blank = write(tmp_path / "blank.csv", "id,text,label\n1, ,a\n")
    assert "expected documents with text" in refusal(blank, GOLD, drop=["empty"])


def write_folder(path: Path) -> Path:
    path.mkdir()
    return path


# ---- quotes in tab-separated files ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('1\t"Fully quoted"\n2\tx\n', ['"Fully quoted"', "x"]),
        ('1\t"Opens only\n2\tx\n', ['"Opens only', "x"]),
        ('1\t"Opens\n2\tx\n3\tcloses"\n4\t"open\n5\tclose"\n', ['"Opens', "x", 'closes"', '"open', 'close"']),
        ('1\tan "inner" one\n2\t"He said ""no"""\n', ['an "inner" one', '"He said ""no"""']),
        ('1\t"He said ""no"""\n2\tx\n', ['He said "no"', "x"]),
        ('1\t"a\ttab"\n2\tx\n', ["a\ttab", "x"]),
        ('1\t"two\nlines"\n2\tx\n', ["two\nlines", "x"]),
        ("1\ta\rb\n2\tx\r\n", ["a\rb", "x"]),
    ],
)
def test_quotes_between_tabs(tmp_path: Path, body: str, expected: list[str]) -> None:
    assert texts(write(tmp_path / "x.tsv", "id\ttext\n" + body)) == expected


def test_every_field_quoted(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "x.tsv", '"id"\t"text"\n"1"\t"x, y"\n')) == ["x, y"]


def test_texts_that_open_and_close_quotes_in_other_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", 'text\tid\tmore\nx\t1\t"say\nno"\t2\tx\n')
    assert texts(path) == ["x", 'no"']


fields = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\t"), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(fields.filter(lambda text: text.strip() != ""), min_size=1, max_size=8))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, rows: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    out = io.StringIO(newline="")
    csv.writer(out).writerows([["n", "text"], *([str(n), text] for n, text in enumerate(rows))])
    assert texts(write(folder / "x.csv", out.getvalue())) == rows
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in rows)
    assert texts(write(folder / "x.jsonl", lines)) == rows
    # One text with an odd quote inside shows that quotes are characters; then all texts are literal.
    literal = [*rows, 'a 5" disc']
    path = write(folder / "x.tsv", "\n".join(["n\ttext", *(f"{n}\t{text}" for n, text in enumerate(literal))]))
    assert texts(path) == literal


def test_long_fields(tmp_path: Path) -> None:
    text = "x" * 200_000
    limit = csv.field_size_limit()
    assert texts(write(tmp_path / "x.csv", f"text,b\n{text},1\n")) == [text]
    assert csv.field_size_limit() == limit


# ---- sources, ids, dropping ----------------------------------------------------------------------


def test_globs_and_several_files(tmp_path: Path) -> None:
    for name in ("b/part.csv", "a/part.csv", "a/last.csv.gz"):
        content = f"text\n{name}\nsecond of {name}\n".encode()
        write(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)
    corpus = read_documents([str(tmp_path / "**/part.*"), str(tmp_path / "a/last.csv.gz")], PLAIN)
    assert [d.id for d in corpus.documents] == [
        "a/part:1", "a/part:2", "b/part:1", "b/part:2", "a/last:1", "a/last:2",
    ]  # fmt: skip
    assert [f.rows for f in corpus.files] == [2, 2, 2]
    assert read_documents(str(tmp_path / "a/part.csv"), PLAIN).documents[1].id == "part:2"
    same = [write(tmp_path / f"x.{kind}", "text\tn\nx\t1\n") for kind in ("tsv", "txt")]
    assert [d.id for d in read_documents(same, PLAIN).documents] == ["x.tsv:1", "x.txt:1"]
    odd = write(tmp_path / "odd[1].csv", "text\nx\n")
    assert texts(odd) == ["x"]


def test_context(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "id,about,text,label\n1,Atheism,x,a\n2,,x,b\n")
    documents = read_documents(path, TARGET).documents
    assert [d.context for d in documents] == [{"target": "Atheism"}, {"target": ""}]
    assert documents[0].context_text() == "target: Atheism"
    assert Document("1", "x", {"a": "1", "b": "2"}, None).context_text() == "a: 1\nb: 2"
    assert Document("1", "x", {}, None).context_text() == ""


def test_dropping(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "id,text,label\n1,Same!,a\n2,,a\n3, same,b\n4,other,b\n5,SAME,a\n6,\t,b\n")
    corpus = read_documents(path, GOLD, drop=["empty", "duplicates", "overlap"])
    assert [d.id for d in corpus.documents] == ["1", "4"]
    assert (corpus.empty, corpus.duplicates, corpus.files[0].rows) == (2, 2, 6)
    assert corpus.notes() == [
        f"{path}: 2 documents dropped: their text is empty",
        f"{path}: 2 documents dropped: their text stands earlier too",
    ]
    kept = read_documents(path, GOLD, drop=["empty"])
    assert [d.id for d in kept.documents] == ["1", "3", "4", "5"]
    assert kept.duplicates == 2
    assert "data.drop: [duplicates]" in kept.notes()[1]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("It's here.", "its  HERE", True),
        ("broken Íî characters in a long text", "broken characters in a long text", True),
        ("我爱 2016", "他恨 2016", False),
        ("Привет, мир", "привет мир!", True),
        ("की", "के", False),
        ("😀", "😡", False),
        ("!", "?", False),
        ("😀", "😀", True),
    ],
)
def test_same_text(one: str, other: str, same: bool) -> None:
    left, right = Document("1", one, {}, None), Document("2", other, {}, None)
    assert (same_text(left) == same_text(right)) is same
    elsewhere = Document("3", one, {"target": "other"}, None)
    assert same_text(left) != same_text(elsewhere)


def test_reading_imports_nothing_heavy(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "text\nx\n")
    code = (
        "import sys; from redct.documents import read_documents; from redct.task import Task; "
        f"read_documents({path!r}, Task(['a', 'b'])); "
        "print([m for m in ('torch', 'pandas', 'pyarrow', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
