"""PixelShuffle, PixelUnshuffle and their functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.laws.reshaping import pixels as laws
from conformance.model.case import Case, is_function
from conformance.oracles import reshaping as oracle
from conformance.spec.elementwise import every_axis
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.outputs import input_dtype
from conformance.spec.parts import Benchmark, Generation, Oracle, Traits
from conformance.spec.propagation import copied
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.sizes import resized
from conformance.spec.workload import Filling, Workload
from conformance.strategies import reshaping as cases
from conformance.strategies.invalid import reshaping as invalid
from conformance.strategies.invalid.breaks import invalid_cases


def _leading(case: Case) -> int | None:
    """The first axis counts the batch, if it is none of the last three."""
    first = case.inputs[0]
    return 0 if first is not None and first.ndim > 3 else None


def _refit(
    name: str,
    divided: tuple[int, ...],
    power: int,
    row: LayerSpec,
    case: Case,
    arguments: dict[str, Any],
) -> Case | None:
    """The case with another factor, the axes that it divides as many times as large.

    Args:
        case: a valid case, or one with another size.
        arguments: the new ones.
    """
    first, factor = case.inputs[0], arguments[name]
    assert first is not None
    before = case.call.arguments[name] ** power
    if factor < 1 or any(first.shape[axis] % before for axis in divided):
        return None
    shape = list(first.shape)
    for axis in divided:
        shape[axis] = shape[axis] // before * factor**power
    call = replace(case.call, arguments=arguments)
    return replace(case, call=call, inputs=(resized(first, tuple(shape)),))


def _row(
    layer: str,
    name: str,
    formula: tuple[str, ...],
    oracles: tuple[Callable[..., Any], Callable[..., Any]],
    divided: tuple[int, ...],
    power: int,
    shape: tuple[int, ...],
) -> LayerSpec:
    valid = partial(cases.pixels, layer, name, power == 2)
    values, shapes = oracles
    return LayerSpec(
        layer,
        "reshaping",
        signature=Signature(
            (Argument(name, plain=1),),
            (Input("input", batch_axis=_leading),),
            (Output("output", _leading, input_dtype),),
            placed=False,
        ),
        oracle=Oracle(values=values, shapes=shapes, formula=formula, propagation=copied),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.pixel_breaks(name, divided, power)),
            examples=0.25 if is_function(layer) else 0.5,
        ),
        variation=Variation(refit=partial(_refit, name, divided, power), free=every_axis),
        traits=Traits(copies=True),
        laws=laws.LAWS,
        benchmark=Benchmark(
            workloads=(Workload(layer, "espcn, factor 3", {name: 3}, (shape,), small=True),),
            filling=Filling(contraction=False),
            flops=lambda workload, weights, outputs: 0,
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """The rows, the modules first."""
    for shuffle, unshuffle in (
        ("PixelShuffle", "PixelUnshuffle"),
        ("functional.pixel_shuffle", "functional.pixel_unshuffle"),
    ):
        yield _row(
            shuffle,
            "upscale_factor",
            ("(*, C r^2, H, W) -> (*, C, H r, W r)",),
            (oracle.pixel_shuffle, oracle.pixel_shuffle_shape),
            (-3,),
            2,
            (8, 9, 168, 168),
        )
        yield _row(
            unshuffle,
            "downscale_factor",
            ("(*, C, H r, W r) -> (*, C r^2, H, W)",),
            (oracle.pixel_unshuffle, oracle.pixel_unshuffle_shape),
            (-2, -1),
            1,
            (8, 1, 504, 504),
        )
