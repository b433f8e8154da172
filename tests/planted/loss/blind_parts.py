"""What the blind bugs of losses share: altered elements, their places, weights of targets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from planted.bug import reduced

HALVES = (torch.float16, torch.bfloat16)


def amiss(result: Tensor, error: Tensor, reduction: str) -> Tensor:
    """The result with an error added to the loss of each element; without any it is untouched."""
    if not bool(error.ne(0).any()):
        return result
    return result + reduced(error, reduction).to(result.dtype)


def wide(*tensors: Tensor) -> Any:
    """The tensors, halves as float32; one alone comes back as itself."""
    wider = tuple(x.float() if x.dtype in HALVES else x for x in tensors)
    return wider if len(wider) > 1 else wider[0]


def scaled(result: Tensor, right: Any, wrong: Any) -> Tensor:
    """A mean divided by `wrong` where it was to be divided by `right`."""
    ratio = torch.as_tensor(right, dtype=torch.float64) / torch.as_tensor(wrong)
    if bool(ratio == 1):
        return result
    return result * ratio.to(result.dtype)


def number(tensor: Tensor) -> Tensor:
    """The place of each element in row-major order."""
    return torch.arange(tensor.numel()).view(tensor.shape)


def is_soft(target: Tensor) -> bool:
    """Whether targets are probabilities."""
    return target.is_floating_point()


def weights_of(target: Tensor, weight: Tensor | None, ignore_index: int, input: Tensor) -> Tensor:
    """The weight of each target of classes, zero where it is ignored."""
    kept = target != ignore_index
    if weight is None:
        return kept.to(wide(input).dtype)
    safe = torch.where(kept, target, 0)
    return torch.where(kept, wide(weight.detach())[safe], 0)


def numbers(lengths: Any) -> list[int]:
    """The lengths of CTC's sequences."""
    return torch.as_tensor(lengths).reshape(-1).tolist()


def reduced_ctc(losses: Tensor, target_lengths: Any, reduction: str, like: Tensor) -> Tensor:
    """The samples' losses, reduced as torch reduces them."""
    if reduction == "mean":
        losses = losses / torch.tensor(numbers(target_lengths)).clamp_min(1)
    result = reduced(losses, reduction)
    return result.reshape(like.shape) if reduction == "none" else result
