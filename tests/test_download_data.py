"""The download script, against mirrors on this machine."""

import hashlib
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
RAW = Path(os.environ.get("REDCT_DATA", ROOT.parent / "shared" / "data")) / "redct_raw"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("download_data", ROOT / "scripts" / "download_data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "a mirror"
    for name in ("A/one.csv", "B/two.txt"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(name.encode())
    return folder


def wanted(script: ModuleType) -> list[object]:
    digest = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("A/one.csv", "B/two.txt")}
    return [
        script.File("A/one.csv", digest["A/one.csv"], url="http://localhost:1/nothing/here"),
        script.File("B/two.txt", digest["B/two.txt"], page="https://example.org/page"),
    ]


@pytest.fixture
def served(mirror: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(mirror)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".part")]


@pytest.mark.parametrize("kind", ["folder", "file", "http"])
def test_mirror(
    script: ModuleType,
    mirror: Path,
    served: str,
    tmp_path: Path,
    kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = {"folder": str(mirror), "file": mirror.as_uri(), "http": served}[kind]
    target = tmp_path / "data"
    assert script.main(["--mirror", place, "--to", str(target)], wanted(script)) == 0
    assert (target / "A" / "one.csv").read_bytes() == b"A/one.csv"
    assert (target / "B" / "two.txt").read_bytes() == b"B/two.txt"
    first = capsys.readouterr().out
    assert first.count("fetched from") == 2
    assert "by hand" not in first
    assert script.main(["--mirror", place, "--to", str(target)], wanted(script)) == 0
    assert capsys.readouterr().out.count("already there") == 2
    assert leftovers(target) == []


def test_wrong_checksum_is_refused_and_deleted(
    script: ModuleType, mirror: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mirror / "A" / "one.csv").write_bytes(b"tampered")
    target = tmp_path / "data"
    assert script.main(["--mirror", str(mirror), "--to", str(target)], wanted(script)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert hashlib.sha256(b"tampered").hexdigest() in error
    assert hashlib.sha256(b"A/one.csv").hexdigest() in error
    assert [path.name for path in target.rglob("*") if path.is_file()] == ["two.txt"]


def test_a_wrong_file_that_can_be_fetched_is_replaced(script: ModuleType, mirror: Path, tmp_path: Path) -> None:
    target = tmp_path / "data"
    (target / "A").mkdir(parents=True)
    (target / "A" / "one.csv").write_bytes(b"half a fi")
    assert script.main(["--mirror", str(mirror), "--to", str(target)], wanted(script)) == 0
    assert (target / "A" / "one.csv").read_bytes() == b"A/one.csv"


def test_file_put_there_by_hand(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = wanted(script)[1:]
    place = tmp_path / "B" / "two.txt"
    assert script.main(["--to", str(tmp_path)], files) == 0
    told = capsys.readouterr().out
    assert "by hand" in told
    assert "https://example.org/page" in told
    place.parent.mkdir()
    place.write_bytes(b"another edition")
    assert script.main(["--to", str(tmp_path)], files) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert place.read_bytes() == b"another edition"
    place.write_bytes(b"B/two.txt")
    assert script.main(["--to", str(tmp_path)], files) == 0
    assert "already there" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["http://127.0.0.1:1/", "/no/such/folder", "ftp://127.0.0.1/x"])
def test_unreachable_mirror(script: ModuleType, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--mirror", place, "--to", str(tmp_path)], wanted(script)) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "A/one.csv" in first
    assert "B/two.txt" in second


def test_one_failure_does_not_hide_the_rest(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["--to", str(tmp_path)], wanted(script)) == 2
    told = capsys.readouterr()
    assert "localhost:1" in told.err
    assert "https://example.org/page" in told.out


def test_says_what_is_not_public(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--to", str(tmp_path)], []) == 0
    told = capsys.readouterr().out
    for name in ("orionw/RedditHumorDetection", "skgabriel/mrf-modeling", "SALT-NLP/LLMs_for_CSS"):
        assert name in told
    assert all(file.url or "StanceDataset" in file.page for file in script.FILES)


@pytest.mark.skipif(not RAW.is_dir(), reason=f"no published files in {RAW} (REDCT_DATA)")
def test_the_real_files(script: ModuleType, tmp_path: Path) -> None:
    assert script.main(["--mirror", str(RAW), "--to", str(tmp_path)]) == 0
    listed = dict(reversed(line.split("  ./", 1)) for line in (RAW / "SHA256SUMS").read_text().splitlines())
    for file in script.FILES:
        assert listed[file.path] == file.sha256
        assert (tmp_path / file.path).read_bytes() == (RAW / file.path).read_bytes()
