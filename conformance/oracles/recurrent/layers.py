"""RNN, LSTM and GRU: the steps of `cells` over time, in layers and directions.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page.

Source: the pages torch.nn.RNN, LSTM, GRU of the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from conformance.arithmetic.exactness import all_true
from conformance.arithmetic.rounded import Rounded, choose, join
from conformance.oracles.recurrent.cells import (
    Hidden,
    State,
    StepFunction,
    Weights,
    gru_step,
    lstm_step,
    rnn_step,
    zeros,
)


def _input_products(w: Weights, x: Rounded, suffixes: Sequence[str]) -> list[Rounded]:
    """W_ih x_t + b_ih for x (L, N, features), step by step, each (directions, N, rows)."""
    if x.node is None and w.ih.node is None:
        products = w.apply_input(to_directions(x, suffixes))
        return [products.select(t) for t in range(x.shape[0])]
    # A gradient is a sum over the steps, and may be stored after each step.
    (suffix,) = suffixes
    order = range(x.shape[0])
    return [w.apply_input(x[np.newaxis, t]) for t in (reversed(order) if suffix else order)]


def _sequence(
    step: StepFunction,
    from_inputs: Sequence[Rounded],
    hidden: Hidden,
    w: Weights,
    active: np.ndarray,
) -> tuple[Rounded, Hidden]:
    """One layer over its steps → all outputs (L, directions, N, size), and the final states.

    Args:
        from_inputs: W_ih x_t + b_ih for each step.
        active: (L, directions, N), whether the sequence runs at that step. Where it does not, the
            state stays and the output is 0. So the reverse direction starts at each sequence's end.
    """
    outputs: list[Rounded] = []
    for a, runs in zip(from_inputs, active[..., np.newaxis], strict=True):
        new = step(a, hidden, w)
        if all_true(runs):
            hidden = new
            outputs.append(new[0])
            continue
        hidden = tuple(choose(runs, n, old) for n, old in zip(new, hidden, strict=True))
        h = hidden[0]
        outputs.append(choose(runs, h, zeros(h.shape, h)))
    return join(outputs, axis=0, new_axis=True), hidden


def to_directions(x: Rounded, suffixes: Sequence[str]) -> Rounded:
    """(L, …) → (L, directions, …), reversed in time for the reverse direction."""
    return join([x[::-1] if suffix else x for suffix in suffixes], axis=1, new_axis=True)


def from_directions(y: Rounded, suffixes: Sequence[str]) -> list[Rounded]:
    """(L, directions, …) → (L, …) for each direction, in forward time."""
    return [y[::-1, k] if suffix else y[:, k] for k, suffix in enumerate(suffixes)]


def time_first(x: Rounded, batch_first: bool) -> Rounded:
    """(L, N, features), (N, L, features) or (L, features) → (L, N, features)."""
    if len(x.shape) == 2:
        return x[:, np.newaxis]
    return x.map(lambda a: a.swapaxes(0, 1)) if batch_first else x


def like_input(y: Rounded, x: Rounded, batch_first: bool) -> Rounded:
    """The output (L, N, features) in the layout of the input."""
    return y[:, 0] if len(x.shape) == 2 else time_first(y, batch_first)


def directions(bidirectional: bool) -> tuple[str, ...]:
    """Suffixes of the weights' names, one for each direction."""
    return ("", "_reverse") if bidirectional else ("",)


def active_steps(
    length: int, batch: int, lengths: Sequence[int] | None, suffixes: Sequence[str]
) -> np.ndarray:
    """(L, directions, N): whether a sequence runs at a step; `lengths` are those of a packed
    batch.
    """
    runs = np.arange(length)[:, np.newaxis] < np.array(lengths or [length] * batch)
    return np.stack([runs[::-1] if suffix else runs for suffix in suffixes], axis=1)


def initial_states(
    initial: Sequence[Rounded | None], sizes: Sequence[int], count: int, x: Rounded, batch: int
) -> list[Rounded]:
    """The initial states (count, N, size), zeros for missing ones.

    Args:
        initial: h_0 (and c_0), each (count, N?, size).
        sizes: the last dimension of each of them.
        count: layers times directions.
        x: the input, unbatched if the states are.
    """
    return [
        zeros((count, batch, size), x)
        if h is None
        else (h[:, np.newaxis] if len(x.shape) == 2 else h)
        for h, size in zip(initial, sizes, strict=True)
    ]


def _layers(
    step: StepFunction,
    state: State,
    input: Rounded,
    initial: Sequence[Rounded | None],
    *,
    sizes: Sequence[int],
    num_layers: int,
    batch_first: bool,
    bidirectional: bool,
    lengths: Sequence[int] | None,
) -> tuple[Rounded, ...]:
    """Stacked, possibly bidirectional layers on input (L, N, H_in), (N, L, H_in) or (L, H_in).

    Args:
        initial: h_0 (and c_0), each (D·num_layers, N?, size) or None for zeros.
        sizes: the last dimension of each of them.
        lengths: of each sequence of a packed batch, in the batch's order.
    """
    x = time_first(input, batch_first)
    length, batch, _ = x.shape
    suffix_names = directions(bidirectional)
    initial_hidden = initial_states(initial, sizes, num_layers * len(suffix_names), input, batch)
    # With gradients the directions run separately: one may be exact where the other is not.
    recorded = x.node is not None or any(array.node is not None for array in state.values())
    passes = [(suffix,) for suffix in suffix_names] if recorded else [suffix_names]
    pass_finals: list[Hidden] = []
    state_index = 0
    for layer in range(num_layers):
        outputs: list[Rounded] = []
        for suffixes in passes:
            weights = Weights(state, *(f"_l{layer}{suffix}" for suffix in suffixes))
            hidden = tuple(h[state_index : state_index + len(suffixes)] for h in initial_hidden)
            from_inputs = _input_products(weights, x, suffixes)
            runs = active_steps(length, batch, lengths, suffixes)
            y, final = _sequence(step, from_inputs, hidden, weights, runs)
            outputs += from_directions(y, suffixes)
            pass_finals.append(final)
            state_index += len(suffixes)
        x = join(outputs, axis=-1)
    final_states = [
        join([final[k] for final in pass_finals], axis=0) for k in range(len(initial_hidden))
    ]
    if len(input.shape) == 2:
        final_states = [h[:, 0] for h in final_states]
    return (like_input(x, input, batch_first), *final_states)


def rnn(
    state: State,
    input: Rounded,
    h_0: Rounded | None = None,
    *,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    nonlinearity: str = "tanh",
    bias: bool = True,
    batch_first: bool = False,
    dropout: float = 0.0,
    bidirectional: bool = False,
    lengths: Sequence[int] | None = None,
) -> tuple[Rounded, ...]:
    """RNN in eval mode → output, h_n."""

    def step(x: Rounded, hidden: Hidden, w: Weights) -> Hidden:
        return rnn_step(x, hidden, w, nonlinearity)

    return _layers(
        step, state, input, (h_0,), sizes=(hidden_size,), num_layers=num_layers,
        batch_first=batch_first, bidirectional=bidirectional, lengths=lengths,
    )  # fmt: skip


def lstm(
    state: State,
    input: Rounded,
    h_0: Rounded | None = None,
    c_0: Rounded | None = None,
    *,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bias: bool = True,
    batch_first: bool = False,
    dropout: float = 0.0,
    bidirectional: bool = False,
    proj_size: int = 0,
    lengths: Sequence[int] | None = None,
) -> tuple[Rounded, ...]:
    """LSTM in eval mode → output, h_n, c_n."""
    return _layers(
        lstm_step, state, input, (h_0, c_0), sizes=(proj_size or hidden_size, hidden_size),
        num_layers=num_layers, batch_first=batch_first, bidirectional=bidirectional,
        lengths=lengths,
    )  # fmt: skip


def gru(
    state: State,
    input: Rounded,
    h_0: Rounded | None = None,
    *,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bias: bool = True,
    batch_first: bool = False,
    dropout: float = 0.0,
    bidirectional: bool = False,
    lengths: Sequence[int] | None = None,
) -> tuple[Rounded, ...]:
    """GRU in eval mode → output, h_n."""
    return _layers(
        gru_step, state, input, (h_0,), sizes=(hidden_size,), num_layers=num_layers,
        batch_first=batch_first, bidirectional=bidirectional, lengths=lengths,
    )  # fmt: skip
