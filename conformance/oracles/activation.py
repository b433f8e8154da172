"""ReLU, LeakyReLU and SiLU, modules and functions.

Sources: the pages torch.nn.ReLU, LeakyReLU and SiLU of the PyTorch documentation.

At a kink the documentation says nothing of the derivative: any number from the slope on one side to
that on the other is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from conformance.arithmetic.activations import sigmoid
from conformance.arithmetic.choices import between
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.rounded import Rounded, choose, traced
from conformance.arithmetic.wide import stored, widened
from conformance.model.case import Updated

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
Slope = Callable[[Rounded], Rounded]


def relu(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """ReLU(x) = max(0, x)."""
    return _returned(_kinked(input, lambda x: constant(0.0, x)), input, inplace)


def leaky_relu(
    state: State, input: Rounded, *, negative_slope: float = 0.01, inplace: bool = False
) -> Rounded | Updated:
    """LeakyReLU(x) = max(0, x) + negative_slope · min(0, x)."""
    x = widened(input)
    y = _kinked(x, lambda x: x * constant(negative_slope, x))
    return _returned(stored(y, input.precision), input, inplace)


def silu(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """silu(x) = x · σ(x)."""
    x = widened(input)
    return _returned(stored(x * sigmoid(x), input.precision), input, inplace)


def _kinked(x: Rounded, below: Slope) -> Rounded:
    """x where it is positive, `below(x)` where it is negative, 0 at 0, NaN where x is NaN."""
    positive, zero, missing = x.value > 0, x.value == 0, np.isnan(x.value)

    def sided(x: Rounded) -> Rounded:
        return choose(positive | zero | missing, x.bare, below(x.bare))

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        one, other = cotangent.bare, below(cotangent.bare)
        ordered = one.value <= other.value
        either = between(choose(ordered, one, other), choose(ordered, other, one))
        return [choose(zero, either, sided(cotangent))]

    return traced(sided(x), [x], pull)


def _returned(y: Rounded, x: Rounded, inplace: bool) -> Rounded | Updated:
    """What NaN and infinities give is certain, but ∞ · 0: by the formula NaN, in the limit 0."""
    undefined = np.isnan(y.value) & ~np.isnan(x.value)
    extreme = np.where(undefined, np.inf, 0.0)
    y = y.with_error(np.where(np.isfinite(x.value), y.error, extreme))
    return Updated(y, {"input": y}) if inplace else y


def shape(input: Shape, **arguments: object) -> tuple[Shape, ...]:
    """(*) → (*)."""
    return (input,)
