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


def pads(facts: Facts) -> tuple[int, ...]:
    """Padding before each dimension, also where the argument is a string."""
    padding, dims = facts.get("padding"), facts.spec.signature.dims
    if isinstance(padding, str):
        kernel = per_dimension(facts.get("kernel_size"), dims)
        dilation = per_dimension(facts.get("dilation"), dims)
        return tuple(before for before, _ in paddings(padding, kernel, dilation))
    return per_dimension(padding, dims)


def _channels_per_group(facts: Facts) -> int | None:
    """Number of input channels that one output channel depends on."""
    first, dims, groups = facts.case.inputs[0], facts.spec.signature.dims, facts.get("groups")
    if first is None or first.ndim < dims + 1 or not isinstance(groups, int):
        return None
    return first.shape[-1 - dims] // groups if groups > 0 else None


def _in_channels(facts: Facts) -> int | None:
    """Number of input channels."""
    first, dims = facts.case.inputs[0], facts.spec.signature.dims
    return first.shape[-1 - dims] if first is not None and first.ndim > dims else None


def _channels(facts: Facts) -> int | None:
    """The larger of the numbers of input and output channels."""
    weight, groups = facts.operand("weight"), facts.get("groups")
    if weight is None or not isinstance(groups, int):
        return None
    return int(max(weight.shape[0], weight.shape[1] * groups))


def _input_length(facts: Facts) -> tuple[int, ...] | None:
    """Length of the input in each spatial dimension."""
    first = facts.case.inputs[0]
    return None if first is None else first.shape[-facts.spec.signature.dims :]


def _reach(facts: Facts) -> tuple[int, ...]:
    """Positions from the first to the last tap of the kernel, in each spatial dimension."""
    sizes = (
        per_dimension(facts.get(name), facts.spec.signature.dims)
        for name in ("kernel_size", "dilation")
    )
    return tuple(d * (k - 1) + 1 for k, d in zip(*sizes, strict=True))


def _output_length(facts: Facts) -> tuple[int, ...] | None:
    """Length of the output in each spatial dimension."""
    try:
        output_shape: tuple[int, ...] = facts.spec.output_shapes(facts.case)[0]
        return output_shape[-facts.spec.signature.dims :]
    except (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError):
        return None


def _windows(facts: Facts) -> tuple[int, ...] | None:
    """In each dimension, the number of windows that contain at least one element of the input."""
    outputs = _output_length(facts)
    first = facts.case.inputs[0]
    if first is None or outputs is None:
        return None
    return _count_overlapping(facts, outputs, first.shape[-facts.spec.signature.dims :])


def _contributing_inputs(facts: Facts) -> tuple[int, ...] | None:
    """In each dimension, the number of input elements that contribute to the output."""
    outputs = _output_length(facts)
    first = facts.case.inputs[0]
    if first is None or outputs is None:
        return None
    return _count_overlapping(facts, first.shape[-facts.spec.signature.dims :], outputs)


def _count_overlapping(
    facts: Facts, counted: tuple[int, ...], target: tuple[int, ...]
) -> tuple[int, ...]:
    kernel, stride, dilation = (
        per_dimension(facts.get(name), facts.spec.signature.dims)
        for name in ("kernel_size", "stride", "dilation")
    )
    counts = []
    dimensions = zip(counted, target, kernel, stride, dilation, pads(facts), strict=True)
    for n, length, k, s, d, p in dimensions:
        positions = np.arange(n)[:, np.newaxis] * s - p + d * np.arange(k)
        counts.append(int(((positions >= 0) & (positions < length)).any(axis=1).sum()))
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
TRANSPOSED: Mapping[str, Callable[[Any], Any]] = {**DERIVED, "windows": _contributing_inputs}


def implied_arguments(case: Case) -> dict[str, Any]:
    """Arguments of the module that a function's call implies: kernel size, padding with zeros."""
    weight = case.inputs[1] if len(case.inputs) > 1 else None
    return {} if weight is None else {"kernel_size": weight.shape[2:], "padding_mode": "zeros"}


def _wraps_once(spec: LayerSpec, case: Case) -> bool:
    """Whether the input is long enough for a padding that copies its elements."""
    first, arguments = case.inputs[0], case.call.arguments
    spare = {"reflect": -1, "circular": 0}.get(arguments.get("padding_mode", "zeros"))
    if spare is None or first is None:
        return True
    padding, kernel, dilation = (
        arguments.get(name, default)
        for name, default in (("padding", 0), ("kernel_size", 1), ("dilation", 1))
    )
    sizes = (per_dimension(size, spec.signature.dims) for size in (kernel, dilation))
    pairs = zip(paddings(padding, *sizes), first.shape[-spec.signature.dims :], strict=True)
    return all(max(pad) <= length + spare for pad, length in pairs)


def allows(spec: LayerSpec, case: Case) -> bool:
    """Whether the output is not empty, and padding and output_padding are within their limits."""
    arguments, dims = case.call.arguments, spec.signature.dims
    if "output_padding" in arguments:
        sizes = (arguments.get(name, 1) for name in ("output_padding", "stride", "dilation"))
        dimensions = zip(*(per_dimension(size, dims) for size in sizes), strict=True)
        if any(
            output_padding >= max(stride, dilation)
            for output_padding, stride, dilation in dimensions
        ):
            return False
    (output,) = spec.output_shapes(case)
    return _wraps_once(spec, case) and output is not None and min(output[-dims - 1 :]) > 0
