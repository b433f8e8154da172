"""Tensors of a layer's state: shapes, documented initial values, and statistics to test these."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Shape = tuple[int, ...]

FALSE_ALARM = 1e-12
"""Probability that one test on initial values fails for a correct layer."""


@dataclass(frozen=True)
class Uniform:
    """Initial values drawn from U(−limit, limit).

    Args:
        limit: the documentation's bound on every value; ∞ where it depends on a size that is 0.
    """

    limit: float


@dataclass(frozen=True)
class Constant:
    """Initial values that all equal `value`."""

    value: float


@dataclass(frozen=True)
class Normal:
    """Initial values drawn from N(0, 1).

    Args:
        zero_row: index of a row of zeros; None = no such row.
    """

    zero_row: int | None = None


@dataclass(frozen=True)
class StateTensor:
    """One tensor of a layer's state.

    Args:
        name: in the state_dict.
        shape: sizes of its axes.
        initial: its initial distribution; None where the documentation promises none.
        buffer: it is a buffer, which has no gradient.
        integer: it holds int64.
        same_values_as: name of a state tensor with the same initial values; "" = none.
        constraint: values that it may hold: `"any"`, `"positive"` (a variance), `"count"`.
    """

    name: str
    shape: Shape
    initial: Uniform | Constant | Normal | None = None
    buffer: bool = False
    integer: bool = False
    same_values_as: str = ""
    constraint: str = "any"


def uniform_parameters(shapes: Mapping[str, Shape], inverse: int) -> tuple[StateTensor, ...]:
    """Parameters drawn from U(−√k, √k); `inverse` is 1/k, or 0 if no input reaches an output."""
    limit = math.inf if inverse == 0 else 1 / math.sqrt(inverse)
    return tuple(StateTensor(name, shape, Uniform(limit)) for name, shape in shapes.items())


def distribution_distance(
    values: np.ndarray, cumulative: Callable[[np.ndarray], np.ndarray]
) -> float:
    """The Kolmogorov–Smirnov distance sup|F_n − F| of independent values to a distribution."""
    expected = cumulative(np.sort(values, axis=None))
    ranks = np.arange(values.size + 1) / values.size
    return float(max(np.max(ranks[1:] - expected), np.max(expected - ranks[:-1])))


def allowed_distance(count: int, slack: float = 2.0**-7) -> float:
    """A bound that `distribution_distance` exceeds with a probability of at most `FALSE_ALARM`.

    It is √(ln(2/α)/2n) by Massart's inequality (*The tight constant in the
    Dvoretzky–Kiefer–Wolfowitz inequality*, 1990), plus `slack`: how far roundings may move the
    distribution. 2⁻⁷ covers values that are rounded to eight bits.
    """
    return math.sqrt(math.log(2 / FALSE_ALARM) / (2 * count)) + slack


def cumulative_uniform(values: np.ndarray) -> np.ndarray:
    """The distribution function of U(−1, 1)."""
    return np.asarray((values + 1) / 2)


def cumulative_normal(values: np.ndarray) -> np.ndarray:
    """The distribution function of N(0, 1)."""
    return np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in values.reshape(-1)])


def with_bias(weight: Shape, outputs: int, bias: bool) -> dict[str, Shape]:
    """Shapes of a weight and, if `bias`, of a bias of shape (outputs,)."""
    return {"weight": weight, "bias": (outputs,)} if bias else {"weight": weight}


def products_per_sum(shape: Sequence[int]) -> int:
    """Number of products in each sum, for a weight whose first axis counts the outputs."""
    return math.prod(shape[1:])
