"""Ways to break a valid call of a loss of differences."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import Break, argument, with_inputs
from conformance.strategies.invalid.loss.pointwise import (
    has_axes,
    shape_of,
    unknown_reduction,
    wider_target,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_negative = st.sampled_from((-1.0, -0.5, -1e-3))
_not_positive = st.sampled_from((0.0, -1.0, -0.5))
_more = st.integers(1, 2)


def _other_weight(draw: Draw, case: Case) -> Case:
    """A weight of size 1 along an axis, which would broadcast, or longer than the input."""
    shape = list(shape_of(case, 0))
    axis = draw(st.integers(0, len(shape) - 1))
    shape[axis] = 1 if shape[axis] > 1 and draw(st.booleans()) else shape[axis] + draw(_more)
    return with_inputs(case, {2: shape})


def difference_breaks(edge: str, weights: bool) -> tuple[Break, ...]:
    """The breaks of a loss of differences.

    Args:
        edge: name of the argument that says where a parabola becomes a line; empty = none.
        weights: whether the loss takes weights.
    """
    found = [unknown_reduction("batchmean"), wider_target()]
    if edge == "beta":
        found.append(Break("beta negative", "beta", argument("beta", _negative)))
    if edge == "delta":
        found.append(Break("delta not positive", "delta", argument("delta", _not_positive)))
    if weights:
        found.append(Break("weight of another shape", "weight", _other_weight, applies=has_axes))
    return tuple(found)
