import subprocess
import sys
from pathlib import Path

import pytest

from redct.errors import RedctError
from redct.files import whole, write_json


def test_a_file_and_a_folder_get_their_names_when_complete(tmp_path) -> None:
    with whole(tmp_path / "a" / "x.txt") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a" / "x.txt").exists()
    assert (tmp_path / "a" / "x.txt").read_text() == "new"
    for content in ("1", "2"):
        with whole(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["2"]
    assert sorted(path.name for path in tmp_path.rglob("*.tmp")) == []


def fail(path: Path, error: Exception) -> None:
    with whole(path) as temporary:
        temporary.write_text("half")
        raise error


def test_what_fails_leaves_the_old_and_nothing_half_written(tmp_path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="no"):
        fail(path, ValueError("no"))
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path) -> None:
    with pytest.raises(RedctError, match=r"x: cannot be written: No space left on device$"):
        fail(tmp_path / "x", OSError(28, "No space left on device"))
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_the_old(tmp_path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    script = (
        "import os, pathlib, sys; from redct.files import whole\n"
        "with whole(pathlib.Path(sys.argv[1])) as t: t.write_text('half'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"
    with whole(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
