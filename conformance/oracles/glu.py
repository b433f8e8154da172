"""The gated linear unit.

Source: the pages torch.nn.GLU and torch.nn.functional.glu of the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.activations import sigmoid
from conformance.arithmetic.half_precision import saved_for_backward, stored, widened
from conformance.arithmetic.rounded import Rounded, with_pullback

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
# σ of this number is a normal number in every format.
_CERTAIN = -8.0


def glu(state: State, input: Rounded, *, dim: int = -1) -> Rounded:
    """GLU(a, b) = a ⊗ σ(b), a and b the first and the second half along `dim`."""
    x = widened(input)
    half = x.shape[dim] // 2

    def take_half(first: int) -> Rounded:
        places = range(first, first + half)
        return x.map(lambda array: array.take(places, axis=dim))

    a, b = take_half(0), take_half(half)
    return _with_special_values(stored(_gate(a, b), input.precision), a.value, b.value)


def glu_shape(input: Shape, *, dim: int = -1) -> tuple[Shape, ...]:
    """(*, N, *) → (*, N/2, *)."""
    axis = dim % len(input)
    return ((*input[:axis], input[axis] // 2, *input[axis + 1 :]),)


def _with_special_values(y: Rounded, a: np.ndarray, b: np.ndarray) -> Rounded:
    """Set exact NaN and ∞ where every form of the product gives them.

    Infinity times a gate close to 0 stays open: the gate may be rounded to 0 or not.
    """
    gives_nan = np.isnan(a) | np.isnan(b) | (np.isinf(a) & np.isneginf(b))
    gives_infinity = np.isinf(a) & (b > _CERTAIN)
    if not (gives_nan.any() or gives_infinity.any()):
        return y
    value = np.where(gives_nan, np.nan, np.where(gives_infinity, a, y.value))
    error = np.where(gives_nan | gives_infinity, 0.0, y.error)
    return with_pullback(Rounded(value, error, y.precision), [y], lambda cotangent: [cotangent])


def _gate(a: Rounded, b: Rounded) -> Rounded:
    """a·σ(b); its derivative by b is (c·a)·σ', (c·σ')·a or (a·σ')·c, each of which may underflow.

    In half precision the backward pass may use the gates as computed or as stored.
    """
    gate, factor = sigmoid(b), a.detached
    output = factor * gate.detached
    node = gate.node
    if node is None:
        return output

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c, error = cotangent.detached, np.zeros(b.shape)
        for first, last in ((c * factor, None), (c, factor), (factor, c)):
            (slope,) = node.pull(first)
            assert slope is not None
            product = slope if last is None else slope * last
            error = np.maximum(error, product.error)
        return [c * saved_for_backward(gate), Rounded(product.value, error, product.precision)]

    return with_pullback(output, [a, b], pull)
