"""Ways to break a valid call of the Gaussian negative log likelihood."""

from __future__ import annotations

import math
from dataclasses import replace

from conformance.strategies.invalid.breaks import Break, with_inputs
from conformance.strategies.invalid.loss.pointwise import (
    has_axes,
    shape_of,
    unknown_reduction,
    wider_target,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_more = st.integers(1, 2)


def _negative(draw: Draw, case: Case) -> Case:
    var = case.inputs[2]
    assert var is not None
    var = var.copy()
    var.reshape(-1)[draw(st.integers(0, var.size - 1))] = draw(st.sampled_from((-1.0, -0.5)))
    return replace(case, inputs=(*case.inputs[:2], var))


def _any_variance(case: Case) -> bool:
    return math.prod(shape_of(case, 2)) > 0


def _long_variances(draw: Draw, case: Case) -> Case:
    """More variances than numbers along the last axis."""
    shape = list(shape_of(case, 0))
    shape[-1] = max(shape[-1], 1) + draw(_more)
    return with_inputs(case, {2: shape})


def gaussian_breaks() -> tuple[Break, ...]:
    """The breaks of the Gaussian negative log likelihood."""
    return (
        unknown_reduction("batchmean"),
        Break("variance negative", "var", _negative, applies=_any_variance),
        Break("variances of another length", "var", _long_variances, applies=has_axes),
        wider_target(),
    )
