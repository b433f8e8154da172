"""Pooling: modules and functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from conformance.laws import pooling as laws
from conformance.layers.axes import batched
from conformance.layers.propagation import copied
from conformance.layers.row import Argument, Input, Output, Row, Traits
from conformance.layers.sizes import per_dimension, sizes_of
from conformance.layers.state import Shape
from conformance.layers.workload import Filling, Workload
from conformance.model.case import Case
from conformance.model.protocols import FactsLike as Facts
from conformance.oracles import pooling as oracle
from conformance.strategies import pooling as cases
from conformance.strategies.invalid import pooling as invalid
from conformance.strategies.invalid.breaks import invalid_cases

_KERNEL = Argument("kernel_size", plain=1, per_dimension=True, window=True)
_STRIDE = Argument("stride", None, other=2, per_dimension=True, window=True)
_PADDING = Argument("padding", 0, other=1, per_dimension=True, window=True)
_DILATION = Argument("dilation", 1, other=2, per_dimension=True, window=True)
_CEIL = Argument("ceil_mode", False, other=True, window=True)
_INDICES = Argument("return_indices", False, other=True)

_SELECTED = (
    "out(N_i, C_j, h, w) = max_{m = 0, …, kH − 1} max_{n = 0, …, kW − 1}",
    "input(N_i, C_j, stride[0] × h + m, stride[1] × w + n)",
)


def _length(axis: str, k: int) -> str:
    return (
        f"{axis}_out = ⌊({axis}_in + 2 × padding[{k}] − dilation[{k}] × (kernel_size[{k}] − 1) "
        f"− 1) / stride[{k}] + 1⌋"
    )


def _int64(case: Case) -> str:
    return "int64"


_SELECTION = replace(copied, parameters=False, crowds=True)
"""Outputs are elements of the input: NaN is the largest, −∞ the smallest."""


def _stride(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """A stride that is left out is the kernel's size."""
    return {"stride": arguments["kernel_size"]} if arguments["stride"] is None else {}


def _output_length(found: Facts) -> tuple[int, ...] | None:
    """Length of the output in each spatial dimension."""
    try:
        return tuple(found.row.output_shapes(found.case)[0][-found.row.dims :])
    except (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError):
        return None


def _windows(found: Facts) -> tuple[int, ...] | None:
    """In each dimension the number of windows that hold at least one element of the input."""
    outputs, first = _output_length(found), found.case.inputs[0]
    if outputs is None or first is None:
        return None
    dims, kernel = found.row.dims, found.get("kernel_size")
    stride = kernel if found.get("stride") is None else found.get("stride")
    given = (kernel, stride, found.get("padding"), found.get("dilation"))
    rows = zip(outputs, first.shape[-dims:], *(per_dimension(x, dims) for x in given), strict=True)
    counts = []
    for n, length, k, s, p, d in rows:
        places = np.arange(n)[:, np.newaxis] * s - p + d * np.arange(k)
        counts.append(int(((places >= 0) & (places < length)).any(axis=1).sum()))
    return tuple(counts)


def _refit(row: Row, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments; None where the input has no room for an output."""
    changed = replace(case, call=replace(case.call, arguments=arguments))
    kernel = per_dimension(arguments["kernel_size"], row.dims)
    padding = per_dimension(arguments.get("padding", 0), row.dims)
    (output, *_) = row.output_shapes(changed)
    fits = output is not None and min(output[-row.dims :]) > 0
    if not fits or any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        return None
    first = case.inputs[0]
    dilation = max(sizes_of(arguments.get("dilation", 1)))
    # A window that hops over a short input is no call to try.
    short = first is not None and min(first.shape[-row.dims :]) < dilation
    return None if short else changed


def _compared(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """One comparison a tap."""
    kernel = per_dimension(workload.arguments["kernel_size"], len(workload.inputs[0]) - 2)
    return math.prod(outputs[0]) * math.prod(kernel)


def _workloads(layer: str) -> tuple[Workload, ...]:
    """Sizes of ResNet's stem (K. He et al., 2015) and of VGG's first stage (2014)."""
    stem = {"kernel_size": 3, "stride": 2, "padding": 1}
    return (
        Workload(layer, "resnet stem, 16 channels", stem, ((1, 16, 56, 56),), small=True),
        Workload(layer, "resnet stem", stem, ((1, 64, 112, 112),)),
        Workload(layer, "vgg 64 channels", {"kernel_size": 2}, ((1, 64, 112, 112),)),
    )


def _max_pool(name: str, arguments: tuple[Argument, ...], dims: int) -> Row:
    valid = partial(cases.max_pools, name, dims)
    batch = batched(dims + 2)
    return Row(
        name,
        "pooling",
        arguments,
        (Input("input", batch_axis=batch),),
        (Output("output", batch), Output("indices", batch, _int64, differentiable=False)),
        cases=valid,
        values=oracle.max_pool2d,
        shapes=oracle.max_pool2d_shape,
        formula=(*_SELECTED, _length("H", 0), _length("W", 1)),
        dims=dims,
        complex=False,
        invalid=invalid_cases(valid, invalid.max_pool_breaks(dims)),
        laws=laws.LAWS,
        propagation=_SELECTION,
        traits=Traits(placed=False),
        derived={"output_length": _output_length, "windows": _windows},
        kept_as=_stride,
        refit=_refit,
        workloads=_workloads(name),
        filling=Filling(contraction=False),
        flops=_compared,
    )


def rows() -> Iterator[Row]:
    """The rows, in the order of torch's documentation."""
    sizes = (_KERNEL, _STRIDE, _PADDING, _DILATION)
    yield _max_pool("MaxPool2d", (*sizes, _INDICES, _CEIL), 2)
    yield _max_pool("functional.max_pool2d", (*sizes, _CEIL, _INDICES), 2)
