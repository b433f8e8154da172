"""Laws of all losses: the relations between reductions, and the order of the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.elementary import constant
from conformance.arithmetic.reductions import over, total
from conformance.model.case import is_function
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
    Law,
    Move,
    Side,
    claim,
    law,
    many,
    measured,
    on_host,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

Inputs = tuple[np.ndarray | None, ...]
Divisor = Callable[["Trial"], float | None]
"""trial → the divisor of the sum; None where it is not a number of losses."""


def given(trial: Trial, name: str) -> Any:
    """An argument of the call, or its default if it is left out."""
    return trial.case.call.arguments.get(name, trial.row.signature.defaults.get(name))


def on(
    trial: Trial,
    inputs: Sequence[np.ndarray | None],
    *,
    layer: str | None = None,
    state: Mapping[str, np.ndarray] | None = None,
    only: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Trial:
    """The call on other inputs, with every operand contiguous.

    Args:
        inputs: replace the case's inputs.
        layer: another layer that takes them; None = the case's own.
        state: replaces the case's state; None = the case's own.
        only: replaces all of the case's arguments; None = keep them.
        arguments: changed arguments.
    """
    call = trial.case.call
    kept = call.arguments if only is None else only
    call = replace(
        call,
        layer=layer or call.layer,
        arguments={**kept, **arguments},
        state=call.state if state is None else state,
        layouts={},
    )
    return trial.other(replace(trial.case, call=call, inputs=tuple(inputs), layouts=()))


def reduced_by(trial: Trial, reduction: str) -> Trial:
    """The call with another reduction."""
    return on(trial, trial.case.inputs, reduction=reduction)


def batch(trial: Trial) -> int | None:
    """The number of samples, or None if the first input has no batch."""
    axis = trial.row.batch_axis(trial.case, 0)
    first = trial.case.inputs[0]
    return None if axis is None or first is None else int(first.shape[axis])


def elements(trial: Trial) -> float:
    """The number of losses."""
    return float(reduced_by(trial, "none").answer[0].size)


def of_samples(trial: Trial, chosen: np.ndarray) -> Trial:
    """The call on selected samples; inputs without a batch axis stay.

    Args:
        trial: a case with a batch.
        chosen: indices of samples, in any order, with repetitions.
    """
    inputs = list(trial.case.inputs)
    for place, array in enumerate(inputs):
        axis = trial.row.batch_axis(trial.case, place)
        if array is not None and axis is not None:
            inputs[place] = np.take(array, chosen, axis)
    return on(trial, inputs)


def sample_axes(trial: Trial) -> list[int | None]:
    """For each output its batch axis, or None."""
    row, case = trial.row, trial.case
    return [row.output_batch_axis(case, output) for output in row.signature.outputs]


def _picks(trial: Trial, chosen: np.ndarray) -> list[Move]:
    """For each output a move that selects samples."""

    def pick(axis: int | None) -> Move:
        return lambda y: y if axis is None else np.take(y, chosen, axis)

    return [pick(axis) for axis in sample_axes(trial)]


def _shaped(shape: tuple[int, ...]) -> Move:
    return lambda y: y.reshape(shape)


def form(module: str, function: str, tensors: tuple[str, ...] = ()) -> Law:
    """The law that module and function agree.

    Args:
        module, function: the two names.
        tensors: tensors that the constructor takes, and the function after its inputs, in order.
    """

    @law("form", "the module and the function are one")
    def claims(trial: Trial, generator: Generator) -> Claims:
        """The other form: tensors move between the module's state and the function's inputs."""
        call, inputs = trial.case.call, trial.case.inputs
        if not is_function(call.layer):
            whole = (*inputs, *(call.state.get(name) for name in tensors))
            yield same(on(trial, whole, layer=function, state={}), trial)
            return
        state, kept = dict[str, np.ndarray](), list[np.ndarray | None]()
        for taken, array in zip(trial.row.signature.inputs, inputs, strict=False):
            if taken.name in tensors or taken.role == "weight":
                if array is not None:
                    state[taken.name] = array
            else:
                kept.append(array)
        if set(state) <= set(tensors):  # else the module lacks one of these weights
            yield same(on(trial, kept, layer=module, state=state), trial)

    return claims


def unbatched(rank: int) -> Law:
    """The law that a sample without a batch dimension equals a batch of one.

    Args:
        rank: number of axes of a batched first input.
    """

    @law("unbatched", "a sample without a batch dimension is a batch of one")
    def claims(trial: Trial, generator: Generator) -> Claims:
        """An unbatched sample as a batch of one, or the reverse."""
        inputs, sampled = list(trial.case.inputs), trial.row.signature.places("data", "target")
        first = inputs[0]
        assert first is not None
        if (first.ndim == rank and len(first) != 1) or first.ndim not in (rank, rank - 1):
            return
        for place in sampled:
            array = inputs[place]
            if array is not None:
                inputs[place] = array[0] if first.ndim == rank else array[np.newaxis]
        yield same(on(trial, inputs), trial, got_moves=[_shaped(s) for s in trial.shapes])

    return claims


@law("samples", "samples in another order: losses in that order, or the same sum")
def samples(trial: Trial, generator: Generator) -> Claims:
    """The batch permuted."""
    count = batch(trial)
    if count is not None:
        order = generator.permutation(count)
        yield same(of_samples(trial, order), trial, wanted_moves=_picks(trial, order))


@law("rows", "each loss of a large batch is that of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 samples, drawn from the case's."""
    count, first = batch(trial), trial.case.inputs[0]
    if not count or first is None or not first.size or None in sample_axes(trial):
        return
    chosen = generator.integers(count, size=many(generator, first.size / count))
    yield same(of_samples(trial, chosen), trial, wanted_moves=_picks(trial, chosen))


@law("repeated", "a batch over and over: the same mean, that many times the sum", SUMMED)
def repeated(trial: Trial, generator: Generator) -> Claims:
    """The whole batch repeated to at least 17 to 65 samples."""
    count, first = batch(trial), trial.case.inputs[0]
    if not count or first is None or not first.size or sample_axes(trial) != [None]:
        return
    times = -(-many(generator, first.size / count) // count)
    large = of_samples(trial, np.tile(np.arange(count), times))
    (once,) = measured(trial)
    side = Side(trial.text(), (once,), trial)
    if given(trial, "reduction") == "sum":
        wide = on_host(once)
        with np.errstate(all="ignore"):
            side = Side(f"{times} · {trial.text()}", (wide * constant(float(times), wide),))
    yield claim(large, measured(large), side)


def reduced(**divisors: Divisor) -> Law:
    """The law that relates sum and means to the unreduced losses.

    Args:
        divisors: reduction → divisor of the sum.
    """

    @law("reduced", "the sum is that of the losses, a mean is the sum over what counts", SUMMED)
    def claims(trial: Trial, generator: Generator) -> Claims:
        """Sum and means, computed from the unreduced losses."""
        single, whole = reduced_by(trial, "none"), reduced_by(trial, "sum")
        (losses,), (got,) = measured(single), measured(whole)
        with np.errstate(all="ignore"):
            added = total(on_host(losses))
        yield claim(whole, (got,), Side(f"the sum of {single.text()}", (added,)))
        for reduction, divisor in divisors.items():
            count = divisor(trial)
            if not count:
                continue  # without losses there is no quotient
            average = reduced_by(trial, reduction)
            with np.errstate(all="ignore"):
                quotient = over(on_host(got), count)
            side = Side(f"{whole.text()} / {count:g}", (quotient,))
            yield claim(average, measured(average), side)

    return claims


def reductions(means: Mapping[str, Divisor] | None = None) -> tuple[Law, ...]:
    """The laws of any loss that has a batch and reductions.

    Args:
        means: reduction → divisor of the sum; None = only the mean of all losses.
    """
    return (samples, rows, repeated, reduced(**({"mean": elements} if means is None else means)))
