"""What a layer that draws random numbers may give: masked values, numbers of a distribution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.spec.distributions import Distribution
from conformance.spec.law import Claim


@dataclass(frozen=True, eq=False)
class Masked:
    """An answer of which each element is kept or dropped.

    Args:
        what: the call, for messages.
        name: of the output.
        got: the backend's numbers.
        kept: what each element is where it is kept.
        dropped: largest size of an element that counts as dropped.
        droppable: where an element may be dropped at all.
        rate: probability that an element is kept; None where the output hangs on several draws.
        groups: axes along which all elements share one draw.
        again: the backend's numbers of a second call, which must draw anew; None = not asked.
        alike: numbers of the same call that are kept and dropped together with these, as an output
            and its gradient are, and the largest size of those that count as dropped; None = not
            asked.
        slack: by how much roundings may move the rate.
    """

    what: str
    name: str
    got: np.ndarray
    kept: Rounded
    dropped: float
    droppable: np.ndarray
    rate: float | None = None
    groups: tuple[int, ...] = ()
    again: np.ndarray | None = None
    alike: tuple[np.ndarray, float] | None = None
    slack: float = 0.0


@dataclass(frozen=True, eq=False)
class Sample:
    """An answer whose elements are drawn from one distribution, each by itself.

    Args:
        what: the call, for messages.
        name: of the output.
        got: the backend's numbers.
        distribution: what they are drawn from.
        slack: by how much roundings may move a share of them.
        ends: the least and the largest number that may be drawn, roundings included.
        again: the backend's numbers of a second call, which must draw anew; None = not asked.
    """

    what: str
    name: str
    got: np.ndarray
    distribution: Distribution
    slack: float
    ends: tuple[float, float]
    again: np.ndarray | None = None


Draws = Iterator[Claim | Masked | Sample]
