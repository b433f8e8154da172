"""PixelShuffle, PixelUnshuffle and their functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from conformance.laws.reshaping import pixels as laws
from conformance.model.case import is_function
from conformance.oracles import reshaping as oracle
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.outputs import input_dtype
from conformance.spec.parts import Benchmark, Generation, Oracle, Traits
from conformance.spec.propagation import copied
from conformance.spec.shapes import Shape, Shapes
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.workload import Filling, Workload
from conformance.strategies import reshaping as cases
from conformance.strategies.invalid import reshaping as invalid
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.shapes import shape_breaks

_INPUT = "batch? *rest channels height width"
_SHUFFLE = Shapes(
    {
        "input": _INPUT,
        "output": "batch? *rest channels//upscale_factor**2 height*upscale_factor "
        "width*upscale_factor",
    },
    where=("upscale_factor > 0", "channels % upscale_factor**2 == 0"),
)
_UNSHUFFLE = Shapes(
    {
        "input": _INPUT,
        "output": "batch? *rest channels*downscale_factor**2 height//downscale_factor "
        "width//downscale_factor",
    },
    where=(
        "downscale_factor > 0",
        "height % downscale_factor == 0",
        "width % downscale_factor == 0",
    ),
)


def _layer_spec(
    layer: str,
    factor_name: str,
    formula: tuple[str, ...],
    values: Callable[..., Any],
    shapes: Shapes,
    divided_axes: tuple[int, ...],
    power: int,
    workload_shape: Shape,
) -> LayerSpec:
    valid = partial(cases.pixels, layer, factor_name, power == 2)
    signature = Signature(
        (Argument(factor_name, simplest=1),),
        (Input("input"),),
        (Output("output", dtype=input_dtype),),
        takes_device_and_dtype=False,
    )
    breaks = shape_breaks(signature, shapes, excluded=("input of another dtype",))
    return LayerSpec(
        layer,
        "reshaping",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(values=values, formula=formula, propagation=copied),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(
                valid, (*breaks, *invalid.pixel_breaks(factor_name, divided_axes, power))
            ),
            examples_fraction=0.25 if is_function(layer) else 0.5,
        ),
        traits=Traits(copies_input=True),
        laws=laws.LAWS,
        benchmark=Benchmark(
            workloads=(
                Workload(layer, "espcn, factor 3", {factor_name: 3}, (workload_shape,), small=True),
            ),
            filling=Filling(contraction=False),
            flops=lambda workload, weights, outputs: 0,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The modules, then the functions."""
    for shuffle, unshuffle in (
        ("PixelShuffle", "PixelUnshuffle"),
        ("functional.pixel_shuffle", "functional.pixel_unshuffle"),
    ):
        yield _layer_spec(
            shuffle,
            "upscale_factor",
            ("(*, C r^2, H, W) -> (*, C, H r, W r)",),
            oracle.pixel_shuffle,
            _SHUFFLE,
            (-3,),
            2,
            (8, 9, 168, 168),
        )
        yield _layer_spec(
            unshuffle,
            "downscale_factor",
            ("(*, C, H r, W r) -> (*, C r^2, H, W)",),
            oracle.pixel_unshuffle,
            _UNSHUFFLE,
            (-2, -1),
            1,
            (8, 1, 504, 504),
        )
