"""Padding: modules of each mode and dimension, and `functional.pad`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.laws import padding as laws
from conformance.model.case import Case
from conformance.oracles import padding as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.outputs import input_dtype
from conformance.spec.parts import Benchmark, Generation, Oracle, Traits
from conformance.spec.propagation import copied
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Form, Input, Output, Signature
from conformance.spec.state import Shape
from conformance.spec.workload import Filling, Workload
from conformance.strategies import padding as cases
from conformance.strategies.invalid import padding as invalid
from conformance.strategies.invalid.breaks import invalid_cases

_FORMULAS = {
    "reflect": "elements mirrored at the first and the last of each dimension",
    "replicate": "the first and the last element of each dimension again",
    "circular": "the end of each dimension before its beginning, and the beginning after its end",
    "constant": "a constant around the input",
}
_LENGTHS = ("W_out = W_in + padding_left + padding_right", "and so H and D")
_SHAPES: dict[int, Shape] = {1: (8, 64, 512), 2: (8, 64, 56, 56), 3: (2, 32, 8, 28, 28)}
_PADDED = Shapes({"input": "batch? channels *space", "output": "batch? channels *out"})
_MODULES = {
    "ReflectionPad": "reflect",
    "ReplicationPad": "replicate",
    "ZeroPad": "constant",
    "ConstantPad": "constant",
    "CircularPad": "circular",
}


def _each_side(dims: int, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The module stores one number for each side, whatever form it was constructed with."""
    return {"padding": oracle.each_side(arguments["padding"], dims)}


def _allows(
    sides: Callable[[LayerSpec, Mapping[str, Any]], tuple[str, tuple[int, ...]]],
    row: LayerSpec,
    case: Case,
) -> bool:
    """Whether the mode can pad an input of this shape, dtype and rank."""
    arguments, first = case.call.arguments, case.inputs[0]
    assert first is not None
    mode, numbers = sides(row, arguments)
    pairs = oracle.sides_of(numbers)
    lengths = first.shape[first.ndim - len(pairs) :]
    if len(pairs) > first.ndim or not cases.fits(mode, lengths, pairs):
        return False
    several = first.ndim - len(pairs) in (1, 2)
    if mode != "constant" and not (several and 0 < len(pairs) < 4 and first.shape[-len(pairs) - 1]):
        return False
    value = arguments.get("value")
    return first.dtype.kind != "i" or not isinstance(value, float) or value.is_integer()


def _sides_of_module(
    mode: str, row: LayerSpec, arguments: Mapping[str, Any]
) -> tuple[str, tuple[int, ...]]:
    return mode, oracle.each_side(arguments["padding"], row.signature.dims)


def _sides_of_pad(row: LayerSpec, arguments: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
    mode = arguments.get("mode", "constant")
    if mode != "constant" and arguments.get("value") is not None:
        raise ValueError(f"mode {mode!r} takes no value")
    return mode, tuple(arguments["pad"])


def _row(name: str, dims: int, formula: str) -> LayerSpec:
    """The parts that all layers of the family share."""
    return LayerSpec(
        name,
        "padding",
        signature=Signature(
            (Argument("padding", plain=0),),
            (Input("input"),),
            (Output("output", dtype=input_dtype),),
            dims=dims,
            placed=False,
        ),
        shapes=_PADDED if dims else Shapes({"input": "*lengths", "output": "*out"}),
        oracle=Oracle(
            values=oracle.pad,
            shapes=oracle.pad_shape,
            formula=(formula, *_LENGTHS),
            propagation=copied,
        ),
        generation=Generation(cases=partial(cases.pads, name)),
        traits=Traits(copies=True),
        benchmark=Benchmark(
            filling=Filling(contraction=False), flops=lambda workload, weights, outputs: 0
        ),
    )


def _module(name: str, mode: str, dims: int) -> LayerSpec:
    valued = name.startswith("Constant")
    valid = partial(cases.modules, name, mode, dims, valued)
    value = {"value": 3.5} if valued else {}
    shape = _SHAPES[dims]
    text = f"padding 1, {math.prod(shape) // 1000} thousand numbers"
    row = _row(name, dims, _FORMULAS[mode])
    return replace(
        row,
        signature=replace(
            row.signature,
            arguments=(
                *row.signature.arguments,
                *((Argument("value", plain=0.0),) if valued else ()),
            ),
            kept_as=partial(_each_side, dims),
        ),
        oracle=replace(
            row.oracle,
            values=partial(oracle.module_pad, mode, dims),
            shapes=partial(oracle.module_pad_shape, dims),
        ),
        generation=replace(
            row.generation,
            cases=valid,
            invalid=invalid_cases(valid, invalid.module_breaks(mode, dims)),
            examples=0.3,
        ),
        variation=Variation(allows=partial(_allows, partial(_sides_of_module, mode))),
        laws=laws.LINE if dims == 1 else laws.MODULE,
        benchmark=replace(
            row.benchmark,
            workloads=(Workload(name, text, {"padding": 1, **value}, (shape,), small=True),),
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    for stem, mode in _MODULES.items():
        for dims in (1, 2, 3):
            yield _module(f"{stem}{dims}d", mode, dims)
    name = "functional.pad"
    given = {"pad": (1, 1, 1, 1), "mode": "reflect"}
    row = _row(name, 0, "; ".join(f"{mode}: {text}" for mode, text in _FORMULAS.items()))
    yield replace(
        row,
        signature=replace(
            row.signature,
            arguments=(
                Argument("pad", plain=(0, 0), form=Form(sequence=True)),
                Argument("mode", "constant", other="replicate"),
                Argument("value", None, other=1.0),
            ),
        ),
        generation=replace(
            row.generation, invalid=invalid_cases(row.generation.cases, invalid.pad_breaks())
        ),
        variation=Variation(allows=partial(_allows, _sides_of_pad)),
        laws=laws.FUNCTION,
        benchmark=replace(
            row.benchmark,
            workloads=(Workload(name, "reflect, resnet", given, (_SHAPES[2],), small=True),),
        ),
    )
