"""The folders are floors: imports go strictly downward, and torch begins where DESIGN says so."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "redct"
FLOORS = {"cli": 5, "edge": 4, "evidence": 3, "training": 2, "hub": 1, "experts": 1}
TORCH = {
    "hub/attention", "hub/prefix", "hub/reasoning", "hub/scoring", "hub/labeler", "hub/local", "hub/api",
    "hub/imported", "hub/writer", "training/datamodule", "training/losses", "training/batches", "training/tokens",
    "training/embeddings", "training/out_of_fold", "training/length",
    "training/classifier", "training/encoded", "cli/study", "cli/progress",
    "cli/trainer", "cli/tune", "cli/baselines", "cli/results", "edge/export", "edge/graph", "edge/quantization",
}  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downward(path: Path) -> None:
    here = path.relative_to(PACKAGE).parts[0]
    if path.name in ("__main__.py",):
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "redct" or len(parts) < 2 or parts[1] == here:
            continue
        assert FLOORS.get(parts[1], 0) < FLOORS.get(here, 0) or parts[1] not in FLOORS, f"{path}: imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_torch_begins_where_it_is_needed(path: Path) -> None:
    module = str(path.relative_to(PACKAGE).with_suffix(""))
    heavy = {"torch", "lightning", "transformers", "torchmetrics"} & {name.split(".")[0] for name in imports(path)}
    assert not heavy or module in TORCH, f"{module} imports {heavy}"


@pytest.mark.parametrize(
    "code",
    [
        "from redct.cli.main import main; main(['--help'])",
        "import redct, redct.hub, redct.experts, redct.training, redct.evidence, redct.documents",
        "import redct.hub.prompts, redct.hub.store, redct.training.relabeling",
        "from redct.cli import agreement, annotate, estimate, exchange, init, report, serve, status",
        "import redct.edge.server.process",
    ],
)
def test_loads_no_torch(code: str) -> None:
    check = f"{code}\nimport sys\nassert not {{'torch', 'lightning', 'transformers'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, capture_output=True)
