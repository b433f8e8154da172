"""Laws of losses with one number for each element."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from conformance.laws.loss.reductions import (
    Divisor,
    argument_value,
    call_on,
    reductions,
    with_reduction,
)
from conformance.spec.law import (
    Claims,
    Generator,
    Law,
    Move,
    equality_claim,
    large_size,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

Inputs = tuple[np.ndarray | None, ...]
AlignInputs = Callable[["Trial"], Inputs]


def case_inputs(trial: Trial) -> Inputs:
    """The inputs as the case has them: `align` of losses whose input and target broadcast."""
    return trial.case.inputs


def required_inputs(trial: Trial) -> list[np.ndarray]:
    """The inputs of a loss without optional inputs."""
    inputs = [x for x in trial.case.inputs if x is not None]
    assert len(inputs) == len(trial.case.inputs)
    return inputs


def map_elements(
    trial: Trial, move: Move, align: AlignInputs = case_inputs
) -> tuple[Inputs, dict[str, np.ndarray]]:
    """Broadcast all operands to one shape and move their elements: (inputs, state).

    Args:
        move: applied to each broadcast operand.
        align: case → its inputs in shapes that broadcast.
    """
    inputs_of_case, state = align(trial), trial.case.call.state
    shapes = (x.shape for x in (*inputs_of_case, *state.values()) if x is not None)
    common_shape = np.broadcast_shapes(*shapes)

    def move_broadcast(x: np.ndarray) -> np.ndarray:
        return move(np.broadcast_to(x, common_shape))

    inputs = tuple(None if x is None else move_broadcast(x) for x in inputs_of_case)
    return inputs, {name: move_broadcast(x) for name, x in state.items()}


def _elements_law(align: AlignInputs) -> Law:
    @law("elements", "each loss among thousands is what it is among few")
    def claims(trial: Trial, generator: Generator) -> Claims:
        """Thousands of elements drawn from the case's: several vector blocks and a tail."""
        single = with_reduction(trial, "none")
        size = single.answer[0].size
        if not size:
            return
        chosen = generator.integers(size, size=large_size(generator, minimum=1025, maximum=4097))
        inputs, state = map_elements(trial, lambda x: x.reshape(-1)[chosen], align)
        other = call_on(trial, inputs, state=state, reduction="none")
        yield equality_claim(other, single, wanted_moves=lambda y: y.reshape(-1)[chosen])

    return claims


def _shape_law(align: AlignInputs) -> Law:
    @law("shape", "the shape means nothing to the losses")
    def claims(trial: Trial, generator: Generator) -> Claims:
        """All elements in one row, or each in its own row."""
        if argument_value(trial, "reduction") not in ("mean", "sum", "none"):
            return  # a mean over samples
        row = (-1, 1) if generator.integers(2) else (-1,)
        inputs, state = map_elements(trial, lambda x: x.reshape(row), align)
        shapes = trial.shapes
        other = call_on(trial, inputs, state=state)
        yield equality_claim(other, trial, got_moves=lambda y: y.reshape(shapes[0]))

    return claims


@law("swapped", "neither operand is the first")
def swapped(trial: Trial, generator: Generator) -> Claims:
    """Input and target exchanged."""
    first, second, *rest = map_elements(trial, lambda x: x)[0]
    yield equality_claim(call_on(trial, (second, first, *rest)), trial)


@law("ones", "weights of 1 are none")
def ones(trial: Trial, generator: Generator) -> Claims:
    """The calls with a weight of ones and without a weight, where the function takes one."""
    names = trial.spec.signature.input_names
    if "weight" not in names:
        return
    index = names.index("weight")
    inputs = list(map_elements(trial, lambda x: x)[0])
    inputs[index] = None
    without = call_on(trial, inputs)
    first = inputs[0]
    assert first is not None
    inputs[index] = np.ones(first.shape)
    with_ones = call_on(trial, inputs)
    # A mean is the sum divided by that of the weights: where the sum overflows, there is no mean.
    if all(np.isfinite(x.error).all() for x in outputs_with_bounds(with_ones)):
        yield equality_claim(with_ones, without)


@law("weighted", "weights half as large: half the loss")
def weighted(trial: Trial, generator: Generator) -> Claims:
    """The call with half the weights, where the mean does not divide by them."""
    call, names = trial.case.call, trial.spec.signature.input_names
    index = names.index("weight") if "weight" in names else None
    weight = call.state.get("weight") if index is None else trial.case.inputs[index]
    if weight is None:
        return
    half = weight / 2  # larger ones might overflow
    if index is None:
        other = call_on(trial, trial.case.inputs, state={**call.state, "weight": half})
    else:
        inputs = list(trial.case.inputs)
        inputs[index] = half
        other = call_on(trial, inputs)
    yield equality_claim(other, trial, got_moves=lambda y: y * 2)


def pointwise(
    means: Mapping[str, Divisor] | None = None, align: AlignInputs = case_inputs
) -> tuple[Law, ...]:
    """The laws of any loss with one number for each element.

    Args:
        means: reduction → divisor of the sum; None = only the mean of all losses.
        align: case → its inputs in shapes that broadcast.
    """
    return (*reductions(means), _elements_law(align), _shape_law(align))
