"""Attention of several query heads to one head of keys and values without copying the latter, on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

NAME = "redct_grouped"
_SDPA = AttentionInterface()["sdpa"]


def grouped_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,  # noqa: ANN401 - whatever a model's attention layer says
) -> tuple[Tensor, Tensor | None]:
    """Is transformers' `sdpa` attention, but for the repeated keys and values where there is a mask.

    PyTorch's CPU kernel takes groups of heads by itself; its CUDA kernels do not always, hence transformers' caution.

    Args:
        module: The attention layer.
        query: (B, heads, T, size).
        key: (B, heads that a group shares, S, size).
        value: Like key.
        attention_mask: Which of the S tokens each of the T sees.
        options: Further ones, such as `scaling`.

    Returns:
        (B, T, heads, size), and no attention weights.
    """
    if attention_mask is None or any(options.get(name) is not None for name in ("softcap", "position_bias")):
        result: tuple[Tensor, Tensor | None] = _SDPA(module, query, key, value, attention_mask, **options)
        return result
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, scale=options.get("scaling"), enable_gqa=True
    )
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, grouped_attention)
AttentionMaskInterface.register(NAME, AttentionMaskInterface()["sdpa"])


@contextmanager
def grouped_on_cpu(model: PreTrainedModel) -> Iterator[None]:
    """Lets a model that would use `sdpa` on a CPU use `grouped_attention`."""
    takes_it = model._supports_attention_backend and model.config._attn_implementation == "sdpa"
    if model.device.type != "cpu" or not takes_it:
        yield
        return
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")
