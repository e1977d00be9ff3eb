"""The bundle's own classify.py, as a process on a machine that has never seen redct."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from edge.conftest import TEXTS, write_bundle

from redct.cli.main import main
from redct.edge import Bundle, runtime

# As where they are not installed: importing them fails.
BLOCKED = """
import runpy, sys
for name in ("torch", "transformers", "redct", "scipy", "pandas", "onnx", "sklearn", "tqdm", "pyarrow"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def command(folder: Path, *options: str, given: bytes = b"", **more) -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-I", "-c", BLOCKED, str(folder / "classify.py"), *options]
    return subprocess.run(words, input=given, capture_output=True, check=False, timeout=60, **more)


def test_runs_without_redct_and_torch(bundle: Path) -> None:
    done = command(bundle, given="\n".join(TEXTS).encode())
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.decode().split("\n")[1:-1]]
    assert [row[1] for row in rows] == Bundle(bundle).classify(TEXTS).labels
    said = done.stderr.decode().splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"classify: {len(TEXTS)} documents (0 deferred, 0 errors) in ")


def test_the_runtime_imports_nothing_heavy() -> None:
    heavy = ("onnxruntime", "tokenizers", "pyarrow", "torch")
    code = f"import redct.edge.runtime, sys; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


def test_parquet_without_pyarrow_is_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    done = command(bundle, str(tmp_path / "in.parquet"))
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"classify: error: Parquet needs pyarrow; install it, or use another format\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["absent.csv"], "absent.csv: cannot be read: No such file or directory"),
        (["."], ".: is a folder, expected a file"),
        ([".", "--format", "csv"], ".: cannot be read: Is a directory"),
        (["in.xlsx"], "in.xlsx: unknown kind of file, expected .txt, .csv, .tsv, .jsonl, .parquet or --format"),
        (["--threads", "0"], "threads: found 0, expected 1 or more"),
        (["--output", "o.xlsx"], "o.xlsx: unknown kind of file"),
        (["--output", "absent/o.tsv"], "absent/o.tsv: cannot be written: No such file or directory"),
        (["--format", "parquet"], "standard input: Parquet cannot be read from a pipe"),
        (["drift", "absent"], "bundle.json: has no reference to compare with"),
        (["--summary", "/dev/null/x"], "/dev/null/x: cannot be written"),
    ],
)
def test_wrong_input_ends_in_one_line(bundle: Path, tmp_path: Path, options: list[str], said: str) -> None:
    done = command(bundle, *options, given=b"a\n", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("classify: error: ")
    assert said in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_an_altered_bundle_is_refused(make_bundle) -> None:
    folder = make_bundle()
    (folder / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes() + b" ")
    done = command(folder, given=b"a")
    assert done.returncode == 2
    assert b"tokenizer.json: altered: SHA-256 is" in done.stderr


def test_a_full_disk_is_said_in_one_line(bundle: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    words = [sys.executable, str(bundle / "classify.py")]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(words, input=b"a\n", stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr == b"classify: error: standard output: cannot be written: No space left on device\n"


def test_a_reader_that_leaves_is_no_error(bundle: Path) -> None:
    words = [sys.executable, str(bundle / "classify.py"), "-"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    process.stdin.write(b"a\n" * 5000)
    process.stdin.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_leaves_nothing_under_the_name(stance_bundle: Path, tmp_path: Path, sign: int) -> None:
    words = [sys.executable, str(stance_bundle / "classify.py"), "--output", str(tmp_path / "o.tsv"),
             "--context", "target=tea"]  # fmt: skip
    # Where the tests run in the background, SIGINT is ignored, and a child would inherit that.
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    assert process.stdin
    assert process.stderr
    process.stdin.write(b"some text\n" * 3000)
    process.stdin.flush()
    until = time.monotonic() + 30
    while not any(path.stat().st_size for path in tmp_path.iterdir()) and time.monotonic() < until:
        time.sleep(0.02)
    assert any(path.stat().st_size for path in tmp_path.iterdir()), "it has not begun to write"
    process.send_signal(sign)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == (130 if sign == signal.SIGINT else -9)
    assert not (tmp_path / "o.tsv").exists()
    assert not (tmp_path / "deferred.jsonl").exists()
    if sign == signal.SIGINT:
        assert b"interrupted" in said
        assert list(tmp_path.iterdir()) == []


def test_tables_from_a_pipe(bundle: Path) -> None:
    for quoted, text in ((b'"a\tb"\t1', b'"a\tb"'), (b'5" wide\t1', b'5" wide')):
        done = command(bundle, "--format", "tsv", given=b"text\tn\n" + quoted + b"\n")
        assert done.returncode == 0, done.stderr
        assert done.stdout.split(b"\n")[1].startswith(text + b"\t1\t")


def test_summaries_and_drift(make_bundle, tmp_path: Path) -> None:
    plain = make_bundle("plain")
    texts = [f"{text} {i}" for i in range(60) for text in TEXTS]
    reference = runtime.summarise(Bundle(plain).classify(texts))
    folder = make_bundle(reference=reference)
    given = "\n".join(texts).encode()
    for _ in range(2):
        assert command(folder, "--summary", "seen", given=given, cwd=tmp_path).returncode == 0
    days = list((tmp_path / "seen").glob("*.json"))
    assert len(days) == 1
    assert json.loads(days[0].read_text())["summary"] == runtime.add(reference, reference)
    assert "I agree" not in days[0].read_text()
    done = command(folder, "drift", "seen", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"no re-audit due" in done.stdout
    other = b"strongly strongly strongly disagree agree agree agree\n" * 500
    assert command(folder, "--summary", "other", given=other, cwd=tmp_path).returncode == 0
    done = command(folder, "drift", "other", cwd=tmp_path)
    assert done.returncode == 3
    assert b"re-audit due: " in done.stdout
    done = command(write_bundle(plain, reference=reference, redct="0.3"), "drift", "seen", cwd=tmp_path)
    assert done.returncode == 2
    assert b"use a folder per bundle" in done.stderr
    assert (
        b"no summaries since 9999-01-01"
        in command(folder, "drift", "seen", "--since", "9999-01-01", cwd=tmp_path).stderr
    )


def test_redct_classify_is_the_same(bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("\n".join(TEXTS))
    assert main(["classify", str(bundle), str(tmp_path / "in.txt")]) == 0
    assert capfd.readouterr().out.encode() == command(bundle, str(tmp_path / "in.txt")).stdout
    assert main(["classify", str(bundle), str(tmp_path / "absent.txt")]) == 2
    assert capfd.readouterr().err.startswith(f"redct: error: {tmp_path / 'absent.txt'}: cannot be read")
    assert main(["classify", "--threads", "1"]) == 2
    assert main(["classify"]) == 2


def test_redct_classify_loads_no_torch(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a")
    code = f"""
import sys
from redct.cli.main import main
main(["classify", {str(bundle)!r}, {str(tmp_path / "in.txt")!r}])
assert not {{"torch", "transformers", "lightning"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=os.environ)


def test_the_exit_code_of_drift_reaches_the_shell(make_bundle, tmp_path: Path) -> None:
    plain = make_bundle("plain")
    reference = runtime.summarise(Bundle(plain).classify(["I agree"] * 300 + ["Against everything"] * 300))
    folder = make_bundle(reference=reference)
    seen = runtime.summarise(Bundle(plain).classify(["I agree"] * 500))
    (tmp_path / "seen").mkdir()
    runtime.add_summary(tmp_path / "seen", Bundle(folder).info["sha256"], seen)
    with pytest.raises(SystemExit) as leaving:
        main(["classify", str(folder), "drift", str(tmp_path / "seen")])
    assert leaving.value.code == 3
