"""A timed call as data, and how the arrays of timed calls are filled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Making = Callable[[tuple[Shape, ...], np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Workload:
    """One call to be timed.

    Args:
        layer: a name of the catalogue.
        name: what it is part of, unique for the layer.
        arguments: of the call; all of them, defaults as well where they are left out.
        inputs: shapes, in torch's order; a functional layer's weight and bias are among them.
        small: belongs to the set that takes seconds; the other set has every call.
        below: name of an input of whole numbers → they are 0, 1, … below it.
    """

    layer: str
    name: str
    arguments: Mapping[str, Any]
    inputs: tuple[Shape, ...]
    small: bool = False
    below: Mapping[str, int] = field(default_factory=dict)


def _rows(weight: Shape) -> int:
    return max(math.prod(weight[1:]), 1)


@dataclass(frozen=True)
class Filling:
    """How the arrays of timed calls are filled.

    Args:
        terms: shape of the weight → roughly how many products a sum has.
        factors: number of factors of a product.
        scale: (name of a weight, arguments) → largest absolute value of its elements, drawn
            uniformly; None = weights are whole numbers times a power of two, so that sums are
            exact.
        contraction: whether the oracle's sums may be taken by torch in float64 at these sizes.
        made: input → (shapes of the workload's inputs, random numbers) → its array, where it is not
            a number like any other: indices of classes.
        wide_adjoints: whether the gradients' sums are accumulated in float32 in half precision.
    """

    terms: Callable[[Shape], int] = _rows
    factors: int = 2
    scale: Callable[[str, Mapping[str, Any]], float] | None = None
    contraction: bool = True
    made: Mapping[str, Making] = field(default_factory=dict)
    wide_adjoints: bool = False
