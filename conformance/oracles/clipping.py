"""Norms of gradients, and gradients clipped by their norm or element by element.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page. `*_shape` functions take shapes instead of arrays. None stands for
a parameter without a gradient.

Sources: the pages torch.nn.utils.clip_grad_norm_, clip_grad_value_, get_total_norm and
clip_grads_with_norm_ of the PyTorch documentation. By the first page the total norm is the norm of
the gradients' norms. Each norm is a separate kernel, which stores it in half precision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.arithmetic.choices import maximum, minimum
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, join
from conformance.model.case import Updated
from conformance.oracles.distance.vectors import norm

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
NAME = "gradient"
"""Prefix of the gradients' names: the first is `gradient0`."""
_EPS = 1e-6


def total_norm(gradients: Sequence[Rounded], norm_type: float | str) -> Rounded:
    """‖(‖g₀‖, ‖g₁‖, …)‖, a scalar; NaN if any element is NaN, else ∞ if any is infinite."""
    p = float(norm_type)
    flat = [x.detached.map(lambda array: array.reshape(-1)) for x in gradients]
    norms_norm = norm(join([norm(x, p, 0) for x in flat], 0), p, 0).map(lambda array: array[0])
    any_nan = any(np.isnan(x.value).any() for x in gradients)
    any_infinite = any(np.isinf(x.value).any() for x in gradients)
    if any_nan or any_infinite:
        return Rounded(np.array(np.nan if any_nan else np.inf), np.zeros(()), norms_norm.precision)
    return norms_norm


def coefficient(total: Rounded, max_norm: float) -> Rounded:
    """min(max_norm/(total_norm + 10⁻⁶), 1); 0 for an infinite norm.

    The bound covers the quotient and max_norm times the reciprocal. The latter rounds once more. A
    subnormal reciprocal has an absolute error, which is multiplied by max_norm.
    """
    limit = constant(max_norm, total)
    divisor = total.detached + constant(_EPS, total)
    quotient = limit / divisor
    inverse = constant(1.0, total) / divisor
    by_product = inverse * limit
    reciprocal_error = (total.precision.unit + ORACLE_UNIT) * quotient.abs_bound
    error = quotient.error + np.where(quotient.error > 0, reciprocal_error, 0.0)
    error = np.where(np.isfinite(by_product.error), np.maximum(error, by_product.error), error)
    clamped = minimum(quotient.with_error(error), constant(1.0, total))
    certain = total.error == 0
    is_nan, is_infinite = certain & np.isnan(total.value), certain & np.isinf(total.value)
    value = np.where(is_nan, np.nan, np.where(is_infinite, 0.0, clamped.value))
    return Rounded(value, np.where(is_nan | is_infinite, 0.0, clamped.error), total.precision)


def _scale_gradient(gradient: Rounded, factor: Rounded) -> Rounded:
    """g·c; NaN where either is NaN, and for ∞·0."""
    product = gradient.detached * factor
    certain = factor.error == 0
    gives_nan = np.isnan(gradient.value) | (certain & np.isnan(factor.value))
    gives_nan |= certain & (factor.value == 0) & np.isinf(gradient.value)
    undecided = np.isinf(gradient.value) & ~gives_nan
    error = np.where(gives_nan, 0.0, np.where(undecided, np.inf, product.error))
    return Rounded(np.where(gives_nan, np.nan, product.value), error, product.precision)


def _update_gradients(leading: tuple[Any, ...], gradients: Sequence[Rounded | None]) -> Updated:
    """The return value followed by the updated gradients."""
    updates = {f"{NAME}{k}": x for k, x in enumerate(gradients) if x is not None}
    return Updated((*leading, *gradients), updates)


def get_total_norm(
    state: State,
    *gradients: Rounded,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Rounded:
    """The norm of all gradients, viewed as a single vector."""
    return total_norm(gradients, norm_type)


def get_total_norm_shape(*gradients: Shape, **arguments: object) -> tuple[Shape, ...]:
    """One number."""
    return ((),)


def clip_grads_with_norm_(
    state: State,
    total_norm: Rounded,
    *gradients: Rounded | None,
    max_norm: float,
    foreach: bool | None = None,
) -> Updated:
    """Each gradient times min(max_norm/(total_norm + 10⁻⁶), 1)."""
    factor = coefficient(total_norm, max_norm)
    return _update_gradients(
        (), [None if x is None else _scale_gradient(x, factor) for x in gradients]
    )


def clip_grads_with_norm_shape(
    total_norm: Shape, *gradients: Shape | None, **arguments: object
) -> tuple[Shape | None, ...]:
    """The shapes of the gradients."""
    return gradients


def clip_grad_norm_(
    state: State,
    *gradients: Rounded | None,
    max_norm: float,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Updated:
    """(total norm, each gradient times the coefficient)."""
    total = total_norm([x for x in gradients if x is not None], norm_type)
    factor = coefficient(total, max_norm)
    return _update_gradients(
        (total,), [None if x is None else _scale_gradient(x, factor) for x in gradients]
    )


def clip_grad_norm_shape(*gradients: Shape | None, **arguments: object) -> tuple[Shape | None, ...]:
    """One number, and those of the gradients."""
    return ((), *gradients)


def clip_grad_value_(
    state: State, *gradients: Rounded | None, clip_value: float, foreach: bool | None = None
) -> Updated:
    """min(max(g, −clip_value), clip_value) of each element."""
    return _update_gradients((), [None if x is None else _clip(x, clip_value) for x in gradients])


def _clip(x: Rounded, limit: float) -> Rounded:
    clamped = minimum(maximum(x.detached, constant(-limit, x)), constant(limit, x))
    is_nan = np.isnan(x.value)
    return Rounded(
        np.where(is_nan, np.nan, clamped.value), np.where(is_nan, 0.0, clamped.error), x.precision
    )


def clip_grad_value_shape(
    *gradients: Shape | None, **arguments: object
) -> tuple[Shape | None, ...]:
    """The shapes of the gradients."""
    return gradients
