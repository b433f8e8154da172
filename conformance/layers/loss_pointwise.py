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

Shapes = Callable[[Case], list[Shape | None]]
"""Case → the shapes of its inputs as they are broadcast."""


def as_given(case: Case) -> list[Shape | None]:
    """The shapes of the inputs."""
    return [None if x is None else x.shape for x in case.inputs]


def _whole(case: Case, shapes: list[Shape | None]) -> Shape:
    """The shape that all operands are broadcast to."""
    given = [shape for shape in shapes if shape is not None]
    return np.broadcast_shapes(*given, *(x.shape for x in case.call.state.values()))


def _axis(shape: Shape, whole: Shape, axis: int) -> int | None:
    """Which axis of an operand is one of the whole; None where it has none, or but one number."""
    place = axis - (len(whole) - len(shape))
    return place if place >= 0 and shape[place] == whole[axis] else None


def _fixed(case: Case, whole: Shape, axis: int) -> bool:
    """Whether a tensor that the constructor takes has an axis, as it has one of the input."""
    return any(_axis(x.shape, whole, axis) is not None for x in case.call.state.values())


def every_axis(shapes: Shapes = as_given) -> Callable[[Case], tuple[Axes, ...]]:
    """Every axis whose size may change, that of the batch first.

    An operand that has one number for the whole of an axis keeps it.

    Args:
        shapes: of the inputs, where axes that they lack at their ends stand.
    """

    def axes(case: Case) -> tuple[Axes, ...]:
        given, found = shapes(case), list[Axes]()
        whole = _whole(case, given)
        for axis in range(len(whole)):
            places = [
                (k, place)
                for k, (shape, x) in enumerate(zip(given, case.inputs, strict=True))
                if shape is not None and x is not None
                if (place := _axis(shape, whole, axis)) is not None and place < x.ndim
            ]
            if not _fixed(case, whole, axis):
                found.append(tuple(places))
        return tuple(group for group in found if group)

    return axes


def batch_of(place: int, shapes: Shapes = as_given) -> Callable[[Case], int | None]:
    """The first axis counts the samples, of an operand that has it.

    Args:
        place: of the input.
        shapes: of the inputs, where axes that they lack at their ends stand.
    """

    def axis(case: Case) -> int | None:
        given = shapes(case)
        whole, shape, x = _whole(case, given), given[place], case.inputs[place]
        if not whole or shape is None or x is None or not x.ndim or _fixed(case, whole, 0):
            return None
        return 0 if _axis(shape, whole, 0) == 0 else None

    return axis


def outputs(shapes: Shapes = as_given) -> tuple[Output, ...]:
    """The losses, or one of all.

    Args:
        shapes: of the inputs, where axes that they lack at their ends stand.
    """
    first = batch_of(0, shapes)

    def axis(case: Case) -> int | None:
        single = case.call.arguments.get("reduction", "mean") == "none"
        return first(case) if single else None

    return (Output("loss", axis),)


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
