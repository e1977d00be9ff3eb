"""Tables go through `classify` with nothing lost but what is said."""

import csv
import gzip
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from edge.conftest import LABELS, TEXTS
from hypothesis import given
from hypothesis import strategies as st

from redct import delimited
from redct.documents import read_documents
from redct.edge import Bundle, BundleError, runtime
from redct.errors import InputError
from redct.tables import open_table, read_table
from redct.task import Columns, Task

ADDED = ["edge_label", "edge_source", "edge_error", *(f"edge_prob_{label}" for label in LABELS)]


@pytest.fixture
def classify(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a file, classifies it into another, and returns that one."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, content: bytes, *options: str, output: str = "", folder: Path = bundle) -> Path:
        Path(name).write_bytes(content)
        made = tmp_path / (output or f"out{name[name.index('.') :]}")
        assert runtime.run(folder, [name, "--output", str(made), *options]) == 0
        return made

    return run


def without_added(path: Path, delimiter: bytes) -> bytes:
    """Takes the added fields from the end of every line that has them."""
    lines = path.read_bytes().split(b"\n")
    return b"\n".join(delimiter.join(line.split(delimiter)[: -len(ADDED)]) + b"\r" * line.endswith(b"\r")
                      if line.count(delimiter) >= len(ADDED) else line for line in lines)  # fmt: skip


def test_a_csv_goes_out_as_it_came(classify, bundle: Path) -> None:
    content = (
        b'\xef\xbb\xbfid,"text",n\r\n1,"a ""quoted"" text\nof two lines",1.50\r\n002,bad \xff byte,\r\n'
        b"3,nul\x00,\xc3\xa9\r\n4,,x\r\n5,\xf0\x9f\x99\x82,1e400\r\n"
    )
    made = classify("in.csv", content)
    assert without_added(made, b",") == content
    rows = list(csv.DictReader(made.open(encoding="utf-8-sig", errors="surrogateescape", newline="")))
    assert [row["edge_error"] for row in rows] == ["", "not UTF-8", "", "empty text", ""]
    assert [row["edge_source"] for row in rows] == ["edge", "error", "edge", "error", "edge"]
    expected = Bundle(bundle).classify(['a "quoted" text\nof two lines', "nul\0", "🙂"])
    answered = [row for row in rows if row["edge_label"]]
    assert [row["edge_label"] for row in answered] == expected.labels
    probs = [[float(row[f"edge_prob_{label}"]) for label in LABELS] for row in answered]
    np.testing.assert_allclose(probs, expected.probs, atol=1e-6)


def test_a_tsv_with_literal_quotes_goes_out_as_it_came(classify) -> None:
    content = b'text\tn\n"never" closed\t1\n5" wide\t"\n\t3\na\xe2\x80\xa8b\t4\n'
    made = classify("in.tsv", content)
    assert without_added(made, b"\t") == content
    assert read_table(str(made)).columns["text"] == ['"never" closed', '5" wide', "", "a\u2028b"]


def test_a_tsv_with_enclosing_quotes_is_read_as_in_training(classify) -> None:
    content = b'text\tn\n"a\ttab"\t1\nplain\t2\n'
    made = classify("in.tsv", content)
    assert read_table(str(made)).columns["text"] == ["a\ttab", "plain"]
    assert list(read_table(str(made)).columns) == ["text", "n", *ADDED]


def test_jsonl_goes_out_as_it_came(classify) -> None:
    lines = [
        '{"text": "a", "long": 123456789012345678901234567890, "n": 1.0}',
        '  { "n" : 1e400 , "text" : "half \\ud83d" }  ',
        '{"text": ["list"]}', '{"text": null}', '{"text": true}', '{"text": "a\u2028b\x7f"}', "{}",
    ]  # fmt: skip
    faulty = ["[1, 2]", "nonsense", '"text"', "[" * 100_000]
    made = classify("in.jsonl", "\n".join([*lines, *faulty, ""]).encode())
    out = made.read_text(encoding="utf-8").split("\n")
    assert len(out) == len(lines) + len(faulty) + 1
    for before, after in zip(lines, out, strict=False):
        assert after.startswith(before.rstrip()[:-1].rstrip())
        assert list(json.loads(after))[-len(ADDED) :] == ADDED
    errors = [json.loads(line)["edge_error"] for line in out[:-1]]
    assert errors == [None, None, "not a text", "empty text", None, None, "not a text"] + ["not a JSON object"] * 4


def test_jsonl_texts_are_those_of_training(classify, bundle: Path) -> None:
    content = b'{"text": 1.0}\n{"text": "\\ud83d!"}\n{"text": false}\n{"text": "x\xff"}\n'
    rows = [
        json.loads(line)
        for line in classify("in.jsonl", content).read_bytes().decode(errors="replace").split("\n")
        if line
    ]
    expected = Bundle(bundle).classify(["1.0", "\ufffd!", "false"])
    assert [row["edge_label"] for row in rows] == [*expected.labels, None]
    assert rows[3]["edge_error"] == "not UTF-8"


def test_lines_of_text_end_at_newlines_only(classify, bundle: Path) -> None:
    texts = [*TEXTS, 'say "x"', "a\ttab", "", "a\rb", "x" * 1_000_000, "last"]
    made = classify("in.txt", "\n".join(texts).encode(), output="out.tsv")
    table = read_table(str(made))
    assert table.columns["text"] == texts
    assert list(table.columns) == ["text", *ADDED]
    assert table.columns["edge_label"] == [label or "" for label in Bundle(bundle).classify(texts).labels]


def test_a_table_named_txt_is_not_taken_for_lines(classify) -> None:
    content = b"id\ttext\n1\tfine\n"
    with pytest.raises(BundleError, match=r"in.txt: .* expected --format tsv or --format text"):
        classify("in.txt", content)
    assert read_table(str(classify("in.txt", content, "--format", "tsv", output="a.tsv"))).rows == 1
    assert read_table(str(classify("in.txt", content, "--format", "text", output="b.tsv"))).rows == 2


def test_parquet_goes_out_as_it_came(classify, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = pa.array(["a", None, "🙂"] * 1000).dictionary_encode()
    table = pa.table({"n": pa.array([[1], None, []] * 1000), "text": texts, "d": pa.array(range(3000), pa.int16())},
                     metadata={"k": "v"})  # fmt: skip
    pq.write_table(table, tmp_path / "t.parquet")
    made = pq.read_table(classify("in.parquet", (tmp_path / "t.parquet").read_bytes()))
    assert made.drop_columns(ADDED).cast(table.schema).equals(table)
    assert made.schema.metadata[b"k"] == b"v"
    assert made.column("edge_error").to_pylist() == [None, "empty text", None] * 1000
    assert made.column("edge_prob_for").null_count == 1000
    assert made.column("edge_prob_for").type == pa.float32()


def test_gzipped_files(classify) -> None:
    made = classify("in.csv.gz", gzip.compress(b"text,n\na,1\n"))
    assert gzip.decompress(made.read_bytes()).startswith(b"text,n,edge_label")
    with pytest.raises(BundleError, match=r"in.csv.gz: cannot be read"):
        classify("in.csv.gz", gzip.compress(b"text,n\n" + b"a,1\n" * 100_000)[:300])


@pytest.mark.parametrize("source", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("output", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_format_becomes_every_other(classify, source: str, output: str) -> None:
    first = classify("in.csv", b'id,text\n1,"a ""b"", c"\n2,\n3,"x\ty"\n4,"y\nz"\n', output=f"first{source}")
    table = read_table(str(first))
    assert table.columns["text"] == ['a "b", c', "", "x\ty", "y\nz"]
    # Once more, without what was added.
    kept = {name: table.columns[name] for name in ("id", "text")}
    rows = [dict(zip(kept, values, strict=True)) for values in zip(*kept.values(), strict=True)]
    content = "\n".join(json.dumps(row) for row in rows).encode()
    again = read_table(str(classify("again.jsonl", content, output=f"second{output}")))
    assert {name: again.columns[name] for name in kept} == kept
    assert [value or None for value in again.columns["edge_label"]] == [
        value or None for value in table.columns["edge_label"]
    ]


def test_numbers_of_parquet_keep_every_digit(classify, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"], "x": [0.1234567890123456]}), tmp_path / "t.parquet")
    made = read_table(str(classify("in.parquet", (tmp_path / "t.parquet").read_bytes(), output="o.csv")))
    assert made.columns["x"] == ["0.1234567890123456"]


def test_probabilities_are_written_exactly(classify, bundle: Path) -> None:
    made = read_table(str(classify("in.txt", "\n".join(TEXTS).encode(), output="o.csv")))
    probs = np.array([made.columns[name] for name in ADDED[3:]], dtype=np.float32).T
    np.testing.assert_array_equal(probs, Bundle(bundle).classify(TEXTS).probs)


def test_bad_bytes_become_another_format_too(classify) -> None:
    assert b"\xff" in classify("in.csv", b"text,n\nfine,\xff\n", output="o.jsonl").read_bytes()
    assert read_table(str(classify("in.csv", b"text,n\nfine,\xff\n", output="o.parquet"))).columns["n"] == ["\ufffd"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty, expected a header and rows"),
        (b"text,b\n1,2\n\n1,2,3\n", "line 3: found 0 fields, expected 2 as in the header"),
        (b'text,b\n1,2\n1,"x"y\n', "line 3: .* expected quotes doubled inside a quoted field"),
        (b'text,b\n1,2\n1,"x\ny\n', "line 3: .* expected quotes doubled inside a quoted field"),
        (b"a,b\n1,2\n", "no column 'text'; there are 'a', 'b'"),
        (b"text,text\n1,2\n", "column 'text' stands 2 times"),
        (b"text,edge_label\n1,2\n", "has a column 'edge_label' already"),
    ],
)
def test_broken_tables_are_refused_and_leave_nothing(classify, tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(BundleError, match=f"^in.csv[:,] {message}"):
        classify("in.csv", content)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.parametrize(
    ("content", "output", "message"),
    [
        (b'{"txt": "a"}\n', "o.jsonl", "no column 'text'; there are 'txt'"),
        (b'{"text": "a"}\n{"text": "b", "edge_error": 1}\n', "o.jsonl", "has a column 'edge_error' already"),
        (b'{"text": "a", "x": [1]}\n', "o.csv", "column 'x' holds a list"),
        (b'{"text": "a"}\n' * 2000 + b'{"text": "b", "y": 1}\n', "o.csv", "column 'y' came late"),
    ],
)
def test_json_lines_that_do_not_fit(classify, content: bytes, output: str, message: str) -> None:
    with pytest.raises(BundleError, match=f"^in.jsonl: {message}"):
        classify("in.jsonl", content, output=output)


def test_parquet_that_is_none(classify) -> None:
    with pytest.raises(BundleError, match=r"^in.parquet: cannot be read as Parquet"):
        classify("in.parquet", b"PAR1 nonsense PAR1")


def test_blank_lines_at_the_end_are_no_rows(classify) -> None:
    assert classify("in.csv", b"text,n\na,1\n\n\n").read_bytes().count(b"\n") == 2
    assert classify("in.csv", b"text\na\n\nb\n\n").read_bytes().count(b"\n") == 4  # an empty text between others


@given(st.text(st.sampled_from('"\t\n\ra '), max_size=30))
def test_quotes_mean_what_they_mean_in_training(text: str) -> None:
    lines = text.splitlines(keepends=True) if "\r" not in text else [f"{line}\n" for line in text.split("\n")]
    assert runtime.quotes_enclose(iter(lines)) == delimited.quotes_enclose(lines)


@given(st.text(st.sampled_from('",\t\n\ra'), max_size=40))
def test_fields_are_those_of_training(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("t") / "in.csv"
    path.write_bytes(f"text,b\n{text}\n".encode())
    with ExitStack() as stack:
        try:
            found: object = [tuple(row.values.values()) for window in runtime.open_table(str(path), None, stack).windows
                             for row in window[0]]  # fmt: skip
        except BundleError as error:
            found = str(error).split(":")[0]  # file and line
    try:
        expected: object = list(open_table(str(path)))
    except InputError as error:
        expected = str(error).split(":")[0]
    assert found == expected


STANCE_COLUMNS = Columns(text="tweet", id="id", gold="stance", context={"target": "Target"})


def test_what_is_deferred_can_be_labeled_at_the_hub(classify, stance_bundle: Path, tmp_path: Path) -> None:
    texts = [f"{text} {i}\n" for i in range(20) for text in TEXTS] + [""]
    rows = [{"id": f"d{i}", "tweet": text, "Target": "tea" if i % 2 else "", "more": i} for i, text in enumerate(texts)]
    content = "\n".join(json.dumps(row, ensure_ascii=i % 2 == 0) for i, row in enumerate(rows)).encode()
    made = classify("in.jsonl", content, folder=stance_bundle)
    found = [json.loads(line) for line in made.read_text().split("\n") if line]
    deferred = [row for row in found if row["edge_source"] == "deferred"]
    assert 0 < len(deferred) < len(rows)
    assert all(row["edge_label"] is None and row["edge_prob_for"] is not None for row in deferred)
    corpus = read_documents(str(tmp_path / "deferred.jsonl"), Task(LABELS, columns=STANCE_COLUMNS))
    read = [(each.id, each.text, each.context, each.gold) for each in corpus]
    assert read == [(row["id"], row["tweet"], {"target": row["Target"]}, None) for row in deferred]
    with pytest.raises(BundleError, match=r"deferred.jsonl: exists already"):
        classify("in.jsonl", content, folder=stance_bundle)


def test_lines_of_text_with_a_context_for_all(classify, stance_bundle: Path, tmp_path: Path) -> None:
    texts = [f"{text} {i}" for i in range(20) for text in TEXTS]
    options = ["--context", "target=a=b", "--deferred", "later.jsonl"]
    made = classify("in.txt", "\n".join(texts).encode(), *options, output="o.tsv", folder=stance_bundle)
    sources = read_table(str(made)).columns["edge_source"]
    expected = Bundle(stance_bundle).classify(texts, [{"target": "a=b"}] * len(texts))
    assert [source == "deferred" for source in sources] == expected.abstained.tolist()
    corpus = read_documents("later.jsonl", Task(LABELS, columns=STANCE_COLUMNS))
    numbers = np.flatnonzero(expected.abstained)
    assert [each.id for each in corpus] == [f"in:{i + 1}" for i in numbers]
    assert [each.text for each in corpus] == [texts[i] for i in numbers]
    assert {each.context["target"] for each in corpus} == {"a=b"}
    with pytest.raises(BundleError, match=r"expected --context target=VALUE"):
        classify("in.txt", b"a", output="p.tsv", folder=stance_bundle)
    with pytest.raises(BundleError, match=r"--context: found 'x=1', expected FIELD=VALUE with a field of: target"):
        classify("in.txt", b"a", "--context", "x=1", "--deferred", "new.jsonl", output="p.tsv", folder=stance_bundle)


def test_a_row_without_its_context_is_an_error(classify, stance_bundle: Path) -> None:
    content = (
        b'{"id": 1, "tweet": "a", "Target": "b"}\n{"id": 2, "tweet": "a"}\n{"id": 3, "tweet": "a", "Target": {}}\n'
    )
    rows = [json.loads(line) for line in classify("in.jsonl", content, folder=stance_bundle).read_text().splitlines()]
    assert [row["edge_error"] for row in rows] == [None, "no context field 'target'", "not a text"]


def test_nothing_is_deferred_without_a_threshold(classify, tmp_path: Path) -> None:
    classify("in.txt", b"a\nb\n", output="o.tsv")
    assert not (tmp_path / "deferred.jsonl").exists()


def test_another_text_column(classify) -> None:
    made = read_table(str(classify("in.csv", b"text,b\n,fine\n", "--text", "b")))
    assert made.columns["edge_error"] == [""]


def test_the_input_is_never_the_output(classify) -> None:
    with pytest.raises(BundleError, match=r"in.csv: is named twice"):
        classify("in.csv", b"text,b\na,b\n", output="in.csv")


def test_long_files_come_in_windows_and_in_order(classify) -> None:
    texts = [f"{'x' * (i % 37)} {i}" for i in range(3000)]
    table = read_table(str(classify("in.txt", "\n".join(texts).encode(), output="o.tsv")))
    assert table.columns["text"] == texts


def test_a_large_document_ends_a_window() -> None:
    rows = (runtime.Row({}, "x" * runtime.WINDOW_SIZE) for _ in range(5))
    assert [len(window) for window, _ in runtime._windows(rows)] == [2, 2, 1]


def test_knows_how_much_is_read(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\n" + "word\n" * 100_000)
    with ExitStack() as stack:
        table = runtime.open_table(str(tmp_path / "in.csv"), None, stack)
        shares = [table.done(0) for _ in table.windows]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.1
    assert shares[-1] == 1
