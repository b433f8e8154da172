"""Laws of all losses: the relations between reductions, and the order of the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.elementary import constant
from conformance.arithmetic.reductions import divide_by_count, total
from conformance.model.case import is_function
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Law,
    Move,
    Side,
    claim,
    equality_claim,
    in_float64,
    large_size,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

Inputs = tuple[np.ndarray | None, ...]
Divisor = Callable[["Trial"], float | None]
"""trial → the divisor of the sum; None where it is not a number of losses."""


def argument_value(trial: Trial, name: str) -> Any:
    """An argument of the call, or its default if it is left out."""
    return trial.case.call.arguments.get(name, trial.spec.signature.defaults.get(name))


def call_on(
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
    base_arguments = call.arguments if only is None else only
    call = replace(
        call,
        layer=layer or call.layer,
        arguments={**base_arguments, **arguments},
        state=call.state if state is None else state,
        layouts={},
    )
    return trial.trial_of(replace(trial.case, call=call, inputs=tuple(inputs), layouts=()))


def with_reduction(trial: Trial, reduction: str) -> Trial:
    """The call with another reduction."""
    return call_on(trial, trial.case.inputs, reduction=reduction)


def batch_size(trial: Trial) -> int | None:
    """The number of samples, or None if the first input has no batch."""
    axis = trial.spec.batch_axis(trial.case, 0)
    first = trial.case.inputs[0]
    return None if axis is None or first is None else int(first.shape[axis])


def count_losses(trial: Trial) -> float:
    """The number of losses."""
    return float(with_reduction(trial, "none").answer[0].size)


def select_samples(trial: Trial, chosen: np.ndarray) -> Trial:
    """The call on selected samples; inputs without a batch axis stay.

    Args:
        trial: a case with a batch.
        chosen: indices of samples, in any order, with repetitions.
    """
    inputs = list(trial.case.inputs)
    for index, array in enumerate(inputs):
        axis = trial.spec.batch_axis(trial.case, index)
        if array is not None and axis is not None:
            inputs[index] = np.take(array, chosen, axis)
    return call_on(trial, inputs)


def sample_axes(trial: Trial) -> list[int | None]:
    """For each output its batch axis, or None."""
    spec, case = trial.spec, trial.case
    return [spec.output_batch_axis(case, output) for output in spec.signature.outputs]


def _sample_moves(trial: Trial, chosen: np.ndarray) -> list[Move]:
    """For each output a move that selects samples."""

    def pick(axis: int | None) -> Move:
        return lambda y: y if axis is None else np.take(y, chosen, axis)

    return [pick(axis) for axis in sample_axes(trial)]


def _reshape_to(shape: tuple[int, ...]) -> Move:
    return lambda y: y.reshape(shape)


def form_law(module: str, function: str, tensors: tuple[str, ...] = ()) -> Law:
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
            all_inputs = (*inputs, *(call.state.get(name) for name in tensors))
            yield equality_claim(call_on(trial, all_inputs, layer=function, state={}), trial)
            return
        state, other_inputs = dict[str, np.ndarray](), list[np.ndarray | None]()
        for input_spec, array in zip(trial.spec.signature.inputs, inputs, strict=False):
            if input_spec.name in tensors or input_spec.role == "weight":
                if array is not None:
                    state[input_spec.name] = array
            else:
                other_inputs.append(array)
        if set(state) <= set(tensors):  # else the module lacks one of these weights
            yield equality_claim(call_on(trial, other_inputs, layer=module, state=state), trial)

    return claims


def unbatched_law(rank: int) -> Law:
    """The law that a sample without a batch dimension equals a batch of one.

    Args:
        rank: number of axes of a batched first input.
    """

    @law("unbatched", "a sample without a batch dimension is a batch of one")
    def claims(trial: Trial, generator: Generator) -> Claims:
        """An unbatched sample as a batch of one, or the reverse."""
        inputs, sample_inputs = (
            list(trial.case.inputs),
            trial.spec.signature.input_indices("data", "target"),
        )
        first = inputs[0]
        assert first is not None
        if (first.ndim == rank and len(first) != 1) or first.ndim not in (rank, rank - 1):
            return
        for index in sample_inputs:
            array = inputs[index]
            if array is not None:
                inputs[index] = array[0] if first.ndim == rank else array[np.newaxis]
        yield equality_claim(
            call_on(trial, inputs), trial, got_moves=[_reshape_to(s) for s in trial.shapes]
        )

    return claims


@law("samples", "samples in another order: losses in that order, or the same sum")
def samples(trial: Trial, generator: Generator) -> Claims:
    """The batch permuted."""
    count = batch_size(trial)
    if count is not None:
        order = generator.permutation(count)
        yield equality_claim(
            select_samples(trial, order), trial, wanted_moves=_sample_moves(trial, order)
        )


@law("rows", "each loss of a large batch is that of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 samples, drawn from the case's."""
    count, first = batch_size(trial), trial.case.inputs[0]
    if not count or first is None or not first.size or None in sample_axes(trial):
        return
    chosen = generator.integers(count, size=large_size(generator, first.size / count))
    yield equality_claim(
        select_samples(trial, chosen), trial, wanted_moves=_sample_moves(trial, chosen)
    )


@law(
    "repeated",
    "a batch over and over: the same mean, that many times the sum",
    WITHIN_SUM_OF_BOUNDS,
)
def repeated(trial: Trial, generator: Generator) -> Claims:
    """The whole batch repeated to at least 17 to 65 samples."""
    count, first = batch_size(trial), trial.case.inputs[0]
    if not count or first is None or not first.size or sample_axes(trial) != [None]:
        return
    times = -(-large_size(generator, first.size / count) // count)
    large = select_samples(trial, np.tile(np.arange(count), times))
    (single,) = outputs_with_bounds(trial)
    side = Side(trial.text(), (single,), trial)
    if argument_value(trial, "reduction") == "sum":
        wide = in_float64(single)
        with np.errstate(all="ignore"):
            side = Side(f"{times} · {trial.text()}", (wide * constant(float(times), wide),))
    yield claim(large, outputs_with_bounds(large), side)


def reduction_law(**divisors: Divisor) -> Law:
    """The law that relates sum and means to the unreduced losses.

    Args:
        divisors: reduction → divisor of the sum.
    """

    @law(
        "reduced",
        "the sum is that of the losses, a mean is the sum over what counts",
        WITHIN_SUM_OF_BOUNDS,
    )
    def claims(trial: Trial, generator: Generator) -> Claims:
        """Sum and means, computed from the unreduced losses."""
        unreduced, summed = with_reduction(trial, "none"), with_reduction(trial, "sum")
        (losses,), (got,) = outputs_with_bounds(unreduced), outputs_with_bounds(summed)
        with np.errstate(all="ignore"):
            sum_of_losses = total(in_float64(losses))
        yield claim(summed, (got,), Side(f"the sum of {unreduced.text()}", (sum_of_losses,)))
        for reduction, divisor in divisors.items():
            count = divisor(trial)
            if not count:
                continue  # without losses there is no quotient
            average = with_reduction(trial, reduction)
            with np.errstate(all="ignore"):
                quotient = divide_by_count(in_float64(got), count)
            side = Side(f"{summed.text()} / {count:g}", (quotient,))
            yield claim(average, outputs_with_bounds(average), side)

    return claims


def reductions(means: Mapping[str, Divisor] | None = None) -> tuple[Law, ...]:
    """The laws of any loss that has a batch and reductions.

    Args:
        means: reduction → divisor of the sum; None = only the mean of all losses.
    """
    return (
        samples,
        rows,
        repeated,
        reduction_law(**({"mean": count_losses} if means is None else means)),
    )
