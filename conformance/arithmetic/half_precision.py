"""Half precision: what is computed in float32 and stored once, and what is stored at every step.

A kernel for bfloat16 or float16 reads its operands, computes in float32 and stores the result: it
is *wide*, and its bound is float32's with one rounding to the dtype. A composite that is a chain of
kernels is *stepwise*: each step is stored. Only the bound of the former has any power (a stepwise
one of 8 bits lets a wrong constant pass), so an oracle asks for it, unless the backend declares
`Numerics(stepwise=True)`:

    x = widened(x)                # from here on float32, or the dtype itself where that is wider
    y = softmax(x, axis=-1)
    return stored(y, precision)   # precision: that of the operands; rounds once

Between the two are kernels that compute in float32 but for a result or two: a backend names those
by `Numerics(stored=("batch_statistics",))`, and the oracle asks for them by `noted(x, "…")`, or by
`stepwise(x, "…")` where all steps of a part are stored. Both keep the range of float32: that a
stored result overflows is no matter of rounding.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import OWN, Rounded, traced
from conformance.model.formats import FORMATS, round_to


@lru_cache(maxsize=64)
def wide(precision: Precision) -> Precision:
    """The precision in which a composite works on operands of another.

    That of float32 for bfloat16 and float16, unless the backend is stepwise; else the same.
    """
    if not precision.half or precision.stepwise:
        return precision
    single = FORMATS["float32"]
    # Sums in a declared format stay in it.
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
    """An operand as a composite reads it: the same numbers, from here on computed with wide.

    Its gradient is stored in the operand's dtype. Widen an operand once, use it often: the sum of
    the gradients of two uses is then wide, too.

    Args:
        x: of any shape.
    """
    outer, inner = x.precision, wide(x.precision)
    if inner == outer:
        return x
    read = x.flushed if outer.flushes else x
    result = Rounded(read.value, read.error, inner)
    return traced(result, [x], lambda cotangent: [stored(cotangent, outer)])


def noted(x: Rounded, name: str) -> Rounded:
    """A result within a composite, which a backend may have said that it stores.

    Args:
        x: computed wide.
    """
    if not declared(x.precision, name):
        return x
    outer = FORMATS[x.precision.store]
    least = outer.normal if x.precision.flushes else outer.tiny
    error = x.error + ((outer.unit + OWN) * x.reach + least)
    same = (x.error == 0) & (round_to(x.value, x.precision.store) == x.value)
    result = Rounded(x.value, np.where(same, x.error, error), x.precision)
    return traced(result, [x], lambda cotangent: [cotangent])


def stepwise(x: Rounded, name: str) -> Rounded:
    """An operand, from here on with every step stored where a backend says so.

    Args:
        x: as it was `widened`.
    """
    inner = x.precision
    if not declared(inner, name):
        return x
    outer = FORMATS[inner.store]
    underflow = outer.normal if inner.flushes else outer.tiny
    coarse = replace(inner, unit=outer.unit, underflow=underflow, bits=0)
    result = Rounded(x.value, x.error, coarse)
    return traced(result, [x], lambda cotangent: [_retyped(cotangent, inner)])


def declared(precision: Precision, name: str) -> bool:
    """Whether a result within a composite that is computed wide may be stored in between."""
    return bool(precision.store) and name in precision.stored


def stored(x: Rounded, precision: Precision) -> Rounded:
    """A wide result as it is stored: rounded once to the dtype.

    Args:
        x: computed on operands that were `widened`.
        precision: of the operands before that.
    """
    inner = x.precision
    if inner == precision:
        return x
    result = Rounded(x.value, _store_error(x, precision.dtype, precision.underflow), precision)
    return traced(result, [x], lambda cotangent: [_retyped(cotangent, inner)])


def settled(x: Rounded, precision: Precision) -> Rounded:
    """Likewise; a number of the dtype is exact where all that may come for it rounds to it.

    Rounding is monotonic: if v − e and v + e round to v, so does what is computed for v. An
    implementation that stores it later only has that error e there, which is float32's.

    Args:
        x, precision: as of `stored`.
    """
    result = stored(x, precision)
    if result is x:
        return x
    doubt = x.error * (1 + 2 * OWN)
    with np.errstate(invalid="ignore", over="ignore"):
        sure = round_to(x.value - doubt, precision.dtype) == x.value
        sure &= round_to(x.value + doubt, precision.dtype) == x.value
    sure &= x.size >= FORMATS[precision.dtype].normal
    sure |= (x.value == 0) & (x.error == 0)
    return result.with_error(np.where(sure, 0.0, result.error)) if sure.any() else result


def converted(x: Rounded, dtype: str | None) -> Rounded:
    """An operand as a call casts it to another dtype before it computes anything.

    The cast rounds to nearest; where it goes by way of float32 it may round twice. The gradient
    comes back in the operand's dtype.

    Args:
        x: of any shape.
        dtype: torch's name of the other dtype; None = it stays as it is.
    """
    outer = x.precision
    if dtype is None or dtype == outer.dtype:
        return x
    read = x.flushed if outer.flushes else x
    inner = replace(
        Precision.of(dtype),
        ulps=outer.ulps,
        absolutes=outer.absolutes,
        saturates=outer.saturates,
        stepwise=outer.stepwise,
    )
    if FORMATS[dtype].bits >= FORMATS[outer.dtype].bits and dtype != "float16":
        result = Rounded(read.value, read.error, inner)
    else:
        form = FORMATS[dtype]
        with np.errstate(over="ignore", invalid="ignore"):
            value = round_to(read.value, dtype)
            other = round_to(round_to(read.value, "float32"), dtype)
            twice = np.where(value == other, 0.0, np.abs(value - other))
            moved = read.error + 2 * form.unit * read.reach + form.tiny
        twice = np.where(np.isnan(value), 0.0, twice)
        result = Rounded(value, np.where(read.error > 0, moved, twice), inner)

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        error = _store_error(cotangent, outer.dtype, outer.underflow)
        return [Rounded(cotangent.value, error, outer)]

    return traced(result, [x], pull)


def kept(x: Rounded) -> Rounded:
    """A result as the backward pass may find it: as it was computed or as it was stored.

    Args:
        x: the result of an operation, wide or not.
    """
    if not x.precision.store:
        return x.bare
    least = FORMATS[x.precision.store].tiny
    if x.precision.flushes:
        least = FORMATS[x.precision.store].normal
    error = _store_error(x, x.precision.store, least)
    return Rounded(x.value, error, x.precision)


def _store_error(x: Rounded, dtype: str, underflow: float) -> np.ndarray:
    """What it inherits, and one rounding: to nearest, to even, hence none of what has few bits."""
    form = FORMATS[dtype]
    reach = x.reach
    with np.errstate(invalid="ignore", over="ignore"):
        error = x.error + ((form.unit + OWN) * reach + underflow)
        # Up to half a unit beyond the largest number the nearest is finite; no bound tells which.
        error = np.where(reach + error <= form.largest, error, np.inf)
        same = (x.error == 0) & (round_to(x.value, dtype) == x.value)
        if underflow >= form.normal:
            same &= ~((x.size < form.normal) & (x.size > 0))
    same |= (x.error == 0) & ~np.isfinite(x.value)
    return np.where(same, 0.0, error)


def _retyped(cotangent: Rounded, precision: Precision) -> Rounded:
    return Rounded(cotangent.value, cotangent.error, precision)
