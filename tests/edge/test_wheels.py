"""The runtime's wheels, and an installation from them alone."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from redct.edge.wheels import PLATFORMS, fetch_wheels, requirements
from redct.errors import InputError


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "wheels"
    folder.mkdir()
    (folder.parent / "requirements.txt").write_text(requirements())
    try:
        fetch_wheels(folder)
    except InputError as error:
        pytest.skip(f"no package index: {error}")
    return folder.parent


def test_requirements_are_the_versions_here() -> None:
    import numpy as np
    import onnxruntime
    import tokenizers

    assert requirements().splitlines() == [
        f"{module.__name__}=={module.__version__}" for module in (np, onnxruntime, tokenizers)
    ]


@pytest.mark.slow
def test_an_empty_environment_without_an_index_installs_them(fetched: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    # No configuration, no cache and an index that nobody answers: only the wheels are left.
    cut_off = {"PATH": os.environ["PATH"], "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_CONFIG_FILE": os.devnull}
    install = ["-m", "pip", "install", "--quiet", "--no-cache-dir", "--no-index", "--find-links", "wheels"]
    subprocess.run([python, *install, "-r", "requirements.txt"], cwd=fetched, env=cut_off, check=True)
    check = "import numpy, onnxruntime, tokenizers\ntry:\n import torch\nexcept ImportError:\n print('no torch')"
    done = subprocess.run([python, "-c", check], env=cut_off, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "no torch"


def test_an_unknown_platform_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--platform: found 'amiga', expected one of linux-x86_64"):
        fetch_wheels(tmp_path, platform="amiga")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_python_without_wheels_is_refused_in_one_line(fetched: Path, platform: str) -> None:
    with pytest.raises(InputError, match="--wheels: pip could not fetch them: ") as refused:
        fetch_wheels(fetched / "wheels", "3.4", platform)
    assert "\n" not in str(refused.value)
