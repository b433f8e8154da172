"""Laws of elementwise activations, and calls that activation laws share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import exactly
from conformance.model.activations import ACTIVATIONS, activation_of
from conformance.model.case import is_function
from conformance.spec.law import (
    SUMMED,
    Claim,
    Claims,
    Generator,
    Side,
    claim,
    input_of,
    law,
    many,
    measured,
    on_host,
    same,
    times,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

EQUAL = "always equal: nothing is rounded"


def of_input(trial: Trial, x: np.ndarray, **arguments: Any) -> Trial:
    """The call on another input or with changed arguments, never in place."""
    call = trial.case.call
    given = {k: v for k, v in call.arguments.items() if k != "inplace"} | arguments
    call = replace(call, arguments=given)
    inputs = (x, *trial.case.inputs[1:])
    return trial.other(replace(trial.case, call=call, inputs=inputs, layouts=()))


def by_layer(trial: Trial, layer: str, **arguments: Any) -> Trial:
    """Another activation on the same input: a function if the case's layer is one, else a module.

    Args:
        layer: the other activation's module.
    """
    name = ACTIVATIONS[layer].function if is_function(trial.case.call.layer) else layer
    return called(trial, name, arguments)


def called(
    trial: Trial, name: str, arguments: Mapping[str, Any], *, training: bool = False
) -> Trial:
    call = replace(trial.case.call, layer=name, arguments=arguments, state={}, training=training)
    return trial.other(replace(trial.case, call=call, inputs=(input_of(trial),), layouts=()))


def given(trial: Trial, name: str) -> Any:
    """An argument of the call, or its default if it is left out."""
    return trial.case.call.arguments.get(name, trial.row.signature.defaults.get(name))


def twice(trial: Trial) -> Side:
    """Twice the output of a call."""
    return Side(f"2 · {trial.text()}", tuple(times(y, 2.0) for y in measured(trial)))


def doubles(trial: Trial) -> bool:
    """Whether the dtype can represent twice the input."""
    return bool(2 * np.abs(input_of(trial)).max(initial=0.0) <= trial.precision.largest)


@law("elements", "each element of a large array is that element of a small one")
def elements(trial: Trial, generator: Generator) -> Claims:
    """Thousands of elements, drawn from the case's: several blocks of vector code, and a tail."""
    x = input_of(trial).reshape(-1)
    if x.size:
        chosen = generator.integers(x.size, size=many(generator, least=1025, most=4097))
        yield same(of_input(trial, x[chosen]), trial, wanted_moves=lambda y: y.reshape(-1)[chosen])


@law("reshaped", "shape means nothing")
def reshaped(trial: Trial, generator: Generator) -> Claims:
    """All elements in one row, or with one more axis."""
    x = input_of(trial)
    other = x.reshape(-1) if generator.integers(2) else x[np.newaxis]
    yield same(of_input(trial, other), trial, got_moves=lambda y: y.reshape(x.shape))


@law("form", "the module and the function are one")
def form(trial: Trial, generator: Generator) -> Claims:
    """The function for a module, or the reverse; a module's mode is the function's `training`."""
    call = trial.case.call
    arguments, training = dict(call.arguments), call.training
    activation = activation_of(call.layer)
    other = activation.module if is_function(call.layer) else activation.function
    if is_function(other):
        arguments |= {"training": True} if training else {}
        yield same(called(trial, other, arguments), trial)
    else:
        training = arguments.pop("training", False)
        yield same(called(trial, other, arguments, training=training), trial)


@law("in_place", "the function and the one that works in place are one")
def in_place(trial: Trial, generator: Generator) -> Claims:
    """The function of the name without its underscore, on the same input."""
    call = trial.case.call
    yield same(called(trial, call.layer.removesuffix("_"), call.arguments), trial)


@law("doubled", "f(2x) = 2·f(x)", SUMMED)
def doubled(trial: Trial, generator: Generator) -> Claims:
    """The call on twice the input, where the dtype can represent it."""
    if doubles(trial):
        other = of_input(trial, 2 * input_of(trial))
        yield claim(other, measured(other), twice(trial))


@law("slope_zero", "with a negative_slope of 0 it is ReLU", EQUAL)
def slope_zero(trial: Trial, generator: Generator) -> Claims:
    """Both calls on the same input."""
    yield same(of_input(trial, input_of(trial), negative_slope=0.0), by_layer(trial, "ReLU"))


@law("clipped", "it is Hardtanh from 0 to 6", EQUAL)
def clipped(trial: Trial, generator: Generator) -> Claims:
    """Both calls on the same input."""
    yield same(by_layer(trial, "Hardtanh", min_val=0.0, max_val=6.0), trial)


@law("six", "from 0 to 6 it is ReLU6", EQUAL)
def six(trial: Trial, generator: Generator) -> Claims:
    """Both calls on the same input."""
    yield same(of_input(trial, input_of(trial), min_val=0.0, max_val=6.0), by_layer(trial, "ReLU6"))


@law("stretched_range", "of 2x with ends twice as far it is 2·f(x)", SUMMED)
def stretched_range(trial: Trial, generator: Generator) -> Claims:
    """Input, min_val and max_val doubled."""
    if doubles(trial):
        ends = {name: 2 * given(trial, name) for name in ("min_val", "max_val")}
        other = of_input(trial, 2 * input_of(trial), **ends)
        yield claim(other, measured(other), twice(trial))


@law("threshold_zero", "with a threshold and a value of 0 it is ReLU", EQUAL)
def threshold_zero(trial: Trial, generator: Generator) -> Claims:
    """Both calls on the same input."""
    yield same(of_input(trial, input_of(trial), threshold=0.0, value=0.0), by_layer(trial, "ReLU"))


@law("nothing_shrunk", "with a lambd of 0 nothing changes", EQUAL)
def nothing_shrunk(trial: Trial, generator: Generator) -> Claims:
    """The output is the input."""
    other = of_input(trial, input_of(trial), lambd=0.0)
    exact = exactly(input_of(trial), trial.precision)
    yield claim(other, measured(other), Side("x", (exact,)))


@law("odd", "f(-x) = -f(x)", SUMMED)
def odd(trial: Trial, generator: Generator) -> Claims:
    """The input with its sign changed."""
    other = of_input(trial, -input_of(trial))
    negative = tuple(times(y, -1.0) for y in measured(trial))
    yield claim(other, measured(other), Side(f"-1 · {trial.text()}", negative))


@law("reflected", "f(x) - f(-x) = x", SUMMED)
def reflected(trial: Trial, generator: Generator) -> Claims:
    """Holds for x·g(x) with g(x) + g(−x) = 1, and for log σ."""
    yield _against(trial, -1.0, input_of(trial), "x")


@law("complement", "f(x) + f(-x) = 1", SUMMED)
def complement(trial: Trial, generator: Generator) -> Claims:
    """The input with its sign changed, and the sum."""
    yield _against(trial, 1.0, np.ones(input_of(trial).shape), "1")


def _against(trial: Trial, sign: float, wanted: np.ndarray, text: str) -> Claim:
    """The claim that f(x) + sign·f(−x) is a given array."""
    other = of_input(trial, -input_of(trial))
    (y,), (z,) = map(measured, (trial, other))
    total = on_host(y) + times(on_host(z), sign)
    calls = f"{trial.text()} {'plus' if sign > 0 else 'minus'} {other.text()}"
    exact = on_host(exactly(wanted, trial.precision))
    return Claim(trial.names, Side(calls, (total,)), Side(text, (exact,)))
