#!/usr/bin/env bash
# Makes .venv in the repository and installs redct into it; does nothing where that is done already.
# Usage: scripts/install.sh [dev]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extra="${1:-}"
python="${PYTHON:-python3}"
stamp=".venv/installed${extra:+-$extra}"
state="$(cat pyproject.toml constraints.txt | sha256sum | cut -d' ' -f1)"

if [[ ! -x .venv/bin/python ]]; then
    "$python" -m venv .venv
fi
# The development installation holds the plain one.
if ! grep --silent --line-regexp "$state" "$stamp" .venv/installed-dev 2>/dev/null; then
    echo "Installing redct into .venv (some minutes, once)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "torch==$(sed -n 's/^torch==//p' constraints.txt)" \
        --constraint constraints.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${extra:+[$extra]}" \
        --constraint constraints.txt
    echo "$state" > "$stamp"
fi
scripts/fetch_minilm.sh
