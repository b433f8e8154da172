"""Laws that recurrent layers and their cells share: batches, states, units, inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.laws.recurrent.calls import GATES, Form, RecurrentCall
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Move,
    Side,
    claim,
    equality_claim,
    large_size,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def compose_moves(first: tuple[Move, ...], second: tuple[Move, ...]) -> tuple[Move, ...]:
    """For each output the composition of two moves."""

    def compose(f: Move, g: Move) -> Move:
        return lambda array: g(f(array))

    return tuple(compose(f, g) for f, g in zip(first, second, strict=True))


def to_common_form(trial: Trial) -> tuple[Move, ...]:
    """The moves that convert a case's outputs to `RecurrentCall`'s form."""
    return Form.of(trial).outputs(len(trial.shapes))


def select_rows(run: RecurrentCall, chosen: np.ndarray) -> RecurrentCall:
    """The call on selected rows, with their states and lengths."""
    lengths = None if run.lengths is None else tuple(run.lengths[row] for row in chosen)
    with_states = run.map_states(lambda h: h.take(chosen, -2))
    return replace(with_states, x=run.x.take(chosen, -2), lengths=lengths)


@law("rows", "each row of a large batch is that row of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    run = RecurrentCall.of(trial)
    if not run.batch_size:
        return
    chosen = generator.integers(run.batch_size, size=large_size(generator))
    row_moves = (lambda y: y.take(chosen, -2),) * len(trial.shapes)
    yield equality_claim(
        select_rows(run, chosen).call(),
        trial,
        wanted_moves=compose_moves(to_common_form(trial), row_moves),
    )


@law("singles", "a batch is the stack of its rows, each taken alone")
def singles(trial: Trial, generator: Generator) -> Claims:
    """Each row in a call of its own; a packed row keeps its length."""
    run = RecurrentCall.of(trial)
    if not Form.of(trial).is_batched:
        return
    for row in generator.permutation(run.batch_size):
        row_index = np.array([row])
        row_moves = (lambda y, one=row_index: y.take(one, -2),) * len(trial.shapes)
        yield equality_claim(
            select_rows(run, row_index).call(),
            trial,
            wanted_moves=compose_moves(to_common_form(trial), row_moves),
        )


@law("unbatched", "an input without a batch dimension is a batch of one")
def unbatched(trial: Trial, generator: Generator) -> Claims:
    """An unbatched case as a batch of one, or one row of a batch without the batch dimension."""
    run, form = RecurrentCall.of(trial), Form.of(trial)
    if not form.is_batched:
        yield equality_claim(run.call(), trial, wanted_moves=to_common_form(trial))
    elif run.batch_size and run.lengths is None:
        row = int(generator.integers(run.batch_size))
        alone = run.map_states(lambda h: h.take(row, -2))
        arguments = {"batch_first": True} if form.batch_first else {}
        row_moves = (lambda y: y.take(row, -2),) * len(trial.shapes)
        yield equality_claim(
            replace(alone, x=run.x.take(row, -2)).call(**arguments),
            trial,
            wanted_moves=compose_moves(to_common_form(trial), row_moves),
        )


@law("zeros", "an initial state left out is zero", WITHIN_SUM_OF_BOUNDS)
def zeros(trial: Trial, generator: Generator) -> Claims:
    """The call with states of zeros, compared with the one without states."""
    run = RecurrentCall.of(trial)
    sizes = (run.output_size, run.hidden_size)[: len(run.hidden)]
    layer_shape = () if run.is_cell else (run.layers * len(run.directions),)
    zero_states = tuple(np.zeros((*layer_shape, run.batch_size, size)) for size in sizes)
    explicit = replace(run, hidden=zero_states).call()
    if run.hidden[0] is None:
        yield equality_claim(explicit, trial, wanted_moves=to_common_form(trial))
    else:
        none = replace(run, hidden=(None,) * len(sizes)).call()
        yield equality_claim(explicit, none)


@law("units", "hidden units may come in any order")
def units(trial: Trial, generator: Generator) -> Claims:
    """The same permutation in every layer and direction; another one of projected units."""
    run = RecurrentCall.of(trial)
    unit_order = generator.permutation(run.hidden_size)
    output_order = generator.permutation(run.projection_size) if run.projection_size else unit_order
    blocks = len(run.directions)
    state = {}
    for name, array in run.state.items():
        if name.startswith("weight_hr"):
            state[name] = array[output_order][:, unit_order]
            continue
        reordered = in_gates(array, GATES[run.kind], unit_order)
        if name.startswith("weight_hh"):
            reordered = reordered[:, output_order]
        elif name.startswith("weight_ih") and not run.is_cell and "_l0" not in name:
            reordered = in_blocks(reordered, blocks, output_order)
        state[name] = reordered
    hidden = tuple(
        None if h is None else h[..., order]
        for h, order in zip(run.hidden, (output_order, unit_order), strict=False)
    )
    output_moves: list[Move] = [lambda h: h[..., output_order], lambda c: c[..., unit_order]]
    if not run.is_cell:
        output_moves = [lambda y: in_blocks(y, blocks, output_order), *output_moves]
    moves = tuple(output_moves[: len(trial.shapes)])
    other = replace(run, state=state, hidden=hidden).call()
    yield equality_claim(other, trial, wanted_moves=compose_moves(to_common_form(trial), moves))


def in_gates(array: np.ndarray, gates: int, order: np.ndarray) -> np.ndarray:
    """Select the same rows in every gate."""
    by_gate = array.reshape(gates, -1, *array.shape[1:])[:, order]
    return by_gate.reshape(-1, *array.shape[1:])


def in_blocks(array: np.ndarray, blocks: int, order: np.ndarray) -> np.ndarray:
    """Select the same columns in every direction."""
    by_direction = array.reshape(*array.shape[:-1], blocks, array.shape[-1] // blocks)[..., order]
    return by_direction.reshape(*array.shape[:-1], blocks * len(order))


@law("inputs", "input features may come in any order, among others of weight zero")
def inputs(trial: Trial, generator: Generator) -> Claims:
    """The features spread over 17 to 65 or more; those of weight 0 add exact zeros."""
    run = RecurrentCall.of(trial)
    count = run.x.shape[-1]
    width = max(large_size(generator), count + 1)
    places = generator.permutation(width)[:count]
    sources = generator.integers(count, size=width)
    sources[places] = np.arange(count)
    state = dict(run.state)
    for name, array in run.state.items():
        if name.startswith("weight_ih") and (run.is_cell or "_l0" in name):
            state[name] = np.zeros((len(array), width))
            state[name][:, places] = array
    widened = replace(run, x=run.x[..., sources], state=state).with_arguments(input_size=width)
    yield equality_claim(widened.call(), trial, wanted_moves=to_common_form(trial))


@law("copies", "layers side by side, not connected with each other, do what each does alone")
def copies(trial: Trial, generator: Generator) -> Claims:
    """Copies of the case's layer with 17 to 65 hidden units, each copy's units permuted."""
    run = RecurrentCall.of(trial)
    size, gates = run.hidden_size, GATES[run.kind]
    if run.layers > 1 or run.projection_size:
        return
    count = max(2, -(-large_size(generator) // size))
    orders = [generator.permutation(size) for _ in range(count)]
    units = np.concatenate(orders)
    state = {}
    for name, array in run.state.items():
        state[name] = in_gates(array, gates, units)
        if name.startswith("weight_hh"):
            by_copy = np.zeros((gates, count, size, count, size))
            for k, order in enumerate(orders):
                block = array.reshape(gates, size, size)[:, order][:, :, order]
                by_copy[:, k, :, k] = block
            state[name] = by_copy.reshape(gates * count * size, count * size)
    copied = replace(run.map_states(lambda h: h[..., units]), state=state)
    blocks = len(run.directions)
    output_moves: list[Move] = [lambda h: h[..., units]] * len(trial.shapes)
    if not run.is_cell:
        output_moves[0] = lambda y: in_blocks(y, blocks, units)
    yield equality_claim(
        copied.with_arguments(hidden_size=count * size).call(),
        trial,
        wanted_moves=compose_moves(to_common_form(trial), tuple(output_moves)),
    )


@law(
    "layer",
    "a cell is a layer of one step; stepped over time it is the layer",
    WITHIN_SUM_OF_BOUNDS,
)
def as_layer(trial: Trial, generator: Generator) -> Claims:
    """One to three steps of a cell; each row gets another input at each step."""
    run = RecurrentCall.of(trial)
    if not run.batch_size:
        return
    steps = [np.roll(run.x, t, 0) for t in range(int(generator.integers(1, 4)))]
    layer = replace(
        run,
        layer=run.kind,
        x=np.stack(steps),
        hidden=tuple(None if h is None else h[np.newaxis] for h in run.hidden),
        state={f"{name}_l0": array for name, array in run.state.items()},
    ).call()
    wanted = outputs_with_bounds(layer)
    outputs, finals = stepped(run, steps)
    # Stepping a cell is one way to compute the layer, so the layer's bound holds for it.
    arrays = (outputs, *(final[np.newaxis] for final in finals))
    got = tuple(replace(known, value=array) for array, known in zip(arrays, wanted, strict=True))
    yield claim(layer, wanted, Side(f"{len(steps)} steps of {trial.text()}", got))


def stepped(cell: RecurrentCall, steps: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Call a cell for each step: all its outputs, and its final states.

    Args:
        cell: with the initial states.
        steps: the inputs.
    """
    outputs = []
    for x in steps:
        states = replace(cell, x=x).call().answer
        outputs.append(states[0])
        cell = replace(cell, hidden=states)
    return np.stack(outputs), list(states)
