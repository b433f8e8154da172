"""Fractional pooling by maximum: modules and functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.laws.pooling import fractional as laws
from conformance.laws.pooling import maximum as forms
from conformance.layers.pooling.windows import (
    INDICES,
    KERNEL,
    POOLED,
    SPACES,
    Space,
    input_length,
    int64,
    output_length,
    tap_flops,
)
from conformance.model.case import Call, Case, is_function
from conformance.oracles.pooling import fractional as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle, Randomness
from conformance.spec.propagation import copied
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.sizes import per_dimension
from conformance.spec.workload import Filling, Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.pooling import fractional as invalid
from conformance.strategies.pooling import fractional as cases

_SIZE = Argument("output_size", None, per_dimension=True, window=True)
_RATIO = Argument("output_ratio", None, window=True)


def _allows(spec: LayerSpec, case: Case) -> bool:
    """Whether the windows fit into the input, and size or ratio is present, but not both."""
    arguments, dims = case.call.arguments, spec.signature.dims
    first, has_size = case.inputs[0], arguments.get("output_size") is not None
    if first is None or has_size is (arguments.get("output_ratio") is not None):
        return False
    (output, *_) = spec.output_shapes(case)
    if output is None:
        return False
    kernel = per_dimension(arguments["kernel_size"], dims)
    dimensions = zip(first.shape[-dims:], output[-dims:], kernel, strict=True)
    return all(o > 0 and k + o - 1 <= n for n, o, k in dimensions)


def _readback(dims: int, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The module stores a ratio as one for each dimension."""
    ratio = arguments.get("output_ratio")
    return {"output_ratio": (ratio,) * dims} if isinstance(ratio, float) else {}


def _always(call: Call) -> bool:
    return True


def _layer_spec(name: str, space: Space, examples: float) -> LayerSpec:
    dims = space.dims
    valid = partial(cases.fractional_pools, name, dims)
    shape = {2: (1, 64, 25, 25), 3: (1, 16, 9, 25, 25)}[dims]
    timed_arguments = {"kernel_size": 2, "output_size": {2: (17, 17), 3: (6, 17, 17)}[dims]}
    signature = Signature(
        (KERNEL, _SIZE, _RATIO, INDICES),
        (Input("input"),),
        (Output("output"), Output("indices", dtype=int64, differentiable=False)),
        dims=dims,
        supports_complex=False,
        takes_device_and_dtype=False,
        readback=partial(_readback, dims),
    )
    return LayerSpec(
        name,
        "pooling",
        signature=signature,
        shapes=POOLED,
        oracle=Oracle(
            values=partial(oracle.fractional_max_pool, dims),
            shapes=partial(oracle.fractional_max_pool_shape, dims),
            formula=(
                "out(N_i, C_j, h, …) = max over windows of the kernel's size that begin at",
                "⌊(h + u) α⌋ − ⌊u α⌋, α = (H_in − kH) / (H_out − 1), u drawn from [0, 1)",
            ),
            propagation=replace(copied, special_parameters=False, specials_may_dominate=True),
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(
                valid, invalid.fractional_breaks(signature, POOLED, is_function(name))
            ),
            examples_fraction=examples,
        ),
        variation=Variation(allows=_allows),
        conditions=Conditions(
            derived_facts={"input_length": input_length, "output_length": output_length}
        ),
        laws=laws.LAWS,
        randomness=Randomness(is_used=_always, draws=laws.draws),
        benchmark=Benchmark(
            workloads=(Workload(name, "25 to 17", timed_arguments, (shape,), small=True),),
            filling=Filling(contraction=False),
            flops=tap_flops,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The fractional poolings, each as a module and as a function."""
    for space in SPACES[1:]:
        name = f"FractionalMaxPool{space.dims}d"
        yield _layer_spec(name, space, 0.15)
        yield _layer_spec(forms.FUNCTIONS[name], space, 0.1)
