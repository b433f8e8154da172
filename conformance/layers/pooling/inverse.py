"""The inverse of pooling by maximum: modules and functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.laws.pooling import inverse as laws
from conformance.laws.pooling import maximum as forms
from conformance.layers.pooling.windows import (
    KERNEL,
    PADDING,
    POOLED_ONLY,
    SPACES,
    STRIDE,
    Space,
    output_length,
    stride_readback,
)
from conformance.model.case import Case, is_function
from conformance.oracles.pooling import inverse as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle
from conformance.spec.propagation import copied
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.sizes import per_dimension
from conformance.spec.state import Shape
from conformance.spec.workload import Filling, Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.pooling import inverse as invalid
from conformance.strategies.pooling import inverse as cases

_SHAPES = Shapes({**POOLED_ONLY.texts, "indices": POOLED_ONLY.texts["input"]}, fixed=("space",))
_LENGTH = "{axis}_out = ({axis}_in − 1) × stride[{k}] − 2 × padding[{k}] + kernel_size[{k}]"


def _has_output_size(case: Case) -> bool:
    return bool(case.keywords)


def _readback(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return stride_readback({"stride": None, **arguments})


def _allows(spec: LayerSpec, case: Case) -> bool:
    """Whether the indices fit the output's planes, and an `output_size` is within its range."""
    x, index = case.inputs
    dims, arguments = spec.signature.dims, dict(case.call.arguments)
    if x is None or index is None or not x.size:
        return False
    (output,) = spec.output_shapes(case)
    if output is None or min(output[-dims:]) <= 0 or int(index.max()) >= math.prod(output[-dims:]):
        return False
    output_size = arguments.pop("output_size", case.keywords.get("output_size"))
    if output_size is None:
        return True
    (default_shape,) = spec.output_shapes_for((x.shape, index.shape), arguments)
    step = arguments.get("stride")
    steps = per_dimension(arguments["kernel_size"] if step is None else step, dims)
    sizes_and_steps = zip(output_size[-dims:], (default_shape or ())[-dims:], steps, strict=True)
    return all(abs(a - b) < s for a, b, s in sizes_and_steps)


def _copied_numbers(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Nothing is computed; each copied number counts as one operation."""
    return math.prod(outputs[0])


def _workloads(layer: str, dims: int) -> tuple[Workload, ...]:
    """A timed call: a part of SegNet's first upsampling (V. Badrinarayanan et al., 2015)."""
    plane = {1: (3136,), 2: (56, 56), 3: (14, 14, 14)}[dims]
    shape = (1, 64, *plane)
    arguments = {"kernel_size": 2}
    index_limits = {"indices": math.prod(plane)}
    return (
        Workload(
            layer,
            "segnet, 64 channels",
            arguments,
            (shape, shape),
            small=True,
            index_limits=index_limits,
        ),
    )


def _max_unpool_spec(name: str, space: Space, examples: float) -> LayerSpec:
    dims = space.dims
    valid = partial(cases.max_unpools, name, dims)
    size = Argument("output_size", None, keyword=not is_function(name))
    return LayerSpec(
        name,
        "pooling",
        signature=Signature(
            (KERNEL, STRIDE, PADDING, size),
            (
                Input("input"),
                Input(
                    "indices",
                    "index",
                    differentiable=False,
                    any_value=False,
                    fixed=True,
                ),
            ),
            (Output("output"),),
            dims=dims,
            supports_complex=False,
            takes_device_and_dtype=False,
            readback=_readback,
        ),
        shapes=_SHAPES,
        oracle=Oracle(
            values=partial(oracle.max_unpool, dims),
            shapes=partial(oracle.max_unpool_shape, dims),
            formula=(
                "out(N_i, C_j, indices(N_i, C_j, x)) = input(N_i, C_j, x), 0 elsewhere",
                *(_LENGTH.format(axis=axis, k=k) for k, axis in enumerate(space.axes)),
            ),
            # Zeros of both signs may share an index, and either is right: no `copies_input`, which
            # would compare signs.
            propagation=replace(copied, special_parameters=False),
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.unpool_breaks(dims)),
            examples_fraction=examples,
        ),
        variation=Variation(needs_keywords=_has_output_size, allows=_allows),
        conditions=Conditions(derived_facts={"output_length": output_length}),
        # The last law adds a dimension, and no layer has four.
        laws=laws.LAWS if dims < 3 else laws.LAWS[:-1],
        benchmark=Benchmark(
            workloads=_workloads(name, dims),
            filling=Filling(contraction=False),
            flops=_copied_numbers,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The inverses, each as a module and as a function."""
    for space in SPACES:
        name = f"MaxUnpool{space.dims}d"
        yield _max_unpool_spec(name, space, 0.2)
        yield _max_unpool_spec(forms.FUNCTIONS[name], space, 0.15)
