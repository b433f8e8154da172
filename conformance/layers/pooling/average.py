"""Pooling by average: modules and functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from conformance.laws.pooling import average as laws
from conformance.laws.pooling import maximum as forms
from conformance.layers.pooling.windows import (
    CEIL,
    KERNEL,
    PADDING,
    POOLED_ONLY,
    SPACES,
    STRIDE,
    Space,
    allows,
    input_length,
    output_length,
    stride_readback,
    tap_flops,
    workloads,
)
from conformance.oracles.pooling import average as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle, Traits
from conformance.spec.propagation import sums
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.workload import Filling
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.pooling import maximum as invalid
from conformance.strategies.pooling import average as cases

_COUNTED = Argument("count_include_pad", True, alternative=False)
_DIVISOR = Argument("divisor_override", None, alternative=3)
_PROPAGATION = replace(sums, special_parameters=False)


def _formula(space: Space) -> tuple[str, ...]:
    """out = Σ over m, n of input / (kH × kW), and the output lengths."""
    taps = "kmn"[-space.dims :]
    positions = (
        f"stride[{k}] × {index} + {tap}"
        for k, (index, tap) in enumerate(zip(space.indices, taps, strict=True))
    )
    sums_text = " ".join(
        f"Σ_{{{tap} = 0}}^{{k{axis} − 1}}" for tap, axis in zip(taps, space.axes, strict=True)
    )
    size = " × ".join(f"k{axis}" for axis in space.axes)
    return (
        f"out(N_i, C_j, {', '.join(space.indices)}) = 1 / ({size}) {sums_text}",
        f"input(N_i, C_j, {', '.join(positions)})",
        *(
            f"{axis}_out = ⌊({axis}_in + 2 × padding[{k}] − kernel_size[{k}]) / stride[{k}] + 1⌋"
            for k, axis in enumerate(space.axes)
        ),
    )


def _avg_pool_spec(name: str, space: Space, examples: float) -> LayerSpec:
    dims = space.dims
    valid = partial(cases.avg_pools, name, dims)
    divisor = (_DIVISOR,) if dims > 1 else ()
    signature = Signature(
        (KERNEL, STRIDE, PADDING, CEIL, _COUNTED, *divisor),
        (Input("input"),),
        (Output("output"),),
        dims=dims,
        supports_complex=False,
        takes_device_and_dtype=False,
        readback=stride_readback,
    )
    return LayerSpec(
        name,
        "pooling",
        signature=signature,
        shapes=POOLED_ONLY,
        oracle=Oracle(
            values=partial(oracle.avg_pool, dims),
            shapes=partial(oracle.avg_pool_shape, dims),
            formula=_formula(space),
            propagation=_PROPAGATION,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(
                valid, invalid.window_breaks(signature, POOLED_ONLY, has_divisor=dims > 1)
            ),
            examples_fraction=examples,
        ),
        variation=Variation(allows=allows),
        traits=Traits(wide_sums=True),
        conditions=Conditions(
            derived_facts={"input_length": input_length, "output_length": output_length}
        ),
        # The last law adds a dimension, and no layer has four.
        laws=laws.LAWS if dims < 3 else laws.LAWS[:-1],
        benchmark=Benchmark(
            workloads=workloads(name, dims),
            filling=Filling(terms=lambda shape: 9, factors=1, contraction=False),
            flops=tap_flops,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The average poolings, each as a module and as a function."""
    for space in SPACES:
        name = f"AvgPool{space.dims}d"
        yield _avg_pool_spec(name, space, 0.4)
        yield _avg_pool_spec(forms.FUNCTIONS[name], space, 0.3)
