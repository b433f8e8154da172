"""Laws of computed weights: lengths and directions are separate, and the layer is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.model.case import argument_module_call
from conformance.model.formats import format_of, round_to
from conformance.oracles.parametrizations import (
    matrix_shape,
    output_axis,
    spectral_norm_weight,
    state_names,
    weight_norm_weight,
)
from conformance.spec.law import (
    Claims,
    Generator,
    Law,
    Side,
    claim,
    law,
    outputs_with_bounds,
    scale_exactly,
    with_bounds_of,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

WeightOracle = Callable[..., tuple[Rounded, dict[str, Rounded]]]
"""(state, arguments) → the weight, and the updates of the state."""


def _weight_name(trial: Trial) -> str:
    return str(trial.case.call.arguments.get("name", "weight"))


def _call_with_state(trial: Trial, **arrays: np.ndarray) -> Trial:
    """The call with changed arrays in its state, and every operand contiguous."""
    call = replace(trial.case.call, state={**trial.case.call.state, **arrays}, layouts={})
    return trial.trial_of(replace(trial.case, call=call, layouts=()))


def _call_scaled(trial: Trial, name: str, factor: float) -> Trial | None:
    """The call with one state array multiplied; None if a number would leave the range."""
    array = trial.case.call.state[name]
    form = format_of(trial.case.call.dtype)
    sizes = np.abs(array[array != 0])
    if sizes.size and not (form.normal < sizes.min() and sizes.max() < form.largest / 16):
        return None
    return _call_with_state(trial, **{name: array * factor})


@law("length", "twice the length is twice the weight", "within the sum of both bounds")
def length(trial: Trial, generator: Generator) -> Claims:
    """The call with twice g and a bias of 0."""
    names, name = state_names(_weight_name(trial)), _weight_name(trial)
    if name != "weight":
        return
    bias = trial.case.call.state.get("bias")
    unbiased = (
        _call_with_state(trial)
        if bias is None
        else _call_with_state(trial, bias=np.zeros(bias.shape))
    )
    twice = _call_scaled(unbiased, names["g"], 2.0)
    if twice is not None:
        doubled = tuple(scale_exactly(x, 2.0) for x in outputs_with_bounds(unbiased))
        yield claim(
            twice, outputs_with_bounds(twice), Side(f"twice {unbiased.text()}", doubled, unbiased)
        )


def _unchanged(trial: Trial, name: str, generator: Generator) -> Claims:
    other = _call_scaled(trial, name, float(generator.choice([2.0, 0.5, 4.0])))
    if other is not None:
        unscaled = _call_with_state(trial)
        yield claim(
            other,
            outputs_with_bounds(other),
            Side(unscaled.text(), outputs_with_bounds(unscaled), unscaled),
        )


@law("direction", "how long a direction is means nothing", "within the sum of both bounds")
def direction(trial: Trial, generator: Generator) -> Claims:
    """The direction v times a power of two."""
    yield from _unchanged(trial, state_names(_weight_name(trial))["v"], generator)


@law("scale", "how large the weight is means nothing", "within the sum of both bounds")
def scale(trial: Trial, generator: Generator) -> Claims:
    """The weight times a power of two, where eps is far below every computed norm.

    For u = Wv/‖Wv‖ and unit vectors, ‖Wᵀu‖ ≥ uᵀWv = ‖Wv‖: the first norm is the smallest.
    """
    call, names = trial.case.call, state_names(_weight_name(trial))
    weight = call.state[names["weight"]]
    smallest_norm = float(np.linalg.norm(weight))
    if weight.ndim > 1:
        axis = call.arguments.get("dim")
        axis = output_axis(call.arguments["module"]) if axis is None else axis
        matrix = np.moveaxis(weight, axis, 0).reshape(matrix_shape(weight.shape, axis))
        smallest_norm = float(np.linalg.norm(matrix @ call.state[names["right"]]))
    takes_norms = call.training or weight.ndim == 1
    if not takes_norms or smallest_norm > 16 * float(call.arguments.get("eps", 1e-12)):
        yield from _unchanged(trial, names["weight"], generator)


def plain_layer_law(weight_oracle: WeightOracle, takes_mode: bool) -> Law:
    """The law that the plain layer with the computed weight gives the same output.

    Args:
        weight_oracle: computes the weight from the state and the arguments.
        takes_mode: whether the oracle takes `training`.
    """
    exact = "within twice its bound, which is that of every weight near the computed one"

    @law("plain", "the layer itself with the computed weight gives the same", exact)
    def plain(trial: Trial, generator: Generator) -> Claims:
        """The plain layer with the oracle's weight, rounded to the dtype."""
        call, name, precision = trial.case.call, _weight_name(trial), trial.precision
        state = {key: exact_operand(x, precision) for key, x in call.state.items()}
        mode = {"training": call.training} if takes_mode else {}
        with np.errstate(all="ignore"):
            weight, _ = weight_oracle(state, **call.arguments, **mode)
            numbers = round_to(weight.value, call.dtype)
            within_bound = np.abs(numbers - weight.value) <= weight.error
        if not (within_bound & np.isfinite(weight.error)).all():
            return  # no number of the dtype is within the bound
        parts = state_names(name).values()
        other_state = {key: x for key, x in call.state.items() if key not in parts}
        plain_call = replace(
            argument_module_call(call, call.arguments["module"]),
            state={**other_state, name: numbers},
        )
        other = trial.trial_of(
            replace(trial.case, call=replace(plain_call, training=False), layouts=())
        )
        reparametrized = _call_with_state(trial)
        bounds = outputs_with_bounds(reparametrized)
        yield claim(
            other,
            with_bounds_of(other.answer, bounds),
            Side(reparametrized.text(), bounds, reparametrized),
        )

    return plain


WEIGHT = (length, direction, plain_layer_law(weight_norm_weight, takes_mode=False))
SPECTRAL = (scale, plain_layer_law(spectral_norm_weight, takes_mode=True))
