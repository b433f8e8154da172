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
from conformance.arithmetic.elementary import absolute, constant, constants, power, sqrt, square
from conformance.arithmetic.half_precision import stored, stored_if_declared, widened
from conformance.arithmetic.reductions import maximum, total
from conformance.arithmetic.rounded import Rounded, choose, move_cotangent, with_pullback
from conformance.model.case import Updated
from conformance.oracles.forms import module_oracle

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
        return look_up_rows(weight, index, scale)
    tables = renormalise_rows(weight, index, max_norm, norm_type)
    rows = Choices(tuple(look_up_rows(table, index, scale) for table in tables))
    return Updated(rows, {"weight": Choices(tables)})


def gradient_scale(
    index: np.ndarray, weight: Rounded, padding_idx: int | None, *, by_frequency: bool
) -> Rounded:
    """The factor of the cotangent of each looked-up row: (*, 1).

    0 at `padding_idx`; else 1, or 1 ÷ the index's frequency in the mini-batch. Dividing the sum
    rounds once, which is less than the sum of these products, each rounded twice.
    """
    count = len(weight.value)
    frequencies = np.bincount(index.reshape(-1), minlength=count)
    factors = 1.0 / np.maximum(frequencies, 1) if by_frequency else np.ones(count)
    if padding_idx is not None:
        factors[padding_idx] = 0.0
    return constants(factors[index][..., np.newaxis], weight)


def look_up_rows(weight: Rounded, index: np.ndarray, scale: Rounded) -> Rounded:
    """Copied rows; the gradients of a row's copies are added up in the dtype.

    In half precision torch sums in the dtype, as every scatter by atomic additions does.
    """
    rows = take(weight, index)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        if (scale.value == 1).all():
            return [cotangent]
        scaled = cotangent * scale
        zero_scale = scale.value == 0
        return [move_cotangent(scaled, lambda array: np.where(zero_scale, 0.0, array))]

    return with_pullback(Rounded(rows.value, rows.error, rows.precision), [rows], pull)


def renormalise_rows(
    weight: Rounded, index: np.ndarray, max_norm: float, norm_type: float
) -> tuple[Rounded, ...]:
    """The weight with each looked-up row of a larger norm scaled to `max_norm`.

    Two alternatives: the documented factor max_norm ÷ norm, and the one with torch's guard added to
    the norm. The gradient does not pass through the scaling.
    """
    rows = widened(weight.detached)
    norm = stored_if_declared(_norm(rows, norm_type), "row_norm")
    is_looked_up = np.zeros(weight.shape, bool)
    is_looked_up[index.reshape(-1)] = True
    tables = []
    for divisor in (norm, norm + constant(GUARD, rows)):
        factor = stored_if_declared(constant(max_norm, rows) / divisor, "row_norm")
        shorter = stored(rows * factor, weight.precision)
        bounded_rows = where_undecided(norm, max_norm, above=shorter, below=weight.detached)
        table = choose(is_looked_up, bounded_rows, weight.detached)
        table = Rounded(table.value, table.error, weight.precision)
        tables.append(with_pullback(table, [weight], lambda cotangent: [cotangent]))
    return tuple(tables)


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


embedding = module_oracle(functional_embedding, "weight")
