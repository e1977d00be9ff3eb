"""What all prompts begin with is run through a causal language model once, and its key-value cache lent to batches."""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

FEWEST_SHARED = 16  # fewer tokens are run again sooner than their cache is handled
ROUNDING = 32  # room is made for a multiple of so many tokens, so that slightly longer batches find it made


def left_pad(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Pads token ids on the left, so that every prompt ends in the last column.

    Args:
        rows: Token ids of B prompts, none of them empty.
        device: Where the tensors shall lie.

    Returns:
        Token ids and attention mask, both (B, T) int64.
    """
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for row, tokens in enumerate(rows):
        ids[row, width - len(tokens) :] = torch.tensor(tokens)
        mask[row, width - len(tokens) :] = 1
    return ids.to(device), mask.to(device)


def shared_length(prompts: Sequence[list[int]]) -> int:
    """Returns how many tokens all prompts begin with, leaving each at least one of its own."""
    if not prompts:
        return 0
    first, last = min(prompts), max(prompts)  # in the order of lists, these two differ the earliest
    limit = min(map(len, prompts)) - 1
    return next((i for i in range(limit) if first[i] != last[i]), max(limit, 0))


class SharedPrefix:
    """Lends the cache of the tokens that all prompts begin with.

    Args:
        model: A causal language model in evaluation mode.

    Attributes:
        has_states: Whether the cache holds keys and values of every token, so that it can be cut; that of a recurrent
            layer cannot.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self._tokens: list[int] = []
        self._layers: list[Any] = []  # as transformers types the layers of a cache
        config = model.config.get_text_config()
        kinds = {type(layer) for layer in DynamicCache(config=config).layers}
        self.has_states = kinds <= {DynamicLayer, DynamicSlidingWindowLayer}
        # A sliding window would be measured over the padding between the shared tokens and a row's own.
        self._longest = (getattr(config, "sliding_window", None) or sys.maxsize) if self.has_states else 0

    def lend(self, prompts: Sequence[Sequence[int]], shared: int, more: int) -> Cache | None:
        """Returns a cache that holds the first tokens of some prompts, until it is lent again.

        Args:
            prompts: Token ids of B prompts.
            shared: How many tokens all of them begin with; fewer than the shortest has.
            more: How many tokens may follow the prompts.

        Returns:
            A cache for B rows, or None where lending would not pay or this model cannot go on from it.
        """
        length = max(map(len, prompts)) + more
        if shared < FEWEST_SHARED or length > self._longest:
            return None
        self._run(list(prompts[0][:shared]))
        for layer in self._layers:
            if isinstance(layer, _LentLayer):
                layer.lend(len(prompts), length)
        return Cache(layers=self._layers)

    def _run(self, tokens: list[int]) -> None:
        if tokens == self._tokens:
            return
        cache = DynamicCache()
        ids = torch.tensor([tokens], device=self.model.device)
        self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        layers: list[Any] = cache.layers
        # A layer that uses the states of another one is never initialised.
        self._layers = [_LentLayer(layer.keys, layer.values) if layer.is_initialized else layer for layer in layers]
        self._tokens = tokens


class _LentLayer(DynamicLayer):
    """Keys and values of the shared tokens, a copy a row, with room for the rows' own tokens behind them.

    The copies are made once and not for every batch; a batch only writes its own tokens.

    Args:
        keys: (1, heads, tokens, size) of the shared tokens.
        values: Likewise.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys, values)
        self._shared = (keys, values)
        self._room = (keys, values)

    def lend(self, rows: int, length: int) -> None:
        """Begins anew with some rows of up to so many tokens."""
        held, _, room, _ = self._room[0].shape
        if rows > held or length > room:
            self.keys, self.values = self._room = self._shared  # frees the old room before the new one is made
            self._room = _with_room(self._shared[0], rows, length), _with_room(self._shared[1], rows, length)
        self._show(rows, self._shared[0].shape[2])

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Writes the states of further tokens and returns those of all."""
        rows, length = key_states.shape[0], key_states.shape[2]
        start = self.get_seq_length()
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[:rows, :, start : start + length] = states
        return self._show(rows, start + length)

    def _show(self, rows: int, length: int) -> tuple[Tensor, Tensor]:
        self.keys, self.values = keys, values = [room[:rows, :, :length] for room in self._room]
        return keys, values


def _with_room(states: Tensor, rows: int, length: int) -> Tensor:
    _, heads, shared, size = states.shape
    room = states.new_empty(rows, heads, -(-length // ROUNDING) * ROUNDING, size)
    room[:, :, :shared] = states
    return room
