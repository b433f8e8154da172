"""Laws of computed weights: lengths and directions are separate, and the layer is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import Rounded, exactly
from conformance.model.case import part
from conformance.model.formats import format_of, round_to
from conformance.oracles.parametrizations import (
    by_largest_value,
    by_length,
    matrix_shape,
    names_of,
    output_axis,
)
from conformance.spec.law import Claims, Generator, Law, Side, bounded, claim, law, measured, times

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

Computed = Callable[..., tuple[Rounded, dict[str, Rounded]]]
"""(state, arguments) → the weight, and the updates of the state."""


def _name(trial: Trial) -> str:
    return str(trial.case.call.arguments.get("name", "weight"))


def _with(trial: Trial, **arrays: np.ndarray) -> Trial:
    """The call with changed arrays in its state, and every operand contiguous."""
    call = replace(trial.case.call, state={**trial.case.call.state, **arrays}, layouts={})
    return trial.other(replace(trial.case, call=call, layouts=()))


def _times(trial: Trial, name: str, factor: float) -> Trial | None:
    """The call with one state array multiplied; None if a number would leave the range."""
    array = trial.case.call.state[name]
    form = format_of(trial.case.call.dtype)
    sizes = np.abs(array[array != 0])
    if sizes.size and not (form.normal < sizes.min() and sizes.max() < form.largest / 16):
        return None
    return _with(trial, **{name: array * factor})


@law("length", "twice the length is twice the weight", "within the sum of both bounds")
def length(trial: Trial, generator: Generator) -> Claims:
    """The call with twice g and a bias of 0."""
    names, own = names_of(_name(trial)), _name(trial)
    if own != "weight":
        return
    bias = trial.case.call.state.get("bias")
    plain = _with(trial) if bias is None else _with(trial, bias=np.zeros(bias.shape))
    twice = _times(plain, names["g"], 2.0)
    if twice is not None:
        doubled = tuple(times(x, 2.0) for x in measured(plain))
        yield claim(twice, measured(twice), Side(f"twice {plain.text()}", doubled, plain))


def _unchanged(trial: Trial, name: str, generator: Generator) -> Claims:
    other = _times(trial, name, float(generator.choice([2.0, 0.5, 4.0])))
    if other is not None:
        plain = _with(trial)
        yield claim(other, measured(other), Side(plain.text(), measured(plain), plain))


@law("direction", "how long a direction is means nothing", "within the sum of both bounds")
def direction(trial: Trial, generator: Generator) -> Claims:
    """The direction v times a power of two."""
    yield from _unchanged(trial, names_of(_name(trial))["v"], generator)


@law("scale", "how large the weight is means nothing", "within the sum of both bounds")
def scale(trial: Trial, generator: Generator) -> Claims:
    """The weight times a power of two, where eps is far below every computed norm.

    For u = Wv/‖Wv‖ and unit vectors, ‖Wᵀu‖ ≥ uᵀWv = ‖Wv‖: the first norm is the smallest.
    """
    call, names = trial.case.call, names_of(_name(trial))
    weight = call.state[names["weight"]]
    first = float(np.linalg.norm(weight))
    if weight.ndim > 1:
        axis = call.arguments.get("dim")
        axis = output_axis(call.arguments["module"]) if axis is None else axis
        matrix = np.moveaxis(weight, axis, 0).reshape(matrix_shape(weight.shape, axis))
        first = float(np.linalg.norm(matrix @ call.state[names["right"]]))
    normed = call.training or weight.ndim == 1
    if not normed or first > 16 * float(call.arguments.get("eps", 1e-12)):
        yield from _unchanged(trial, names["weight"], generator)


def plain(computed: Computed, modes: bool) -> Law:
    """The law that the plain layer with the computed weight gives the same output.

    Args:
        computed: the oracle of the weight.
        modes: whether the oracle takes `training`.
    """
    exact = "within twice its bound, which is that of every weight near the computed one"

    @law("plain", "the layer itself with the computed weight gives the same", exact)
    def plain(trial: Trial, generator: Generator) -> Claims:
        """The plain layer with the oracle's weight, rounded to the dtype."""
        call, name, precision = trial.case.call, _name(trial), trial.precision
        state = {key: exactly(x, precision) for key, x in call.state.items()}
        mode = {"training": call.training} if modes else {}
        with np.errstate(all="ignore"):
            weight, _ = computed(state, **call.arguments, **mode)
            numbers = round_to(weight.value, call.dtype)
            near = np.abs(numbers - weight.value) <= weight.error
        if not (near & np.isfinite(weight.error)).all():
            return  # no number of the dtype is within the bound
        parts = names_of(name).values()
        kept = {key: x for key, x in call.state.items() if key not in parts}
        inner = replace(part(call, call.arguments["module"]), state={**kept, name: numbers})
        other = trial.other(replace(trial.case, call=replace(inner, training=False), layouts=()))
        whole = _with(trial)
        bounds = measured(whole)
        yield claim(other, bounded(other.answer, bounds), Side(whole.text(), bounds, whole))

    return plain


WEIGHT = (length, direction, plain(by_length, modes=False))
SPECTRAL = (scale, plain(by_largest_value, modes=True))
