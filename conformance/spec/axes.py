"""Which axes of a case count its batch, and which change their size together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from conformance.model.case import Case

Axes = tuple[tuple[int, int], ...]
"""Axes of inputs that have one size and change together, each as place of the input and axis."""


def no_axes(case: Case) -> tuple[Axes, ...]:
    """The axes of a layer whose inputs have a batch and spatial dimensions, and no others."""
    return ()


def joined(case: Case, *axes: tuple[int, int]) -> Axes:
    """Axes of several inputs that have one size, without those of inputs that are left out.

    Args:
        axes: place of the input and axis, a negative one counted from the last.
    """
    found: list[tuple[int, int]] = []
    for place, axis in axes:
        array = case.inputs[place] if place < len(case.inputs) else None
        if array is not None and -array.ndim <= axis < array.ndim:
            found.append((place, axis % array.ndim))
    return tuple(found)


def no_axis(case: Case) -> int | None:
    """The batch axis of what has none."""
    return None


def batched(axes: int, place: int = 0) -> Callable[[Case], int | None]:
    """The first axis of an input counts the batch, if the input has one more axis than a sample."""

    def axis(case: Case) -> int | None:
        x: np.ndarray | None = case.inputs[place] if place < len(case.inputs) else None
        return 0 if x is not None and x.ndim == axes else None

    return axis
