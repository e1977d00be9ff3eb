"""A part of a study's documents as padded batches of token ids."""

from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from transformers import DataCollatorWithPadding

from redct.training.parts import Part


class EncodedPart(TorchDataset[dict[str, Tensor]]):
    """Yields padded batches of a part; an item is addressed by the positions of a batch."""

    def __init__(self, part: Part, tokens: Dataset, tokenizer: Any) -> None:  # noqa: ANN401
        self.part, self.tokens = part, tokens
        self.pad = DataCollatorWithPadding(tokenizer)

    def __getitem__(self, positions: list[int]) -> dict[str, Tensor]:
        """Returns the batch of the given positions."""
        rows = self.tokens[positions]
        batch = self.pad([{name: rows[name][n] for name in rows} for n in range(len(positions))])
        return {
            **batch,
            "target": torch.from_numpy(self.part.target[positions]),
            "label": torch.from_numpy(self.part.label[positions]),
            "weight": torch.from_numpy(self.part.weight[positions]),
            "index": torch.tensor(positions),
        }

    def __len__(self) -> int:
        """Returns the number of documents."""
        return len(self.part.documents)

    def lengths(self) -> list[int]:
        """Returns the length of each document in tokens."""
        return [len(row) for row in self.tokens["input_ids"]]
