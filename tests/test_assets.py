"""The bundled corpus and the tiny Mistral, judged with plain transformers and not through redct's own scoring."""

import csv
import importlib
import random
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch

from redct.assets import DEMO, TINY_MISTRAL, resolve_documents, resolve_model
from redct.documents import Document
from redct.errors import InputError
from redct.hub.prompts import messages
from redct.task import load_task

ROOT = Path(__file__).parent.parent


def rows(name: str) -> list[dict[str, str]]:
    with (DEMO / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_demo_corpus() -> None:
    train, test = rows("train"), rows("test")
    assert (len(train), len(test)) == (600, 200)
    texts = [" ".join(row["text"].lower().split()) for row in train + test]
    assert len(set(texts)) == 800
    assert len({row["id"] for row in train + test}) == 800
    for part in (train, test):
        assert set(Counter(row["target"] for row in part).values()) == {len(part) // 4}
        shares = {label: count / len(part) for label, count in Counter(row["stance"] for row in part).items()}
        assert set(shares) == {"against", "for", "neutral"}
        assert min(shares.values()) > 0.2


def test_names(tmp_path, monkeypatch) -> None:
    assert resolve_documents("demo:test") == str(DEMO / "test.csv")
    assert resolve_documents("other.csv") == "other.csv"
    with pytest.raises(InputError, match="demo:train or demo:test"):
        resolve_documents("demo:dev")
    assert resolve_model("roberta-base") == "roberta-base"
    assert Path(resolve_model("minilm"), "model.safetensors").is_file()
    assets = importlib.import_module("redct.assets")
    monkeypatch.setattr(assets, "MINILM_SHA256", "0" * 64)
    assets._minilm.cache_clear()
    with pytest.raises(InputError, match="SHA-256 is 53aa"):
        resolve_model("minilm")
    assets._minilm.cache_clear()
    monkeypatch.setattr(assets, "TINY_MISTRAL", tmp_path)
    with pytest.raises(InputError, match="build_tiny_mistral"):
        resolve_model("tiny-mistral")


@pytest.fixture(scope="module")
def judged() -> tuple[list[bool], list[float], Counter[str]]:
    """What the tiny Mistral says of the test posts: right or not, margin, and how often which label."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(TINY_MISTRAL)
    model = AutoModelForCausalLM.from_pretrained(TINY_MISTRAL, dtype=torch.float32).eval()
    task = load_task(ROOT / "configs" / "tasks" / "demo.yaml")
    labels = [tokenizer(reading, add_special_tokens=False)["input_ids"] for reading in task.readings()]
    right, margins, said = [], [], Counter()
    for row in rows("test"):
        document = Document(row["id"], row["text"], {"target": row["target"]}, None)
        prompt = tokenizer.apply_chat_template(messages(task, document), tokenize=False, add_generation_prompt=True)
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        scores = []
        for label in labels:
            with torch.inference_mode():
                logprobs = model(torch.tensor([ids + label])).logits[0].log_softmax(-1)
            scores.append(sum(logprobs[len(ids) - 1 + i, token].item() for i, token in enumerate(label)))
        best = max(range(3), key=scores.__getitem__)
        said[task.labels[best]] += 1
        right.append(task.labels[best] == row["stance"])
        margins.append(sorted(scores)[-1] - sorted(scores)[-2])
    return right, margins, said


def test_the_tiny_mistral_is_better_than_chance_and_worse_than_an_expert(judged) -> None:
    right, _, said = judged
    assert 0.50 <= sum(right) / len(right) <= 0.75
    assert min(said[label] for label in ("against", "for", "neutral")) >= 10
    assert sum(path.stat().st_size for path in TINY_MISTRAL.iterdir()) < 8e6


def test_its_margins_tell_right_answers_from_wrong_ones(judged) -> None:
    from sklearn.metrics import roc_auc_score

    right, margins, _ = judged
    assert roc_auc_score(right, margins) >= 0.65


def test_no_demo_post_is_in_the_tiny_mistrals_training(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    build = importlib.import_module("build_tiny_mistral")
    forbidden = {run for name in ("train", "test") for row in rows(name) for run in build.five_grams(row["text"])}
    assert len(forbidden) > 5000
    stream = build.posts(random.Random(99), build.forbidden_runs())
    for _ in range(3000):
        assert not build.five_grams(next(stream)[1].text) & forbidden
