import pytest
import torch
from conftest import random_mistral

from redct.hub.scoring import label_logprobs

PROMPTS = [[5, 9, 11, 4], [7], [8, 8, 3, 19, 25, 31, 2], [40, 41]]


def brute_force(model, prompt, label):
    """One run of the whole sequence, no cache, no padding."""
    ids = torch.tensor([[*prompt, *label]])
    with torch.inference_mode():
        logprobs = model(ids).logits.double().log_softmax(-1)[0]
    return sum(logprobs[len(prompt) + step - 1, token].item() for step, token in enumerate(label))


@pytest.mark.parametrize(
    "labels",
    [
        [[1], [2], [3]],
        [[1, 5], [1, 6], [2]],
        [[1, 5, 7], [1, 5, 8, 9], [1, 6], [4, 4], [3]],
    ],
    ids=["one token", "shared first token", "trie"],
)
def test_equals_brute_force_over_complete_labels(labels) -> None:
    model = random_mistral(64)
    expected = [[brute_force(model, prompt, label) for label in labels] for prompt in PROMPTS]
    found = label_logprobs(model, PROMPTS, labels)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-4, rtol=0)


def test_does_not_depend_on_the_batch() -> None:
    model = random_mistral(64)
    labels = [[1, 5], [1, 6], [2]]
    together = label_logprobs(model, PROMPTS, labels)
    alone = torch.cat([label_logprobs(model, [prompt], labels) for prompt in PROMPTS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_distribution_sums_to_one_over_a_complete_vocabulary() -> None:
    model = random_mistral(16)
    total = label_logprobs(model, [[3, 4]], [[token] for token in range(16)]).exp().sum()
    torch.testing.assert_close(total, torch.tensor(1.0))
