"""Laws of elementwise activations, and calls that activation laws share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import exact_operand
from conformance.model.activations import ACTIVATIONS, activation_of
from conformance.model.case import is_function
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claim,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    get_input,
    in_float64,
    large_size,
    law,
    outputs_with_bounds,
    scale_exactly,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

EQUAL = "always equal: nothing is rounded"


def call_on(trial: Trial, x: np.ndarray, **arguments: Any) -> Trial:
    """The call on another input or with changed arguments, never in place."""
    call = trial.case.call
    arguments_to_pass = {k: v for k, v in call.arguments.items() if k != "inplace"} | arguments
    call = replace(call, arguments=arguments_to_pass)
    inputs = (x, *trial.case.inputs[1:])
    return trial.trial_of(replace(trial.case, call=call, inputs=inputs, layouts=()))


def call_layer(trial: Trial, layer: str, **arguments: Any) -> Trial:
    """Another activation on the same input: a function if the case's layer is one, else a module.

    Args:
        layer: the other activation's module.
    """
    name = ACTIVATIONS[layer].function if is_function(trial.case.call.layer) else layer
    return call_named(trial, name, arguments)


def call_named(
    trial: Trial, name: str, arguments: Mapping[str, Any], *, training: bool = False
) -> Trial:
    call = replace(trial.case.call, layer=name, arguments=arguments, state={}, training=training)
    return trial.trial_of(replace(trial.case, call=call, inputs=(get_input(trial),), layouts=()))


def argument_value(trial: Trial, name: str) -> Any:
    """An argument of the call, or its default if it is left out."""
    return trial.case.call.arguments.get(name, trial.spec.signature.defaults.get(name))


def doubled_output(trial: Trial) -> Side:
    """Twice the output of a call."""
    return Side(
        f"2 · {trial.text()}", tuple(scale_exactly(y, 2.0) for y in outputs_with_bounds(trial))
    )


def can_double(trial: Trial) -> bool:
    """Whether the dtype can represent twice the input."""
    return bool(2 * np.abs(get_input(trial)).max(initial=0.0) <= trial.precision.largest)


@law("elements", "each element of a large array is that element of a small one")
def elements(trial: Trial, generator: Generator) -> Claims:
    """Thousands of elements, drawn from the case's: several blocks of vector code, and a tail."""
    x = get_input(trial).reshape(-1)
    if x.size:
        chosen = generator.integers(x.size, size=large_size(generator, minimum=1025, maximum=4097))
        yield equality_claim(
            call_on(trial, x[chosen]), trial, wanted_moves=lambda y: y.reshape(-1)[chosen]
        )


@law("reshaped", "shape means nothing")
def reshaped(trial: Trial, generator: Generator) -> Claims:
    """All elements in one row, or with one more axis."""
    x = get_input(trial)
    other = x.reshape(-1) if generator.integers(2) else x[np.newaxis]
    yield equality_claim(call_on(trial, other), trial, got_moves=lambda y: y.reshape(x.shape))


@law("form", "the module and the function are one")
def form(trial: Trial, generator: Generator) -> Claims:
    """The function for a module, or the reverse; a module's mode is the function's `training`."""
    call = trial.case.call
    arguments, training = dict(call.arguments), call.training
    activation = activation_of(call.layer)
    other = activation.module if is_function(call.layer) else activation.function
    if is_function(other):
        arguments |= {"training": True} if training else {}
        yield equality_claim(call_named(trial, other, arguments), trial)
    else:
        training = arguments.pop("training", False)
        yield equality_claim(call_named(trial, other, arguments, training=training), trial)


@law("in_place", "the function and the one that works in place are one")
def in_place(trial: Trial, generator: Generator) -> Claims:
    """The function of the name without its underscore, on the same input."""
    call = trial.case.call
    yield equality_claim(call_named(trial, call.layer.removesuffix("_"), call.arguments), trial)


@law("doubled", "f(2x) = 2·f(x)", WITHIN_SUM_OF_BOUNDS)
def doubled(trial: Trial, generator: Generator) -> Claims:
    """The call on twice the input, where the dtype can represent it."""
    if can_double(trial):
        other = call_on(trial, 2 * get_input(trial))
        yield claim(other, outputs_with_bounds(other), doubled_output(trial))


@law("slope_zero", "with a negative_slope of 0 it is ReLU", EQUAL)
def slope_zero(trial: Trial, generator: Generator) -> Claims:
    """Both calls on the same input."""
    yield equality_claim(
        call_on(trial, get_input(trial), negative_slope=0.0), call_layer(trial, "ReLU")
    )


@law("clipped", "it is Hardtanh from 0 to 6", EQUAL)
def clipped(trial: Trial, generator: Generator) -> Claims:
    """Both calls on the same input."""
    yield equality_claim(call_layer(trial, "Hardtanh", min_val=0.0, max_val=6.0), trial)


@law("six", "from 0 to 6 it is ReLU6", EQUAL)
def six(trial: Trial, generator: Generator) -> Claims:
    """Both calls on the same input."""
    yield equality_claim(
        call_on(trial, get_input(trial), min_val=0.0, max_val=6.0), call_layer(trial, "ReLU6")
    )


@law("stretched_range", "of 2x with ends twice as far it is 2·f(x)", WITHIN_SUM_OF_BOUNDS)
def stretched_range(trial: Trial, generator: Generator) -> Claims:
    """Input, min_val and max_val doubled."""
    if can_double(trial):
        ends = {name: 2 * argument_value(trial, name) for name in ("min_val", "max_val")}
        other = call_on(trial, 2 * get_input(trial), **ends)
        yield claim(other, outputs_with_bounds(other), doubled_output(trial))


@law("threshold_zero", "with a threshold and a value of 0 it is ReLU", EQUAL)
def threshold_zero(trial: Trial, generator: Generator) -> Claims:
    """Both calls on the same input."""
    yield equality_claim(
        call_on(trial, get_input(trial), threshold=0.0, value=0.0), call_layer(trial, "ReLU")
    )


@law("nothing_shrunk", "with a lambd of 0 nothing changes", EQUAL)
def nothing_shrunk(trial: Trial, generator: Generator) -> Claims:
    """The output is the input."""
    other = call_on(trial, get_input(trial), lambd=0.0)
    exact = exact_operand(get_input(trial), trial.precision)
    yield claim(other, outputs_with_bounds(other), Side("x", (exact,)))


@law("odd", "f(-x) = -f(x)", WITHIN_SUM_OF_BOUNDS)
def odd(trial: Trial, generator: Generator) -> Claims:
    """The input with its sign changed."""
    other = call_on(trial, -get_input(trial))
    negative = tuple(scale_exactly(y, -1.0) for y in outputs_with_bounds(trial))
    yield claim(other, outputs_with_bounds(other), Side(f"-1 · {trial.text()}", negative))


@law("reflected", "f(x) - f(-x) = x", WITHIN_SUM_OF_BOUNDS)
def reflected(trial: Trial, generator: Generator) -> Claims:
    """Holds for x·g(x) with g(x) + g(−x) = 1, and for log σ."""
    yield _reflected_sum(trial, -1.0, get_input(trial), "x")


@law("complement", "f(x) + f(-x) = 1", WITHIN_SUM_OF_BOUNDS)
def complement(trial: Trial, generator: Generator) -> Claims:
    """The input with its sign changed, and the sum."""
    yield _reflected_sum(trial, 1.0, np.ones(get_input(trial).shape), "1")


def _reflected_sum(trial: Trial, sign: float, constant_sum: np.ndarray, text: str) -> Claim:
    """The claim that f(x) + sign·f(−x) is a given array."""
    other = call_on(trial, -get_input(trial))
    (y,), (z,) = map(outputs_with_bounds, (trial, other))
    total = in_float64(y) + scale_exactly(in_float64(z), sign)
    calls = f"{trial.text()} {'plus' if sign > 0 else 'minus'} {other.text()}"
    exact = in_float64(exact_operand(constant_sum, trial.precision))
    return Claim(trial.names, Side(calls, (total,)), Side(text, (exact,)))
