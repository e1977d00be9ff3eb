import copy

import pytest
import torch
from conftest import random_mistral

from redct.hub import scoring
from redct.hub.scoring import LabelScorer

PROMPTS = [[5, 9, 11, 4], [7], [8, 8, 3, 19, 25, 31, 2], [40, 41]]
PREFIX = [int(token) for token in torch.randint(1, 60, (40,), generator=torch.Generator().manual_seed(3))]
LABELS = {
    "one token": [[1], [2], [3]],
    "shared first token": [[1, 5], [1, 6], [2]],
    "trie": [[1, 5, 7], [1, 5, 8, 9], [1, 6], [4, 4], [3]],
}


def brute_force(model, prompts, labels):
    """One run of every whole sequence, no cache, no padding."""
    rows = []
    for prompt in prompts:
        rows.append([])
        for label in labels:
            with torch.inference_mode():
                logprobs = model(torch.tensor([[*prompt, *label]])).logits.double().log_softmax(-1)[0]
            rows[-1].append(sum(logprobs[len(prompt) + i - 1, token].item() for i, token in enumerate(label)))
    return torch.tensor(rows)


@pytest.mark.parametrize("shared", [0, 15, 40])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_equals_brute_force_over_complete_labels(labels, shared) -> None:
    model = random_mistral(64)
    scorer = LabelScorer(model, labels)
    prompts = [PREFIX + prompt for prompt in PROMPTS]
    expected = brute_force(model, prompts, labels)
    torch.testing.assert_close(scorer.score(prompts, shared), expected, atol=1e-4, rtol=0)
    # The prefix's cache is lent again, to another number of rows, and replaced by that of another prefix.
    torch.testing.assert_close(scorer.score(prompts[:1], shared), expected[:1], atol=1e-4, rtol=0)
    others = [PREFIX[::-1] + prompt for prompt in PROMPTS]
    torch.testing.assert_close(scorer.score(others, shared), brute_force(model, others, labels), atol=1e-4, rtol=0)


@pytest.mark.parametrize("window", [8, 60])
def test_sliding_windows(window) -> None:
    model = random_mistral(64, sliding_window=window)
    prompts = [PREFIX + prompt for prompt in PROMPTS]
    scorer = LabelScorer(model, LABELS["trie"])
    expected = brute_force(model, prompts, LABELS["trie"])
    torch.testing.assert_close(scorer.score(prompts, 40), expected, atol=1e-4, rtol=0)
    assert bool(scorer._prefix._layers) == (window == 60)


BASE = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "initializer_range": 0.2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0}
ARCHITECTURES = {  # what is lent, and whether the last layer runs at the last position only
    "qwen3": (HEADS, True, True),
    "mixtral": ({**HEADS, "num_local_experts": 4}, True, True),
    "gemma3_text": ({**HEADS, "sliding_window": 16}, False, True),  # a part of the layers with a window
    "falcon": ({"num_attention_heads": 4, "pad_token_id": 0}, True, False),  # an attention of its own
    "mamba2": ({"num_heads": 8, "head_dim": 16, "n_groups": 1, "pad_token_id": 0}, False, False),  # recurrent
}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_architectures(kind) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    options, lent, at_last = ARCHITECTURES[kind]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **BASE, **options)).eval()
    scorer = LabelScorer(model, LABELS["trie"])
    prompts = [PREFIX + prompt for prompt in PROMPTS]
    expected = brute_force(model, prompts, LABELS["trie"])
    for shared in (0, 40):
        torch.testing.assert_close(scorer.score(prompts, shared), expected, atol=1e-4, rtol=0)
    assert (bool(scorer._prefix._layers), scorer._last_mlp is not None) == (lent, at_last)


def test_the_last_layer_runs_at_the_last_position_only() -> None:
    model = random_mistral(64)
    seen = []
    model.model.layers[-1].mlp.register_forward_hook(lambda module, args, out: seen.append(args[0].shape[1]))
    scorer = LabelScorer(model, [[1], [2]])
    seen.clear()
    scorer.score([PREFIX, PREFIX])
    assert seen == [1]
    assert not model.model.layers[-1].mlp._forward_pre_hooks


def test_a_last_layer_that_looks_elsewhere_is_left_alone() -> None:
    model = random_mistral(64)
    block = model.model.layers[-1].mlp
    plain = copy.deepcopy(block).forward
    block.forward = lambda x: plain(x) + x.mean(dim=1, keepdim=True) * 5  # mixes positions
    assert scoring._last_mlp(model) is None
    scorer = LabelScorer(model, LABELS["one token"])
    with torch.inference_mode():
        expected = model(torch.tensor([PREFIX])).logits[:, -1].log_softmax(-1)[:, [1, 2, 3]]
    torch.testing.assert_close(scorer.score([PREFIX]), expected, atol=1e-4, rtol=0)


def test_does_not_depend_on_the_batch() -> None:
    scorer = LabelScorer(random_mistral(64), LABELS["shared first token"])
    together = scorer.score(PROMPTS)
    alone = torch.cat([scorer.score([prompt]) for prompt in PROMPTS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_distribution_sums_to_one_over_a_complete_vocabulary() -> None:
    scorer = LabelScorer(random_mistral(16), [[token] for token in range(16)])
    torch.testing.assert_close(scorer.score([[3, 4]]).exp().sum(), torch.tensor(1.0))
