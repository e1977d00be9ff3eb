"""What a causal language model writes when it is asked to think first."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from redct.hub.attention import grouped_on_cpu
from redct.hub.prefix import SharedPrefix, left_pad


class Reasoner:
    """Continues prompts greedily, many at a time.

    Args:
        model: A causal language model in evaluation mode.
        tokenizer: Its tokenizer.
        max_tokens: The most new tokens.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Any, max_tokens: int) -> None:  # noqa: ANN401
        self.model, self.max_tokens = model, max_tokens
        self._prefix = SharedPrefix(model)
        ends = model.generation_config.eos_token_id if model.generation_config is not None else None
        ends = ends if isinstance(ends, list) else [ends]
        self._ends = sorted({end for end in (*ends, tokenizer.eos_token_id) if end is not None})

    @torch.inference_mode()
    def reason(self, prompts: Sequence[Sequence[int]], shared: int = 0) -> list[list[int]]:
        """Continues some prompts.

        Args:
            prompts: Token ids of B prompts.
            shared: How many tokens all of them begin with; fewer than the shortest has.

        Returns:
            The new tokens of each, up to where the model ends its turn.
        """
        with torch.autocast(self.model.device.type, enabled=False), grouped_on_cpu(self.model):
            cache = self._prefix.lend(prompts, shared, self.max_tokens)
            start = shared if cache is not None else 0
            ids, mask = left_pad([prompt[start:] for prompt in prompts], self.model.device)
            first = torch.tensor([prompts[0][:start]], dtype=ids.dtype, device=ids.device).expand(len(ids), -1)
            generate: Any = self.model.generate
            out = generate(
                torch.cat([first, ids], dim=1),
                attention_mask=torch.cat([mask.new_ones(first.shape), mask], dim=1),
                past_key_values=cache,
                max_new_tokens=self.max_tokens,
                do_sample=False,
                temperature=None,  # what a model's own settings say of sampling would be warned about
                top_p=None,
                top_k=None,
                eos_token_id=self._ends or None,
                pad_token_id=self._ends[0] if self._ends else 0,
            )
        return [self._ended(row) for row in out[:, start + ids.shape[1] :].tolist()]

    def _ended(self, tokens: list[int]) -> list[int]:
        end = next((n for n, token in enumerate(tokens) if token in self._ends), len(tokens))
        return tokens[:end]
