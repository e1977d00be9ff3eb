"""The same tiny model, scored by transformers and through llama.cpp's own server."""

import json
import re
from dataclasses import replace

import httpx2
import numpy as np
import pytest
from servers.labeling import label, labeler, rows

from redct.assets import resolve_model
from redct.documents import Document, read_documents
from redct.hub.local import LocalLabeler
from redct.hub.prompts import remote_messages
from redct.hub.store import read_labels
from redct.task import Prompt, Task, load_task

DEMO = load_task("configs/tasks/demo.yaml")


@pytest.fixture(autouse=True)
def key(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-llama")


def through(server, **options):
    return labeler(server.url, server.model, **options)


@pytest.fixture(scope="module")
def demo() -> list[Document]:
    return read_documents("redct/assets/demo/train.csv", DEMO).documents[:60]


def test_the_server_labels_as_the_model_itself(llama_server, demo, tmp_path) -> None:
    label(LocalLabeler(str(resolve_model("tiny-mistral"))), demo, tmp_path / "local", DEMO)
    label(through(llama_server), demo, tmp_path / "remote", DEMO)
    ids = [document.id for document in demo]
    local, remote = (read_labels(tmp_path / name, DEMO.labels).aligned(ids) for name in ("local", "remote"))
    print("largest difference of a log-probability:", np.abs(local.logprobs - remote.logprobs).max())
    np.testing.assert_allclose(remote.logprobs, local.logprobs, rtol=0, atol=1e-2)
    assert (remote.label == local.label).all()
    tokens = [{row["id"]: row["prompt_tokens"] for row in rows(tmp_path / name).values()} for name in ("local", "remote")]
    assert tokens[0] == tokens[1]
