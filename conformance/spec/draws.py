"""Outputs of layers that draw random numbers: masked values, and samples of a distribution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.spec.distributions import Distribution
from conformance.spec.law import Claim


@dataclass(frozen=True, eq=False)
class MaskedOutput:
    """An output whose elements are each either kept or dropped, as by dropout.

    Args:
        call_text: the call, for messages.
        name: of the output.
        got: the backend's numbers.
        kept: value of each element if it is kept.
        drop_threshold: largest absolute value of an element that counts as dropped.
        droppable: where an element may be dropped at all.
        keep_rate: probability that an element is kept; None where an output element depends on
            several draws.
        shared_axes: axes along which all elements share one draw.
        second_call: numbers of a second call, which must draw new ones; None = no second call.
        same_mask: other numbers of the same call that must have the same mask (the gradient of the
            output), and the largest absolute value of a dropped one; None = none.
        slack: how far roundings may move the rate.
    """

    call_text: str
    name: str
    got: np.ndarray
    kept: Rounded
    drop_threshold: float
    droppable: np.ndarray
    keep_rate: float | None = None
    shared_axes: tuple[int, ...] = ()
    second_call: np.ndarray | None = None
    same_mask: tuple[np.ndarray, float] | None = None
    slack: float = 0.0


@dataclass(frozen=True, eq=False)
class Sample:
    """An output whose elements are independent draws from one distribution.

    Args:
        call_text: the call, for messages.
        name: of the output.
        got: the backend's numbers.
        distribution: the documented distribution.
        slack: how far roundings may move a share of the numbers.
        ends: the smallest and the largest number that may be drawn, roundings included.
        second_call: numbers of a second call, which must draw new ones; None = no second call.
    """

    call_text: str
    name: str
    got: np.ndarray
    distribution: Distribution
    slack: float
    ends: tuple[float, float]
    second_call: np.ndarray | None = None


Draws = Iterator[Claim | MaskedOutput | Sample]
