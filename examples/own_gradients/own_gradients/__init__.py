"""A framework of its own: arrays that remember how they were computed, and gradients from that."""

from __future__ import annotations

from itertools import count

import numpy as np

_serial = count()


class Array:
    """Numbers, and the arrays that they were computed from.

    Args:
        data: the numbers.
        sources: pairs of an array and what gives its gradient from the result's.
    """

    def __init__(self, data, sources=()):
        self.data, self.sources, self.serial = np.asarray(data), sources, next(_serial)

    @property
    def shape(self):
        """As NumPy's."""
        return self.data.shape

    def __add__(self, other):
        _check_same_dtype(self, other)
        return Array(
            self.data + other.data,
            [(a, lambda g, a=a: _sum_to_shape(g, a.shape)) for a in (self, other)],
        )

    def __mul__(self, other):
        _check_same_dtype(self, other)
        pairs = ((self, other), (other, self))
        return Array(
            self.data * other.data,
            [(a, lambda g, a=a, b=b: _sum_to_shape(g * b.data, a.shape)) for a, b in pairs],
        )

    def __getitem__(self, key):
        def scatter_gradient(g):
            gradient = np.zeros_like(self.data)
            gradient[key] = g
            return gradient

        return Array(self.data[key], [(self, scatter_gradient)])

    def reshape(self, *shape):
        """Another shape."""
        return Array(self.data.reshape(shape), [(self, lambda g: g.reshape(self.shape))])


def einsum(a_axes, b_axes, y_axes, a, b):
    """Σ a b over the axes that y has not: `einsum("ni", "oi", "no", x, weight)`."""
    _check_same_dtype(a, b)
    sizes = dict(zip(a_axes, a.shape, strict=True))
    for axis, size in zip(b_axes, b.shape, strict=True):  # NumPy's einsum takes 1 for any size
        if sizes.setdefault(axis, size) != size:
            raise ValueError(f"einsum: shapes {a.shape} and {b.shape} differ in axis {axis!r}")

    def product(left, right, out, x, y):
        return np.einsum(f"{left},{right}->{out}", x, y)

    return Array(
        product(a_axes, b_axes, y_axes, a.data, b.data),
        [
            (a, lambda g: product(y_axes, b_axes, a_axes, g, b.data)),
            (b, lambda g: product(y_axes, a_axes, b_axes, g, a.data)),
        ],
    )


def tanh(x):
    """Hyperbolic tangent."""
    y = np.tanh(x.data)
    return Array(y, [(x, lambda g: g * (1 - y * y))])


def sigmoid(x):
    """1/(1 + e⁻ˣ), without overflow."""
    decay = np.exp(-np.abs(x.data))
    y = np.where(x.data >= 0, np.ones_like(decay), decay) / (1 + decay)
    return Array(y, [(x, lambda g: g * (y * (1 - y)))])


def vjp(function, primals, cotangents):
    """Gradients of Σ⟨output, cotangent⟩ with respect to each primal.

    Args:
        function: of as many arrays as there are primals, giving a tuple of arrays.
        primals: where to take the gradient.
        cotangents: an array for each output.
    """
    leaves = [Array(p.data) for p in primals]
    gradients = {}
    pending = {}
    for y, c in zip(function(*leaves), cotangents, strict=True):
        _collect(gradients, pending, y, c.data)
    while pending:  # the latest first: nothing computed later can still add to its gradient
        y = pending.pop(max(pending))
        for source, pullback in y.sources:
            _collect(gradients, pending, source, pullback(gradients[y.serial]))
    zeros = [np.zeros_like(leaf.data) for leaf in leaves]
    return [Array(gradients.get(leaf.serial, z)) for leaf, z in zip(leaves, zeros, strict=True)]


def _collect(gradients, pending, array, gradient):
    gradients[array.serial] = gradients.get(array.serial, 0) + gradient
    pending[array.serial] = array


def _sum_to_shape(gradient, shape):
    """Summed over the dimensions that broadcasting added or enlarged."""
    gradient = gradient.sum(tuple(range(gradient.ndim - len(shape))))
    broadcast_axes = [k for k, n in enumerate(shape) if n == 1 != gradient.shape[k]]
    return gradient.sum(tuple(broadcast_axes), keepdims=True)


def _check_same_dtype(a, b):
    if a.data.dtype != b.data.dtype:
        raise TypeError(f"arrays of dtypes {a.data.dtype} and {b.data.dtype}")
