#!/usr/bin/env bash
# Style, types and tests. Further arguments go to pytest, such as --cov, which takes a quarter longer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/install.sh dev
# Two tests at a time, each with one thread: many wait for a process or a page.
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false OMP_NUM_THREADS=1
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
.venv/bin/pytest --numprocesses 2 --dist loadfile "$@"
