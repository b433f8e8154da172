"""RNN, LSTM and GRU step by step from the states that an implementation itself gave.

The bound of a whole sequence grows with every step, until it is void: each step's error is
multiplied by the weights of the next. Here each step starts from the implementation's own previous
output (R. J. Williams and D. Zipser, *A learning algorithm for continually running fully recurrent
neural networks*, 1989, call it teacher forcing), so its bound is that of a single step however long
the sequence. Only a single layer shows all its states; of an LSTM's cell state only the last is
seen, so c is carried on by the oracle from the implementation's own h: its error is multiplied by
forget gates ≤ 1.

Each oracle takes `(output, state, *inputs, **arguments)`, `output` being the implementation's first
output, and returns what the layer's own oracle does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .recurrent import (
    Hidden,
    State,
    Weights,
    gru_step,
    lstm_gates,
    lstm_output,
    rnn_step,
)
from .rounding import Rounded, choose, exactly, join

# x, the own previous h, c_0, the weights and which steps run, all (L, N, …), and the order of the
# steps → every h, and the last c.
Steps = Callable[[Rounded, Rounded, "Rounded | None", Weights, np.ndarray, range], Hidden]


def given(values: np.ndarray, like: Rounded) -> Rounded:
    """A state that was handed out.

    The one that is carried on may be what it was before it was rounded to the format: keeping the
    state in a wider one is better than asked for. Half the distance between two numbers is at most
    u·|h|, or half the smallest subnormal number.
    """
    precision = like.precision
    return Rounded(values, precision.unit * np.abs(values) + precision.underflow, precision)


def _previous(own: np.ndarray, first: Rounded, active: np.ndarray, reverse: bool) -> Rounded:
    """The state before each step: the output of the step before; at first the initial one.

    Args:
        own: the direction's outputs (L, N, size).
        first: the initial state (N, size).
        active: (L, N), whether the sequence runs at that time.
        reverse: the step before t is t + 1.
    """
    before = given(own, first)
    nowhere = exactly(np.zeros(first.shape), first.precision)[np.newaxis]
    if reverse:
        before = join([before[1:], nowhere], axis=0)
        starts = active & ~np.concatenate([active[1:], np.zeros_like(active[:1])])
    else:
        before = join([nowhere, before[:-1]], axis=0)
        starts = np.zeros_like(active)
        starts[0] = True
    initial = first.map(lambda array: np.broadcast_to(array, before.shape))
    return choose(starts[..., np.newaxis], initial, before)


def _at_once(
    function: Callable[..., Hidden], x: Rounded, h: Rounded, w: Weights
) -> tuple[Rounded, ...]:
    """A function of (batch, features) on all steps of all sequences, (L, N, features)."""
    length, batch = x.shape[:2]

    def flat(array: np.ndarray) -> np.ndarray:
        return array.reshape(length * batch, array.shape[-1])

    results = function(*(a.map(flat) for a in (x, h)), w)
    return tuple(y.map(lambda a: a.reshape(length, batch, a.shape[-1])) for y in results)


def _plain_steps(
    step: Callable[..., Hidden],
    x: Rounded,
    h: Rounded,
    c_0: Rounded | None,
    w: Weights,
    active: np.ndarray,
    order: range,
) -> Hidden:
    """RNN, GRU: h_t from x_t and h_{t−1}."""
    return _at_once(lambda x, h, w: step(w.of_input(x), (h,), w), x, h, w)


def _lstm_steps(
    x: Rounded, h: Rounded, c_0: Rounded | None, w: Weights, active: np.ndarray, order: range
) -> Hidden:
    """LSTM: gates from x_t and h_{t−1}; c_t = f⊙c_{t−1} + i⊙g carried on; h_t from o and c_t."""
    i, f, g, o = _at_once(lambda x, h, w: lstm_gates(w.of_input(x), h, w), x, h, w)
    added = i * g
    assert c_0 is not None
    c, cells = c_0, dict[int, Rounded]()
    for t in order:
        c = choose(active[t][:, np.newaxis], f[t] * c + added[t], c)
        cells[t] = c
    every = join([cells[t] for t in range(len(cells))], axis=0, new=True)
    (new_h,) = _at_once(lambda o, c, w: (lstm_output(o, c, w),), o, every, w)
    return new_h, c


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
    """Output and final states of a single layer, shapes as those of the layer itself."""
    assert num_layers == 1
    unbatched = len(input.shape) == 2
    turned = batch_first and not unbatched
    own, x = output, input
    if unbatched:
        own, x = own[:, np.newaxis], x[:, np.newaxis]
    elif turned:
        own, x = own.swapaxes(0, 1), x.map(lambda a: a.swapaxes(0, 1))
    length, batch, _ = x.shape
    active = np.arange(length)[:, np.newaxis] < np.array(lengths or [length] * batch)
    size = proj_size or hidden_size
    outputs: list[Rounded] = []
    finals: list[Hidden] = []
    for index in range(2 if bidirectional else 1):
        reverse = index == 1
        firsts = [
            exactly(np.zeros((batch, width)), x.precision)
            if h is None
            else (h[:, np.newaxis] if unbatched else h)[index]
            for h, width in zip(initial, (size, hidden_size), strict=False)
        ]
        mine = own[..., index * size : (index + 1) * size]
        weights = Weights(state, "_l0_reverse" if reverse else "_l0")
        order = range(length)[::-1] if reverse else range(length)
        h_0, c_0 = (*firsts, None)[:2]
        assert h_0 is not None
        before = _previous(mine, h_0, active, reverse)
        h, *rest = steps(x, before, c_0, weights, active, order)
        runs = active[..., np.newaxis]
        outputs.append(choose(runs, h, exactly(np.zeros(h.shape), h.precision)))
        ends = np.zeros(batch, np.int64) if reverse else active.sum(axis=0) - 1
        finals.append((h[ends, np.arange(batch)], *rest))
    y = join(outputs, axis=-1)
    lasts = [join(list(parts), axis=0, new=True) for parts in zip(*finals, strict=True)]
    if unbatched:
        return (y[:, 0], *(h[:, 0] for h in lasts))
    return (y.map(lambda a: a.swapaxes(0, 1)) if turned else y, *lasts)


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
