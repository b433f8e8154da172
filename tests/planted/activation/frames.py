"""Bugs of the frame around a kernel that is applied element by element, planted in each activation.

Generators of such kernels share one frame, so that a mistake in it is one of every activation; a
suite must see it in each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from conformance.model.activations import ACTIVATIONS, require_known
from conformance.model.case import bare_name
from planted.bug import plant, read_as_contiguous

# Those first written have bugs of this kind of their own: `activation.py` and `gelu.py`.
_ELSEWHERE = ("ReLU", "LeakyReLU", "GELU", "SiLU")
# A comparison decides what NaN is: the documentation leaves it open.
_COMPARED = ("Threshold", "Hardshrink", "Softshrink")
require_known((*_ELSEWHERE, *_COMPARED), "tests/planted/activation/frames.py")
# What is wrong is torch's own within a frame: an activation that torch lacks has none to wrap.
_FUNCTIONS = {
    name: a.function for name, a in ACTIVATIONS.items() if a.in_torch and name not in _ELSEWHERE
}
_FUNCTIONS["PReLU"] = "functional.prelu"


def _strided_input(
    function: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any
) -> Any:
    """An input that is not contiguous is read as if it were."""
    in_place = options.get("inplace", False)
    return function(input if in_place else read_as_contiguous(input), *args, **options)


def _last_block(function: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any) -> Any:
    """Of more than 1024 elements the last is not computed: blocks of a grid, and no guard."""
    output = function(input, *args, **options)
    if input.numel() <= 1024 or options.get("inplace", False):
        return output
    last = torch.zeros(input.numel(), dtype=torch.bool)
    last[-1] = True
    return torch.where(last.reshape(input.shape), 7.0, output)


def _number(function: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any) -> Any:
    """A tensor without dimensions comes back with one."""
    output = function(input, *args, **options)
    return output.reshape(1) if input.dim() == 0 else output


def _nan(function: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any) -> Any:
    """NaN comes out as 0: fmax and fmin lose it."""
    output = function(input, *args, **options)
    return torch.where(output.isnan() & input.isnan(), 0.0, output)


def _infinity(function: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any) -> Any:
    """An infinity is clamped to the largest number of the dtype."""
    output = function(input, *args, **options)
    largest = torch.finfo(input.dtype).max
    return output if options.get("inplace", False) else output.clamp(-largest, largest)


_FRAMES = (
    ("strided-input", "layout", _strided_input),
    ("last-block", "laws", _last_block),
    ("of-a-number-is-a-vector", "shape", _number),
    ("nan-is-zero", "special", _nan),
)


def _wrap_frame(frame: Callable[..., Any], name: str) -> Callable[..., Any]:
    function = getattr(functional, name)

    def wrong(input: Tensor, *args: Any, **options: Any) -> Any:
        return frame(function, input, *args, **options)

    wrong.__doc__ = frame.__doc__
    return wrong


for _module, _layer in _FUNCTIONS.items():
    _name = bare_name(_layer)
    for _title, _check, _frame in _FRAMES:
        if _check == "special" and _module in _COMPARED:
            _title, _frame = "infinity-is-largest", _infinity
        plant(f"{_name}-{_title}", _layer, _check)(_wrap_frame(_frame, _name))
