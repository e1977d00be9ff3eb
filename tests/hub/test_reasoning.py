import pytest
import torch
from conftest import random_mistral, tiny_tokenizer

from redct.hub.reasoning import Reasoner

PREFIX = [int(token) for token in torch.randint(6, 200, (40,), generator=torch.Generator().manual_seed(3))]
PROMPTS = [PREFIX + own for own in ([9], [50, 11, 7], [8, 8, 30, 19, 25, 31, 60], [41, 40])]


def alone(model, prompt: list[int], end: int) -> list[int]:
    out = model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False, eos_token_id=end, pad_token_id=0)
    new = out[0, len(prompt) :].tolist()
    return new[: new.index(end)] if end in new else new


@pytest.mark.parametrize("window", [None, 30])
@pytest.mark.parametrize("shared", [0, 40])
def test_thinks_as_generate_does_for_one_prompt(shared, window) -> None:
    tokenizer, model = tiny_tokenizer(), random_mistral(300, sliding_window=window)
    free = Reasoner(model, tokenizer, 24).reason(PROMPTS, shared)
    assert free == [alone(model, prompt, 2) for prompt in PROMPTS]
    # A token that comes up in the middle of some ends them, and them only.
    end = free[0][10]
    model.generation_config.eos_token_id = [2, end]
    ended = Reasoner(model, tokenizer, 24).reason(PROMPTS, shared)
    assert ended == [alone(model, prompt, end) for prompt in PROMPTS]
    assert len(ended[0]) <= 10
