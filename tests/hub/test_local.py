import numpy as np
import pytest
import torch
from conftest import random_mistral, tiny_tokenizer

from redct.documents import Document
from redct.errors import InputError
from redct.hub.local import LocalLabeler, PromptBatches
from redct.hub.prompts import Encoded, PromptEncoder
from redct.hub.store import LabelStore, read_labels
from redct.task import Task

TASK = Task(labels=["agree", "agree strongly", "disagree"])
DOCUMENTS = [Document(f"d{n}", "word " * (n % 7 + 1) + str(n), {}, None) for n in range(40)]


def trainer(**options):
    import lightning as L

    return L.Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, **options)


def test_labels_documents_through_the_trainer(tiny_llm, tmp_path) -> None:
    labeler = LocalLabeler(str(tiny_llm), tokens_per_batch=300)
    labeler.assign(TASK, DOCUMENTS, LabelStore(tmp_path))
    trainer().predict(labeler, return_predictions=False)
    table = read_labels(tmp_path, TASK.labels).aligned([d.id for d in DOCUMENTS])

    encoder = PromptEncoder(tiny_tokenizer(), TASK, 4096)
    model = random_mistral(len(tiny_tokenizer()))
    for n, document in enumerate(DOCUMENTS[:8]):
        (prompt,) = encoder.encode([document])
        for k, label in enumerate(encoder.labels):
            with torch.inference_mode():
                logprobs = model(torch.tensor([[*prompt.input_ids, *label]])).logits[0].double().log_softmax(-1)
            start = len(prompt.input_ids) - 1
            expected = sum(logprobs[start + i, token].item() for i, token in enumerate(label))
            assert table.logprobs[n, k] == pytest.approx(expected, abs=1e-4)
    assert not np.isnan(table.probs).any()


def test_the_llm_stays_out_of_the_module(tiny_llm, tmp_path) -> None:
    labeler = LocalLabeler(str(tiny_llm))
    labeler.assign(TASK, DOCUMENTS[:2], LabelStore(tmp_path))
    trainer().predict(labeler, return_predictions=False)
    assert labeler.llm.num_parameters() > 0
    assert not list(labeler.parameters())
    assert not labeler.state_dict()


def test_a_second_run_labels_only_what_is_missing(tiny_llm, tmp_path) -> None:
    for documents in (DOCUMENTS[:25], DOCUMENTS):
        labeler = LocalLabeler(str(tiny_llm))
        labeler.assign(TASK, documents, LabelStore(tmp_path))
        trainer().predict(labeler, return_predictions=False)
    assert labeler.documents_left == 15
    assert len(read_labels(tmp_path, TASK.labels).ids) == 40


def test_batches_keep_to_the_budget_and_lose_nothing() -> None:
    class Lengths:
        def encode(self, documents):
            return [Encoded(d.id, [1] * (int(d.id[1:]) + 1), None) for d in documents]

    batches = list(PromptBatches(DOCUMENTS, Lengths(), 60))
    ids = [p.id for batch in batches for p in batch.prompts]
    assert sorted(ids) == sorted(d.id for d in DOCUMENTS)
    for batch in batches:
        width = max(len(p.input_ids) for p in batch.prompts)
        assert len(batch.prompts) == 1 or width * len(batch.prompts) <= 60


def test_what_cannot_be_loaded_is_named(tmp_path) -> None:
    labeler = LocalLabeler(str(tmp_path / "nothing"))
    labeler.assign(TASK, DOCUMENTS, LabelStore(tmp_path / "labels"))
    with pytest.raises(InputError, match=r"labeler\.model: cannot load"):
        trainer().predict(labeler, return_predictions=False)
    with pytest.raises(InputError, match="tokens_per_batch"):
        LocalLabeler("x", tokens_per_batch=0)


def test_nothing_assigned_is_said() -> None:
    with pytest.raises(InputError, match="call assign"):
        LocalLabeler("x").fingerprint()
