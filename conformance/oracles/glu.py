"""The gated linear unit.

Source: the pages torch.nn.GLU and torch.nn.functional.glu of the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.activations import sigmoid
from conformance.arithmetic.half_precision import kept, stored, widened
from conformance.arithmetic.rounded import Rounded, traced

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
# σ of this number is a normal number in every format.
_CERTAIN = -8.0


def glu(state: State, input: Rounded, *, dim: int = -1) -> Rounded:
    """GLU(a, b) = a ⊗ σ(b), a and b the first and the second half along `dim`."""
    x = widened(input)
    half = x.shape[dim] // 2

    def part(first: int) -> Rounded:
        places = range(first, first + half)
        return x.map(lambda array: array.take(places, axis=dim))

    a, b = part(0), part(half)
    return _settled(stored(_gated(a, b), input.precision), a.value, b.value)


def glu_shape(input: Shape, *, dim: int = -1) -> tuple[Shape, ...]:
    """(*, N, *) → (*, N/2, *)."""
    at = dim % len(input)
    return ((*input[:at], input[at] // 2, *input[at + 1 :]),)


def _settled(y: Rounded, a: np.ndarray, b: np.ndarray) -> Rounded:
    """Set exact NaN and ∞ where every form of the product gives them.

    Infinity times a gate close to 0 stays open: the gate may be rounded to 0 or not.
    """
    lost = np.isnan(a) | np.isnan(b) | (np.isinf(a) & np.isneginf(b))
    endless = np.isinf(a) & (b > _CERTAIN)
    if not (lost.any() or endless.any()):
        return y
    value = np.where(lost, np.nan, np.where(endless, a, y.value))
    error = np.where(lost | endless, 0.0, y.error)
    return traced(Rounded(value, error, y.precision), [y], lambda cotangent: [cotangent])


def _gated(a: Rounded, b: Rounded) -> Rounded:
    """a·σ(b); its derivative by b is (c·a)·σ', (c·σ')·a or (a·σ')·c, each of which may underflow.

    In half precision the backward pass may use the gates as computed or as stored.
    """
    gate, factor = sigmoid(b), a.bare
    gated = factor * gate.bare
    node = gate.node
    if node is None:
        return gated

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c, error = cotangent.bare, np.zeros(b.shape)
        for first, last in ((c * factor, None), (c, factor), (factor, c)):
            (slope,) = node.pull(first)
            assert slope is not None
            product = slope if last is None else slope * last
            error = np.maximum(error, product.error)
        return [c * kept(gate), Rounded(product.value, error, product.precision)]

    return traced(gated, [a, b], pull)
