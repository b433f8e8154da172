"""Calls that benchmarks time, and how their arrays are filled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]
ArrayMaker = Callable[[tuple[Shape, ...], np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Workload:
    """One call to be timed.

    Args:
        layer: a name of the catalogue.
        name: the model or setting that it comes from, unique for the layer.
        arguments: of the call; omitted ones have their defaults.
        inputs: shapes, in torch's order, with the weight and bias of a functional layer.
        small: belongs to the set that takes seconds; the full set has every call.
        index_limits: name of an input of integers → its values are at least 0 and below this
            number.
    """

    layer: str
    name: str
    arguments: Mapping[str, Any]
    inputs: tuple[Shape, ...]
    small: bool = False
    index_limits: Mapping[str, int] = field(default_factory=dict)


def _products_per_sum(weight: Shape) -> int:
    return max(math.prod(weight[1:]), 1)


@dataclass(frozen=True)
class Filling:
    """How the arrays of timed calls are filled.

    Args:
        terms: shape of the weight → the approximate number of products in a sum.
        factors: number of factors of a product.
        scale: (name of a weight, arguments) → largest absolute value of its elements, drawn
            uniformly; None = weights are integers times a power of two, so that sums are exact.
        contraction: torch may compute the oracle's sums in float64 at these sizes.
        array_makers: name of an input → function (shapes of the workload's inputs, random
            generator) → its array, for inputs that are not arbitrary numbers, such as class
            indices.
        wide_adjoints: in half precision, the sums of gradients are accumulated in float32.
    """

    terms: Callable[[Shape], int] = _products_per_sum
    factors: int = 2
    scale: Callable[[str, Mapping[str, Any]], float] | None = None
    contraction: bool = True
    array_makers: Mapping[str, ArrayMaker] = field(default_factory=dict)
    wide_adjoints: bool = False
