"""GLaMM's losses: next token, mask BCE and Dice, with the paper's weights 1.0, 2.0 and 0.5."""

import torch
from torch import Tensor
from torch.nn import functional as F

TEXT_WEIGHT, BCE_WEIGHT, DICE_WEIGHT = 1.0, 2.0, 0.5


def next_token(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of (n, vocabulary) logits on (n,) token ids."""
    return F.cross_entropy(logits.float(), targets)


def mask_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """(n, h, w) logits and targets in 0..1: mean over pixels, then over masks. 0 without masks."""
    if not len(logits):
        return logits.sum()
    return F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").flatten(1).mean(1).mean()


def mask_dice(logits: Tensor, targets: Tensor, scale: float = 1000.0, eps: float = 1e-6) -> Tensor:
    """Dice loss of (n, h, w), its sums scaled by 1/1000 as in the reference. 0 without masks."""
    if not len(logits):
        return logits.sum()
    chances, wanted = torch.sigmoid(logits.float()).flatten(1), targets.flatten(1)
    overlap = 2 * (chances / scale * wanted).sum(1)
    total = (chances / scale).sum(1) + (wanted / scale).sum(1)
    return (1 - (overlap + eps) / (total + eps)).mean()
