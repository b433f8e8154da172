"""Dropout of elements and of channels, plain and alpha: modules and functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from conformance.laws import dropout as laws
from conformance.model.case import Call, is_function
from conformance.oracles import dropout as oracle
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.parts import Benchmark, Generation, Oracle, Randomness, Traits
from conformance.spec.propagation import copied
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.state import Shape
from conformance.spec.workload import Filling, Workload
from conformance.strategies import dropout as cases
from conformance.strategies.invalid import dropout as invalid
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.shapes import shape_breaks

_P = Argument("p", 0.5, alternative=0.1)
_INPLACE = Argument("inplace", False, alternative=True)
_PLAIN = (
    "in training y = x m / (1 - p), m = 0 with probability p and 1 otherwise",
    "otherwise y = x",
)
_ALPHA = (
    "in training y = a (x m - 1.7580993 (1 - m)) + b, m = 0 with probability p and 1 otherwise,",
    "a = ((1 - p) (1 + p 1.7580993^2))^(-1/2), b = 1.7580993 p a",
    "otherwise y = x",
)
_ANY = "batch? *rest"
_SAMPLES = "batch channels *lengths"
_VOLUMES = "batch? channels depth height width"
_CHANNELS = ("one m for each channel of each sample",)


@dataclass(frozen=True)
class _Kind:
    """A module and the function of its name.

    Args:
        module: name of the module.
        workload_shape: input shape of the timed call.
        shape: notation of the input's shape.
        alpha: alpha dropout, which shifts dropped elements.
        channels: whole channels are dropped.
    """

    module: str
    workload_shape: Shape
    shape: str
    alpha: bool = False
    channels: bool = False


_KINDS = (
    _Kind("Dropout", (64, 768), _ANY),
    _Kind("Dropout1d", (16, 64, 128), "batch? channels length", channels=True),
    _Kind("Dropout2d", (8, 32, 28, 28), _SAMPLES, channels=True),
    _Kind("Dropout3d", (4, 16, 8, 14, 14), _VOLUMES, channels=True),
    _Kind("AlphaDropout", (64, 768), _ANY, alpha=True),
    _Kind("FeatureAlphaDropout", (4, 16, 8, 14, 14), _VOLUMES, alpha=True, channels=True),
)


def _is_inplace(call: Call) -> bool:
    return bool(call.arguments.get("inplace", False))


def _draws_random(training_default: bool, call: Call) -> bool:
    """Whether the call draws random numbers: in training, with 0 < p < 1."""
    function = is_function(call.layer)
    training = call.arguments.get("training", training_default) if function else call.training
    return bool(training) and 0 < call.arguments.get("p", 0.5) < 1


def _flops(
    flops_per_element: int, workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    return flops_per_element * math.prod(outputs[0])


def _layer_spec(kind: _Kind, name: str) -> LayerSpec:
    function = is_function(name)
    training_default = not kind.alpha  # the default of `training`
    training = Argument("training", training_default, alternative=not training_default)
    values = oracle.alpha_dropout if kind.alpha else oracle.dropout
    # The function's page describes inputs (N, C, …) only, none without a batch.
    shape = _SAMPLES if name == "functional.feature_alpha_dropout" else kind.shape
    shapes = Shapes({"input": shape, "output": shape})
    valid = partial(cases.dropouts, name)
    text = " by ".join(map(str, kind.workload_shape))
    signature = Signature(
        (_P, training, _INPLACE) if function else (_P, _INPLACE),
        (Input("input", updated=True),),
        (Output("output"),),
        supports_complex=False,
        takes_device_and_dtype=False,
    )
    breaks = invalid.dropout_breaks()
    if kind.module == "Dropout1d":  # the others accept other ranks with a warning
        breaks += shape_breaks(signature, shapes, excluded=("input of another dtype",))
    return LayerSpec(
        name,
        "dropout",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(
            values=values,
            formula=(_ALPHA if kind.alpha else _PLAIN) + (_CHANNELS if kind.channels else ()),
            propagation=copied,
        ),
        generation=Generation(
            cases=valid, invalid=invalid_cases(valid, breaks), examples_fraction=0.3
        ),
        traits=Traits(
            may_alias_inputs=True, train_and_eval_differ=not function, updates_state=_is_inplace
        ),
        laws=laws.LAWS,
        randomness=Randomness(is_used=partial(_draws_random, training_default), draws=laws.draws),
        benchmark=Benchmark(
            workloads=(Workload(name, text, {}, (kind.workload_shape,), small=True),),
            filling=Filling(contraction=False, scale=lambda name, arguments: 1.0),
            flops=partial(_flops, 2 if kind.alpha else 1),
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    for kind in _KINDS:
        yield _layer_spec(kind, kind.module)
        yield _layer_spec(kind, laws.FORMS[kind.module])
