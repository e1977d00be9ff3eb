import numpy as np
import pandas as pd
import pytest
import torch
from conftest import random_mistral, tiny_tokenizer

from redct.documents import Document
from redct.errors import InputError
from redct.hub.encoding import Encoded, PromptEncoder, control_strings
from redct.hub.local import LocalLabeler, PromptBatches
from redct.hub.prompts import messages
from redct.hub.store import LabelStore, read_labels
from redct.task import Prompt, Task

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


def test_thinks_first_as_one_document_at_a_time_would(tiny_llm, tmp_path) -> None:
    task = Task(labels=TASK.labels, prompt=Prompt(chain_of_thought=True, rationale_tokens=12))
    labeler = LocalLabeler(str(tiny_llm), tokens_per_batch=600)
    labeler.assign(task, DOCUMENTS, LabelStore(tmp_path))
    trainer().predict(labeler, return_predictions=False)
    rows = pd.concat(map(pd.read_parquet, tmp_path.glob("*.parquet"))).set_index("id")
    assert len(rows) == len(DOCUMENTS)
    assert rows.error.isna().all()

    tokenizer, model = tiny_tokenizer(), random_mistral(len(tiny_tokenizer()))
    labels = PromptEncoder(tokenizer, task, 4096).labels
    control = control_strings(tokenizer)
    for document in DOCUMENTS[:8]:
        row = rows.loc[document.id]
        prompt = tokenizer.apply_chat_template(
            messages(task, document, control), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        reply = model.generate(**prompt, max_new_tokens=12, do_sample=False, pad_token_id=0)
        thought = reply[0, prompt["input_ids"].shape[1] :].tolist()
        thought = thought[: thought.index(2)] if 2 in thought else thought
        assert row.rationale == tokenizer.decode(thought, skip_special_tokens=True).strip()
        assert row.completion_tokens == len(thought)
        turns = messages(task, document, control, rationale=row.rationale)
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert row.prompt_tokens == prompt["input_ids"].shape[1] + len(ids)
        for k, label in enumerate(labels):
            with torch.inference_mode():
                logprobs = model(torch.tensor([[*ids, *label]])).logits[0].double().log_softmax(-1)
            expected = sum(logprobs[len(ids) - 1 + i, token].item() for i, token in enumerate(label))
            assert row.logprobs[k] == pytest.approx(expected, abs=1e-4)


def test_a_second_turn_that_does_not_fit_is_an_error_with_its_rationale(tiny_llm, tmp_path) -> None:
    task = Task(labels=TASK.labels, prompt=Prompt(chain_of_thought=True, rationale_tokens=12))
    labeler = LocalLabeler(str(tiny_llm))
    labeler.assign(task, DOCUMENTS[:3], LabelStore(tmp_path))

    class Tight(PromptEncoder):
        def encode_answers(self, documents, rationales):
            return [Encoded(documents[0].id, [], "too long"), *super().encode_answers(documents, rationales)[1:]]

    labeler.trainer = trainer()
    labeler.configure_model()
    labeler._encoder = Tight(tiny_tokenizer(), task, 4096)
    (batch,) = list(PromptBatches(DOCUMENTS[:3], labeler._encoder, 4096, 12))
    rows = labeler.predict_step(batch, 0)
    assert [row.error for row in rows] == ["too long", None, None]
    assert all(row.rationale and row.completion_tokens for row in rows)


def test_device_map_labels_alike(tiny_llm, tmp_path) -> None:
    tables = []
    for device_map in (None, "auto"):
        labeler = LocalLabeler(str(tiny_llm), device_map=device_map)
        labeler.assign(TASK, DOCUMENTS, LabelStore(tmp_path / str(device_map)))
        trainer().predict(labeler, return_predictions=False)
        tables.append(read_labels(tmp_path / str(device_map), TASK.labels).aligned([d.id for d in DOCUMENTS]))
    np.testing.assert_allclose(tables[1].logprobs, tables[0].logprobs, rtol=0, atol=1e-5)
