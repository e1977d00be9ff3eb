"""The report in a real browser: many long labels at every width, light, dark and in print; no network, no overlap."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cli.commands import run

from redct.cli import testing
from redct.experts import Experts
from redct.task import load_task
from redct.training.corpus import LabeledCorpus

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs the Debian package chromium")

LABELS = [f"label {n} with a name that goes on and on <b>&amp;" for n in range(9)]
OVERLAPS = """() => [...document.querySelectorAll('svg')].flatMap(svg => {
  const frame = svg.getBoundingClientRect(), found = [];
  const texts = [...svg.querySelectorAll('text')].map(each => [each.textContent, each.getBoundingClientRect()]);
  texts.forEach(([name, box], n) => {
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1) found.push(name);
    for (const [other, its] of texts.slice(n + 1))
      if (Math.min(box.right, its.right) - Math.max(box.left, its.left) > 1
          && Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top) > 3) found.push(name + ' / ' + other);
  });
  return found;
})"""


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The report of a study with many labels, whose classifier is made up."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, ids in (("train", range(400)), ("test", range(400, 600))):
        rows = []
        for n in ids:
            probs = rng.dirichlet(np.full(9, 0.3))
            gold = LABELS[int(probs.argmax()) if rng.random() < 0.7 else int(rng.integers(9))]
            row = {
                "id": f"document-{n}",
                "text": f"text {n} {rng.integers(99)}",
                "y": gold,
                "source": f"source {n % 3}",
            }
            rows.append(
                {**row, "said": LABELS[probs.argmax()], "probs": dict(zip(LABELS, probs.tolist(), strict=True))}
            )
        Path(f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    columns = {"text": "text", "gold": "y", "id": "id", "context": {"source": "source"}}
    Path("task.yaml").write_text(yaml.safe_dump({"labels": LABELS, "columns": columns, "question": "What is it?"}))
    labels = {"path": ["train.jsonl", "test.jsonl"], "label_column": "said", "probs_column": "probs"}
    study = {
        "task": "task.yaml",
        "data": {"train": "train.jsonl", "test": "test.jsonl", "predict": "both", "experts": {"budget": 60}},
        "labeler": {"class_path": "redct.hub.ImportedLabels", "init_args": labels},
        "trainer": {"accelerator": "cpu"},
    }
    Path("study.yaml").write_text(yaml.safe_dump(study))
    assert run("predict") == 0
    folder, task = Path("runs/study"), load_task("task.yaml")
    corpus = LabeledCorpus(task, "train.jsonl", "test.jsonl", experts=Experts(60), folder=folder, seed=1)
    corpus.write_provenance(corpus.fit_parts())
    part, best = corpus.test_part(), folder / "checkpoints" / "best.ckpt"
    probs = 0.6 * rng.dirichlet(np.full(9, 0.3), size=200) + 0.4 * np.eye(9)[part.label]
    best.parent.mkdir()
    best.write_text("weights")
    asked = testing.read_flags({"by": ["source"], "inclusion": None, "cluster": None, "strata": None}, corpus)
    testing.report(testing.examine(corpus, part.documents, probs, asked), best, folder / "metrics.json")
    assert run("estimate", "--by", "source") == 0
    assert run("report") == 0
    return tmp_path / folder / "report.html"


@pytest.fixture
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


def test_nothing_overlaps_and_nothing_is_fetched(report, browser) -> None:
    looks = [(1280, "light", "screen"), (360, "light", "screen"), (800, "dark", "screen"), (720, "light", "print")]
    for width, scheme, media in looks:
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.emulate_media(media=media, color_scheme=scheme)
        told: list[str] = []
        page.on("request", lambda request, told=told: told.append(request.url))
        page.on("console", lambda message, told=told: told.append(message.text))
        page.goto(report.as_uri())
        assert told == [report.as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("document.querySelectorAll('svg').length") >= 9
        assert page.evaluate(OVERLAPS) == []
        page.close()
