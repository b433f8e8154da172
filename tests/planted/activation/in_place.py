"""Bugs of activations that write into their input, those of one frame planted in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from conformance.model.activations import ACTIVATIONS, require_known
from conformance.model.case import bare_name
from planted.bug import as_if_contiguous, plant, reroute

_MODULES = tuple(name for name, a in ACTIVATIONS.items() if a.in_place and a.in_torch)
# Of the others the derivative at the result is that at the input.
_CURVED = ("ELU", "SELU", "CELU", "Threshold")
require_known(_CURVED, "tests/planted/activation/in_place.py")


def _copy(right: Callable[..., Tensor], input: Tensor, *others: Any, **given: Any) -> Tensor:
    """It returns a new tensor, and leaves the input as it is."""
    return right(input.clone(), *others, **given)


def _strided(right: Callable[..., Tensor], input: Tensor, *others: Any, **given: Any) -> Tensor:
    """An input that is not contiguous is read as if it were."""
    if input.is_contiguous():
        return right(input, *others, **given)
    return input.copy_(right(as_if_contiguous(input).clone(), *others, **given))


def _last_block(right: Callable[..., Tensor], input: Tensor, *others: Any, **given: Any) -> Tensor:
    """Of more than 1024 elements the last stays what it was: blocks of a grid, and no guard."""
    if input.numel() <= 1024:
        return right(input, *others, **given)
    last = torch.zeros(input.numel(), dtype=torch.bool)
    last[-1] = True
    output = right(input.clone(), *others, **given)
    return input.copy_(torch.where(last.reshape(input.shape), input.clone(), output))


def _of_result(right: Callable[..., Tensor], input: Tensor, *others: Any, **given: Any) -> Tensor:
    """Backward finds the result where the input was, and takes the derivative there."""
    result = right(input.detach().clone(), *others, **given)

    def backward(gradient: Tensor) -> Tensor:
        with torch.enable_grad():
            at = result.detach().requires_grad_()
            output = right(at.clone(), *others, **given)
            return torch.autograd.grad(output, at, gradient)[0]

    return input.copy_(reroute(result, input, backward))


_FRAMES = (
    ("returns-a-copy", "values", _copy, _MODULES),
    ("strided-input", "layout", _strided, _MODULES),
    ("last-block", "laws", _last_block, _MODULES),
    ("gradient-at-the-result", "gradients", _of_result, _CURVED),
)


def _within(frame: Callable[..., Any], name: str) -> Callable[..., Any]:
    right = getattr(functional, name)

    def wrong(input: Tensor, *others: Any, **given: Any) -> Any:
        return frame(right, input, *others, **given)

    wrong.__doc__ = frame.__doc__
    return wrong


for _title, _check, _frame, _modules in _FRAMES:
    for _module in _modules:
        _layer = ACTIVATIONS[_module].in_place
        _wrong = _within(_frame, bare_name(_layer))
        plant(f"{_module.lower()}-in-place-{_title}", _layer, _check)(_wrong)


@plant("rrelu-in-place-one-slope-for-all", "functional.rrelu_", "random")
def rrelu_in_place_one_slope_for_all(input, lower=1 / 8, upper=1 / 3, training=False):
    """In training one slope is drawn for the whole tensor."""
    if not training:
        return functional.rrelu_(input, lower, upper, training)
    slope = lower + (upper - lower) * torch.rand(()).item()
    return functional.leaky_relu_(input, slope)
