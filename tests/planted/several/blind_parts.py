"""What the blind bugs of pooling, resizing and sampling share: taps, weights, replaced elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from planted.bug import graft


def per_axis(value: Any, dims: int) -> tuple[Any, ...]:
    """One number for each axis."""
    if not isinstance(value, (tuple, list)):
        return (value,) * dims
    return tuple(value) if len(value) == dims else tuple(value) * dims


def substitute_wrong(result: Tensor, right: Tensor, wrong: Tensor) -> Tensor:
    """The result with `wrong` in place of the elements where it is not `right`.

    Both are computed alike and more accurately than the result, which keeps its gradients.
    """
    are_close = torch.isclose(right, wrong, rtol=1e-12, atol=0.0, equal_nan=True)
    return graft(torch.where(are_close, result.detach(), wrong.detach().to(result.dtype)), result)


def window_positions(
    outputs: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[Tensor]:
    """For each axis the places of the input that each window takes, some of them outside."""
    rows = zip(outputs, kernel, stride, padding, dilation, strict=True)
    return [
        torch.arange(n)[:, None] * s - p + d * torch.arange(k)[None, :] for n, k, s, p, d in rows
    ]


def window_values(input: Tensor, places: Sequence[Tensor], outside: float) -> Tensor:
    """What each window takes of the last axes, on a last axis of its own.

    Args:
        input: of any number of leading axes.
        places: for each of its last axes the places, windows by taps.
        outside: what stands at places that the input does not have.
    """
    dims = len(places)
    first = input.dim() - dims
    if outside == -torch.inf and not input.is_floating_point():
        outside = torch.iinfo(input.dtype).min
    for k, place in enumerate(places):
        axis = first + 2 * k
        length = input.shape[axis]
        selected = input.index_select(axis, place.clamp(0, length - 1).flatten())
        selected = selected.unflatten(axis, tuple(place.shape))
        inside = (place >= 0) & (place < length)
        inside = inside.view(*inside.shape, *[1] * (selected.dim() - axis - 2))
        input = torch.where(inside, selected, torch.full_like(selected, outside))
    order = [*range(first), *range(first, input.dim(), 2), *range(first + 1, input.dim(), 2)]
    return input.permute(order).flatten(first + dims)


def plane_indices(input: Tensor, places: Sequence[Tensor]) -> Tensor:
    """The index in its plane of what each window takes, as in `window_values`; −1 outside."""
    shape = input.shape[input.dim() - len(places) :]
    plane = torch.arange(shape.numel()).view(shape)
    return window_values(plane, places, -1)


def output_values(result: Any) -> Tensor:
    """The values, be there indices or not."""
    return result[0] if isinstance(result, tuple) else result


def replace_values(result: Any, values: Tensor) -> Any:
    """The result with other values."""
    return (values, result[1]) if isinstance(result, tuple) else values


def module_window_positions(module: Any, values: Tensor) -> list[Tensor]:
    """The places of the windows of a module."""
    dims = int(type(module).__name__.rstrip("d")[-1])
    arguments = (module.kernel_size, module.stride, module.padding, getattr(module, "dilation", 1))
    return window_positions(values.shape[-dims:], *(per_axis(x, dims) for x in arguments))
