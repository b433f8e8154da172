"""Functions that fold a batch norm into the weights of the layer before it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from conformance.laws import fusion as laws
from conformance.oracles import fusion as oracle
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.parts import Benchmark, Generation, Oracle
from conformance.spec.propagation import computed
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Input, Output, Passing, Signature
from conformance.spec.state import Shape
from conformance.spec.workload import Filling, Workload
from conformance.strategies import fusion as cases
from conformance.strategies.invalid import fusion as invalid
from conformance.strategies.invalid.breaks import invalid_cases

_EXPLICIT_KEYWORD = Passing(by_name=True, explicit_none=True)
_EPS = Argument("bn_eps", simplest=1e-5)
_CONV = {"conv_w": "inputs outputs *kernel if transpose else outputs inputs *kernel"}
_LINEAR = {"linear_w": "outputs inputs"}
_FORMULA = (
    "weight = W * gamma / sqrt(running_var + eps), of each output",
    "bias = (b - running_mean) * gamma / sqrt(running_var + eps) + beta",
)


def _inputs(stem: str, *, optional: bool) -> tuple[Input, ...]:
    """The layer's weight and bias, then the batch norm's statistics, weight and bias."""
    parts = (
        Input(f"{stem}_w"),
        Input(f"{stem}_b", "bias", optional=True),
        Input("bn_rm", "statistic"),
        Input("bn_rv", "statistic", any_value=False),
        Input("bn_w", "weight", optional=optional, passing=_EXPLICIT_KEYWORD),
        Input("bn_b", "bias", optional=optional, passing=_EXPLICIT_KEYWORD),
    )
    # The outputs are Parameters: no gradient goes through them.
    return tuple(replace(x, differentiable=False) for x in parts)


def _flops(workload: Workload, weights: Any, outputs: Sequence[Shape]) -> int:
    """A product for each element."""
    return math.prod(workload.inputs[0])


def _positive(shapes: Any, generator: np.random.Generator) -> np.ndarray:
    return np.asarray(generator.integers(1, 9, shapes[3]), np.float64)


def _layer_spec(
    name: str, stem: str, shape: Shape, arguments: tuple[Argument, ...], values: Any
) -> LayerSpec:
    layer, convolves = f"utils.{name}", stem == "conv"
    strategy = partial(cases.fusions, layer, convolves)
    inputs = _inputs(stem, optional=convolves)
    outputs = (Output("weight", differentiable=False), Output("bias", differentiable=False))
    signature = Signature(
        arguments, inputs, outputs, supports_complex=False, takes_device_and_dtype=False
    )
    weight_shape = _CONV if convolves else _LINEAR
    vectors = dict.fromkeys((*signature.input_names[1:], "bias"), "outputs")
    shapes = Shapes({**weight_shape, **vectors, "weight": weight_shape[f"{stem}_w"]})
    workload = Workload(
        layer, "resnet" if convolves else "transformer", {"bn_eps": 1e-5},
        (shape, *((shape[0],),) * 5), small=True,
    )  # fmt: skip
    return LayerSpec(
        layer,
        "fusion",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(values=values, formula=_FORMULA, propagation=computed),
        generation=Generation(
            cases=strategy,
            invalid=invalid_cases(strategy, invalid.breaks(signature, shapes)),
            examples_fraction=0.4,
        ),
        laws=laws.CONVOLUTION if convolves else laws.LINEAR,
        benchmark=Benchmark(
            workloads=(workload,),
            filling=Filling(contraction=False, array_makers={"bn_rv": _positive}),
            flops=_flops,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    yield _layer_spec(
        "fuse_conv_bn_weights", "conv", (256, 128, 3, 3),
        (_EPS, Argument("transpose", False, alternative=True)), oracle.fuse_conv_bn_weights,
    )  # fmt: skip
    yield _layer_spec(
        "fuse_linear_bn_weights", "linear", (512, 512), (_EPS,), oracle.fuse_linear_bn_weights
    )
