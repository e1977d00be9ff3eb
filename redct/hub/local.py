"""Labels documents with a causal language model on this machine's own processors."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from redct.assets import resolve_model
from redct.confidence import margins, normalise
from redct.documents import Document, in_batches
from redct.errors import InputError
from redct.hub.encoding import Encoded, PromptEncoder
from redct.hub.labeler import Labeler
from redct.hub.prefix import shared_length
from redct.hub.reasoning import Reasoner
from redct.hub.rows import LabelRow
from redct.hub.scoring import LabelScorer

DType = Literal["auto", "float32", "bfloat16", "float16"]
WINDOW = 4096  # documents that are sorted by length together: enough to fill batches, little to hold


@dataclass(frozen=True)
class PromptBatch:
    """Prompts that are scored together, and documents that cannot be scored.

    Attributes:
        prompts: The prompts.
        errors: Documents without a prompt, each with the reason.
        shared: How many tokens the prompts begin with in common.
    """

    prompts: list[Encoded]
    errors: list[Encoded]
    shared: int = 0


class PromptBatches(IterableDataset[PromptBatch]):
    """Renders prompts window by window and batches those of similar length.

    Args:
        documents: The documents of this process.
        encoder: Makes prompts of them.
        tokens_per_batch: The most tokens in a batch, padding included, what all prompts begin with excluded.
        new_tokens: How many tokens may be added to a prompt; they count too.
    """

    def __init__(
        self, documents: Iterable[Document], encoder: PromptEncoder, tokens_per_batch: int, new_tokens: int = 0
    ) -> None:
        self.documents, self.encoder = documents, encoder
        self.tokens_per_batch, self.new_tokens = tokens_per_batch, new_tokens

    def __iter__(self) -> Iterator[PromptBatch]:
        """Yields the batches of one window after the other."""
        for window in in_batches(self.documents, WINDOW):
            encoded = self.encoder.encode(window)
            errors = [prompt for prompt in encoded if prompt.error]
            if errors:
                yield PromptBatch([], errors)
            good = [prompt for prompt in encoded if not prompt.error]
            shared = shared_length([prompt.input_ids for prompt in good])
            for batch in _within_budget(good, shared, self.tokens_per_batch, self.new_tokens):
                yield PromptBatch(batch, [], shared)


def _within_budget(prompts: list[Encoded], shared: int, tokens: int, new_tokens: int = 0) -> Iterator[list[Encoded]]:
    """Sorts prompts by length and cuts them into batches whose padded size stays within the budget.

    The shared tokens take no time but, as keys and values, memory: eight of them count as one.
    """
    batch: list[Encoded] = []
    for prompt in sorted(prompts, key=lambda p: len(p.input_ids)):
        if batch and (len(batch) + 1) * (len(prompt.input_ids) - shared + shared // 8 + new_tokens) > tokens:
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch


class LocalLabeler(Labeler):
    """Labels with a causal language model loaded by transformers.

    A document's label distribution is the softmax over the exact log-probabilities of the complete label
    strings as replies to its prompt. With `task.prompt.chain_of_thought` the model writes its reasoning first, always
    going on with the most probable token, and the labels are replies to a second turn. Every process loads its own
    copy of the model; Lightning neither moves nor broadcasts it. A gated model needs `HF_TOKEN` in the environment.

    Args:
        model: Hub id or folder of a causal language model with a chat template; `tiny-mistral` is the bundled one.
        revision: Branch, tag or commit of the model on the hub.
        dtype: Type of the weights; auto is bfloat16 on a GPU and float32 on a CPU.
        trust_remote_code: Whether to run Python code that comes with the model.
        device_map: auto spreads one model over all GPUs; needs --trainer.devices 1.
        tokens_per_batch: Most tokens in a batch, padding included, what all prompts begin with excluded; by default
            16384 on a GPU and 2048 on a CPU.
    """

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        dtype: DType = "auto",
        trust_remote_code: bool = False,
        device_map: Literal["auto"] | None = None,
        tokens_per_batch: int | None = None,
    ) -> None:
        super().__init__()
        if tokens_per_batch is not None and tokens_per_batch < 1:
            raise InputError(f"labeler.tokens_per_batch: found {tokens_per_batch}, expected at least 1")
        self.name, self.revision, self.dtype_option = model, revision, dtype
        self.trust_remote_code, self.device_map = trust_remote_code, device_map
        self.tokens_per_batch = tokens_per_batch
        self._encoder: PromptEncoder | None = None
        self._scorer: LabelScorer | None = None
        self._reasoner: Reasoner | None = None

    def source_fingerprint(self) -> dict[str, Any]:
        """Returns model, revision and dtype."""
        return {"model": self.name, "revision": self.revision, "dtype": self.dtype_option}

    def setup(self, stage: str) -> None:
        """Refuses what cannot work with a model that is spread over several GPUs."""
        if self.device_map and self.trainer.world_size > 1:
            raise InputError(
                f"labeler.device_map: auto spreads one model over all GPUs from one process, found "
                f"{self.trainer.world_size} processes; expected --trainer.devices 1"
            )

    def configure_model(self) -> None:
        """Loads tokenizer and weights; held by the scorer, outside the module registry, no strategy touches them."""
        if self._encoder is not None:
            return
        path = resolve_model(self.name)
        options: dict[str, Any] = {
            "revision": self.revision or "main",
            "trust_remote_code": self.trust_remote_code,
            "token": os.environ.get("HF_TOKEN"),
        }
        device = self.trainer.strategy.root_device
        try:
            tokenizer = AutoTokenizer.from_pretrained(path, **options)
            config = AutoConfig.from_pretrained(path, **options)
            weights = {"dtype": self._weights_dtype(device), "device_map": self.device_map}
            llm = AutoModelForCausalLM.from_pretrained(path, **options, **weights)
        except (OSError, ValueError) as error:
            raise InputError(f"labeler.model: cannot load {self.name!r}: {_first_line(error)}") from error
        llm = llm.eval() if self.device_map else llm.eval().to(device)
        limit = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
        self._encoder = PromptEncoder(tokenizer, self.task, limit)
        self._scorer = LabelScorer(llm, self._encoder.labels)
        if self.task.prompt.chain_of_thought:
            self._reasoner = Reasoner(llm, tokenizer, self.task.prompt.rationale_tokens)

    def _weights_dtype(self, device: torch.device) -> torch.dtype:
        on_gpu = device.type != "cpu" or (self.device_map is not None and torch.cuda.is_available())
        auto = "bfloat16" if on_gpu else "float32"
        dtype: torch.dtype = getattr(torch, auto if self.dtype_option == "auto" else self.dtype_option)
        return dtype

    @property
    def llm(self) -> PreTrainedModel:
        """The loaded model."""
        assert self._scorer is not None
        return self._scorer.model

    def predict_dataloader(self) -> DataLoader[PromptBatch]:
        """Returns batches of prompts for the documents that this process has to label."""
        assert self._encoder is not None
        new_tokens = self._reasoner.max_tokens if self._reasoner is not None else 0
        batches = PromptBatches(self.my_share(), self._encoder, self._budget(), new_tokens)
        return DataLoader(batches, batch_size=None, collate_fn=_unchanged)  # type: ignore[arg-type]

    def _budget(self) -> int:
        return self.tokens_per_batch or (2048 if self.llm.device.type == "cpu" else 16384)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:  # noqa: ANN401
        """Leaves the batch alone: it holds no tensors."""
        return batch

    def predict_step(self, batch: PromptBatch, batch_idx: int, dataloader_idx: int = 0) -> list[LabelRow]:
        """Labels one batch."""
        rows = [LabelRow(prompt.id, error=prompt.error) for prompt in batch.errors]
        if not batch.prompts:
            return rows
        return rows + (self._labeled(batch) if self._reasoner is None else self._reasoned(self._reasoner, batch))

    def _reasoned(self, reasoner: Reasoner, batch: PromptBatch) -> list[LabelRow]:
        """Has the model think about the documents of a batch, and labels them in a second turn."""
        assert self._encoder is not None
        thoughts = reasoner.reason([prompt.input_ids for prompt in batch.prompts], batch.shared)
        rationales = [text.strip() for text in self._encoder.decode(thoughts)]
        documents = [prompt.document for prompt in batch.prompts if prompt.document is not None]
        answers = self._encoder.encode_answers(documents, rationales)
        good = [answer for answer in answers if not answer.error]
        # What the batches have in common, so that the scorer need not run it again for each.
        shared = min(batch.shared, shared_length([answer.input_ids for answer in good]))
        rows = {answer.id: LabelRow(answer.id, error=answer.error) for answer in answers if answer.error}
        for prompts in _within_budget(good, shared, self._budget()):
            rows |= {row.id: row for row in self._labeled(PromptBatch(prompts, [], shared))}
        return [
            replace(
                rows[prompt.id],
                rationale=rationale,
                prompt_tokens=len(prompt.input_ids) + (rows[prompt.id].prompt_tokens or 0),
                completion_tokens=len(thought),
            )
            for prompt, thought, rationale in zip(batch.prompts, thoughts, rationales, strict=True)
        ]

    def _labeled(self, batch: PromptBatch) -> list[LabelRow]:
        assert self._scorer is not None
        scores = self._scorer.score([p.input_ids for p in batch.prompts], batch.shared)
        logprobs = scores.double().cpu().numpy()
        finite = np.isfinite(logprobs).all(axis=1)
        good = [prompt for prompt, fine in zip(batch.prompts, finite, strict=True) if fine]
        bad = [prompt for prompt, fine in zip(batch.prompts, finite, strict=True) if not fine]
        errors = [LabelRow(prompt.id, error="the model's log-probabilities are not finite") for prompt in bad]
        return errors + self._rows(good, logprobs[finite])

    def _rows(self, prompts: list[Encoded], logprobs: np.ndarray[Any, Any]) -> list[LabelRow]:
        if not prompts:
            return []
        probs, margin = normalise(logprobs), margins(logprobs)
        unlabeled = np.clip(1 - np.exp(logprobs).sum(axis=1), 0, 1)
        readings = self.task.readings()
        rows = []
        for n, prompt in enumerate(prompts):
            best = int(logprobs[n].argmax())
            rows.append(
                LabelRow(
                    id=prompt.id,
                    label=self.task.labels[best],
                    probs=probs[n].tolist(),
                    logprobs=logprobs[n].tolist(),
                    margin=float(margin[n]),
                    unlabeled_mass=float(unlabeled[n]),
                    source="logprobs",
                    reply=readings[best],
                    prompt_tokens=len(prompt.input_ids),
                    completion_tokens=0,
                )
            )
        return rows


def _unchanged(batch: PromptBatch) -> PromptBatch:
    return batch


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
