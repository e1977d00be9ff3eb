import pytest
import torch
from conftest import random_mistral

from redct.hub.attention import NAME, grouped_attention, grouped_on_cpu

IDS = torch.randint(1, 60, (3, 9), generator=torch.Generator().manual_seed(0))
MASK = torch.ones_like(IDS).index_fill(1, torch.tensor([0, 1]), 0)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all tokens", "padding"])
def test_attends_as_transformers_does(mask) -> None:
    model = random_mistral(64)
    with torch.inference_mode():
        expected = model(input_ids=IDS, attention_mask=mask).logits
        with grouped_on_cpu(model):
            assert model.config._attn_implementation == NAME
            found = model(input_ids=IDS, attention_mask=mask).logits
    assert model.config._attn_implementation == "sdpa"
    torch.testing.assert_close(found[:, 2:], expected[:, 2:], atol=1e-5, rtol=0)


def test_another_attention_is_left_alone() -> None:
    model = random_mistral(64)
    model.set_attn_implementation("eager")
    with grouped_on_cpu(model):
        assert model.config._attn_implementation == "eager"


def test_what_sdpa_refuses_is_refused() -> None:
    states = torch.ones(1, 1, 2, 4)
    with pytest.raises(ValueError, match="softcap"):
        grouped_attention(torch.nn.Module(), states, states, states, torch.ones(1, 1, 2, 2), softcap=30.0)
