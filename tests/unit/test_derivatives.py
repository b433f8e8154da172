"""The oracles' derivatives agree with difference quotients; only `gradients` sees wrong ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support import LAYERS, SpoiledBackend, SpoiledLayer, cases, first_failure

from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.rounded import exact_operand
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Case

pytestmark = pytest.mark.in_fork


def _slopes(case: Case) -> tuple[float, float, float]:
    """Slope along a random direction by difference and by gradient, and the sum of |terms|."""
    generator = np.random.default_rng(case.seed)
    trial = Trial(torch_backend, CATALOGUE[case.call.layer], case)
    precision = trial.precision
    inputs = [None if x is None else leaf(x, precision) for x in case.inputs]
    state = {name: leaf(x, precision) for name, x in case.call.state.items()}
    outputs = trial.evaluate(state, inputs)
    cotangents = [exact_operand(generator.standard_normal(y.shape), precision) for y in outputs]
    leaves = [x for x in (*inputs, *state.values()) if x is not None]
    gradients = pull_back(outputs, cotangents, leaves)
    directions = [generator.standard_normal(x.shape) for x in leaves]

    def outputs_along(step: float) -> float:
        moved = iter(
            exact_operand(x.value + step * d, precision)
            for x, d in zip(leaves, directions, strict=True)
        )
        moved_inputs = [None if x is None else next(moved) for x in inputs]
        values = trial.evaluate({name: next(moved) for name in state}, moved_inputs)
        pairs = zip(values, cotangents, strict=True)
        return float(sum((y.value * c.value).sum() for y, c in pairs))

    step = 1e-5
    terms = [g.value * d for g, d in zip(gradients, directions, strict=True)]
    wanted = float(sum(term.sum() for term in terms))
    size = float(sum(np.abs(term).sum() for term in terms)) + 1
    return (outputs_along(step) - outputs_along(-step)) / (2 * step), wanted, size


# Families without kinks, indices and random numbers, except for the layers excluded below.
SMOOTH = ("convolution", "recurrent", "linear", "normalization")


@pytest.mark.parametrize(
    "layer", [x for x in LAYERS if CATALOGUE[x].family in SMOOTH and x != "Identity"]
)
def test_derivative_is_the_slope_along_a_random_direction(layer: str) -> None:
    compared = 0
    for case in cases(layer, "float64", 200):
        # A kink of relu may lie between the two points.
        if (
            case.labels["regime"] == "normal"
            and case.call.arguments.get("nonlinearity", "tanh") == "tanh"
        ):
            slope, wanted, size = _slopes(case)
            # Central difference: truncation ~ step², cancellation ~ 2⁻⁵³/step.
            assert abs(slope - wanted) <= 1e-6 * size, case
            compared += 1
    assert compared > 5


class _Vjp(SpoiledLayer):
    def __init__(self, layer: Any, change: Any) -> None:
        super().__init__(layer, lambda y, inputs: y)
        self._change = change

    def vjp(self, inputs: Any, cotangents: Any, **keywords: Any) -> Any:
        """torch's, changed."""
        return self._change(*self._layer.vjp(inputs, cotangents, **keywords))


class _Gradients(SpoiledBackend):
    """torch with the result of `vjp` changed, which the checks shape and values do not see."""

    def __init__(self, change: Any) -> None:
        super().__init__("gradients", lambda y, inputs: y)
        self._change = change

    def build(self, call: Call) -> Any:
        """torch's layer."""
        return _Vjp(torch_backend.build(call), self._change)


CHANGES = {
    "zero": lambda i, p: (tuple(None if x is None else torch.zeros_like(x) for x in i), p),
    "times 1.001": lambda i, p: (tuple(None if x is None else x * 1.001 for x in i), p),
    "none": lambda i, p: (tuple(None for _ in i), p),
    "one too few": lambda i, p: (i[:-1], p),
    "unknown parameter": lambda i, p: (i, {**p, "extra": i[0]}),
    "no tuple": lambda i, p: i,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("layer", ["Conv2d", "functional.conv_transpose1d", "LSTM", "Bilinear"])
def test_changed_gradients_are_seen_by_this_check_alone(layer: str, change: str) -> None:
    backend = _Gradients(CHANGES[change])
    assert first_failure(backend, layer, "gradients", examples=60).failure
    for check in ("values", "shape"):
        search = first_failure(backend, layer, check, examples=60)
        assert search.passed, search


def test_a_second_call_that_accumulates_is_seen() -> None:
    class Accumulating(_Gradients):
        def build(self, call: Call) -> Any:
            accumulated: dict[str, Any] = {}

            def accumulate(inputs: Any, parameters: Any) -> Any:
                for name, gradient in parameters.items():
                    accumulated[name] = (
                        accumulated[name] + gradient if name in accumulated else gradient
                    )
                return inputs, dict(accumulated)

            return _Vjp(torch_backend.build(call), accumulate)

    search = first_failure(Accumulating(None), "Linear", "gradients", examples=60)
    assert "of a second call" in search.message
