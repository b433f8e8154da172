"""What losses have in common that are a number for each element: their batch, axes and sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from conformance.layers.axes import Axes
from conformance.layers.row import Output
from conformance.layers.state import Shape
from conformance.layers.workload import Workload
from conformance.model.case import Case


def whole_shape(case: Case) -> Shape:
    """The shape that all operands are broadcast to."""
    return np.broadcast_shapes(*(x.shape for x in case.operands))


def every_axis(case: Case) -> tuple[Axes, ...]:
    """Every axis whose size may change, that of the batch first.

    An operand that has one number for the whole of an axis keeps it; where a tensor that the
    constructor takes has the axis in full, its size is fixed.
    """
    whole, found = whole_shape(case), list[Axes]()
    for axis, size in enumerate(whole):
        sized = [_axis(x.shape, whole, axis) for x in case.call.state.values()]
        if any(k is not None for k in sized) and size != 1:
            continue
        places = ((k, x) for k, x in enumerate(case.inputs) if x is not None)
        axes = ((k, _axis(x.shape, whole, axis)) for k, x in places)
        found.append(tuple((k, place) for k, place in axes if place is not None))
    return tuple(group for group in found if group)


def _axis(shape: Shape, whole: Shape, axis: int) -> int | None:
    """Which axis of an operand is one of the whole; None where it has none, or but one number."""
    place = axis - (len(whole) - len(shape))
    return place if place >= 0 and shape[place] == whole[axis] else None


def batch_of(place: int) -> Callable[[Case], int | None]:
    """The first axis counts the samples, of an operand that has it.

    Args:
        place: of the input.
    """

    def axis(case: Case) -> int | None:
        whole, x = whole_shape(case), case.inputs[place]
        if not whole or x is None or len(x.shape) < len(whole) or x.shape[0] != whole[0]:
            return None
        sized = (_axis(y.shape, whole, 0) for y in case.call.state.values())
        return None if whole[0] != 1 and any(k is not None for k in sized) else 0

    return axis


def _losses(case: Case) -> int | None:
    """The axis of samples in losses that are not reduced."""
    single = case.call.arguments.get("reduction", "mean") == "none"
    return batch_of(0)(case) if single else None


OUTPUTS = (Output("loss", _losses),)


def timed(layer: str, operands: int) -> tuple[Workload, ...]:
    """A million losses.

    Args:
        layer: its name.
        operands: how many arrays are given.
    """
    shape = (1024, 1024)
    return (Workload(layer, "1024 by 1024", {}, (shape,) * operands, small=True),)


def flops(
    each: int,
) -> Callable[[Workload, Sequence[Shape], Sequence[Shape]], int]:
    """So many operations for each element.

    Args:
        each: how many.
    """
    return lambda workload, weights, outputs: each * math.prod(workload.inputs[0])
