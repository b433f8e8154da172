"""BCELoss, BCEWithLogitsLoss, and their functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from conformance.laws.loss import binary as laws
from conformance.layers.loss import pointwise
from conformance.layers.loss.parts import filled
from conformance.layers.loss.pointwise import batch_of, pair
from conformance.model.case import is_function
from conformance.oracles.loss import binary as oracle
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.parts import State
from conformance.spec.propagation import Propagation, computed
from conformance.spec.signature import BY_NAME, Arguments, Input, Passed
from conformance.spec.state import Shape, StateTensor
from conformance.strategies.invalid.loss import binary as invalid
from conformance.strategies.loss import binary as cases

_OF_PROBABILITIES = ("l = -w (y log x + (1 - y) log(1 - x)), no logarithm below -100",)
_IN_PLACE = Passed()
_OF_LOGITS = ("l = -w (p y log s(x) + (1 - y) log(1 - s(x))), s(x) = 1 / (1 + exp(-x))",)


def _eighths(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """Eighths that are neither 0 nor 1."""
    return generator.integers(1, 8, shapes[0]) / 8


def _state(names: tuple[str, ...]) -> Callable[[Arguments, Shape], tuple[StateTensor, ...]]:
    """State tensors along the last axis, for weights that the constructor takes."""

    def weights(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
        return tuple(
            StateTensor(name, input[-1:], buffer=True, constraint="positive") for name in names
        )

    return weights


def _weight(name: str, place: int, passed: Passed = _IN_PLACE) -> Input:
    return Input(
        name,
        "weight",
        optional=True,
        batch_axis=batch_of(place),
        differentiable=False,
        signed=False,
        passed=passed,
    )


def _of_probabilities(name: str) -> LayerSpec:
    function = is_function(name)
    constructed: tuple[str, ...] = () if function else ("weight",)
    made = {"input": _eighths, "target": _eighths}
    inputs = pair(signed=False)
    return LayerSpec(
        name,
        "loss",
        signature=pointwise.signature((*inputs, _weight("weight", 2)) if function else inputs),
        oracle=pointwise.oracle(
            "BCELoss" if function else None,
            oracle.binary_cross_entropy if function else oracle.bce_loss,
            _OF_PROBABILITIES,
            # Input and target are probabilities, never NaN or infinite.
            Propagation(computed.expected, roles=("weight",)),
        ),
        generation=pointwise.generation(name, cases.binary, invalid.binary_breaks(), constructed),
        variation=pointwise.VARIATION,
        state=State(_state(constructed), constructor_tensors=constructed),
        laws=laws.PROBABILITIES,
        benchmark=pointwise.benchmark(name, 6, filling=filled(**made)),
    )


def _of_logits(name: str) -> LayerSpec:
    function = is_function(name)
    constructed: tuple[str, ...] = () if function else ("weight", "pos_weight")
    inputs = pair(signed=True)
    weights = (_weight("weight", 2), _weight("pos_weight", 3, BY_NAME))
    values = oracle.binary_cross_entropy_with_logits if function else oracle.bce_with_logits_loss
    return LayerSpec(
        name,
        "loss",
        signature=pointwise.signature((*inputs, *weights) if function else inputs),
        oracle=pointwise.oracle(
            "BCEWithLogitsLoss" if function else None,
            values,
            _OF_LOGITS,
        ),
        generation=pointwise.generation(
            name, cases.binary_with_logits, invalid.logits_breaks(), constructed
        ),
        variation=pointwise.VARIATION,
        state=State(_state(constructed), constructor_tensors=constructed),
        laws=laws.LOGITS,
        benchmark=pointwise.benchmark(name, 6, filling=filled(target=_eighths)),
    )


def rows() -> Iterator[LayerSpec]:
    """The family's binary cross entropies, in the order of torch's documentation."""
    for name in ("BCELoss", "functional.binary_cross_entropy"):
        yield _of_probabilities(name)
    for name in ("BCEWithLogitsLoss", "functional.binary_cross_entropy_with_logits"):
        yield _of_logits(name)
