import pytest
import torch
from torch.nn import functional as F

from redct.training.losses import cross_entropy


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)


@pytest.fixture
def index() -> torch.Tensor:
    return torch.tensor([0, 3, 1, 2, 2, 0, 1, 3])


def test_one_hot_targets_give_the_usual_cross_entropy(logits: torch.Tensor, index: torch.Tensor) -> None:
    one_hot = F.one_hot(index, 4).double()
    ours = cross_entropy(logits, one_hot, torch.ones(8))
    usual = F.cross_entropy(logits, index)
    torch.testing.assert_close(ours, usual)
    torch.testing.assert_close(torch.autograd.grad(ours, logits), torch.autograd.grad(usual, logits))


def test_soft_targets_give_torchs_cross_entropy_with_probabilities(logits: torch.Tensor) -> None:
    target = torch.rand(8, 4, dtype=torch.float64)  # rows need not sum to 1
    torch.testing.assert_close(cross_entropy(logits, target, torch.ones(8)), F.cross_entropy(logits, target))


def test_weights_are_those_of_a_mean(logits: torch.Tensor, index: torch.Tensor) -> None:
    weight = torch.tensor([1.0, 0, 2, 3, 0, 0.5, 1, 4], dtype=torch.float64)
    per_document = F.cross_entropy(logits, index, reduction="none")
    expected = sum(w * loss for w, loss in zip(weight.tolist(), per_document.tolist(), strict=True)) / 11.5
    ours = cross_entropy(logits, F.one_hot(index, 4).double(), weight)
    assert ours.item() == pytest.approx(expected)
    torch.testing.assert_close(cross_entropy(logits, F.one_hot(index, 4).double(), 7 * weight), ours)


def test_no_weight_means_no_loss(logits: torch.Tensor) -> None:
    assert cross_entropy(logits, torch.full((8, 4), 0.25), torch.zeros(8)).item() == 0


def test_half_precision_logits_give_a_loss_in_single_precision(index: torch.Tensor) -> None:
    logits = (torch.randn(8, 4) * 3).bfloat16()
    loss = cross_entropy(logits, F.one_hot(index, 4).float(), torch.ones(8))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, F.cross_entropy(logits.float(), index))
