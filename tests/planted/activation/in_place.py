"""Bugs of activations that write into their input, those of one frame planted in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from conformance.model.activations import ACTIVATIONS, require_known
from conformance.model.case import bare_name
from planted.bug import plant, read_as_contiguous, reroute

_MODULES = tuple(name for name, a in ACTIVATIONS.items() if a.in_place and a.in_torch)
# Of the others the derivative at the result is that at the input.
_CURVED = ("ELU", "SELU", "CELU", "Threshold")
require_known(_CURVED, "tests/planted/activation/in_place.py")


def _copy(function: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any) -> Tensor:
    """It returns a new tensor, and leaves the input as it is."""
    return function(input.clone(), *args, **options)


def _strided(function: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any) -> Tensor:
    """An input that is not contiguous is read as if it were."""
    if input.is_contiguous():
        return function(input, *args, **options)
    return input.copy_(function(read_as_contiguous(input).clone(), *args, **options))


def _last_block(
    function: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any
) -> Tensor:
    """Of more than 1024 elements the last stays what it was: blocks of a grid, and no guard."""
    if input.numel() <= 1024:
        return function(input, *args, **options)
    last = torch.zeros(input.numel(), dtype=torch.bool)
    last[-1] = True
    output = function(input.clone(), *args, **options)
    return input.copy_(torch.where(last.reshape(input.shape), input.clone(), output))


def _differentiate_at_result(
    function: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any
) -> Tensor:
    """Backward finds the result where the input was, and takes the derivative there."""
    result = function(input.detach().clone(), *args, **options)

    def backward(gradient: Tensor) -> Tensor:
        with torch.enable_grad():
            point = result.detach().requires_grad_()
            output = function(point.clone(), *args, **options)
            return torch.autograd.grad(output, point, gradient)[0]

    return input.copy_(reroute(result, input, backward))


_FRAMES = (
    ("returns-a-copy", "values", _copy, _MODULES),
    ("strided-input", "layout", _strided, _MODULES),
    ("last-block", "laws", _last_block, _MODULES),
    ("gradient-at-the-result", "gradients", _differentiate_at_result, _CURVED),
)


def _wrap_frame(frame: Callable[..., Any], name: str) -> Callable[..., Any]:
    function = getattr(functional, name)

    def wrong(input: Tensor, *args: Any, **options: Any) -> Any:
        return frame(function, input, *args, **options)

    wrong.__doc__ = frame.__doc__
    return wrong


for _title, _check, _frame, _modules in _FRAMES:
    for _module in _modules:
        _layer = ACTIVATIONS[_module].in_place
        _wrong = _wrap_frame(_frame, bare_name(_layer))
        plant(f"{_module.lower()}-in-place-{_title}", _layer, _check)(_wrong)


@plant("rrelu-in-place-one-slope-for-all", "functional.rrelu_", "random")
def rrelu_in_place_one_slope_for_all(input, lower=1 / 8, upper=1 / 3, training=False):
    """In training one slope is drawn for the whole tensor."""
    if not training:
        return functional.rrelu_(input, lower, upper, training)
    slope = lower + (upper - lower) * torch.rand(()).item()
    return functional.leaky_relu_(input, slope)
