"""The bounds of each grade: which numerics and which tolerance an answer is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.model.case import STORED, Numerics
from conformance.model.grades import (
    CLOSE,
    CLOSE_TOLERANCES,
    EXACT,
    ONE_ROUNDING,
    STEP_BY_STEP,
    TWO_ROUNDINGS,
)

_HALF = ("bfloat16", "float16")


def numerics_by_grade(declared: Numerics | None, dtype: str) -> Mapping[str, Numerics]:
    """The numerics that each grade allows, the best grade first.

    A backend's other declarations hold in every grade. `EXACT` is left out unless it is promised,
    since the distances of an answer in another grade show it.

    Args:
        declared: the backend's declaration; None = nothing.
        dtype: torch's name of the dtype.
    """
    declared = declared or Numerics()
    strict = replace(declared, stepwise=False, stored=(), grade=ONE_ROUNDING)
    numerics = {EXACT: replace(strict, grade=EXACT)} if declared.grade == EXACT else {}
    numerics[ONE_ROUNDING] = strict
    if dtype in _HALF and not declared.unit_roundoff:
        names = declared.stored or tuple(STORED)
        numerics[TWO_ROUNDINGS] = replace(strict, stored=names, grade=TWO_ROUNDINGS)
        numerics[STEP_BY_STEP] = replace(strict, stepwise=True, grade=STEP_BY_STEP)
    numerics[CLOSE] = replace([*numerics.values()][-1], grade=CLOSE)
    return numerics


def promised_grade(declared: Numerics | None, dtype: str) -> str:
    """The grade that a backend promises in a dtype.

    Without a declaration it is `TWO_ROUNDINGS` in half precision: that is what the kernels of CUDA
    and of well-known libraries reach (docs/grades.md names their sources).
    """
    promised = (declared or Numerics()).promised
    return promised if promised in numerics_by_grade(declared, dtype) else ONE_ROUNDING


def promised_numerics(declared: Numerics | None, dtype: str) -> Numerics:
    """The numerics of the promised grade."""
    return numerics_by_grade(declared, dtype)[promised_grade(declared, dtype)]


def with_bound_of_grade(expected: Rounded | Choices) -> Rounded | Choices:
    """Replace the derived bounds by those of `EXACT` or `CLOSE`, if the precision names one.

    `EXACT` allows half a unit in the last place of the true value, `CLOSE` the tolerance of
    `torch.testing.assert_close` where that is larger than the derived bound.
    """
    if isinstance(expected, Choices):
        precision = expected.precision
        if precision.grade not in (EXACT, CLOSE):
            return expected
        return Choices(tuple(_with_bound_of_grade(x) for x in expected.alternatives))
    return _with_bound_of_grade(expected)


def _with_bound_of_grade(x: Rounded) -> Rounded:
    precision = x.precision
    if precision.grade == EXACT:
        _, exponent = np.frexp(x.abs_value)
        # A number in [2ᵏ⁻¹, 2ᵏ) has units of 2ᵏ·unit; the subnormal numbers share the smallest.
        half_unit = np.maximum(np.ldexp(precision.unit, exponent - 1), precision.underflow / 2)
        return x.with_error(np.minimum(x.error, np.where(x.decided, half_unit, np.inf)))
    if precision.grade == CLOSE and precision.dtype in CLOSE_TOLERANCES:
        rtol, atol = CLOSE_TOLERANCES[precision.dtype]
        tolerance = atol + rtol * x.abs_value
        return x.with_error(np.where(np.isfinite(x.value), np.maximum(x.error, tolerance), x.error))
    return x
