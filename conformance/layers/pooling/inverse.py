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
    kept_stride,
    output_length,
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


def _sized(case: Case) -> bool:
    return bool(case.keywords)


def _stride(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    return kept_stride({"stride": None, **arguments})


def _allows(row: LayerSpec, case: Case) -> bool:
    """Whether the indices fit the output's planes, and an `output_size` is within its range."""
    x, index = case.inputs
    dims, arguments = row.signature.dims, dict(case.call.arguments)
    if x is None or index is None or not x.size:
        return False
    (output,) = row.output_shapes(case)
    if output is None or min(output[-dims:]) <= 0 or int(index.max()) >= math.prod(output[-dims:]):
        return False
    given = arguments.pop("output_size", case.keywords.get("output_size"))
    if given is None:
        return True
    (usual,) = row.shapes_of((x.shape, index.shape), arguments)
    step = arguments.get("stride")
    steps = per_dimension(arguments["kernel_size"] if step is None else step, dims)
    near = zip(given[-dims:], (usual or ())[-dims:], steps, strict=True)
    return all(abs(a - b) < s for a, b, s in near)


def _moved(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Nothing is computed; each copied number counts as one operation."""
    return math.prod(outputs[0])


def _workloads(layer: str, dims: int) -> tuple[Workload, ...]:
    """A timed call: a part of SegNet's first upsampling (V. Badrinarayanan et al., 2015)."""
    plane = {1: (3136,), 2: (56, 56), 3: (14, 14, 14)}[dims]
    shape = (1, 64, *plane)
    given = {"kernel_size": 2}
    below = {"indices": math.prod(plane)}
    return (Workload(layer, "segnet, 64 channels", given, (shape, shape), small=True, below=below),)


def _max_unpool(name: str, space: Space, examples: float) -> LayerSpec:
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
                    signed=False,
                    fixed=True,
                ),
            ),
            (Output("output"),),
            dims=dims,
            complex=False,
            placed=False,
            kept_as=_stride,
        ),
        shapes=_SHAPES,
        oracle=Oracle(
            values=partial(oracle.max_unpool, dims),
            shapes=partial(oracle.max_unpool_shape, dims),
            formula=(
                "out(N_i, C_j, indices(N_i, C_j, x)) = input(N_i, C_j, x), 0 elsewhere",
                *(_LENGTH.format(axis=axis, k=k) for k, axis in enumerate(space.axes)),
            ),
            # Zeros of both signs may share an index, and either is right: no `copies` trait, which
            # would compare signs.
            propagation=replace(copied, parameters=False),
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.unpool_breaks(dims)),
            examples=examples,
        ),
        variation=Variation(needs_keywords=_sized, allows=_allows),
        conditions=Conditions(derived={"output_length": output_length}),
        # The last law adds a dimension, and no layer has four.
        laws=laws.LAWS if dims < 3 else laws.LAWS[:-1],
        benchmark=Benchmark(
            workloads=_workloads(name, dims), filling=Filling(contraction=False), flops=_moved
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """The inverses, each as a module and as a function."""
    for space in SPACES:
        name = f"MaxUnpool{space.dims}d"
        yield _max_unpool(name, space, 0.2)
        yield _max_unpool(forms.FUNCTIONS[name], space, 0.15)
