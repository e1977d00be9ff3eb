"""The LightningDataModule: a labeled corpus, tokenised and in batches."""

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, Self

import lightning as L
import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from transformers import AutoConfig

from redct.assets import resolve_model
from redct.errors import InputError
from redct.files import sha256
from redct.training.batches import EvaluationBatches, TrainingBatches
from redct.training.classifier import load_tokenizer
from redct.training.corpus import LabeledCorpus
from redct.training.embeddings import embed
from redct.training.encoded import EncodedPart
from redct.training.parts import Part
from redct.training.tokens import suitable_length, tokenise


class LabeledTextDataModule(L.LightningDataModule):
    """LLM-labeled documents, the least certain of them relabeled by experts.

    Attributes:
        corpus: The documents, their labels and answers, without anything of torch.
        parts: Each part of them that the present stage needs, tokenised.
        given: What to train and to validate on in place of the corpus' own targets, see `with_parts`.

    Args:
        encoder: The encoder whose tokenizer is used; the command line takes it from the model.
        max_length: Longest input in tokens; by default the corpus' 99th percentile.
        batch_size: Documents a batch, on each device.
        **corpus: See `LabeledCorpus`.
    """

    def __init__(
        self,
        *,
        encoder: str = "roberta-base",
        max_length: int | None = None,
        batch_size: int = 32,
        **corpus: Any,  # noqa: ANN401 - typed where they are used
    ) -> None:
        super().__init__()
        for option, value in (("batch_size", batch_size), ("max_length", max_length)):
            if value is not None and value < 1:
                raise InputError(f"data.{option}: found {value}, expected at least 1")
        self.encoder, self.max_length, self.batch_size = encoder, max_length, batch_size
        self.corpus = LabeledCorpus(**corpus)
        self.parts: dict[str, EncodedPart] = {}
        self.given: Mapping[str, Part] | None = None
        self.corpus.asking.evidence["embeddings"] = self.embeddings
        self.prepare_data_per_node = False  # the study's folder is shared by all nodes

    def with_parts(self, parts: Mapping[str, Part]) -> Self:
        """Returns the same to train and to validate on other parts; the study's targets on disk stay as they are."""
        other = copy(self)
        other.given, other.parts = parts, {}
        return other

    def prepare_data(self) -> None:
        """Chooses experts' documents, tokenises and caches, in one process; `setup` then finds all of it."""
        assert self.trainer is not None
        stage = self.trainer.state.fn.value if self.trainer.state.fn else "fit"
        if stage == "fit" and self.given is None:
            self.corpus.write_provenance(self.corpus.fit_parts())
        self.setup(stage)

    def setup(self, stage: str) -> None:
        """Joins documents and labels: to test; or to fit and validate, as the last fit's `prepare_data` wrote them.

        Experts may answer meanwhile: no process sees other targets than another, and no document on which a checkpoint
        was trained validates it.
        """
        if self.trainer is not None and self.trainer.world_size > 1:
            self._check_sampler()
        if stage == "test":
            parts: Mapping[str, Part] = {"test": self.corpus.test_part()}
        else:
            parts = self.given or self.corpus.written_parts()
        tokenizer, length = load_tokenizer(self.encoder), self.length()
        for name, part in parts.items():
            tokens = tokenise(tokenizer, part.documents, length, self.cache)
            self.parts[name] = EncodedPart(part, tokens, tokenizer)

    @property
    def cache(self) -> Path:
        """The folder of what can be made anew."""
        return self.corpus.folder / "cache"

    def length(self) -> int:
        """Returns the longest input in tokens; where no option says it, it is found once."""
        if self.max_length is None:
            tokenizer = load_tokenizer(self.encoder)
            documents = self.corpus.splits().train.documents
            self.max_length = suitable_length(tokenizer, documents, self._encoder_limit(tokenizer))
        return self.max_length

    def embeddings(self) -> npt.NDArray[np.float32]:
        """Returns (N, D) what the pretrained encoder sees in the documents of the corpus."""
        return embed(self.encoder, self.corpus.splits().train.documents, self.length(), self.cache)

    def _check_sampler(self) -> None:
        if self.trainer._accelerator_connector.use_distributed_sampler:  # type: ignore[union-attr]
            raise InputError("Trainer: redct shares documents out itself; expected use_distributed_sampler=False")

    def _encoder_limit(self, tokenizer: Any) -> int:  # noqa: ANN401
        config = AutoConfig.from_pretrained(resolve_model(self.encoder))
        positions = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
        # RoBERTa counts positions from after the padding index.
        offset = (config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
        return int(min(positions - offset, tokenizer.model_max_length))

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps: the longest input, and the SHA-256 of the targets it was trained with."""
        targets = sha256(self.corpus.targets_path) if self.corpus.targets_path.exists() else None
        return {"max_length": self.max_length, "targets": targets}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuses to go on with training, or to validate, on other targets than the checkpoint was trained with."""
        stage = self.trainer.state.fn if self.trainer is not None else None
        if stage in ("fit", "validate") and state_dict.get("targets") != self.state_dict()["targets"]:
            raise InputError(
                f"{self.corpus.targets_path}: the checkpoint was trained with other targets (answers or options have "
                "changed since), so that documents to validate on may have served it; run `redct fit` anew, without "
                "--ckpt_path"
            )

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Returns shuffled batches, grouped by length."""
        part = self.parts["train"]
        return self._loader(part, TrainingBatches(part.lengths(), self.batch_size, self.corpus.seed, *self._rank()))

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Returns every validation document once."""
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Returns every held-out document once."""
        return self._evaluation_loader("test")

    def corpus_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Returns every document of the corpus once, whatever it serves; their labels and targets mean nothing."""
        documents, tokenizer = self.corpus.splits().train.documents, load_tokenizer(self.encoder)
        part = Part.known(documents, np.zeros(len(documents), np.int64), len(self.corpus.task.labels), "")
        tokens = tokenise(tokenizer, documents, self.length(), self.cache)
        self.parts["corpus"] = EncodedPart(part, tokens, tokenizer)
        return self._evaluation_loader("corpus")

    def _evaluation_loader(self, name: str) -> DataLoader[dict[str, Tensor]]:
        part = self.parts[name]
        return self._loader(part, EvaluationBatches(part.lengths(), self.batch_size, *self._rank()))

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    @staticmethod
    def _loader(part: EncodedPart, batches: Sampler[list[int]]) -> DataLoader[dict[str, Tensor]]:
        # The sampler gives whole batches, so that Lightning finds its set_epoch and re-batches nothing.
        return DataLoader(part, sampler=batches, batch_size=None)
