"""Exact log-probabilities of complete label strings under a causal language model."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel


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


@torch.inference_mode()
def label_logprobs(model: PreTrainedModel, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]) -> Tensor:
    """Scores complete label strings as replies to prompts.

    The prompts are run once, reading the last position's logits only; labels of several tokens continue from
    the key-value cache, labels that share their first tokens sharing the run.

    Args:
        model: A causal language model in evaluation mode.
        prompts: Token ids of B prompts, up to where a label would begin.
        labels: Token ids of K labels, none a prefix of another.

    Returns:
        (B, K) float32: for each label the sum over its tokens of log p(token | prompt, earlier tokens).
    """
    ids, mask = left_pad(prompts, model.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache() if any(len(label) > 1 for label in labels) else None
    with torch.autocast(model.device.type, enabled=False):  # the trainer's precision is for training
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=1,
        )
        first = out.logits[:, -1].float().log_softmax(-1)
        scores = torch.stack([first[:, label[0]] for label in labels], dim=1)
        if cache is not None:
            _add_later_tokens(model, mask, cache, labels, scores)
    return scores


def _add_later_tokens(
    model: PreTrainedModel, mask: Tensor, cache: DynamicCache, labels: Sequence[Sequence[int]], scores: Tensor
) -> None:
    for path in _paths(labels):
        length = len(path)
        steps = torch.arange(length, device=mask.device)
        out = model(
            input_ids=torch.tensor([path], device=mask.device).expand(len(mask), -1),
            attention_mask=torch.cat([mask, mask.new_ones(len(mask), length)], dim=1),
            position_ids=mask.sum(-1, keepdim=True) + steps,
            past_key_values=cache,
            use_cache=True,
        )
        cache.crop(-length)
        following = out.logits.float().log_softmax(-1)
        for k, label in enumerate(labels):
            if len(label) > 1 and tuple(label[:-1]) == path[: len(label) - 1]:
                for step, token in enumerate(label[1:]):
                    scores[:, k] += following[:, step, token]


def _paths(labels: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Returns the fewest token paths that, run through the model, reach the last token of every label."""
    heads = sorted({tuple(label[:-1]) for label in labels if len(label) > 1}, key=len, reverse=True)
    paths: list[tuple[int, ...]] = []
    for head in heads:
        if not any(path[: len(head)] == head for path in paths):
            paths.append(head)
    return paths
