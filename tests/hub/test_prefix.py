import pytest
import torch
from conftest import random_mistral
from hypothesis import given, settings
from hypothesis import strategies as st

from redct.hub.prefix import SharedPrefix, shared_length

PREFIX = list(range(1, 31))


@torch.inference_mode()
def test_room_is_made_once_and_the_shared_tokens_stay() -> None:
    model = random_mistral(64)
    prefix = SharedPrefix(model)
    rooms = []
    for rows, own in ((4, 5), (2, 20), (4, 40), (3, 7)):
        prompts = [[*PREFIX, *([n + 40] * own)] for n in range(rows)]
        cache = prefix.lend(prompts, 30, more=2)
        assert cache.get_seq_length() == 30
        ids = torch.tensor([prompt[30:] for prompt in prompts])
        found = model(input_ids=ids, past_key_values=cache, use_cache=True).logits
        assert cache.get_seq_length() == 30 + own
        expected = model(torch.tensor(prompts)).logits[:, 30:]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
        rooms.append(prefix._layers[0]._room)
    assert rooms[0] is rooms[1] is not rooms[2] is rooms[3]  # the third batch is longer than there was room


@pytest.mark.parametrize("shared", [0, 15])
def test_few_shared_tokens_are_not_lent(shared) -> None:
    assert SharedPrefix(random_mistral(64)).lend([PREFIX, PREFIX], shared, 1) is None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=6))
def test_shared_length_by_brute_force(prompts) -> None:
    expected = 0
    while prompts and all(len(p) > expected + 1 and p[expected] == prompts[0][expected] for p in prompts):
        expected += 1
    assert shared_length(prompts) == expected
