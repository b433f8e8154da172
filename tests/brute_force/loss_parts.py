"""What the losses have in common: their reduction."""

from __future__ import annotations

import math

import numpy as np


def reduced(losses: np.ndarray, reduction: str) -> np.ndarray:
    """The losses, their sum, or their mean; the mean of none is NaN."""
    if reduction == "none":
        return losses
    total = math.fsum(losses.reshape(-1).tolist())
    if reduction == "sum":
        return np.array(total)
    return np.array(total / losses.size if losses.size else math.nan)
