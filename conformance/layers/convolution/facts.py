"""Derived facts of a convolution, and constraints on its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.oracles.convolution import paddings
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.sizes import per_dimension

if TYPE_CHECKING:
    from conformance.model.case import Case
    from conformance.spec.trial_protocol import FactsLike as Facts


def pads(found: Facts) -> tuple[int, ...]:
    """Padding before each dimension, also where the argument is a string."""
    padding, dims = found.get("padding"), found.row.signature.dims
    if isinstance(padding, str):
        kernel = per_dimension(found.get("kernel_size"), dims)
        dilation = per_dimension(found.get("dilation"), dims)
        return tuple(before for before, _ in paddings(padding, kernel, dilation))
    return per_dimension(padding, dims)


def _channels_per_group(found: Facts) -> int | None:
    """Number of input channels that one output channel depends on."""
    first, dims, groups = found.case.inputs[0], found.row.signature.dims, found.get("groups")
    if first is None or first.ndim < dims + 1 or not isinstance(groups, int):
        return None
    return first.shape[-1 - dims] // groups if groups > 0 else None


def _in_channels(found: Facts) -> int | None:
    """Number of input channels."""
    first, dims = found.case.inputs[0], found.row.signature.dims
    return first.shape[-1 - dims] if first is not None and first.ndim > dims else None


def _channels(found: Facts) -> int | None:
    """The larger of the numbers of input and output channels."""
    weight, groups = found.operand("weight"), found.get("groups")
    if weight is None or not isinstance(groups, int):
        return None
    return int(max(weight.shape[0], weight.shape[1] * groups))


def _input_length(found: Facts) -> tuple[int, ...] | None:
    """Length of the input in each spatial dimension."""
    first = found.case.inputs[0]
    return None if first is None else first.shape[-found.row.signature.dims :]


def _reach(found: Facts) -> tuple[int, ...]:
    """Positions from the first to the last tap of the kernel, in each spatial dimension."""
    sizes = (
        per_dimension(found.get(name), found.row.signature.dims)
        for name in ("kernel_size", "dilation")
    )
    return tuple(d * (k - 1) + 1 for k, d in zip(*sizes, strict=True))


def _output_length(found: Facts) -> tuple[int, ...] | None:
    """Length of the output in each spatial dimension."""
    try:
        whole: tuple[int, ...] = found.row.output_shapes(found.case)[0]
        return whole[-found.row.signature.dims :]
    except (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError):
        return None


def _windows(found: Facts) -> tuple[int, ...] | None:
    """In each dimension, the number of windows that contain at least one element of the input."""
    outputs = _output_length(found)
    first = found.case.inputs[0]
    if first is None or outputs is None:
        return None
    return _met(found, outputs, first.shape[-found.row.signature.dims :])


def _reaching(found: Facts) -> tuple[int, ...] | None:
    """In each dimension, the number of input elements that contribute to the output."""
    outputs = _output_length(found)
    first = found.case.inputs[0]
    if first is None or outputs is None:
        return None
    return _met(found, first.shape[-found.row.signature.dims :], outputs)


def _met(found: Facts, over: tuple[int, ...], within: tuple[int, ...]) -> tuple[int, ...]:
    kernel, stride, dilation = (
        per_dimension(found.get(name), found.row.signature.dims)
        for name in ("kernel_size", "stride", "dilation")
    )
    counts = []
    rows = zip(over, within, kernel, stride, dilation, pads(found), strict=True)
    for n, length, k, s, d, p in rows:
        places = np.arange(n)[:, np.newaxis] * s - p + d * np.arange(k)
        counts.append(int(((places >= 0) & (places < length)).any(axis=1).sum()))
    return tuple(counts)


DERIVED: Mapping[str, Callable[[Any], Any]] = {
    "in_channels": _in_channels,
    "channels": _channels,
    "channels_per_group": _channels_per_group,
    "input_length": _input_length,
    "output_length": _output_length,
    "reach": _reach,
    "windows": _windows,
    "pads": pads,
}
TRANSPOSED: Mapping[str, Callable[[Any], Any]] = {**DERIVED, "windows": _reaching}


def kernel_of(case: Case) -> dict[str, Any]:
    """Arguments of the module that a function's call implies: kernel size, padding with zeros."""
    weight = case.inputs[1] if len(case.inputs) > 1 else None
    return {} if weight is None else {"kernel_size": weight.shape[2:], "padding_mode": "zeros"}


def _wraps_once(row: LayerSpec, case: Case) -> bool:
    """Whether the input is long enough for a padding that copies its elements."""
    first, given = case.inputs[0], case.call.arguments
    spare = {"reflect": -1, "circular": 0}.get(given.get("padding_mode", "zeros"))
    if spare is None or first is None:
        return True
    padding, kernel, dilation = (
        given.get(name, plain)
        for name, plain in (("padding", 0), ("kernel_size", 1), ("dilation", 1))
    )
    sizes = (per_dimension(size, row.signature.dims) for size in (kernel, dilation))
    pairs = zip(paddings(padding, *sizes), first.shape[-row.signature.dims :], strict=True)
    return all(max(pad) <= length + spare for pad, length in pairs)


def allows(row: LayerSpec, case: Case) -> bool:
    """Whether the output is not empty, and padding and output_padding are within their limits."""
    arguments, dims = case.call.arguments, row.signature.dims
    if "output_padding" in arguments:
        sizes = (arguments.get(name, 1) for name in ("output_padding", "stride", "dilation"))
        places = zip(*(per_dimension(size, dims) for size in sizes), strict=True)
        if any(more >= max(stride, dilation) for more, stride, dilation in places):
            return False
    (output,) = row.output_shapes(case)
    return _wraps_once(row, case) and output is not None and min(output[-dims - 1 :]) > 0
