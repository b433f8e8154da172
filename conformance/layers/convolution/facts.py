"""Derived facts of a convolution, and its calls with other arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.oracles.convolution import paddings
from conformance.spec.axes import Axes, joined
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.sizes import per_dimension, resized

if TYPE_CHECKING:
    from conformance.model.case import Case
    from conformance.spec.trial_like import FactsLike as Facts


def pads(found: Facts) -> tuple[int, ...]:
    """Padding before each dimension, of a string too."""
    padding, dims = found.get("padding"), found.row.signature.dims
    if isinstance(padding, str):
        kernel = per_dimension(found.get("kernel_size"), dims)
        dilation = per_dimension(found.get("dilation"), dims)
        return tuple(before for before, _ in paddings(padding, kernel, dilation))
    return per_dimension(padding, dims)


def _channels_per_group(found: Facts) -> int | None:
    """Input channels that one output channel depends on."""
    first, dims, groups = found.case.inputs[0], found.row.signature.dims, found.get("groups")
    if first is None or first.ndim < dims + 1 or not isinstance(groups, int):
        return None
    return first.shape[-1 - dims] // groups if groups > 0 else None


def _in_channels(found: Facts) -> int | None:
    """Channels of the input."""
    first, dims = found.case.inputs[0], found.row.signature.dims
    return first.shape[-1 - dims] if first is not None and first.ndim > dims else None


def _channels(found: Facts) -> int | None:
    """The larger number of channels, of input or output."""
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
    """In each dimension the number of windows that hold at least one element of the input."""
    outputs = _output_length(found)
    first = found.case.inputs[0]
    if first is None or outputs is None:
        return None
    return _met(found, outputs, first.shape[-found.row.signature.dims :])


def _reaching(found: Facts) -> tuple[int, ...] | None:
    """In each dimension the number of inputs of which a product reaches the output."""
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
    """Arguments of a module that a function shows: kernel size, and padding with zeros."""
    weight = case.inputs[1] if len(case.inputs) > 1 else None
    return {} if weight is None else {"kernel_size": weight.shape[2:], "padding_mode": "zeros"}


def channels(transposed: bool, case: Case) -> tuple[Axes, ...]:
    """The channels that go into a function, and those that come out, where there is one group.

    Args:
        transposed: the weight's first axis is that of the input's channels.
    """
    weight = case.inputs[1]
    if weight is None or case.call.arguments.get("groups", 1) != 1:
        return ()
    inner, outer = (0, 1) if transposed else (1, 0)
    return joined(case, (0, 1 - weight.ndim), (1, inner)), joined(case, (1, outer), (2, 0))


def refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with its arrays in the shapes that other arguments ask for.

    Args:
        case: a valid call.
        arguments: all that are written out, one of them changed.

    Returns:
        None where the call would be invalid.
    """
    inputs, state = list(case.inputs), dict(case.call.state)
    first = inputs[0]
    assert first is not None
    if row.function:
        weight = inputs[1]
        before, after = case.call.arguments.get("groups", 1), arguments.get("groups", 1)
        if before != after and weight is not None:
            if weight.shape[0] % after or weight.shape[1] * before % after:
                return None
            per_group = weight.shape[1] * before // after
            inputs[1] = resized(weight, (weight.shape[0], per_group, *weight.shape[2:]))
    else:
        shape = list(first.shape)
        shape[-1 - row.signature.dims] = arguments.get(
            "in_channels", shape[-1 - row.signature.dims]
        )
        inputs[0] = resized(first, tuple(shape))
        source = np.concatenate([x.reshape(-1) for x in state.values()] or [np.ones(1)])
        wanted = row.state_shapes(arguments, tuple(shape))
        state = {k: resized(state.get(k, source), s) for k, s in wanted.items()}
    layouts = {k: v for k, v in case.call.layouts.items() if k in state}
    call = replace(case.call, arguments=arguments, state=state, layouts=layouts)
    fitted = replace(case, call=call, inputs=tuple(inputs))
    return fitted if _valid(row, fitted) else None


def _wraps_once(row: LayerSpec, case: Case) -> bool:
    """Whether a padding that takes elements of the input finds enough of them."""
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


def _valid(row: LayerSpec, case: Case) -> bool:
    """Whether the documentation allows the call, as far as a changed argument can break it."""
    arguments, first = case.call.arguments, case.inputs[0]
    groups = arguments.get("groups", 1)
    assert first is not None
    channels = [first.shape[-1 - row.signature.dims]]
    channels += [arguments[n] for n in ("in_channels", "out_channels") if n in arguments]
    if any(count % groups or count == 0 for count in channels):
        return False
    if "output_padding" in arguments:
        sizes = (arguments.get(name, 1) for name in ("output_padding", "stride", "dilation"))
        places = zip(*(per_dimension(size, row.signature.dims) for size in sizes), strict=True)
        if any(more >= max(stride, dilation) for more, stride, dilation in places):
            return False
    if not _wraps_once(row, case):
        return False
    (output,) = row.output_shapes(case)
    return output is not None and all(length > 0 for length in output[-row.signature.dims :])
