"""Laws that recurrent layers and their cells share: batches, states, units, inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.laws.recurrent.calls import GATES, Form, RecurrentCall
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
    Move,
    Side,
    claim,
    law,
    many,
    measured,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def after(first: tuple[Move, ...], then: tuple[Move, ...]) -> tuple[Move, ...]:
    """For each output the composition of two moves."""

    def joined(f: Move, g: Move) -> Move:
        return lambda array: g(f(array))

    return tuple(joined(f, g) for f, g in zip(first, then, strict=True))


def common(trial: Trial) -> tuple[Move, ...]:
    """The moves that convert a case's outputs to `RecurrentCall`'s form."""
    return Form.of(trial).outputs(len(trial.shapes))


def rows_of(run: RecurrentCall, chosen: np.ndarray) -> RecurrentCall:
    """The call on selected rows, with their states and lengths."""
    lengths = None if run.lengths is None else tuple(run.lengths[row] for row in chosen)
    picked = run.states(lambda h: h.take(chosen, -2))
    return replace(picked, x=run.x.take(chosen, -2), lengths=lengths)


@law("rows", "each row of a large batch is that row of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    run = RecurrentCall.of(trial)
    if not run.batch:
        return
    chosen = generator.integers(run.batch, size=many(generator))
    taken = (lambda y: y.take(chosen, -2),) * len(trial.shapes)
    yield same(rows_of(run, chosen).run(), trial, wanted_moves=after(common(trial), taken))


@law("singles", "a batch is the stack of its rows, each taken alone")
def singles(trial: Trial, generator: Generator) -> Claims:
    """Each row in a call of its own; a packed row keeps its length."""
    run = RecurrentCall.of(trial)
    if not Form.of(trial).batched:
        return
    for row in generator.permutation(run.batch):
        one = np.array([row])
        taken = (lambda y, one=one: y.take(one, -2),) * len(trial.shapes)
        yield same(rows_of(run, one).run(), trial, wanted_moves=after(common(trial), taken))


@law("unbatched", "an input without a batch dimension is a batch of one")
def unbatched(trial: Trial, generator: Generator) -> Claims:
    """An unbatched case as a batch of one, or one row of a batch without the batch dimension."""
    run, form = RecurrentCall.of(trial), Form.of(trial)
    if not form.batched:
        yield same(run.run(), trial, wanted_moves=common(trial))
    elif run.batch and run.lengths is None:
        row = int(generator.integers(run.batch))
        alone = run.states(lambda h: h.take(row, -2))
        arguments = {"batch_first": True} if form.batch_first else {}
        taken = (lambda y: y.take(row, -2),) * len(trial.shapes)
        yield same(
            replace(alone, x=run.x.take(row, -2)).run(**arguments),
            trial,
            wanted_moves=after(common(trial), taken),
        )


@law("zeros", "an initial state left out is zero", SUMMED)
def zeros(trial: Trial, generator: Generator) -> Claims:
    """The call with states of zeros, compared with the one without states."""
    run = RecurrentCall.of(trial)
    sizes = (run.output_size, run.hidden_size)[: len(run.hidden)]
    places = () if run.cell else (run.layers * len(run.directions),)
    given = tuple(np.zeros((*places, run.batch, size)) for size in sizes)
    explicit = replace(run, hidden=given).run()
    if run.hidden[0] is None:
        yield same(explicit, trial, wanted_moves=common(trial))
    else:
        none = replace(run, hidden=(None,) * len(sizes)).run()
        yield same(explicit, none)


@law("units", "hidden units may come in any order")
def units(trial: Trial, generator: Generator) -> Claims:
    """The same permutation in every layer and direction; another one of projected units."""
    run = RecurrentCall.of(trial)
    inner = generator.permutation(run.hidden_size)
    outer = generator.permutation(run.projected) if run.projected else inner
    blocks = len(run.directions)
    state = {}
    for name, array in run.state.items():
        if name.startswith("weight_hr"):
            state[name] = array[outer][:, inner]
            continue
        turned = in_gates(array, GATES[run.kind], inner)
        if name.startswith("weight_hh"):
            turned = turned[:, outer]
        elif name.startswith("weight_ih") and not run.cell and "_l0" not in name:
            turned = in_blocks(turned, blocks, outer)
        state[name] = turned
    hidden = tuple(
        None if h is None else h[..., order]
        for h, order in zip(run.hidden, (outer, inner), strict=False)
    )
    turns: list[Move] = [lambda h: h[..., outer], lambda c: c[..., inner]]
    if not run.cell:
        turns = [lambda y: in_blocks(y, blocks, outer), *turns]
    moves = tuple(turns[: len(trial.shapes)])
    other = replace(run, state=state, hidden=hidden).run()
    yield same(other, trial, wanted_moves=after(common(trial), moves))


def in_gates(array: np.ndarray, gates: int, order: np.ndarray) -> np.ndarray:
    """Select the same rows in every gate."""
    apart = array.reshape(gates, -1, *array.shape[1:])[:, order]
    return apart.reshape(-1, *array.shape[1:])


def in_blocks(array: np.ndarray, blocks: int, order: np.ndarray) -> np.ndarray:
    """Select the same columns in every direction."""
    apart = array.reshape(*array.shape[:-1], blocks, array.shape[-1] // blocks)[..., order]
    return apart.reshape(*array.shape[:-1], blocks * len(order))


@law("inputs", "input features may come in any order, among others of weight zero")
def inputs(trial: Trial, generator: Generator) -> Claims:
    """The features spread over 17 to 65 or more; those of weight 0 add exact zeros."""
    run = RecurrentCall.of(trial)
    count = run.x.shape[-1]
    width = max(many(generator), count + 1)
    places = generator.permutation(width)[:count]
    sources = generator.integers(count, size=width)
    sources[places] = np.arange(count)
    state = dict(run.state)
    for name, array in run.state.items():
        if name.startswith("weight_ih") and (run.cell or "_l0" in name):
            state[name] = np.zeros((len(array), width))
            state[name][:, places] = array
    wide = replace(run, x=run.x[..., sources], state=state).having(input_size=width)
    yield same(wide.run(), trial, wanted_moves=common(trial))


@law("copies", "layers side by side, not connected with each other, do what each does alone")
def copies(trial: Trial, generator: Generator) -> Claims:
    """Copies of the case's layer with 17 to 65 hidden units, each copy's units permuted."""
    run = RecurrentCall.of(trial)
    size, gates = run.hidden_size, GATES[run.kind]
    if run.layers > 1 or run.projected:
        return
    count = max(2, -(-many(generator) // size))
    orders = [generator.permutation(size) for _ in range(count)]
    units = np.concatenate(orders)
    state = {}
    for name, array in run.state.items():
        state[name] = in_gates(array, gates, units)
        if name.startswith("weight_hh"):
            apart = np.zeros((gates, count, size, count, size))
            for k, order in enumerate(orders):
                block = array.reshape(gates, size, size)[:, order][:, :, order]
                apart[:, k, :, k] = block
            state[name] = apart.reshape(gates * count * size, count * size)
    wide = replace(run.states(lambda h: h[..., units]), state=state)
    blocks = len(run.directions)
    turns: list[Move] = [lambda h: h[..., units]] * len(trial.shapes)
    if not run.cell:
        turns[0] = lambda y: in_blocks(y, blocks, units)
    yield same(
        wide.having(hidden_size=count * size).run(),
        trial,
        wanted_moves=after(common(trial), tuple(turns)),
    )


@law("layer", "a cell is a layer of one step; stepped over time it is the layer", SUMMED)
def as_layer(trial: Trial, generator: Generator) -> Claims:
    """One to three steps of a cell; each row gets another input at each step."""
    run = RecurrentCall.of(trial)
    if not run.batch:
        return
    steps = [np.roll(run.x, t, 0) for t in range(int(generator.integers(1, 4)))]
    layer = replace(
        run,
        layer=run.kind,
        x=np.stack(steps),
        hidden=tuple(None if h is None else h[np.newaxis] for h in run.hidden),
        state={f"{name}_l0": array for name, array in run.state.items()},
    ).run()
    wanted = measured(layer)
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
        states = replace(cell, x=x).run().answer
        outputs.append(states[0])
        cell = replace(cell, hidden=states)
    return np.stack(outputs), list(states)
