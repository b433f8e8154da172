"""Distributions of random numbers: ends, distribution function, and slack for roundings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Uniform:
    """U(low, high)."""

    low: float
    high: float

    def cdf(self, numbers: np.ndarray) -> np.ndarray:
        """The distribution function."""
        return np.clip((numbers - self.low) / (self.high - self.low), 0.0, 1.0)

    @property
    def text(self) -> str:
        """For messages."""
        return f"U({self.low:.6g}, {self.high:.6g})"

    @property
    def code(self) -> tuple[str, ...]:
        """Python lines that compute the variable below from the sorted array drawn."""
        return (f"below = np.clip((drawn - {self.low!r}) / {self.high - self.low!r}, 0, 1)",)

    def slack(self, unit: float) -> float:
        """Bound how far roundings move a share of the numbers.

        The numbers are a + x(b − a). Roundings occur in a, b, the difference, the product and the
        sum; x is a multiple of u. With M = max(|a|, |b|) they add up to 6uM + u(b − a), relative to
        b − a. `unit` is u, the unit roundoff of the dtype.
        """
        largest_end = max(abs(self.low), abs(self.high))
        return unit * (6 * largest_end / (self.high - self.low) + 1)


@dataclass(frozen=True)
class Normal:
    """N(mean, std²), truncated to the interval from `low` to `high`."""

    mean: float
    std: float
    low: float = -math.inf
    high: float = math.inf

    def _untruncated_cdf(self, number: float) -> float:
        return 0.5 * math.erfc((self.mean - number) / (math.sqrt(2) * self.std))

    @property
    def mass(self) -> float:
        """The share of the untruncated normal distribution between the ends."""
        return self._untruncated_cdf(self.high) - self._untruncated_cdf(self.low)

    def cdf(self, numbers: np.ndarray) -> np.ndarray:
        """The distribution function."""
        untruncated = np.array([self._untruncated_cdf(x) for x in numbers.reshape(-1)])
        return np.clip((untruncated - self._untruncated_cdf(self.low)) / self.mass, 0.0, 1.0)

    @property
    def text(self) -> str:
        """For messages."""
        cut = f" from {self.low:.6g} to {self.high:.6g}" if math.isfinite(self.width) else ""
        return f"N({self.mean:.6g}, {self.std:.6g}²){cut}"

    @property
    def width(self) -> float:
        """Distance of the ends."""
        return self.high - self.low

    @property
    def code(self) -> tuple[str, ...]:
        """Python lines that compute the variable below from the sorted array drawn."""
        z = f"({self.mean!r} - x) / {math.sqrt(2) * self.std!r}"
        start, mass = self._untruncated_cdf(self.low), self.mass
        return (
            "import math",
            f"below = np.array([0.5 * math.erfc({z}) for x in drawn])",
            f"below = np.clip((below - {start!r}) / {mass!r}, 0, 1)",
        )

    def slack(self, unit: float) -> float:
        """Bound how far roundings move a share of the numbers; `unit` is the unit roundoff u.

        The numbers are m + σz. Rounding the mean and the sum costs 2u|m|/σ in units of z, whose
        density is at most 0.4. σ, the product, the sum and six roundings of z cost 9u|z|, and |z|
        times the density is at most 0.242. z is computed from two uniform numbers, multiples of u.
        Truncation divides all of this by the mass that remains.

        Where that mass is below one half, a generator may draw uniform numbers and accept them with
        probability e^(−(z² − peak)/2). Uniform numbers round by 6u of the larger end (`Uniform`).
        z is known to within 2u of its size; the square, its half and the difference are rounded.
        So the density is off by a factor of e^±d, d = u(4z² + 2). That moves a share by at most
        tanh(d/2), and with the mean between the ends by E[e^d − 1] < 1/√(1 − 8u) − 1 + 2u.
        """
        total = unit * (0.8 * abs(self.mean) / self.std + 9 * 0.242 + 2) / self.mass
        if self.mass < 0.5:
            sizes = [abs(end - self.mean) / self.std for end in (self.low, self.high)]
            largest_end = max(abs(self.low), abs(self.high)) / self.std
            total += unit * 6 * 0.4 * largest_end / self.mass
            if self.low <= self.mean <= self.high:
                total += 1 / math.sqrt(1 - 8 * unit) - 1 + 2 * unit
            else:
                total += math.tanh(unit * (4 * max(sizes) ** 2 + 2) / 2)
        return total


Distribution = Uniform | Normal


def find_median(distribution: Distribution) -> float:
    """The median, found by bisection."""
    low, high = distribution.low, distribution.high
    if isinstance(distribution, Normal):
        low = max(low, distribution.mean - 10 * distribution.std)
        high = min(high, distribution.mean + 10 * distribution.std)
    for _ in range(80):
        midpoint = (low + high) / 2
        low, high = (
            (low, midpoint) if distribution.cdf(np.array([midpoint]))[0] > 0.5 else (midpoint, high)
        )
    return (low + high) / 2
