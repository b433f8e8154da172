"""What the losses have in common: their reduction."""

from __future__ import annotations

import math

import numpy as np


def reduce_losses(losses: np.ndarray, reduction: str, count: float | None = None) -> np.ndarray:
    """The losses, their sum, or their mean: what is divided by 0 is an infinity, or NaN.

    Args:
        losses: of all elements or samples.
        reduction: `"none"`, `"sum"`; any other one is a mean.
        count: what a mean divides by; None = how many losses there are.
    """
    if reduction == "none":
        return losses
    total = math.fsum(losses.reshape(-1).tolist())
    if reduction == "sum":
        return np.array(total)
    divisor = losses.size if count is None else count
    if not divisor:
        return np.array(math.copysign(math.inf, total) if total else math.nan)
    return np.array(total / divisor)
