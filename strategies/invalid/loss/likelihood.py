"""Ways to break a valid call of the Gaussian negative log likelihood."""

from __future__ import annotations

import math
from dataclasses import replace

from conformance.strategies.invalid.breaks import Break, resize_inputs
from conformance.strategies.invalid.loss.pointwise import (
    has_axes,
    input_shape,
    unknown_reduction,
    wider_target,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_surplus = st.integers(1, 2)


def _negative_variance(draw: Draw, case: Case) -> Case:
    var = case.inputs[2]
    assert var is not None
    var = var.copy()
    var.reshape(-1)[draw(st.integers(0, var.size - 1))] = draw(st.sampled_from((-1.0, -0.5)))
    return replace(case, inputs=(*case.inputs[:2], var))


def _has_variances(case: Case) -> bool:
    return math.prod(input_shape(case, 2)) > 0


def _long_variances(draw: Draw, case: Case) -> Case:
    """More variances than numbers along the last axis."""
    shape = list(input_shape(case, 0))
    shape[-1] = max(shape[-1], 1) + draw(_surplus)
    return resize_inputs(case, {2: shape})


def gaussian_breaks() -> tuple[Break, ...]:
    """The breaks of the Gaussian negative log likelihood."""
    return (
        unknown_reduction("batchmean"),
        Break("variance negative", "var", _negative_variance, applies=_has_variances),
        Break("variances of another length", "var", _long_variances, applies=has_axes),
        wider_target(),
    )
