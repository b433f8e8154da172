"""Directions of a case, and what derivatives along them must be.

A direction v has one array for each operand that has a gradient. Jv is the derivative of the
outputs along v, Jᵀu the gradients for cotangents u, and Hv the derivative of these gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.checks.cotangents import output_dtypes
from conformance.checks.recorded_call import Direction, Gradients, RecordedCall, record_call
from conformance.checks.trial import Trial
from conformance.model.case import Case
from conformance.model.formats import FORMATS, round_to

_STREAM = 0x746E67
_SMALLEST, _LARGEST = 2.0**-30, 2.0**12
"""Between these sizes a product of four operands neither underflows nor overflows in float32."""
_LIKE_ZERO, _CURVED, _FLAT = 2.0**-10, 4.0, 16.0
"""Numbers below the first size are like 0 for the epsilons of layers. Those beyond the third are
scaled below the second: functions that saturate are flat there, and difference quotients of the
steps below see no curvature. Between the two are margins and thresholds, which stay."""
_STEPS = (2.0**-9, 2.0**-11, 2.0**-13)
"""Steps of difference quotients: with a quarter of the step the error is a sixteenth."""
_QUOTIENT_ROUNDING = 2.0**-48
"""What the oracle's float64 loses in a gradient, relative to the largest number in it.

That is 32 units of roundoff: n roundings of either sign add up to about √n of them, and gradients
of at most 4096 operands sum some thousand terms.
"""
_MOVING = FORMATS["float64"].unit / _STEPS[-1]
"""What an operand that is moved by the smallest step loses, relative to it."""
_PASSES = 3
"""Hv goes through the layer three times: outputs, gradients, and the gradients' gradients."""


def has_moderate_operands(case: Case) -> bool:
    """Whether no product of a few operands underflows or overflows, in any order of factors."""
    for x in (*case.inputs, *case.call.state.values()):
        if x is not None and x.dtype.kind in "fc":
            sizes = np.abs(x)
            if not np.all((sizes == 0) | ((sizes >= _SMALLEST) & (sizes <= _LARGEST))):
                return False
    return True


def with_moderate_operands(case: Case) -> Case:
    """The case with its operands scaled to a size at which curvature shows; 0 and signs stay.

    It is the same object if no operand changes.
    """
    moved = dict[int, np.ndarray]()

    def move(x: np.ndarray) -> np.ndarray:
        if x.dtype.kind != "f" or not np.isfinite(x).all():
            return x
        if id(x) not in moved:  # one array at two places stays one
            largest = np.max(np.abs(x), initial=0.0)
            exponent = int(np.frexp(largest / _CURVED)[1]) if largest > _FLAT else 0
            scaled = np.ldexp(x, -exponent)
            is_tiny = (scaled != 0) & (np.abs(scaled) < _LIKE_ZERO)
            changed = np.where(is_tiny, np.copysign(_LIKE_ZERO, scaled), scaled)
            moved[id(x)] = x if np.array_equal(changed, x) else changed
        return moved[id(x)]

    state = {name: move(x) for name, x in case.call.state.items()}
    inputs = tuple(None if x is None else move(x) for x in case.inputs)
    operands, originals = (*state.values(), *inputs), (*case.call.state.values(), *case.inputs)
    if all(x is original for x, original in zip(operands, originals, strict=True)):
        return case
    return replace(case, inputs=inputs, call=replace(case.call, state=state))


def draw_direction(trial: Trial, call: RecordedCall) -> Direction:
    """A direction of numbers around 1, for each recorded operand of the oracle's call."""
    generator = np.random.default_rng((trial.case.seed, _STREAM))
    drawn = dict[int, np.ndarray]()

    def draw(x: Rounded | None) -> np.ndarray | None:
        if x is None or x.node is None:
            return None
        if id(x) not in drawn:
            drawn[id(x)] = round_to(generator.standard_normal(x.shape), trial.case.call.dtype)
        return drawn[id(x)]

    parameters = {name: draw(x) for name, x in call.state.items()}
    return Direction(
        tuple(map(draw, call.inputs)), {name: v for name, v in parameters.items() if v is not None}
    )


def expected_product(
    call: RecordedCall, direction: Direction, cotangents: Sequence[np.ndarray | None]
) -> Rounded | None:
    """⟨Jᵀu, v⟩, which is ⟨u, Jv⟩, and how far a correct Jv may be from it; None if unknown.

    Jv and Jᵀu sum the same products of slopes along all paths from operands to outputs, in another
    order. A path of Jv has at most n roundings, so its terms err by n·u·Σ|products|. The oracle
    has Σ|products| as the error that cotangents with an error of n·u·|u| pass on.
    """
    precision = call.outputs[0].precision
    gradients = call.gradients(cotangents, relative_error=call.roundings * precision.unit)
    total, error, size = 0.0, 0.0, 0.0
    for gradient, tangent in _pairs(gradients, direction):
        if isinstance(gradient, Choices):
            return None
        total += float(np.sum(gradient.value * tangent))
        error += float(np.sum(gradient.error * np.abs(tangent)))
        size += float(np.sum(np.abs(gradient.value * tangent)))
    error += 2 * FORMATS["float64"].unit * size * call.roundings
    # A bound of the size of the numbers themselves tells no formula from another.
    known = np.isfinite(total) and (error < size / 4 or error == 0)
    return Rounded(np.array(total), np.array(error), precision) if known else None


def _arrays(direction: Direction) -> list[np.ndarray]:
    return [v for v in (*direction.inputs, *direction.parameters.values()) if v is not None]


def _pairs(gradients: Gradients, direction: Direction) -> list[tuple[Rounded, np.ndarray]]:
    """Each gradient with its direction; an array that is passed twice counts once."""
    inputs, parameters = gradients
    pairs = dict[int, tuple[Rounded, np.ndarray]]()
    for gradient, tangent in zip(inputs, direction.inputs, strict=True):
        if gradient is not None and tangent is not None:
            pairs[id(tangent)] = gradient, tangent
    for name, tangent in direction.parameters.items():
        pairs[id(tangent)] = parameters[name], tangent
    return list(pairs.values())


def expected_second_derivatives(
    trial: Trial,
    call: RecordedCall,
    direction: Direction,
    cotangents: Sequence[np.ndarray | None],
) -> dict[str, Rounded] | None:
    """Hv by operand: difference quotients of the oracle's gradients; None where it has no such.

    Besides the quotient's error the bound has n·u·Σ|products| of all paths of Hv. The oracle has
    that sum as the error that gradients inherit from operands with an error of n·u·|v|. A slope
    such as 1 − tanh² may be rounded to 0, and so may its own slope. Hence n·u times the largest
    gradient or cotangent, too.
    """
    precision = trial.precision
    if trial.case.labels.get("regime") == "exact":
        return None  # relu(x²) at 0 has a corner that gradients do not show: they are 0 around it
    if any(x in FORMATS and x != trial.case.call.dtype for x in output_dtypes(trial)):
        return None  # operands are rounded first, which has no derivative
    moved = {step: record_call(trial, direction, step) for h in _STEPS for step in (h, -h)}
    scale = _PASSES * call.roundings * precision.unit
    longest = max([1.0, *(float(np.max(np.abs(v), initial=0.0)) for v in _arrays(direction))])
    uncertain_call = record_call(trial, direction, error=scale, relative_error=_MOVING)
    if any(x.has_choices for x in (call, uncertain_call, *moved.values())):
        return None
    at_point = _by_name(trial, call.gradients(cotangents))
    with_errors = _by_name(trial, uncertain_call.gradients(cotangents))
    slopes = [x.abs_value for x in at_point.values()] + [
        np.abs(c) for c in cotangents if c is not None
    ]
    largest = max((float(np.max(x, initial=0.0)) for x in slopes), default=0.0)
    at_steps = {
        step: _by_name(trial, x.gradients(cotangents, values_only=True))
        for step, x in moved.items()
    }
    expected = {}
    for name, gradient in at_point.items():
        quotient = _quotient(gradient.value, {h: at_steps[h][name].value for h in at_steps})
        if quotient is None:
            return None
        value, error = quotient
        with np.errstate(invalid="ignore"):
            error = error + (with_errors[name].error - gradient.error) + scale * np.abs(value)
            error += scale * longest * largest
        size = np.max(np.abs(value), initial=0.0, where=np.isfinite(error))
        known = np.isfinite(value) & ((error < size / 4) | (error == 0))
        expected[name] = Rounded(
            np.where(known, value, 0.0), np.where(known, error, np.inf), precision
        )
    return expected


def _by_name(trial: Trial, gradients: Gradients) -> dict[str, Rounded]:
    inputs, parameters = gradients
    names = trial.spec.signature.input_names
    return {name: x for name, x in zip(names, inputs, strict=False) if x is not None} | parameters


def _quotient(
    at_point: np.ndarray, at_steps: Mapping[float, np.ndarray]
) -> tuple[np.ndarray, np.ndarray] | None:
    """The derivative by central differences, and its error; infinite where it does not converge.

    None if the function has a corner or a jump here: a gradient may then have another slope in
    each direction, also where the two sides agree by chance.

    Args:
        at_point: the function's value.
        at_steps: its values by step.
    """
    with np.errstate(all="ignore"):
        coarse, medium, fine = ((at_steps[h] - at_steps[-h]) / (2 * h) for h in _STEPS)
        wide_bend, bend = (
            np.abs(at_steps[h] + at_steps[-h] - 2 * at_point) / h for h in _STEPS[1:]
        )
        noise = _QUOTIENT_ROUNDING * np.max(np.abs(at_point), initial=0.0) / _STEPS[-1]
        if np.any((bend > wide_bend / 2) & (bend > noise)):
            return None
        # Where a step changes more than a 64th of the largest, the bound tells too little.
        change = np.abs(fine - medium)
        converges = (change <= np.abs(medium - coarse) / 4 + noise) & (
            change <= np.max(np.abs(fine), initial=0.0) / 64 + noise
        )
        # Where most elements do not converge, the others do by chance.
        if np.count_nonzero(~converges) > converges.size / 8:
            converges = np.zeros_like(converges)
        # A change may be small by chance; where steps are small, it is a sixteenth of the other.
        spread = np.maximum(change, np.abs(medium - coarse) / 16)
        error = np.where(converges, spread + noise, np.inf)
    return fine + (fine - medium) / 15, error
