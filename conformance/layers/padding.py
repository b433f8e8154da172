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


def _readback(dims: int, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The module stores one number for each side, whatever form it was constructed with."""
    return {"padding": oracle.each_side(arguments["padding"], dims)}


def _allows(
    sides: Callable[[LayerSpec, Mapping[str, Any]], tuple[str, tuple[int, ...]]],
    spec: LayerSpec,
    case: Case,
) -> bool:
    """Whether the mode can pad an input of this shape, dtype and rank."""
    arguments, first = case.call.arguments, case.inputs[0]
    assert first is not None
    mode, numbers = sides(spec, arguments)
    pairs = oracle.side_pairs(numbers)
    lengths = first.shape[first.ndim - len(pairs) :]
    if len(pairs) > first.ndim or not cases.can_pad(mode, lengths, pairs):
        return False
    has_batch_or_channels = first.ndim - len(pairs) in (1, 2)
    if mode != "constant" and not (
        has_batch_or_channels and 0 < len(pairs) < 4 and first.shape[-len(pairs) - 1]
    ):
        return False
    value = arguments.get("value")
    return first.dtype.kind != "i" or not isinstance(value, float) or value.is_integer()


def _module_sides(
    mode: str, spec: LayerSpec, arguments: Mapping[str, Any]
) -> tuple[str, tuple[int, ...]]:
    return mode, oracle.each_side(arguments["padding"], spec.signature.dims)


def _function_sides(spec: LayerSpec, arguments: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
    mode = arguments.get("mode", "constant")
    if mode != "constant" and arguments.get("value") is not None:
        raise ValueError(f"mode {mode!r} takes no value")
    return mode, tuple(arguments["pad"])


def _layer_spec(name: str, dims: int, formula: str) -> LayerSpec:
    """The parts that all layers of the family share."""
    return LayerSpec(
        name,
        "padding",
        signature=Signature(
            (Argument("padding", simplest=0),),
            (Input("input"),),
            (Output("output", dtype=input_dtype),),
            dims=dims,
            takes_device_and_dtype=False,
        ),
        shapes=_PADDED if dims else Shapes({"input": "*lengths", "output": "*out"}),
        oracle=Oracle(
            values=oracle.pad,
            shapes=oracle.pad_shape,
            formula=(formula, *_LENGTHS),
            propagation=copied,
        ),
        generation=Generation(cases=partial(cases.pads, name)),
        traits=Traits(copies_input=True),
        benchmark=Benchmark(
            filling=Filling(contraction=False), flops=lambda workload, weights, outputs: 0
        ),
    )


def _module_spec(name: str, mode: str, dims: int) -> LayerSpec:
    takes_value = name.startswith("Constant")
    valid = partial(cases.module_pads, name, mode, dims, takes_value)
    value = {"value": 3.5} if takes_value else {}
    shape = _SHAPES[dims]
    text = f"padding 1, {math.prod(shape) // 1000} thousand numbers"
    spec = _layer_spec(name, dims, _FORMULAS[mode])
    return replace(
        spec,
        signature=replace(
            spec.signature,
            arguments=(
                *spec.signature.arguments,
                *((Argument("value", simplest=0.0),) if takes_value else ()),
            ),
            readback=partial(_readback, dims),
        ),
        oracle=replace(
            spec.oracle,
            values=partial(oracle.module_pad, mode, dims),
            shapes=partial(oracle.module_pad_shape, dims),
        ),
        generation=replace(
            spec.generation,
            cases=valid,
            invalid=invalid_cases(valid, invalid.module_breaks(mode, dims)),
            examples_fraction=0.3,
        ),
        variation=Variation(allows=partial(_allows, partial(_module_sides, mode))),
        laws=laws.LINE_LAWS if dims == 1 else laws.MODULE_LAWS,
        benchmark=replace(
            spec.benchmark,
            workloads=(Workload(name, text, {"padding": 1, **value}, (shape,), small=True),),
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    for stem, mode in _MODULES.items():
        for dims in (1, 2, 3):
            yield _module_spec(f"{stem}{dims}d", mode, dims)
    name = "functional.pad"
    timed_arguments = {"pad": (1, 1, 1, 1), "mode": "reflect"}
    spec = _layer_spec(name, 0, "; ".join(f"{mode}: {text}" for mode, text in _FORMULAS.items()))
    yield replace(
        spec,
        signature=replace(
            spec.signature,
            arguments=(
                Argument("pad", simplest=(0, 0), form=Form(sequence=True)),
                Argument("mode", "constant", alternative="replicate"),
                Argument("value", None, alternative=1.0),
            ),
        ),
        generation=replace(
            spec.generation, invalid=invalid_cases(spec.generation.cases, invalid.pad_breaks())
        ),
        variation=Variation(allows=partial(_allows, _function_sides)),
        laws=laws.FUNCTION_LAWS,
        benchmark=replace(
            spec.benchmark,
            workloads=(
                Workload(name, "reflect, resnet", timed_arguments, (_SHAPES[2],), small=True),
            ),
        ),
    )
