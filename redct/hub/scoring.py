"""Exact log-probabilities of complete label strings under a causal language model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel

from redct.hub.attention import grouped_on_cpu
from redct.hub.prefix import SharedPrefix, left_pad


class LabelScorer:
    """Scores complete label strings as replies to prompts.

    What all prompts begin with is run through the model once, and its key-value cache lent to every batch. Then
    the rest of the prompts is run, reading the last position's logits only; labels of several tokens continue
    from the cache, labels that share their first tokens sharing the run.

    Args:
        model: A causal language model in evaluation mode.
        labels: Token ids of K labels, none a prefix of another.
    """

    def __init__(self, model: PreTrainedModel, labels: Sequence[Sequence[int]]) -> None:
        self.model, self.labels = model, labels
        self._paths = _paths(labels)
        self._more = max(map(len, labels))
        self._prefix = SharedPrefix(model)
        self._last_mlp = _last_mlp(model)
        # glibc gives freed memory back beyond a bound that rises with the largest block freed, 32 MiB at most. Left
        # low, every layer's activations are faulted in again: up to a sixth of the time on a CPU.
        torch.empty(2**25 - 2**16, dtype=torch.uint8)

    @torch.inference_mode()
    def score(self, prompts: Sequence[Sequence[int]], shared: int = 0) -> Tensor:
        """Scores the labels as replies to some prompts.

        Args:
            prompts: Token ids of B prompts, up to where a label would begin.
            shared: How many tokens all of them begin with; fewer than the shortest has.

        Returns:
            (B, K) float32: for each label the sum over its tokens of log p(token | prompt, earlier tokens).
        """
        # The trainer's precision is for training.
        with torch.autocast(self.model.device.type, enabled=False), grouped_on_cpu(self.model):
            cache = self._prefix.lend(prompts, shared, self._more)
            start = shared if cache is not None else 0
            if cache is None and self._paths and self._prefix.has_states:
                cache = DynamicCache()
            ids, mask = left_pad([prompt[start:] for prompt in prompts], self.model.device)
            positions = start + (mask.cumsum(-1) - 1).clamp(min=0)
            mask = torch.cat([mask.new_ones(len(prompts), start), mask], dim=1)
            with _at_last_position(self._last_mlp):
                out: Any = self.model(
                    input_ids=ids,
                    attention_mask=mask,
                    position_ids=positions,
                    past_key_values=cache,
                    use_cache=cache is not None,
                    logits_to_keep=1,
                )
            first = out.logits[:, -1].float().log_softmax(-1)
            scores = torch.stack([first[:, label[0]] for label in self.labels], dim=1)
            for path in self._paths:
                self._add_later_tokens(path, ids, mask, cache, scores)
        return scores

    def _add_later_tokens(
        self, path: tuple[int, ...], ids: Tensor, mask: Tensor, cache: Cache | None, scores: Tensor
    ) -> None:
        """Adds to the scores of the labels that go along a path what their tokens after the first contribute."""
        tokens = torch.tensor([path], device=ids.device).expand(len(ids), -1)
        if cache is None:  # nothing to go on from: the prompts are run again
            tokens = torch.cat([ids, tokens], dim=1)
        mask = torch.cat([mask, mask.new_ones(len(ids), len(path))], dim=1)
        out: Any = self.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=(mask.cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :],
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=len(path),
        )
        if cache is not None:
            cache.crop(-len(path))
        following = out.logits.float().log_softmax(-1)
        for k, label in enumerate(self.labels):
            if len(label) > 1 and tuple(label[:-1]) == path[: len(label) - 1]:
                for step, token in enumerate(label[1:]):
                    scores[:, k] += following[:, step, token]


def _last_mlp(model: PreTrainedModel) -> torch.nn.Module | None:
    """Returns the feed-forward block of the last layer, where the model can run it at the last position alone.

    Nothing after it looks at other positions, and its output is added to a residual, to which one position
    broadcasts. Whether that holds for an architecture is tried out, with its last layer only to save time.
    """
    base: Any = model.base_model
    layers = getattr(base, "layers", None)
    if not isinstance(layers, torch.nn.ModuleList) or not len(layers):
        return None
    block = getattr(layers[-1], "mlp", None)
    if not isinstance(block, torch.nn.Module):
        return None
    trial = torch.arange(6, device=model.device).view(2, 3) % model.config.get_text_config().vocab_size
    try:
        base.layers = layers[-1:]
        with torch.inference_mode():
            whole = base(input_ids=trial, use_cache=False).last_hidden_state[:, -1]
            with _at_last_position(block):
                alone = base(input_ids=trial, use_cache=False).last_hidden_state[:, -1]
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError):
        return None
    finally:
        base.layers = layers
    return block if torch.allclose(whole, alone, rtol=1e-2, atol=1e-2 * float(whole.abs().max())) else None


@contextmanager
def _at_last_position(block: torch.nn.Module | None) -> Iterator[None]:
    if block is None:
        yield
        return
    handle = block.register_forward_pre_hook(lambda _, args: (args[0][:, -1:], *args[1:]))
    try:
        yield
    finally:
        handle.remove()


def _paths(labels: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Returns the fewest token paths that, run through the model, reach the last token of every label."""
    heads = sorted({tuple(label[:-1]) for label in labels if len(label) > 1}, key=len, reverse=True)
    paths: list[tuple[int, ...]] = []
    for head in heads:
        if not any(path[: len(head)] == head for path in paths):
            paths.append(head)
    return paths
