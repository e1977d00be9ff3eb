"""What the runtime needs on a machine without a package index: its requirements, and their wheels."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from redct.errors import InputError

RUNTIME: Final = ("numpy", "onnxruntime", "tokenizers")
_LINUX: Final = ("2_28", "2_27", "2_26", "2_24", "2_17")
# pip takes the tags of a foreign platform as they are given, older ones are not implied.
PLATFORMS: Final = {
    "linux-x86_64": [f"manylinux_{glibc}_x86_64" for glibc in _LINUX] + ["manylinux2014_x86_64"],
    "linux-aarch64": [f"manylinux_{glibc}_aarch64" for glibc in _LINUX] + ["manylinux2014_aarch64"],
    "macos-arm64": [f"macosx_{major}_0_arm64" for major in (14, 13, 12, 11)],
    "windows-x86_64": ["win_amd64"],
}


def requirements() -> str:
    """Returns the runtime's requirements: the versions with which parity was measured."""
    return "".join(f"{name}=={version(name)}\n" for name in RUNTIME)


def fetch_wheels(folder: Path, python: str | None = None, platform: str | None = None) -> list[str]:
    """Downloads the wheels of the runtime and of all it needs.

    Args:
        folder: Where they are put; holds requirements.txt one level above.
        python: Version of the Python there, such as 3.12; by default this one's.
        platform: One of `PLATFORMS`; by default this machine's.

    Returns:
        The files' names.

    Raises:
        InputError: When the platform is unknown, pip is absent, or there is no wheel for it.
    """
    if platform is not None and platform not in PLATFORMS:
        raise InputError(f"--platform: found {platform!r}, expected one of {', '.join(PLATFORMS)}")
    target = [] if python is None else ["--python-version", python]
    target += [word for tag in PLATFORMS.get(platform or "", []) for word in ("--platform", tag)]
    _pip([
        "download", "--only-binary", ":all:", "--dest", str(folder), *target,
        "--requirement", str(folder.parent / "requirements.txt"),
    ])  # fmt: skip
    return sorted(path.name for path in folder.iterdir())


def _pip(arguments: Sequence[str]) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
        raise InputError(f"--wheels: pip could not fetch them: {errors[-1].removeprefix('ERROR: ')}")
