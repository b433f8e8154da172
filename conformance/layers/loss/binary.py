"""BCELoss, BCEWithLogitsLoss, and their functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from conformance.laws.loss import binary as laws
from conformance.layers.loss import pointwise
from conformance.layers.loss.parts import make_filling
from conformance.layers.loss.pointwise import batch_axis_of, input_and_target
from conformance.model.case import is_function
from conformance.oracles.loss import binary as oracle
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.parts import State
from conformance.spec.propagation import Propagation, computed
from conformance.spec.signature import BY_NAME, Arguments, Input, Passing
from conformance.spec.state import Shape, StateTensor
from conformance.strategies.invalid.loss import binary as invalid
from conformance.strategies.loss import binary as cases

_BCE_FORMULA = ("l = -w (y log x + (1 - y) log(1 - x)), no logarithm below -100",)
_POSITIONAL = Passing()
_BCE_WITH_LOGITS_FORMULA = (
    "l = -w (p y log s(x) + (1 - y) log(1 - s(x))), s(x) = 1 / (1 + exp(-x))",
)


def _eighths(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """Eighths that are neither 0 nor 1."""
    return generator.integers(1, 8, shapes[0]) / 8


def _state_tensors(names: tuple[str, ...]) -> Callable[[Arguments, Shape], tuple[StateTensor, ...]]:
    """State tensors along the last axis, for weights that the constructor takes."""

    def weights(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
        return tuple(
            StateTensor(name, input[-1:], buffer=True, constraint="positive") for name in names
        )

    return weights


def _weight_input(name: str, place: int, passed: Passing = _POSITIONAL) -> Input:
    return Input(
        name,
        "weight",
        optional=True,
        batch_axis=batch_axis_of(place),
        differentiable=False,
        any_value=False,
        passing=passed,
    )


def _bce_spec(name: str) -> LayerSpec:
    function = is_function(name)
    constructor_tensors: tuple[str, ...] = () if function else ("weight",)
    fillers = {"input": _eighths, "target": _eighths}
    inputs = input_and_target(signed=False)
    return LayerSpec(
        name,
        "loss",
        signature=pointwise.signature(
            (*inputs, _weight_input("weight", 2)) if function else inputs
        ),
        oracle=pointwise.oracle(
            "BCELoss" if function else None,
            oracle.binary_cross_entropy if function else oracle.bce_loss,
            _BCE_FORMULA,
            # Input and target are probabilities, never NaN or infinite.
            Propagation(computed.expected, roles=("weight",)),
        ),
        generation=pointwise.generation(
            name, cases.binary_cross_entropies, invalid.binary_breaks(), constructor_tensors
        ),
        variation=pointwise.VARIATION,
        state=State(_state_tensors(constructor_tensors), constructor_tensors=constructor_tensors),
        laws=laws.PROBABILITIES,
        benchmark=pointwise.benchmark(name, 6, filling=make_filling(**fillers)),
    )


def _bce_with_logits_spec(name: str) -> LayerSpec:
    function = is_function(name)
    constructor_tensors: tuple[str, ...] = () if function else ("weight", "pos_weight")
    inputs = input_and_target(signed=True)
    weights = (_weight_input("weight", 2), _weight_input("pos_weight", 3, BY_NAME))
    values = oracle.binary_cross_entropy_with_logits if function else oracle.bce_with_logits_loss
    return LayerSpec(
        name,
        "loss",
        signature=pointwise.signature((*inputs, *weights) if function else inputs),
        oracle=pointwise.oracle(
            "BCEWithLogitsLoss" if function else None,
            values,
            _BCE_WITH_LOGITS_FORMULA,
        ),
        generation=pointwise.generation(
            name,
            cases.binary_cross_entropies_with_logits,
            invalid.logits_breaks(),
            constructor_tensors,
        ),
        variation=pointwise.VARIATION,
        state=State(_state_tensors(constructor_tensors), constructor_tensors=constructor_tensors),
        laws=laws.LOGITS,
        benchmark=pointwise.benchmark(name, 6, filling=make_filling(target=_eighths)),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's binary cross entropies, in the order of torch's documentation."""
    for name in ("BCELoss", "functional.binary_cross_entropy"):
        yield _bce_spec(name)
    for name in ("BCEWithLogitsLoss", "functional.binary_cross_entropy_with_logits"):
        yield _bce_with_logits_spec(name)
