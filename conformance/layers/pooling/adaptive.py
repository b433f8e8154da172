"""Adaptive pooling, by maximum and by average: modules and functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from conformance.laws.pooling import adaptive as laws
from conformance.laws.pooling import maximum as forms
from conformance.layers.pooling.windows import (
    INDICES,
    POOLED,
    POOLED_ONLY,
    SPACES,
    Space,
    input_length,
    int64,
    output_length,
)
from conformance.model.case import Case
from conformance.oracles.pooling import adaptive as oracle
from conformance.spec.law import Law
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.outputs import input_dtype
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle, Traits
from conformance.spec.propagation import copied, sums
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.state import Shape
from conformance.spec.workload import Filling, Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.pooling import adaptive as invalid
from conformance.strategies.pooling import adaptive as cases

# A size of the output that the user chooses independently of the input.
_SIZE = Argument("output_size", simplest=1, per_dimension=True)


@dataclass(frozen=True)
class _AdaptivePool:
    """One kind of adaptive pooling.

    Args:
        module: name of the module, without the dimensions.
        indexed: it can return the indices of the elements that it selects.
        formula: what it computes of a region.
    """

    module: str
    indexed: bool
    formula: str


_KINDS = (
    _AdaptivePool("AdaptiveMaxPool", True, "max"),
    _AdaptivePool("AdaptiveAvgPool", False, "mean"),
)


def _allows(spec: LayerSpec, case: Case) -> bool:
    """Whether the output size is valid, and no spatial dimension of the input is empty."""
    size, first, dims = case.call.arguments["output_size"], case.inputs[0], spec.signature.dims
    numbers = size if isinstance(size, (tuple, list)) else (size,) * dims
    is_valid_size = len(numbers) == dims and all(n is None or n >= 0 for n in numbers)
    if first is None or not is_valid_size or size is None or (dims == 1 and None in numbers):
        return False
    return all(first.shape[-dims:])


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations: one comparison or addition per element."""
    return math.prod(workload.inputs[0])


def _workloads(layer: str, dims: int) -> tuple[Workload, ...]:
    """Timed calls: the heads of ResNet (K. He et al., 2015) and, for a larger image, VGG (2014)."""
    resnet, vgg = {1: ((512, 49), (512, 81)), 2: ((512, 7, 7), (512, 9, 9)),
                 3: ((64, 7, 7, 7), (64, 9, 9, 9))}[dims]  # fmt: skip
    return (
        Workload(layer, "resnet head", {"output_size": 1}, ((8, *resnet),), small=True),
        Workload(layer, "vgg head", {"output_size": 7}, ((8, *vgg),)),
    )


def _formula(kind: _AdaptivePool, space: Space) -> tuple[str, ...]:
    conditions = ", ".join(
        f"⌊{index} × {axis}_in / {axis}_out⌋ ≤ {index}' < ⌈({index} + 1) × {axis}_in / {axis}_out⌉"
        for index, axis in zip(space.indices, space.axes, strict=True)
    )
    out, inner = (", ".join(f"{index}{mark}" for index in space.indices) for mark in ("", "'"))
    return (
        f"out(N_i, C_j, {out}) = {kind.formula} of input(N_i, C_j, {inner}),",
        conditions,
    )


def _laws(kind: _AdaptivePool, dims: int) -> tuple[Law, ...]:
    """The laws of the kind; `lifted` adds a dimension, and no layer has four."""
    kind_laws = laws.MAXIMUM if kind.indexed else laws.AVERAGE
    return tuple(x for x in kind_laws if x is not laws.lifted or dims < 3)


def _layer_spec(kind: _AdaptivePool, name: str, space: Space, examples: float) -> LayerSpec:
    dims = space.dims
    valid = partial(cases.adaptive_pools, name, dims, kind.indexed)
    indices = Output("indices", dtype=int64, differentiable=False)
    form = "max" if kind.indexed else "avg"
    signature = Signature(
        (_SIZE, *((INDICES,) if kind.indexed else ())),
        (Input("input"),),
        (Output("output", dtype=input_dtype), *((indices,) if kind.indexed else ())),
        dims=dims,
        supports_complex=False,
        takes_device_and_dtype=False,
    )
    return LayerSpec(
        name,
        "pooling",
        signature=signature,
        shapes=POOLED if kind.indexed else POOLED_ONLY,
        oracle=Oracle(
            values=partial(getattr(oracle, f"adaptive_{form}_pool"), dims),
            shapes=partial(getattr(oracle, f"adaptive_{form}_pool_shape"), dims),
            formula=_formula(kind, space),
            propagation=replace(
                copied if kind.indexed else sums,
                special_parameters=False,
                specials_may_dominate=kind.indexed,
            ),
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.adaptive_breaks(signature, POOLED_ONLY)),
            examples_fraction=examples,
        ),
        variation=Variation(allows=_allows),
        traits=Traits(wide_sums=not kind.indexed),
        conditions=Conditions(
            derived_facts={"input_length": input_length, "output_length": output_length}
        ),
        laws=_laws(kind, dims),
        benchmark=Benchmark(
            workloads=_workloads(name, dims),
            filling=Filling(terms=lambda shape: 9, factors=1, contraction=False),
            flops=_flops,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The adaptive poolings, each as a module and as a function."""
    for kind in _KINDS:
        for space in SPACES:
            name = f"{kind.module}{space.dims}d"
            yield _layer_spec(kind, name, space, 0.2)
            yield _layer_spec(kind, forms.FUNCTIONS[name], space, 0.12)
