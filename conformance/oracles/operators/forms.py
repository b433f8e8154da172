"""How the oracles of tensor operators read operands, and how they round in half precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conformance.arithmetic import elementary
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.rounded import Rounded

Operand = Rounded | np.ndarray | float


def first_rounded(operands: Sequence[Operand]) -> Rounded:
    """The first operand with a bound: its precision is the others', too."""
    return next(x for x in operands if isinstance(x, Rounded))


def as_rounded(x: Operand, like: Rounded) -> Rounded:
    """An operand in the precision of another: numbers are rounded, integers and flags are exact."""
    if isinstance(x, Rounded):
        return x
    if isinstance(x, np.ndarray):
        return elementary.constants(x.astype(np.float64), like)
    return elementary.constant(float(x), like)


def wide(function: Callable[..., Rounded]) -> Callable[..., Rounded]:
    """A function computed in float32 for half precision, whose result is stored once."""

    def computed(*operands: Operand, **options: Any) -> Rounded:
        like = first_rounded(operands)
        inner = [widened(x) if isinstance(x, Rounded) else x for x in operands]
        return stored(function(*inner, **options), like.precision)

    return computed


def binary(function: Callable[[Rounded, Rounded], Rounded]) -> Callable[..., Rounded]:
    """A function of two operands, either of which may be a number or an array."""

    def computed(a: Operand, b: Operand, **options: Any) -> Rounded:
        like = first_rounded((a, b))
        return function(as_rounded(a, like), as_rounded(b, like))

    return wide(computed)
