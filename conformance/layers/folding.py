"""Unfold, Fold and their functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.laws import folding as laws
from conformance.model.case import Case, is_function
from conformance.oracles import folding as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle, Traits
from conformance.spec.propagation import copied, sums
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.sizes import per_dimension, resized
from conformance.spec.state import Shape
from conformance.spec.trial_protocol import FactsLike as Facts
from conformance.spec.workload import Filling, Workload
from conformance.strategies import folding as cases
from conformance.strategies.invalid import folding as invalid
from conformance.strategies.invalid.breaks import invalid_cases

_SIZES = (
    Argument("kernel_size", simplest=1, per_dimension=True, window=True),
    Argument("dilation", 1, alternative=2, per_dimension=True, window=True),
    Argument("padding", 0, alternative=1, per_dimension=True, window=True),
    Argument("stride", 1, alternative=2, per_dimension=True, window=True),
)
_UNFOLDED = Shapes({"input": "batch? channels *space", "output": "batch? depth blocks"})
_FOLDED = Shapes({"input": "batch? depth blocks", "output": "batch? channels *space"})
_BLOCKS = (
    "L = prod_d floor((spatial_size[d] + 2 padding[d]",
    "    - dilation[d] (kernel_size[d] - 1) - 1) / stride[d] + 1)",
)


def _shape(case: Case) -> Shape:
    first = case.inputs[0]
    assert first is not None
    return first.shape


def _has_replicated_tuple(facts: Facts) -> bool:
    """Whether an argument is a tuple of one number that counts for every dimension."""
    values = facts.case.call.arguments.values()
    return any(isinstance(value, (tuple, list)) and len(value) == 1 for value in values)


def _blocks(spec: LayerSpec, lengths: Any, arguments: dict[str, Any]) -> oracle.Blocks | None:
    """The blocks of an image; None where the arguments are invalid or leave no block."""
    complete = {**spec.signature.defaults, **arguments}
    blocks = oracle.Blocks.of(lengths, *(complete[name] for name in cases.NAMES))
    sizes = (*blocks.lengths, *blocks.kernel, *blocks.dilation, *blocks.stride)
    return (
        blocks if min(sizes) > 0 and min(blocks.padding) >= 0 and min(blocks.counts) > 0 else None
    )


def _has_blocks(spec: LayerSpec, case: Case) -> bool:
    """Whether the image has at least one block."""
    return _blocks(spec, _shape(case)[-2:], dict(case.call.arguments)) is not None


def _resize_fold(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, its input resized to the blocks that these have."""
    old_arguments = case.call.arguments
    lengths = (per_dimension(x["output_size"], oracle.DIMS) for x in (old_arguments, arguments))
    old, new = (
        _blocks(spec, size, dict(block_arguments))
        for size, block_arguments in zip(lengths, (old_arguments, arguments), strict=True)
    )
    *batch, depth, total = _shape(case)
    if (
        old is None
        or new is None
        or depth % old.tap_count
        or (old_arguments == arguments and total != new.block_count)
    ):
        return None
    x = case.inputs[0]
    assert x is not None
    shape = (*batch, depth // old.tap_count * new.tap_count, new.block_count)
    call = replace(case.call, arguments=arguments)
    return replace(case, call=call, inputs=(resized(x, shape),))


def _fold_flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """An addition for each value of each block."""
    return math.prod(workload.inputs[0])


def _layer_spec(layer: str) -> LayerSpec:
    """The parts that all layers of the family share."""
    timed_arguments = {"kernel_size": 16, "stride": 16}
    return LayerSpec(
        layer,
        "folding",
        signature=Signature(
            _SIZES,
            (Input("input"),),
            (Output("output"),),
            dims=oracle.DIMS,
            takes_device_and_dtype=False,
        ),
        shapes=_UNFOLDED,
        oracle=Oracle(
            values=oracle.unfold,
            shapes=oracle.unfold_shape,
            formula=("(N, C, *) -> (N, C prod kernel_size, L)", *_BLOCKS),
            propagation=copied,
        ),
        generation=Generation(
            cases=partial(cases.foldings, layer, False),
            examples_fraction=0.25 if is_function(layer) else 0.5,
        ),
        variation=Variation(allows=_has_blocks),
        traits=Traits(copies_input=True),
        conditions=Conditions(derived_facts={"replicated": _has_replicated_tuple}),
        laws=laws.UNFOLD,
        benchmark=Benchmark(
            workloads=(
                Workload(
                    layer, "vit patches of 16", timed_arguments, ((8, 3, 224, 224),), small=True
                ),
            ),
            filling=Filling(contraction=False),
            flops=lambda workload, weights, outputs: 0,
        ),
    )


def _unfold_spec(layer: str) -> LayerSpec:
    spec = _layer_spec(layer)
    return replace(
        spec,
        generation=replace(
            spec.generation,
            invalid=invalid_cases(
                spec.generation.cases, invalid.unfold_breaks(spec.signature, _UNFOLDED)
            ),
        ),
    )


def _fold_spec(layer: str) -> LayerSpec:
    spec = _layer_spec(layer)
    valid = partial(cases.foldings, layer, True)
    patches = {"output_size": 224, "kernel_size": 16, "stride": 16}
    overlapping = {"output_size": 56, "kernel_size": 3, "padding": 1}
    size = Argument("output_size", simplest=1, per_dimension=True, size=True)
    return replace(
        spec,
        signature=replace(
            spec.signature,
            arguments=(size, *_SIZES),
        ),
        shapes=_FOLDED,
        oracle=replace(
            spec.oracle,
            values=oracle.fold,
            shapes=oracle.fold_shape,
            formula=(
                "(N, C prod kernel_size, L) -> (N, C, output_size): overlapping values are added",
                *(line.replace("spatial_size", "output_size") for line in _BLOCKS),
            ),
            propagation=sums,
        ),
        generation=replace(
            spec.generation,
            cases=valid,
            invalid=invalid_cases(valid, invalid.fold_breaks(spec.signature, _FOLDED)),
        ),
        variation=Variation(resize=_resize_fold),
        traits=replace(spec.traits, copies_input=False),
        laws=laws.FOLD,
        benchmark=replace(
            spec.benchmark,
            workloads=(
                Workload(layer, "vit patches of 16", patches, ((8, 768, 196),), small=True),
                Workload(layer, "overlapping 3 by 3", overlapping, ((8, 576, 3136),)),
            ),
            flops=_fold_flops,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, the modules first."""
    for fold_name, unfold_name in (("Fold", "Unfold"), ("functional.fold", "functional.unfold")):
        yield _unfold_spec(unfold_name)
        yield _fold_spec(fold_name)
