import json
from pathlib import Path

import pytest
import yaml

LABELS = ["against", "for", "neutral"]
WORDS = {"against": "bad awful stop never", "for": "good great yes please", "neutral": "when where bus monday"}


def write_corpus(path: Path, n: int, start: int = 0, labels: bool = True) -> Path:
    lines = []
    for i in range(start, start + n):
        gold = LABELS[i % 3]
        words = WORDS[gold].split()
        row = {"id": f"d{i}", "text": f"post {i} {words[i % 4]} {words[(i // 3) % 4]}", "stance": gold}
        row["target"] = "tea" if i % 2 else "coffee"
        if labels:
            probs = dict.fromkeys(LABELS, 0.1)
            said = gold if i % 5 else LABELS[(i + 1) % 3]
            probs[said] = 0.8
            row |= {"llm_label": said, "llm_probs": probs}
        lines.append(json.dumps(row))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def study(tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study with imported labels, 90 training and 31 test documents, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_corpus(tmp_path / "train.jsonl", 90)
    write_corpus(tmp_path / "test.jsonl", 31, start=90)
    task = {
        "labels": LABELS,
        "columns": {"text": "text", "gold": "stance", "id": "id", "context": {"target": "target"}},
        "question": "Stance towards {target}?",
    }
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(task))
    content = {
        "task": "task.yaml",
        "data": {"train": "train.jsonl", "test": "test.jsonl", "predict": "both", "experts": {"budget": 0.2}},
        "labeler": {
            "class_path": "redct.hub.ImportedLabels",
            "init_args": {
                "path": ["train.jsonl", "test.jsonl"],
                "label_column": "llm_label",
                "probs_column": "llm_probs",
            },
        },
        "model": {"encoder": str(tiny_encoder), "learning_rate": 1e-3},
        "trainer": {"accelerator": "cpu", "devices": 1, "max_epochs": 2, "enable_progress_bar": False},
    }
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def local_study(study: Path, tiny_llm: Path) -> Path:
    """The study, labeled by a local model."""
    content = yaml.safe_load(study.read_text())
    content["labeler"] = {"class_path": "redct.hub.LocalLabeler", "init_args": {"model": str(tiny_llm)}}
    study.write_text(yaml.safe_dump(content))
    return study
