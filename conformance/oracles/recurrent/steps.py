"""RNN, LSTM and GRU step by step from the implementation's own states.

The bound of a whole sequence grows with every step until it is useless: each step's error is
multiplied by the weights of the next. Here each step starts from the implementation's own previous
output, called teacher forcing by R. J. Williams and D. Zipser, *A learning algorithm for
continually running fully recurrent neural networks*, 1989. So the bound is that of a single step,
however long the sequence. Only a single layer returns all its states. An LSTM returns only the last
cell state, so the oracle computes c from the implementation's h: the error of c is multiplied by
forget gates ≤ 1.

Each oracle takes `(output, state, *inputs, **arguments)`, where `output` is the implementation's
first output. It returns the same outputs as the layer's own oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, choose, exact_operand, join
from conformance.oracles.recurrent.cells import (
    Hidden,
    State,
    Weights,
    gru_step,
    lstm_gates,
    lstm_output,
    rnn_step,
    zeros,
)
from conformance.oracles.recurrent.layers import (
    active_steps,
    directions,
    from_directions,
    initial_states,
    like_input,
    time_first,
    to_directions,
)

# x and the implementation's previous h (L, directions, N, …), the initial states, the weights and
# the active steps → every h, and the last c.
Steps = Callable[[Rounded, Rounded, Sequence[Rounded], Weights, np.ndarray], Hidden]


def observed_state(values: np.ndarray, like: Rounded) -> Rounded:
    """A state that the implementation returned.

    The implementation may continue with the unrounded state: keeping the state in a wider format is
    more accurate than required. Half the distance between two numbers is at most u·|h|, or half the
    smallest subnormal number.
    """
    precision = like.precision
    return Rounded(values, precision.unit * np.abs(values) + precision.underflow, precision)


def _previous_states(observed: np.ndarray, first: Rounded, active: np.ndarray) -> Rounded:
    """The state before each step: the previous step's output, or the initial state.

    Args:
        observed: the outputs (L, directions, N, size).
        first: the initial state (directions, N, size).
        active: (L, directions, N), whether the sequence runs at that step.
    """
    no_state = exact_operand(np.zeros(first.shape), first.precision)[np.newaxis]
    preceding = join([no_state, observed_state(observed, first)[:-1]], axis=0)
    starts = active & ~np.concatenate([np.zeros_like(active[:1]), active[:-1]])
    initial = first.map(lambda array: np.broadcast_to(array, preceding.shape))
    return choose(starts[..., np.newaxis], initial, preceding)


def _plain_steps(
    step: Callable[..., Hidden],
    x: Rounded,
    h: Rounded,
    initial: Sequence[Rounded],
    w: Weights,
    active: np.ndarray,
) -> Hidden:
    """RNN, GRU: h_t from x_t and h_{t−1}."""
    return step(w.apply_input(x), (h,), w)


def _lstm_steps(
    x: Rounded, h: Rounded, initial: Sequence[Rounded], w: Weights, active: np.ndarray
) -> Hidden:
    """LSTM: gates from x_t and h_{t−1}; c_t = f⊙c_{t−1} + i⊙g in sequence; h_t from o and c_t."""
    i, f, g, o = lstm_gates(w.apply_input(x), h, w)
    new_input = i * g
    _, c = initial
    cells: list[Rounded] = []
    for t, runs in enumerate(active[..., np.newaxis]):
        c = choose(runs, f[t] * c + new_input[t], c)
        cells.append(c)
    return lstm_output(o, join(cells, axis=0, new_axis=True), w), c


def _layer(
    steps: Steps,
    output: np.ndarray,
    state: State,
    input: Rounded,
    *initial: Rounded | None,
    hidden_size: int,
    proj_size: int = 0,
    num_layers: int = 1,
    batch_first: bool = False,
    bidirectional: bool = False,
    lengths: Sequence[int] | None = None,
    **others: Any,
) -> tuple[Rounded, ...]:
    """Output and final states of a single layer, in the shapes of the layer itself."""
    assert num_layers == 1
    x = time_first(input, batch_first)
    length, batch, _ = x.shape
    suffixes = directions(bidirectional)
    sizes = (proj_size or hidden_size, hidden_size)[: len(initial)]
    states = initial_states(initial, sizes, len(suffixes), input, batch)
    active = active_steps(length, batch, lengths, suffixes)
    observed = np.split(
        time_first(exact_operand(output, x.precision), batch_first).value, len(suffixes), axis=-1
    )
    observed = [
        part[::-1] if suffix else part for part, suffix in zip(observed, suffixes, strict=True)
    ]
    previous = _previous_states(np.stack(observed, axis=1), states[0], active)
    weights = Weights(state, *(f"_l0{suffix}" for suffix in suffixes))
    h, *other_states = steps(to_directions(x, suffixes), previous, states, weights, active)
    visible_output = choose(active[..., np.newaxis], h, zeros(h.shape, h))
    last = length - 1 - np.argmax(active[::-1], axis=0)
    final_states = [
        h[last, np.arange(len(suffixes))[:, np.newaxis], np.arange(batch)],
        *other_states,
    ]
    if len(input.shape) == 2:
        final_states = [h[:, 0] for h in final_states]
    return (
        like_input(join(from_directions(visible_output, suffixes), axis=-1), input, batch_first),
        *final_states,
    )


def rnn_steps(
    output: np.ndarray,
    state: State,
    input: Rounded,
    h_0: Rounded | None = None,
    *,
    nonlinearity: str = "tanh",
    **arguments: Any,
) -> tuple[Rounded, ...]:
    """RNN of one layer from its own previous outputs → output, h_n."""
    steps = partial(_plain_steps, partial(rnn_step, nonlinearity=nonlinearity))
    return _layer(steps, output, state, input, h_0, **arguments)


def lstm_steps(
    output: np.ndarray,
    state: State,
    input: Rounded,
    h_0: Rounded | None = None,
    c_0: Rounded | None = None,
    **arguments: Any,
) -> tuple[Rounded, ...]:
    """LSTM of one layer from its own previous outputs → output, h_n, c_n."""
    return _layer(_lstm_steps, output, state, input, h_0, c_0, **arguments)


def gru_steps(
    output: np.ndarray,
    state: State,
    input: Rounded,
    h_0: Rounded | None = None,
    **arguments: Any,
) -> tuple[Rounded, ...]:
    """GRU of one layer from its own previous outputs → output, h_n."""
    return _layer(partial(_plain_steps, gru_step), output, state, input, h_0, **arguments)
