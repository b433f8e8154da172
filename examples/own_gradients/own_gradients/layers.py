"""Linear, Bilinear and LSTMCell on `Array`s."""

from __future__ import annotations

import math

from own_gradients import einsum, sigmoid, tanh


def rows(x):
    """(…, features) as (rows, features)."""
    if not x.shape:
        raise ValueError("expected an array (…, features), got a single number")
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def add_bias(y, bias):
    """y (rows, features) + bias (features)."""
    if bias is None:
        return y
    if bias.shape != y.shape[1:]:
        raise ValueError(f"expected a bias of shape {y.shape[1:]}, got {bias.shape}")
    return y + bias


def linear(x, weight, bias=None):
    """y = x Aᵀ + b, for x (…, in) and A (out, in)."""
    y = add_bias(einsum("ni", "oi", "no", rows(x), weight), bias)
    return y.reshape(*x.shape[:-1], len(weight.data))


def bilinear(x1, x2, weight, bias=None):
    """y = x1ᵀ A x2 + b, for x1 (…, in1), x2 (…, in2) and A (out, in1, in2)."""
    if x1.shape[:-1] != x2.shape[:-1]:
        raise ValueError(f"shapes {x1.shape} and {x2.shape} differ before the last dimension")
    half = einsum("ni", "oij", "noj", rows(x1), weight)
    y = add_bias(einsum("noj", "nj", "no", half, rows(x2)), bias)
    return y.reshape(*x1.shape[:-1], len(weight.data))


def lstm_cell(x, h, c, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step: h', c'; gates i, f, g, o."""
    size = h.shape[-1]
    gates = linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh)
    i, f, g, o = (gates[..., k * size : (k + 1) * size] for k in range(4))
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c
