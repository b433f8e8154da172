"""Embedding.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page.

Sources: the pages torch.nn.Embedding and torch.nn.functional.embedding of the PyTorch
documentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.choices import Choices, take, where_undecided
from conformance.arithmetic.elementary import absolute, constant, known, power, sqrt, square
from conformance.arithmetic.half_precision import noted, stored, widened
from conformance.arithmetic.reductions import maximum, total
from conformance.arithmetic.rounded import Rounded, choose, moved_cotangent, traced
from conformance.model.case import Updated
from conformance.oracles.forms import of_module

Shape = tuple[int, ...]
State = Mapping[str, Rounded]

# torch divides by the norm and so much, which keeps a norm of 0 from dividing; the documentation
# says nothing of it. Beside a norm of 1 it is as large as a rounding of float32.
GUARD = 1e-7


def functional_embedding(
    state: State,
    input: Rounded,
    weight: Rounded,
    *,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Rounded | Updated:
    """The rows of the weight that the input names; with `max_norm` they are renormalised first."""
    index = input.value.astype(np.int64)
    scale = gradient_scale(index, weight, padding_idx, by_frequency=scale_grad_by_freq)
    if max_norm is None:
        return looked_up(weight, index, scale)
    ways = renormalised(weight, index, max_norm, norm_type)
    rows = Choices(tuple(looked_up(way, index, scale) for way in ways))
    return Updated(rows, {"weight": Choices(ways)})


def gradient_scale(
    index: np.ndarray, weight: Rounded, padding_idx: int | None, *, by_frequency: bool
) -> Rounded:
    """What the cotangent of each looked-up row is multiplied by: (*, 1).

    0 at `padding_idx`; else 1, or 1 ÷ how often the index is in the mini-batch. A quotient of the
    sum, which rounds once, is nearer than the sum of these products, each rounded twice.
    """
    count = len(weight.value)
    often = np.bincount(index.reshape(-1), minlength=count)
    factors = 1.0 / np.maximum(often, 1) if by_frequency else np.ones(count)
    if padding_idx is not None:
        factors[padding_idx] = 0.0
    return known(factors[index][..., np.newaxis], weight)


def looked_up(weight: Rounded, index: np.ndarray, scale: Rounded) -> Rounded:
    """Rows, copied; gradients of a row that is looked up often are added up in the dtype.

    In half precision torch adds them up in it, and so does every scatter by atomic additions.
    """
    rows = take(weight, index)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        if (scale.value == 1).all():
            return [cotangent]
        whole = cotangent * scale
        nothing = scale.value == 0
        return [moved_cotangent(whole, lambda array: np.where(nothing, 0.0, array))]

    return traced(Rounded(rows.value, rows.error, rows.precision), [rows], pull)


def renormalised(
    weight: Rounded, index: np.ndarray, max_norm: float, norm_type: float
) -> tuple[Rounded, ...]:
    """The weight with each row that is looked up, and has a larger norm, of that norm.

    Once as documented, by max_norm ÷ norm, once with torch's guard added to the norm. What the rows
    were before is no part of the gradient.
    """
    rows = widened(weight.bare)
    norm = noted(_norm(rows, norm_type), "row_norm")
    occurs = np.zeros(weight.shape, bool)
    occurs[index.reshape(-1)] = True
    ways = []
    for divisor in (norm, norm + constant(GUARD, rows)):
        factor = noted(constant(max_norm, rows) / divisor, "row_norm")
        shorter = stored(rows * factor, weight.precision)
        kept = where_undecided(norm, max_norm, above=shorter, below=weight.bare)
        changed = choose(occurs, kept, weight.bare)
        changed = Rounded(changed.value, changed.error, weight.precision)
        ways.append(traced(changed, [weight], lambda cotangent: [cotangent]))
    return tuple(ways)


def _norm(x: Rounded, p: float) -> Rounded:
    """(Σ|x|ᵖ)^(1/p) of each row: (rows, 1)."""
    size = absolute(x)
    if not x.shape[-1]:
        return total(size, -1, keepdims=True)
    if p == math.inf:
        return maximum(size, -1, keepdims=True)
    if p == 1:
        return total(size, -1, keepdims=True)
    if p == 2:
        return sqrt(total(square(x), -1, keepdims=True), nonnegative=True)
    return power(total(power(size, p, nonnegative=True), -1, keepdims=True), 1 / p,
                 nonnegative=True)  # fmt: skip


embedding = of_module(functional_embedding, "weight")
