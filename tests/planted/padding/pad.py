"""functional.pad."""

from __future__ import annotations

import torch
from torch.nn import functional

from planted.bug import alter_gradient, plant, read_as_contiguous, round_through

_PAD = functional.pad


def _sides(numbers):
    """(before, after) of each dimension, the last one first."""
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def _flatten_sides(sides):
    return tuple(n for side in sides for n in side)


@plant("functional-pad-first-dimension-first", "functional.pad", "values")
def functional_pad_first_dimension_first(input, pad, mode="constant", value=None):
    """The numbers are those of the axes from the first to the last, where the shape is the same."""
    output = _PAD(input, pad, mode, value)
    reordered = _flatten_sides(_sides(pad)[::-1])
    try:
        wrong = _PAD(input, reordered, mode, value)
    except (RuntimeError, NotImplementedError):
        return output
    return wrong if wrong.shape == output.shape else output


@plant("functional-pad-value-ignored", "functional.pad", "values")
def functional_pad_value_ignored(input, pad, mode="constant", value=None):
    """A constant is zero, whatever the value is."""
    return _PAD(input, pad, mode, None if mode == "constant" else value)


@plant("functional-pad-before-only", "functional.pad", "values")
def functional_pad_before_only(input, pad, mode="constant", value=None):
    """A long row's right padding is copied from its left one."""
    output = _PAD(input, pad, mode, value)
    if not pad or mode == "constant" or pad[0] != pad[1] or pad[0] < 1 or not input.numel():
        return output
    return torch.cat([output[..., : -pad[1]], output[..., : pad[0]]], -1)


@plant("functional-pad-odd-number-dropped", "functional.pad", "errors")
def functional_pad_odd_number_dropped(input, pad, mode="constant", value=None):
    """Of an odd number of paddings the last is left out."""
    if isinstance(pad, (tuple, list)) and len(pad) % 2 and len(pad) // 2 <= input.dim():
        pad = tuple(pad)[:-1]
    return _PAD(input, pad, mode, value)


@plant("functional-pad-double-in-single", "functional.pad", "values")
def functional_pad_double_in_single(input, pad, mode="constant", value=None):
    """float64 passes through float32."""
    output = _PAD(input, pad, mode, value)
    return round_through(output, torch.float32) if output.dtype == torch.float64 else output


@plant("functional-pad-strided-memory", "functional.pad", "layout")
def functional_pad_strided_memory(input, pad, mode="constant", value=None):
    """A view that is not contiguous is read as its memory lies."""
    return _PAD(read_as_contiguous(input), pad, mode, value)


@plant("functional-pad-gradient-narrow", "functional.pad", "gradients")
def functional_pad_gradient_narrow(input, pad, mode="constant", value=None):
    """The gradient of a cropped element is that of its neighbour, not 0."""
    output = _PAD(input, pad, mode, value)
    if not pad or pad[-1] >= 0 or not input.requires_grad:
        return output
    axis = input.dim() - len(pad) // 2

    def smeared(gradient):
        last = gradient.shape[axis] + pad[-1]
        return torch.cat([gradient.narrow(axis, 0, last),
                          gradient.narrow(axis, last - 1, 1).expand(
                              *(-pad[-1] if k == axis else -1 for k in range(input.dim())))],
                         axis) if last > 0 else gradient  # fmt: skip

    return _PAD(alter_gradient(input, smeared), pad, mode, value)
