"""Pooling by maximum: modules and functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from conformance.laws.pooling import maximum as laws
from conformance.layers.pooling import adaptive as pooling_adaptive
from conformance.layers.pooling import average as pooling_average
from conformance.layers.pooling import fractional as pooling_fractional
from conformance.layers.pooling import inverse as pooling_inverse
from conformance.layers.pooling import norm as pooling_norm
from conformance.layers.pooling.windows import (
    CEIL,
    DILATION,
    INDICES,
    KERNEL,
    PADDING,
    POOLED,
    SPACES,
    STRIDE,
    Space,
    allows,
    each_tap,
    input_length,
    int64,
    kept_stride,
    output_length,
    workloads,
)
from conformance.oracles.pooling import maximum as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.outputs import input_dtype
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle
from conformance.spec.propagation import copied
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.sizes import per_dimension
from conformance.spec.trial_protocol import FactsLike as Facts
from conformance.spec.workload import Filling
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.pooling import maximum as invalid
from conformance.strategies.pooling import maximum as cases


def _selected(space: Space) -> tuple[str, str]:
    """out(N, C, h, w) = max over m, n of input(N, C, stride[0] × h + m, stride[1] × w + n)."""
    taps = "kmn"[-space.dims :]
    places = ", ".join(
        f"stride[{k}] × {at} + {tap}"
        for k, (at, tap) in enumerate(zip(space.indices, taps, strict=True))
    )
    ranges = " ".join(
        f"max_{{{tap} = 0, …, k{axis} − 1}}" for tap, axis in zip(taps, space.axes, strict=True)
    )
    return f"out(N_i, C_j, {', '.join(space.indices)}) = {ranges}", f"input(N_i, C_j, {places})"


def _length(axis: str, k: int) -> str:
    return (
        f"{axis}_out = ⌊({axis}_in + 2 × padding[{k}] − dilation[{k}] × (kernel_size[{k}] − 1) "
        f"− 1) / stride[{k}] + 1⌋"
    )


_SELECTION = replace(copied, parameters=False, crowds=True)
"""Propagation of a maximum: NaN counts as the largest number, −∞ is the smallest."""


def _windows(found: Facts) -> tuple[int, ...] | None:
    """In each dimension, the number of windows that contain at least one element of the input."""
    outputs, first = output_length(found), found.case.inputs[0]
    if outputs is None or first is None:
        return None
    dims, kernel = found.row.signature.dims, found.get("kernel_size")
    stride = kernel if found.get("stride") is None else found.get("stride")
    given = (kernel, stride, found.get("padding"), found.get("dilation"))
    rows = zip(outputs, first.shape[-dims:], *(per_dimension(x, dims) for x in given), strict=True)
    counts = []
    for n, length, k, s, p, d in rows:
        places = np.arange(n)[:, np.newaxis] * s - p + d * np.arange(k)
        counts.append(int(((places >= 0) & (places < length)).any(axis=1).sum()))
    return tuple(counts)


def _max_pool(
    name: str, arguments: tuple[Argument, ...], space: Space, examples: float
) -> LayerSpec:
    dims = space.dims
    valid = partial(cases.max_pools, name, dims)
    signature = Signature(
        arguments,
        (Input("input"),),
        (
            Output("output", dtype=input_dtype),
            Output("indices", dtype=int64, differentiable=False),
        ),
        dims=dims,
        complex=False,
        placed=False,
        kept_as=kept_stride,
    )
    return LayerSpec(
        name,
        "pooling",
        signature=signature,
        shapes=POOLED,
        oracle=Oracle(
            values=partial(oracle.max_pool, dims),
            shapes=partial(oracle.max_pool_shape, dims),
            formula=(*_selected(space), *(_length(axis, k) for k, axis in enumerate(space.axes))),
            propagation=_SELECTION,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.window_breaks(signature, POOLED, dilated=True)),
            examples=examples,
        ),
        variation=Variation(allows=allows),
        conditions=Conditions(
            derived={
                "input_length": input_length,
                "output_length": output_length,
                "windows": _windows,
            }
        ),
        laws=laws.LAWS,
        benchmark=Benchmark(
            workloads=workloads(name, dims), filling=Filling(contraction=False), flops=each_tap
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    sizes = (KERNEL, STRIDE, PADDING, DILATION)
    for space in SPACES:
        plain = space.dims == 2
        name = f"MaxPool{space.dims}d"
        yield _max_pool(name, (*sizes, INDICES, CEIL), space, 0.5 if plain else 0.2)
        function = laws.FUNCTIONS[name]
        yield _max_pool(function, (*sizes, CEIL, INDICES), space, 0.25 if plain else 0.15)
    yield from pooling_inverse.rows()
    yield from pooling_average.rows()
    yield from pooling_fractional.rows()
    yield from pooling_norm.rows()
    yield from pooling_adaptive.rows()
