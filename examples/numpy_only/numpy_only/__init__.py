"""Linear, Conv1d and LSTM in plain NumPy, without torch."""

from __future__ import annotations

import numpy as np


def linear(x, weight, bias=None):
    """y = x Aᵀ + b."""
    y = x @ weight.T
    return y if bias is None else y + bias


def conv1d(x, weight, bias=None, stride=1, before=0, after=0, dilation=1, groups=1, mode="zeros"):
    """Cross-correlation of x (N, C, L) with weight (C_out, C / groups, K)."""
    numpy_mode = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}
    x = np.pad(x, [(0, 0), (0, 0), (before, after)], mode=numpy_mode.get(mode, "wrap"))
    out_channels, per_group, kernel = weight.shape
    length = (x.shape[-1] - dilation * (kernel - 1) - 1) // stride + 1
    y = np.zeros((len(x), out_channels, length), x.dtype)
    for channel in range(out_channels):
        first = channel // (out_channels // groups) * per_group
        for k in range(kernel):
            start = k * dilation
            taps = x[
                :, first : first + per_group, start : start + stride * (length - 1) + 1 : stride
            ]
            y[:, channel] += np.einsum("ncl,c->nl", taps, weight[channel, :, k])
    return y if bias is None else y + bias[:, np.newaxis]


def sigmoid(x):
    """1/(1 + e⁻ˣ) without overflow."""
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, decay) / (1 + decay)


def lstm_cell(x, h, c, w_ih, w_hh, b_ih, b_hh):
    """One step: h', c'."""
    i, f, g, o = np.split(linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh), 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c
