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


def present_axes(case: Case, *axes: tuple[int, int]) -> Axes:
    """Drop the axes of absent inputs from a group of axes of equal size.

    Each axis is (index of the input, axis); a negative axis counts from the last.
    """
    present: list[tuple[int, int]] = []
    for index, axis in axes:
        x = case.inputs[index] if index < len(case.inputs) else None
        if x is not None and -x.ndim <= axis < x.ndim:
            present.append((index, axis % x.ndim))
    return tuple(present)


def no_axis(case: Case) -> int | None:
    """No batch axis: the default of inputs and outputs."""
    return None


def leading_batch_axis(ndim: int, index: int = 0) -> Callable[[Case], int | None]:
    """Return a function of a case: 0 where an input has so many axes as a batch, else None."""

    def axis(case: Case) -> int | None:
        x: np.ndarray | None = case.inputs[index] if index < len(case.inputs) else None
        return 0 if x is not None and x.ndim == ndim else None

    return axis
