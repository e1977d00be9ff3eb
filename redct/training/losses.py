"""The loss of the edge classifier."""

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, target_probs: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the cross-entropy between targets and predicted distributions.

    A one-hot target gives the usual cross-entropy with an index. A target's row need not sum to 1 (targets of
    the kind expit do not): the loss of a document scales with its sum.

    Args:
        logits: (B, K).
        target_probs: (B, K), not negative.
        weight: (B,), not negative; if all are 0, so is the loss.

    Returns:
        A scalar in single precision or better, also for logits in half precision.
    """
    precision = torch.promote_types(logits.dtype, torch.float32)
    log_probs = torch.log_softmax(logits.to(precision), dim=-1)
    per_document = -(target_probs.to(precision) * log_probs).sum(dim=-1)
    weights = weight.to(precision)
    return (weights * per_document).sum() / weights.sum().clamp_min(torch.finfo(precision).tiny)
