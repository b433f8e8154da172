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
    Argument("kernel_size", plain=1, per_dimension=True, window=True),
    Argument("dilation", 1, other=2, per_dimension=True, window=True),
    Argument("padding", 0, other=1, per_dimension=True, window=True),
    Argument("stride", 1, other=2, per_dimension=True, window=True),
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


def _replicated(found: Facts) -> bool:
    """Whether an argument is a tuple of one number that counts for every dimension."""
    given = found.case.call.arguments.values()
    return any(isinstance(value, (tuple, list)) and len(value) == 1 for value in given)


def _blocks(row: LayerSpec, lengths: Any, arguments: dict[str, Any]) -> oracle.Blocks | None:
    """The blocks of an image; None where the arguments are invalid or leave no block."""
    given = {**row.signature.defaults, **arguments}
    found = oracle.Blocks.of(lengths, *(given[name] for name in cases.NAMES))
    sizes = (*found.lengths, *found.kernel, *found.dilation, *found.stride)
    return found if min(sizes) > 0 and min(found.padding) >= 0 and min(found.counts) > 0 else None


def _room(row: LayerSpec, case: Case) -> bool:
    """Whether the image has at least one block."""
    return _blocks(row, _shape(case)[-2:], dict(case.call.arguments)) is not None


def _fold_refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, its input resized to the blocks that these have."""
    before = case.call.arguments
    lengths = (per_dimension(x["output_size"], oracle.DIMS) for x in (before, arguments))
    old, new = (
        _blocks(row, size, dict(given))
        for size, given in zip(lengths, (before, arguments), strict=True)
    )
    *batch, depth, total = _shape(case)
    if (
        old is None
        or new is None
        or depth % old.size
        or (before == arguments and total != new.total)
    ):
        return None
    x = case.inputs[0]
    assert x is not None
    shape = (*batch, depth // old.size * new.size, new.total)
    call = replace(case.call, arguments=arguments)
    return replace(case, call=call, inputs=(resized(x, shape),))


def _added(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """An addition for each value of each block."""
    return math.prod(workload.inputs[0])


def _row(layer: str) -> LayerSpec:
    """The parts that all layers of the family share."""
    given = {"kernel_size": 16, "stride": 16}
    return LayerSpec(
        layer,
        "folding",
        signature=Signature(
            _SIZES,
            (Input("input"),),
            (Output("output"),),
            dims=oracle.DIMS,
            placed=False,
        ),
        shapes=_UNFOLDED,
        oracle=Oracle(
            values=oracle.unfold,
            shapes=oracle.unfold_shape,
            formula=("(N, C, *) -> (N, C prod kernel_size, L)", *_BLOCKS),
            propagation=copied,
        ),
        generation=Generation(
            cases=partial(cases.blocks, layer, False), examples=0.25 if is_function(layer) else 0.5
        ),
        variation=Variation(allows=_room),
        traits=Traits(copies=True),
        conditions=Conditions(derived={"replicated": _replicated}),
        laws=laws.UNFOLD,
        benchmark=Benchmark(
            workloads=(
                Workload(layer, "vit patches of 16", given, ((8, 3, 224, 224),), small=True),
            ),
            filling=Filling(contraction=False),
            flops=lambda workload, weights, outputs: 0,
        ),
    )


def _unfold(layer: str) -> LayerSpec:
    row = _row(layer)
    return replace(
        row,
        generation=replace(
            row.generation,
            invalid=invalid_cases(
                row.generation.cases, invalid.unfold_breaks(row.signature, _UNFOLDED)
            ),
        ),
    )


def _fold(layer: str) -> LayerSpec:
    row = _row(layer)
    valid = partial(cases.blocks, layer, True)
    patches = {"output_size": 224, "kernel_size": 16, "stride": 16}
    over = {"output_size": 56, "kernel_size": 3, "padding": 1}
    size = Argument("output_size", plain=1, per_dimension=True, size=True)
    return replace(
        row,
        signature=replace(
            row.signature,
            arguments=(size, *_SIZES),
        ),
        shapes=_FOLDED,
        oracle=replace(
            row.oracle,
            values=oracle.fold,
            shapes=oracle.fold_shape,
            formula=(
                "(N, C prod kernel_size, L) -> (N, C, output_size): overlapping values are added",
                *(line.replace("spatial_size", "output_size") for line in _BLOCKS),
            ),
            propagation=sums,
        ),
        generation=replace(
            row.generation,
            cases=valid,
            invalid=invalid_cases(valid, invalid.fold_breaks(row.signature, _FOLDED)),
        ),
        variation=Variation(refit=_fold_refit),
        traits=replace(row.traits, copies=False),
        laws=laws.FOLD,
        benchmark=replace(
            row.benchmark,
            workloads=(
                Workload(layer, "vit patches of 16", patches, ((8, 768, 196),), small=True),
                Workload(layer, "overlapping 3 by 3", over, ((8, 576, 3136),)),
            ),
            flops=_added,
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """The family's layers, the modules first."""
    for fold, unfold in (("Fold", "Unfold"), ("functional.fold", "functional.unfold")):
        yield _unfold(unfold)
        yield _fold(fold)
