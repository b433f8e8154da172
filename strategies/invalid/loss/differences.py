"""Ways to break a valid call of a loss of differences."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import Break, resize_inputs, set_argument
from conformance.strategies.invalid.loss.pointwise import (
    has_axes,
    input_shape,
    unknown_reduction,
    wider_target,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case

_negative = st.sampled_from((-1.0, -0.5, -1e-3))
_not_positive = st.sampled_from((0.0, -1.0, -0.5))
_surplus = st.integers(1, 2)


def _wrong_weight_shape(draw: Draw, case: Case) -> Case:
    """A weight of size 1 along an axis, which would broadcast, or longer than the input."""
    shape = list(input_shape(case, 0))
    axis = draw(st.integers(0, len(shape) - 1))
    shape[axis] = 1 if shape[axis] > 1 and draw(st.booleans()) else shape[axis] + draw(_surplus)
    return resize_inputs(case, {2: shape})


def difference_breaks(edge_argument: str, takes_weights: bool) -> tuple[Break, ...]:
    """The breaks of a loss of differences.

    Args:
        edge_argument: name of the argument that says where a parabola becomes a line; empty = none.
        takes_weights: whether the loss takes weights.
    """
    loss_breaks = [unknown_reduction("batchmean"), wider_target()]
    if edge_argument == "beta":
        loss_breaks.append(Break("beta negative", "beta", set_argument("beta", _negative)))
    if edge_argument == "delta":
        loss_breaks.append(
            Break("delta not positive", "delta", set_argument("delta", _not_positive))
        )
    if takes_weights:
        loss_breaks.append(
            Break("weight of another shape", "weight", _wrong_weight_shape, applies=has_axes)
        )
    return tuple(loss_breaks)
