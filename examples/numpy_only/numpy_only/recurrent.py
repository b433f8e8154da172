"""RNN, LSTM and GRU: their cells, and a layer of cells run over a sequence."""

from __future__ import annotations

import numpy as np

from numpy_only.linear import check_dtypes, linear


def sigmoid(x):
    """1/(1 + e⁻ˣ) without overflow."""
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0, np.ones_like(decay), decay) / (1 + decay)


def rnn_cell(x, h, w_ih, w_hh, b_ih=None, b_hh=None, w_hr=None, nonlinearity="tanh"):
    """One step: (h',)."""
    total = linear(x, w_ih, b_ih) + linear(h[0], w_hh, b_hh)
    return (np.tanh(total) if nonlinearity == "tanh" else np.maximum(total, total.dtype.type(0)),)


def lstm_cell(x, h, w_ih, w_hh, b_ih=None, b_hh=None, w_hr=None):
    """One step: (h', c'); w_hr projects h'."""
    i, f, g, o = np.split(linear(x, w_ih, b_ih) + linear(h[0], w_hh, b_hh), 4, axis=-1)
    c = sigmoid(f) * h[1] + sigmoid(i) * np.tanh(g)
    y = sigmoid(o) * np.tanh(c)
    return (y if w_hr is None else linear(y, w_hr)), c


def gru_cell(x, h, w_ih, w_hh, b_ih=None, b_hh=None, w_hr=None):
    """One step: (h',)."""
    (h,) = h
    r, z, n = np.split(linear(x, w_ih, b_ih), 3, axis=-1)
    r_h, z_h, n_h = np.split(linear(h, w_hh, b_hh), 3, axis=-1)
    r, z = sigmoid(r + r_h), sigmoid(z + z_h)
    n = np.tanh(n + r * n_h)
    return ((1 - z) * n + z * h,)


CELLS = {"RNN": rnn_cell, "LSTM": lstm_cell, "GRU": gru_cell}


def recurrent(cell, x, states, weights, lengths=None):
    """Layers of cells, one upon the other.

    Args:
        cell: one of `CELLS`, its arguments filled in.
        x: (L, N, features).
        states: each (layers · directions, N, size); changed to the final ones.
        weights: for each layer a list with the weights of each direction.
        lengths: of each sequence in x; None = all are L steps long.
    """
    check_dtypes(x, *states)
    running = np.arange(len(x))[:, np.newaxis] < np.array(lengths or [len(x)] * x.shape[1])
    state_index = 0
    for directions in weights:
        outputs = []
        for backward, w in enumerate(directions):
            h = tuple(state[state_index] for state in states)
            y = [None] * len(x)
            for step in reversed(range(len(x))) if backward else range(len(x)):
                is_running = running[step][:, np.newaxis]
                new_states = cell(x[step], h, *w)
                h = tuple(np.where(is_running, a, b) for a, b in zip(new_states, h, strict=True))
                y[step] = np.where(is_running, new_states[0], np.zeros_like(new_states[0]))
            for state, final in zip(states, h, strict=True):
                state[state_index] = final
            outputs.append(np.stack(y))
            state_index += 1
        x = np.concatenate(outputs, axis=-1)
    return x
