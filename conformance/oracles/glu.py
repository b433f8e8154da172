"""The gated linear unit.

Source: the pages torch.nn.GLU and torch.nn.functional.glu of the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.activations import sigmoid
from conformance.arithmetic.rounded import Rounded, traced
from conformance.arithmetic.wide import kept, stored, widened

Shape = tuple[int, ...]
State = Mapping[str, Rounded]


def glu(state: State, input: Rounded, *, dim: int = -1) -> Rounded:
    """GLU(a, b) = a ⊗ σ(b), a and b the first and the second half along `dim`."""
    x = widened(input)
    half = x.shape[dim] // 2

    def part(first: int) -> Rounded:
        places = range(first, first + half)
        return x.map(lambda array: array.take(places, axis=dim))

    return stored(_gated(part(0), part(half)), input.precision)


def glu_shape(input: Shape, *, dim: int = -1) -> tuple[Shape, ...]:
    """(*, N, *) → (*, N/2, *)."""
    at = dim % len(input)
    return ((*input[:at], input[at] // 2, *input[at + 1 :]),)


def _gated(a: Rounded, b: Rounded) -> Rounded:
    """a·σ(b), whose derivative by b is (c·a)·σ', or (c·σ')·a: c·σ' may vanish before a meets it.

    Of half precision the backward pass may find the gates as they were computed, or stored.
    """
    gate, factor = sigmoid(b), a.bare
    product = factor * gate.bare
    node = gate.node
    if node is None:
        return product

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        c = cotangent.bare
        (together,), (slope,) = node.pull(c * factor), node.pull(c)
        assert together is not None
        assert slope is not None
        error = np.maximum(together.error, (slope * factor).error)
        return [c * kept(gate), together.with_error(error)]

    return traced(product, [a, b], pull)
