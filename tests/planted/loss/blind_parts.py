"""What the blind bugs of losses share: altered elements, their places, weights of targets."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from planted.bug import reduce_losses

HALVES = (torch.float16, torch.bfloat16)


def add_error(result: Tensor, error: Tensor, reduction: str) -> Tensor:
    """The result with an error added to the loss of each element; without any it is untouched."""
    if not bool(error.ne(0).any()):
        return result
    return result + reduce_losses(error, reduction).to(result.dtype)


def widen_halves(*tensors: Tensor) -> Any:
    """The tensors, halves as float32; one alone comes back as itself."""
    widened = tuple(x.float() if x.dtype in HALVES else x for x in tensors)
    return widened if len(widened) > 1 else widened[0]


def rescale_mean(result: Tensor, right: Any, wrong: Any) -> Tensor:
    """A mean divided by `wrong` where it was to be divided by `right`."""
    ratio = torch.as_tensor(right, dtype=torch.float64) / torch.as_tensor(wrong)
    if bool(ratio == 1):
        return result
    return result * ratio.to(result.dtype)


def element_numbers(tensor: Tensor) -> Tensor:
    """The place of each element in row-major order."""
    return torch.arange(tensor.numel()).view(tensor.shape)


def is_soft(target: Tensor) -> bool:
    """Whether targets are probabilities."""
    return target.is_floating_point()


def target_weights(
    target: Tensor, weight: Tensor | None, ignore_index: int, input: Tensor
) -> Tensor:
    """The weight of each target of classes, zero where it is ignored."""
    counted = target != ignore_index
    if weight is None:
        return counted.to(widen_halves(input).dtype)
    safe_target = torch.where(counted, target, 0)
    return torch.where(counted, widen_halves(weight.detach())[safe_target], 0)


def length_list(lengths: Any) -> list[int]:
    """The lengths of CTC's sequences."""
    return torch.as_tensor(lengths).reshape(-1).tolist()


def reduce_ctc(losses: Tensor, target_lengths: Any, reduction: str, like: Tensor) -> Tensor:
    """The samples' losses, reduced as torch reduces them."""
    if reduction == "mean":
        losses = losses / torch.tensor(length_list(target_lengths)).clamp_min(1)
    result = reduce_losses(losses, reduction)
    return result.reshape(like.shape) if reduction == "none" else result
