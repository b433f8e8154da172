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
    input_length,
    int64,
    output_length,
    stride_readback,
    tap_flops,
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


def _selection_formula(space: Space) -> tuple[str, str]:
    """out(N, C, h, w) = max over m, n of input(N, C, stride[0] × h + m, stride[1] × w + n)."""
    taps = "kmn"[-space.dims :]
    positions = ", ".join(
        f"stride[{k}] × {index} + {tap}"
        for k, (index, tap) in enumerate(zip(space.indices, taps, strict=True))
    )
    ranges = " ".join(
        f"max_{{{tap} = 0, …, k{axis} − 1}}" for tap, axis in zip(taps, space.axes, strict=True)
    )
    return f"out(N_i, C_j, {', '.join(space.indices)}) = {ranges}", f"input(N_i, C_j, {positions})"


def _length_formula(axis: str, k: int) -> str:
    return (
        f"{axis}_out = ⌊({axis}_in + 2 × padding[{k}] − dilation[{k}] × (kernel_size[{k}] − 1) "
        f"− 1) / stride[{k}] + 1⌋"
    )


_SELECTION = replace(copied, special_parameters=False, specials_may_dominate=True)
"""Propagation of a maximum: NaN counts as the largest number, −∞ is the smallest."""


def _nonempty_windows(facts: Facts) -> tuple[int, ...] | None:
    """In each dimension, the number of windows that contain at least one element of the input."""
    outputs, first = output_length(facts), facts.case.inputs[0]
    if outputs is None or first is None:
        return None
    dims, kernel = facts.spec.signature.dims, facts.get("kernel_size")
    stride = kernel if facts.get("stride") is None else facts.get("stride")
    window_arguments = (kernel, stride, facts.get("padding"), facts.get("dilation"))
    dimensions = zip(
        outputs,
        first.shape[-dims:],
        *(per_dimension(x, dims) for x in window_arguments),
        strict=True,
    )
    counts = []
    for n, length, k, s, p, d in dimensions:
        positions = np.arange(n)[:, np.newaxis] * s - p + d * np.arange(k)
        counts.append(int(((positions >= 0) & (positions < length)).any(axis=1).sum()))
    return tuple(counts)


def _max_pool_spec(
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
        supports_complex=False,
        takes_device_and_dtype=False,
        readback=stride_readback,
    )
    return LayerSpec(
        name,
        "pooling",
        signature=signature,
        shapes=POOLED,
        oracle=Oracle(
            values=partial(oracle.max_pool, dims),
            shapes=partial(oracle.max_pool_shape, dims),
            formula=(
                *_selection_formula(space),
                *(_length_formula(axis, k) for k, axis in enumerate(space.axes)),
            ),
            propagation=_SELECTION,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(
                valid, invalid.window_breaks(signature, POOLED, has_dilation=True)
            ),
            examples_fraction=examples,
        ),
        variation=Variation(allows=allows),
        conditions=Conditions(
            derived_facts={
                "input_length": input_length,
                "output_length": output_length,
                "windows": _nonempty_windows,
            }
        ),
        laws=laws.LAWS,
        benchmark=Benchmark(
            workloads=workloads(name, dims), filling=Filling(contraction=False), flops=tap_flops
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    sizes = (KERNEL, STRIDE, PADDING, DILATION)
    for space in SPACES:
        is_2d = space.dims == 2
        name = f"MaxPool{space.dims}d"
        yield _max_pool_spec(name, (*sizes, INDICES, CEIL), space, 0.5 if is_2d else 0.2)
        function = laws.FUNCTIONS[name]
        yield _max_pool_spec(function, (*sizes, CEIL, INDICES), space, 0.25 if is_2d else 0.15)
    yield from pooling_inverse.layer_specs()
    yield from pooling_average.layer_specs()
    yield from pooling_fractional.layer_specs()
    yield from pooling_norm.layer_specs()
    yield from pooling_adaptive.layer_specs()
