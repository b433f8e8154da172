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

# torch divides by the norm plus this number, so that a norm of 0 does not divide. The documentation
# does not mention it. Added to a norm of 1 it is as large as a rounding of float32.
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
    """The rows of the weight at the input's indices; with `max_norm` they are renormalised
    first.
    """
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
    """The factor of the cotangent of each looked-up row: (*, 1).

    0 at `padding_idx`; else 1, or 1 ÷ the index's frequency in the mini-batch. Dividing the sum
    rounds once, which is less than the sum of these products, each rounded twice.
    """
    count = len(weight.value)
    often = np.bincount(index.reshape(-1), minlength=count)
    factors = 1.0 / np.maximum(often, 1) if by_frequency else np.ones(count)
    if padding_idx is not None:
        factors[padding_idx] = 0.0
    return known(factors[index][..., np.newaxis], weight)


def looked_up(weight: Rounded, index: np.ndarray, scale: Rounded) -> Rounded:
    """Copied rows; the gradients of a row's copies are added up in the dtype.

    In half precision torch sums in the dtype, as every scatter by atomic additions does.
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
    """The weight with each looked-up row of a larger norm scaled to `max_norm`.

    Two alternatives: the documented factor max_norm ÷ norm, and the one with torch's guard added to
    the norm. The gradient does not pass through the scaling.
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
