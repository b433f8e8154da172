"""Half precision: computing in float32 and storing once, or storing every step.

A kernel for bfloat16 or float16 reads its operands, computes in float32 and stores the result: it
is *wide*, and its bound is float32's with one rounding to the dtype. A composite that is a chain of
kernels is *stepwise*: each step is stored. Only the wide bound is tight enough to find bugs: with 8
bits a stepwise bound lets a wrong constant pass. So oracles use the wide bound, unless the backend
declares `Numerics(stepwise=True)`:

    x = widened(x)                # from here on float32, or the dtype itself where that is wider
    y = softmax(x, axis=-1)
    return stored(y, precision)   # precision: that of the operands; rounds once

Some kernels compute in float32 except for a few results that they store. A backend names those by
`Numerics(stored=("batch_statistics",))`. The oracle applies this by
`stored_if_declared(x, "…")`, or by `stepwise_if_declared(x, "…")` where all steps of a part are
stored. Both keep the range of float32: an overflow of a stored result is not a rounding error.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, with_pullback
from conformance.model.formats import FORMATS, round_to


@lru_cache(maxsize=64)
def working_precision(precision: Precision) -> Precision:
    """The precision in which a composite computes, given the precision of its operands.

    It is float32's for bfloat16 and float16, unless the backend is stepwise; else the same.
    """
    if not precision.is_half or precision.stepwise:
        return precision
    single = FORMATS["float32"]
    # A declared format of sums remains.
    sums = max(precision.wide_unit, single.unit)
    return replace(
        precision,
        dtype="float32",
        unit=single.unit,
        sum_unit=sums,
        wide_unit=sums,
        bits=-int(math.log2(sums)) if precision.bits else 0,
        underflow=single.normal if precision.flushes else single.tiny,
        normal=single.normal,
        largest=single.largest,
        operand_unit=0.0,
        store=precision.dtype,
    )


def widened(x: Rounded) -> Rounded:
    """The same operand in the working precision of a composite.

    Its gradient is stored in the operand's dtype. Widen an operand once and use the result several
    times: the sum of the gradients of all uses is then wide, too.

    Args:
        x: of any shape.
    """
    outer, inner = x.precision, working_precision(x.precision)
    if inner == outer:
        return x
    read = x.flushed if outer.flushes else x
    result = Rounded(read.value, read.error, inner)
    return with_pullback(result, [x], lambda cotangent: [stored(cotangent, outer)])


def stored_if_declared(x: Rounded, name: str) -> Rounded:
    """An intermediate result, rounded to the dtype if the backend declares that it stores it.

    Args:
        x: computed wide.
        name: the result's name in `Numerics.stored`.
    """
    if not is_stored(x.precision, name):
        return x
    outer = FORMATS[x.precision.store]
    underflow = outer.normal if x.precision.flushes else outer.tiny
    error = x.error + ((outer.unit + ORACLE_UNIT) * x.abs_bound + underflow)
    is_exact = (x.error == 0) & (round_to(x.value, x.precision.store) == x.value)
    result = Rounded(x.value, np.where(is_exact, x.error, error), x.precision)
    return with_pullback(result, [x], lambda cotangent: [cotangent])


def stored_with_gradient_if_declared(x: Rounded, name: str) -> Rounded:
    """As `stored_if_declared`, and its gradient is stored, too.

    Use it where the steps before and after a stored result are functions of their own, each with a
    backward pass of its own.

    Args:
        x: computed wide.
        name: the result's name in `Numerics.stored`.
    """
    result = stored_if_declared(x, name)
    if result is x:
        return x
    return with_pullback(
        result.detached, [x], lambda cotangent: [stored_if_declared(cotangent.detached, name)]
    )


def stepwise_if_declared(x: Rounded, name: str) -> Rounded:
    """The same operand; further steps are stored if the backend declares that it stores them.

    Args:
        x: an operand that was `widened`.
        name: the part's name in `Numerics.stored`.
    """
    inner = x.precision
    if not is_stored(inner, name):
        return x
    outer = FORMATS[inner.store]
    underflow = outer.normal if inner.flushes else outer.tiny
    coarse = replace(inner, unit=outer.unit, underflow=underflow, bits=0)
    result = Rounded(x.value, x.error, coarse)
    return with_pullback(result, [x], lambda cotangent: [_with_precision(cotangent, inner)])


def is_stored(precision: Precision, name: str) -> bool:
    """Whether the backend declares that it stores this intermediate result of a wide composite."""
    return bool(precision.store) and name in precision.stored


def stored(x: Rounded, precision: Precision) -> Rounded:
    """A wide result rounded once to the dtype.

    Args:
        x: computed from operands that were `widened`.
        precision: that of the operands before they were `widened`.
    """
    inner = x.precision
    if inner == precision:
        return x
    result = Rounded(x.value, _store_error(x, precision.dtype, precision.underflow), precision)
    return with_pullback(result, [x], lambda cotangent: [_with_precision(cotangent, inner)])


def with_stored_product(fused: Rounded, product: Rounded) -> Rounded:
    """A product plus a bias, whose bound also admits a product that is stored before the bias.

    y = x Aᵀ + b is one operation only for convenient layouts. For others the product is stored in
    the dtype, within its own error, and the sum rounds once more. A sum without an error is one in
    which no partial sum rounds.

    Args:
        fused: the sum as one operation.
        product: without the bias, in the dtype.
    """
    stored_error = product.error + fused.precision.unit * (fused.abs_value + product.error)
    error = np.where(fused.error == 0, 0.0, np.maximum(fused.error, stored_error))
    return fused.with_error(error)


def stored_or_exact(x: Rounded, precision: Precision) -> Rounded:
    """As `stored`, but exact where every value within the bound rounds to the same number.

    Rounding is monotonic: if v − e and v + e round to v, so does every result within e of v. An
    implementation that stores it later has at most that error e, which is float32's.
    """
    result = stored(x, precision)
    if result is x:
        return x
    doubt = x.error * (1 + 2 * ORACLE_UNIT)
    with np.errstate(invalid="ignore", over="ignore"):
        certain = round_to(x.value - doubt, precision.dtype) == x.value
        certain &= round_to(x.value + doubt, precision.dtype) == x.value
    certain &= x.abs_value >= FORMATS[precision.dtype].normal
    certain |= (x.value == 0) & (x.error == 0)
    return result.with_error(np.where(certain, 0.0, result.error)) if certain.any() else result


def converted(x: Rounded, dtype: str | None) -> Rounded:
    """An operand that a call casts to another dtype before it computes anything.

    The cast rounds to nearest; by way of float32 it may round twice. The gradient is stored in the
    operand's dtype.

    Args:
        x: of any shape.
        dtype: torch's name of the other dtype; None = no cast.
    """
    outer = x.precision
    if dtype is None or dtype == outer.dtype:
        return x
    read = x.flushed if outer.flushes else x
    declared = next((other for other in outer.others if other.dtype == dtype), outer)
    inner = replace(
        Precision.of(dtype),
        ulps=declared.ulps,
        absolutes=declared.absolutes,
        saturates=declared.saturates,
        stepwise=outer.stepwise,
        stored=outer.stored,
        grade=outer.grade,
    )
    if FORMATS[dtype].bits >= FORMATS[outer.dtype].bits and dtype != "float16":
        result = Rounded(read.value, read.error, inner)
    else:
        target = FORMATS[dtype]
        with np.errstate(over="ignore", invalid="ignore"):
            value = round_to(read.value, dtype)
            via_float32 = round_to(round_to(read.value, "float32"), dtype)
            double_rounding = np.where(value == via_float32, 0.0, np.abs(value - via_float32))
            operand_error = read.error + 2 * target.unit * read.abs_bound + target.tiny
        double_rounding = np.where(np.isnan(value), 0.0, double_rounding)
        result = Rounded(value, np.where(read.error > 0, operand_error, double_rounding), inner)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        error = _store_error(cotangent, outer.dtype, outer.underflow)
        return [Rounded(cotangent.value, error, outer)]

    return with_pullback(result, [x], pull)


def saved_for_backward(x: Rounded) -> Rounded:
    """A result as the backward pass may reuse it: with the error of storing it if it was wide."""
    if not x.precision.store:
        return x.detached
    underflow = FORMATS[x.precision.store].tiny
    if x.precision.flushes:
        underflow = FORMATS[x.precision.store].normal
    error = _store_error(x, x.precision.store, underflow)
    return Rounded(x.value, error, x.precision)


def _store_error(x: Rounded, dtype: str, underflow: float) -> np.ndarray:
    """Inherited error and one rounding to nearest; 0 for an exact number that the dtype has."""
    target = FORMATS[dtype]
    reach = x.abs_bound
    with np.errstate(invalid="ignore", over="ignore"):
        error = x.error + ((target.unit + ORACLE_UNIT) * reach + underflow)
        # Up to half a unit beyond the largest number the nearest is finite: no bound can say so.
        error = np.where(reach + error <= target.largest, error, np.inf)
        is_exact = (x.error == 0) & (round_to(x.value, dtype) == x.value)
        if underflow >= target.normal:
            is_exact &= ~((x.abs_value < target.normal) & (x.abs_value > 0))
    is_exact |= (x.error == 0) & ~np.isfinite(x.value)
    return np.where(is_exact, 0.0, error)


def _with_precision(cotangent: Rounded, precision: Precision) -> Rounded:
    return Rounded(cotangent.value, cotangent.error, precision)
