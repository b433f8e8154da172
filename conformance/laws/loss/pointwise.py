"""Laws of losses with one number for each element."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from conformance.laws.loss.reductions import Divisor, given, on, reduced_by, reductions
from conformance.spec.law import Claims, Generator, Law, Move, law, many, same

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

Inputs = tuple[np.ndarray | None, ...]
Aligned = Callable[["Trial"], Inputs]


def as_given(trial: Trial) -> Inputs:
    """The inputs of the case."""
    return trial.case.inputs


def given_inputs(trial: Trial) -> list[np.ndarray]:
    """The inputs of a loss without optional inputs."""
    found = [x for x in trial.case.inputs if x is not None]
    assert len(found) == len(trial.case.inputs)
    return found


def each(
    trial: Trial, move: Move, aligned: Aligned = as_given
) -> tuple[Inputs, dict[str, np.ndarray]]:
    """Broadcast all operands to one shape and move their elements: (inputs, state).

    Args:
        move: applied to each broadcast operand.
        aligned: case → its inputs in shapes that broadcast.
    """
    given, state = aligned(trial), trial.case.call.state
    shapes = (x.shape for x in (*given, *state.values()) if x is not None)
    whole = np.broadcast_shapes(*shapes)

    def moved(x: np.ndarray) -> np.ndarray:
        return move(np.broadcast_to(x, whole))

    inputs = tuple(None if x is None else moved(x) for x in given)
    return inputs, {name: moved(x) for name, x in state.items()}


def _elements(aligned: Aligned) -> Law:
    @law("elements", "each loss among thousands is what it is among few")
    def claims(trial: Trial, generator: Generator) -> Claims:
        """Thousands of elements drawn from the case's: several vector blocks and a tail."""
        single = reduced_by(trial, "none")
        size = single.answer[0].size
        if not size:
            return
        chosen = generator.integers(size, size=many(generator, least=1025, most=4097))
        inputs, state = each(trial, lambda x: x.reshape(-1)[chosen], aligned)
        other = on(trial, inputs, state=state, reduction="none")
        yield same(other, single, wanted_moves=lambda y: y.reshape(-1)[chosen])

    return claims


def _shape(aligned: Aligned) -> Law:
    @law("shape", "the shape means nothing to the losses")
    def claims(trial: Trial, generator: Generator) -> Claims:
        """All elements in one row, or each in its own row."""
        if given(trial, "reduction") not in ("mean", "sum", "none"):
            return  # a mean over samples
        row = (-1, 1) if generator.integers(2) else (-1,)
        inputs, state = each(trial, lambda x: x.reshape(row), aligned)
        shapes = trial.shapes
        other = on(trial, inputs, state=state)
        yield same(other, trial, got_moves=lambda y: y.reshape(shapes[0]))

    return claims


@law("swapped", "neither operand is the first")
def swapped(trial: Trial, generator: Generator) -> Claims:
    """Input and target exchanged."""
    first, second, *rest = each(trial, lambda x: x)[0]
    yield same(on(trial, (second, first, *rest)), trial)


@law("ones", "weights of 1 are none")
def ones(trial: Trial, generator: Generator) -> Claims:
    """The calls with a weight of ones and without a weight, where the function takes one."""
    names = trial.row.signature.input_names
    if "weight" not in names:
        return
    place = names.index("weight")
    inputs = list(each(trial, lambda x: x)[0])
    inputs[place] = None
    without = on(trial, inputs)
    first = inputs[0]
    assert first is not None
    inputs[place] = np.ones(first.shape)
    yield same(on(trial, inputs), without)


@law("weighted", "weights half as large: half the loss")
def weighted(trial: Trial, generator: Generator) -> Claims:
    """The call with half the weights, where the mean does not divide by them."""
    call, names = trial.case.call, trial.row.signature.input_names
    place = names.index("weight") if "weight" in names else None
    weight = call.state.get("weight") if place is None else trial.case.inputs[place]
    if weight is None:
        return
    half = weight / 2  # larger ones might overflow
    if place is None:
        other = on(trial, trial.case.inputs, state={**call.state, "weight": half})
    else:
        inputs = list(trial.case.inputs)
        inputs[place] = half
        other = on(trial, inputs)
    yield same(other, trial, got_moves=lambda y: y * 2)


def pointwise(
    means: Mapping[str, Divisor] | None = None, aligned: Aligned = as_given
) -> tuple[Law, ...]:
    """The laws of any loss with one number for each element.

    Args:
        means: reduction → divisor of the sum; None = only the mean of all losses.
        aligned: case → its inputs in shapes that broadcast.
    """
    return (*reductions(means), _elements(aligned), _shape(aligned))
