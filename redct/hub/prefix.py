"""What all prompts begin with is run through a causal language model once, and its key-value cache lent to batches."""

import sys
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

FEWEST_SHARED = 16  # fewer tokens are run again sooner than their cache is handled
ROUNDING = 32  # room is made for a multiple of so many tokens, so that slightly longer batches find it made


class SharedPrefix:
    """Lends the cache of the tokens that all prompts begin with.

    Args:
        model: A causal language model in evaluation mode.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self._tokens: list[int] = []
        self._layers: list[DynamicLayer] = []
        config = model.config.get_text_config()
        # The state of a recurrent layer cannot be lent; a sliding window would be measured over the padding between
        # the shared tokens and a row's own.
        lendable = all(
            type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in DynamicCache(config=config).layers
        )
        self._longest = (getattr(config, "sliding_window", None) or sys.maxsize) if lendable else 0

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
        cache, self._layers = DynamicCache(), []
        ids = torch.tensor([tokens], device=self.model.device)
        self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        for layer in cache.layers:  # one that borrows from another layer is never initialised
            self._layers.append(_LentLayer(layer.keys, layer.values) if layer.is_initialized else DynamicLayer())
        self._tokens = tokens


class _LentLayer(DynamicLayer):
    """Keys and values of the shared tokens, a copy a row, with room for the rows' own tokens behind them.

    The copies are made once and not for every batch; a batch only writes its own tokens.

    Args:
        keys: (1, heads, tokens, size) of the shared tokens.
        values: Likewise.
    """

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self._shared = (keys, values)
        self._room = (keys, values)

    def lend(self, rows: int, length: int) -> None:
        """Begins anew with some rows of up to so many tokens."""
        held, _, room, _ = self._room[0].shape
        if rows > held or length > room:
            self._room = self._shared  # frees the old room before the new one is made
            self._room = _with_room(self._shared[0], rows, length), _with_room(self._shared[1], rows, length)
        self._show(rows, self._shared[0].shape[2])

    def update(self, key_states: Tensor, value_states: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Writes the states of further tokens and returns those of all."""
        rows, start = self.keys.shape[0], self.keys.shape[2]
        end = start + key_states.shape[2]
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room[:rows, :, start:end] = states
        self._show(rows, end)
        return self.keys, self.values

    def _show(self, rows: int, length: int) -> None:
        self.keys, self.values = (room[:rows, :, :length] for room in self._room)


def _with_room(states: Tensor, rows: int, length: int) -> Tensor:
    _, heads, shared, size = states.shape
    room = states.new_empty(rows, heads, -(-length // ROUNDING) * ROUNDING, size)
    room[:, :, :shared] = states
    return room
