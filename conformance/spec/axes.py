"""Helpers that name the batch axis of a case, and groups of axes that change size together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from conformance.model.case import Case

Axes = tuple[tuple[int, int], ...]
"""Axes of equal size that change together, each as (index of the input, axis)."""


def no_axes(case: Case) -> tuple[Axes, ...]:
    """No axes besides batch and spatial dimensions; the default of `Variation`."""
    return ()


def joined(case: Case, *axes: tuple[int, int]) -> Axes:
    """Drop the axes of absent inputs from a group of axes of equal size.

    Each axis is (index of the input, axis); a negative axis counts from the last.
    """
    found: list[tuple[int, int]] = []
    for place, axis in axes:
        array = case.inputs[place] if place < len(case.inputs) else None
        if array is not None and -array.ndim <= axis < array.ndim:
            found.append((place, axis % array.ndim))
    return tuple(found)


def no_axis(case: Case) -> int | None:
    """No batch axis: the default of inputs and outputs."""
    return None


def batched(axes: int, place: int = 0) -> Callable[[Case], int | None]:
    """Return a function of a case: 0 where an input has so many axes as a batch, else None."""

    def axis(case: Case) -> int | None:
        x: np.ndarray | None = case.inputs[place] if place < len(case.inputs) else None
        return 0 if x is not None and x.ndim == axes else None

    return axis
