"""Laws of recurrent layers over time: parts of a sequence, directions, stacked layers, packing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.laws.recurrent.calls import Form, RecurrentCall
from conformance.laws.recurrent.layers import stepped, to_common_form
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claim,
    Claims,
    Generator,
    Side,
    equality_claim,
    law,
    move_elements,
    outputs_with_bounds,
    with_bounds_of,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_CELLS = ("input_size", "hidden_size", "bias", "nonlinearity")


def _claim_pieces(
    names: Sequence[str], text: str, arrays: Sequence[np.ndarray], whole_side: Side
) -> Claim:
    """The claim that an output computed piece by piece equals the whole.

    Computing pieces is one correct way to compute the whole, so the whole's bound holds for both.
    """
    return Claim(tuple(names), Side(text, with_bounds_of(arrays, whole_side.outputs)), whole_side)


def _side(trial: Trial, outputs: Sequence[Rounded]) -> Side:
    return Side(trial.text(), tuple(outputs))


def _case_side(trial: Trial) -> Side:
    """The case's own answer in `RecurrentCall`'s form."""
    return _side(trial, move_elements(outputs_with_bounds(trial), to_common_form(trial)))


@law("batch_first", "batch_first exchanges the first two axes of input and output, nothing else")
def batch_first(trial: Trial, generator: Generator) -> Claims:
    """The call with batch_first inverted."""
    run, form = RecurrentCall.of(trial), Form.of(trial)
    if not form.is_batched:
        return
    if form.batch_first:
        yield equality_claim(run.call(batch_first=False), trial, wanted_moves=to_common_form(trial))
        return
    other = replace(run, x=run.x.swapaxes(0, 1).copy()).call(batch_first=True)
    state_moves = (lambda h: h,) * (len(trial.shapes) - 1)
    yield equality_claim(other, trial, got_moves=(lambda y: y.swapaxes(0, 1), *state_moves))


@law("packed", "a packed sequence is the sequence alone, and zeros after it")
def packed(trial: Trial, generator: Generator) -> Claims:
    """Each packed row alone, cut to its length; or an unpacked batch packed at full length."""
    run = RecurrentCall.of(trial)
    length = run.x.shape[0]
    if run.lengths is None:
        if Form.of(trial).is_batched and run.batch_size:
            full = replace(run, lengths=(length,) * run.batch_size)
            yield equality_claim(full.call(), trial, wanted_moves=to_common_form(trial))
        return
    case_side = _case_side(trial)
    for row in generator.permutation(run.batch_size):
        row_slice, row_length = slice(row, row + 1), run.lengths[row]
        alone = run.map_states(lambda h, one=row_slice: h[:, one])  # type: ignore[misc]
        call = replace(alone, x=run.x[:row_length, row_slice], lengths=None).call()
        output, *finals = call.answer
        zeros_after = np.zeros((length - row_length, *output.shape[1:]))
        row_side = Side(
            f"row {row} of {case_side.text}", tuple(y[:, row_slice] for y in case_side.outputs)
        )
        yield _claim_pieces(
            trial.names, call.text(), [np.concatenate([output, zeros_after]), *finals], row_side
        )


@law("stacked", "stacked layers are layers one after the other")
def stacked(trial: Trial, generator: Generator) -> Claims:
    """Each layer, with all its directions, in a call of its own."""
    run = RecurrentCall.of(trial)
    if run.layers == 1:
        return
    x, finals, texts = run.x, [], []
    for layer in range(run.layers):
        call = _layer(run, layer, x).call()
        x, *final = call.answer
        finals.append(final)
        texts.append(call.text())
    final_states = [np.concatenate(final) for final in zip(*finals, strict=True)]
    yield _claim_pieces(trial.names, " then ".join(texts), [x, *final_states], _case_side(trial))


def _layer(run: RecurrentCall, layer: int, x: np.ndarray) -> RecurrentCall:
    """One of several layers, with all its directions."""
    parts = [run.single(layer, suffix, x) for suffix in run.directions]
    state: dict[str, np.ndarray] = {}
    for suffix, part in zip(run.directions, parts, strict=True):
        state |= {name + suffix: array for name, array in part.state.items()}
    count = len(parts)
    state_range = slice(layer * count, (layer + 1) * count)
    single_layer = replace(run.map_states(lambda h: h[state_range]), x=x, state=state)
    return single_layer.with_arguments(num_layers=1, input_size=x.shape[-1])


@law("directions", "a bidirectional layer is one layer, and another on the time turned round")
def directions(trial: Trial, generator: Generator) -> Claims:
    """The first layer's two directions as separate layers; a sequence is reversed in its length."""
    run = RecurrentCall.of(trial)
    if len(run.directions) == 1:
        return
    if run.layers == 1:
        first_layer = _case_side(trial)
    else:
        first = _layer(run, 0, run.x).call()
        first_layer = _side(first, outputs_with_bounds(first))
    reversed_input = _reverse_time(run.x, run.lengths)
    forward, backward = (
        run.single(0, "", run.x).call(),
        run.single(0, "_reverse", reversed_input).call(),
    )
    output = np.concatenate([forward.answer[0], _reverse_time(backward.answer[0], run.lengths)], -1)
    finals = [
        np.concatenate(pair) for pair in zip(forward.answer[1:], backward.answer[1:], strict=True)
    ]
    text = f"{forward.text()} and {backward.text()} with time turned round"
    yield _claim_pieces(trial.names, text, [output, *finals], first_layer)


def _reverse_time(x: np.ndarray, lengths: Sequence[int] | None) -> np.ndarray:
    """Reverse each sequence in time; padding after it stays."""
    reversed = x.copy()
    for row in range(x.shape[1]):
        length = x.shape[0] if lengths is None else lengths[row]
        reversed[:length, row] = x[:length, row][::-1]
    return reversed


@law("cell", "a layer is its cell stepped over time", WITHIN_SUM_OF_BOUNDS)
def as_cell(trial: Trial, generator: Generator) -> Claims:
    """The forward direction of the first layer."""
    run = RecurrentCall.of(trial)
    if run.projection_size:
        return  # cells have no projection
    if run.layers == len(run.directions) == 1 and run.lengths is None:
        layer_side = _case_side(trial)
    else:
        first = replace(run.single(0, "", run.x), lengths=None).call()
        layer_side = _side(first, outputs_with_bounds(first))
    cell = replace(
        run,
        layer=f"{run.kind}Cell",
        hidden=tuple(None if h is None else h[0] for h in run.hidden),
        state=run.weights(0, ""),
        arguments={k: v for k, v in run.arguments.items() if k in _CELLS},
        lengths=None,
    )
    output, finals = stepped(cell, list(run.x))
    arrays = [output, *(final[np.newaxis] for final in finals)]
    yield _claim_pieces(trial.names, f"{len(run.x)} steps of {cell.layer}", arrays, layer_side)


@law(
    "carried",
    "a long run is two shorter ones, the second starting where the first ends",
    WITHIN_SUM_OF_BOUNDS,
)
def carried(trial: Trial, generator: Generator) -> Claims:
    """20 to 40 of the case's steps through the forward first layer, cut at a random step.

    The recurrent weights are divided by a power of two until no step enlarges an error. Then the
    bound of the last step is as tight as that of the first.
    """
    run = RecurrentCall.of(trial)
    length = int(generator.integers(20, 40, endpoint=True))
    cut = int(generator.integers(1, length))
    single_direction = run.single(0, "", run.x[generator.integers(len(run.x), size=length)])
    state = dict(single_direction.state)
    recurrent = state["weight_hh_l0"]
    gain = np.abs(recurrent).sum(1).max()
    if run.projection_size:
        gain *= max(1.0, np.abs(state["weight_hr_l0"]).sum(1).max())
    # A power of two keeps every weight a number of the dtype.
    state["weight_hh_l0"] = recurrent * 2.0 ** -max(0.0, np.ceil(np.log2(max(gain, 1e-300))) + 3)
    single_direction = replace(single_direction, state=state, lengths=None)
    long = single_direction.call()
    long_side = _side(long, outputs_with_bounds(long))
    first = replace(single_direction, x=single_direction.x[:cut]).call()
    second = replace(single_direction, x=single_direction.x[cut:], hidden=first.answer[1:]).call()
    output = np.concatenate([first.answer[0], second.answer[0]])
    text = f"its first {cut} steps, then {second.text()}"
    yield _claim_pieces(trial.names, text, [output, *second.answer[1:]], long_side)
