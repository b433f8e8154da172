"""Values of a case's arrays: NumPy fills them from a value regime and a seed."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from hypothesis import strategies as st

from conformance.model.formats import REAL_DTYPE, format_of, round_to

# The simplest comes first: shrinking moves towards the front.
REGIMES = ("ramp", "integers", "full", "normal", "mixed", "large", "subnormal")
regimes = st.sampled_from(REGIMES)
SUM_REGIMES = (*REGIMES, "outliers")
"""Regimes of layers that add up elements."""
sum_regimes = st.sampled_from(SUM_REGIMES)
rounding_regimes = st.sampled_from(("normal", "mixed", "outliers", "normal"))
"""Regimes in which a sum of many elements rounds."""
# Regimes of layers whose activations saturate.
SATURATING_REGIMES = ("ramp", "integers", "full", "normal", "mixed", "large")
seeds = st.integers(0, 2**32 - 1)


# Exponent of outliers, and how much less that of the others is. Of float16 neither may leave the
# normal numbers, in which it has all its digits.
_OUTLIER, _DISTANCE, _LEAST = 10, 20, {"float16": -11}


def with_outliers(
    values: np.ndarray, dtype: str, generator: np.random.Generator, share: float = 1.0
) -> np.ndarray:
    """Make one element in 64, at least one, 2^20 times as large as the others, which are small.

    Args:
        values: about as large as 1.
        dtype: of the real parts.
        share: part of the outliers' exponent, where their powers or products are added up.
    """
    high = int(_OUTLIER * share)
    exponents = np.full(values.size, max(high - _DISTANCE, _LEAST.get(dtype, -_DISTANCE)))
    exponents[generator.permutation(values.size)[: max(values.size // 64, 1)]] = high
    return np.asarray(values * np.exp2(exponents).reshape(values.shape))


class Filler:
    """Fills the arrays of one case, every element exactly representable in its dtype.

    `ramp`, `integers` and `full` are integers so small that, if possible, every sum of products is
    exact in the dtype, forward and backward. `full` goes up to that limit,
    ⌊(2^p/terms)^(1/factors)⌋. `subnormal` has products around the smallest normal number. Either
    all factors are equally small, or one (such as the weight) is subnormal and the others around 1.
    `outliers`: in the first factor few elements are about 10⁶ times as large as the others. A
    difference of two running sums has the rounding errors of all earlier elements, so that after an
    outlier none of its digits is right.

    Args:
        regime: one of `SUM_REGIMES`.
        terms: largest number of terms in any sum of the call or its gradients.
        factors: number of operands multiplied with each other (3 for bilinear layers).
    """

    # Exponents such that sums of products neither overflow nor vanish, for two factors.
    _spread: ClassVar = {"float16": 4, "bfloat16": 12, "float32": 12, "float64": 40}
    _large: ClassVar = {"float16": 6, "bfloat16": 110, "float32": 110, "float64": 900}

    def __init__(self, regime: str, dtype: str, seed: int, terms: int, factors: int = 2) -> None:
        self.regime, self.dtype, self.factors = regime, dtype, factors
        self.real = REAL_DTYPE.get(dtype, dtype)
        self.parts = 2 if dtype in REAL_DTYPE else 1
        self.generator = np.random.default_rng(seed)
        number_format = format_of(dtype)
        self.budget = 2.0**number_format.bits / max(terms, 1)
        self.limit = max(1, int((self.budget * (1 + 1e-12)) ** (1 / factors) / self.parts))
        self.small = number_format.normal
        self.count = self.operands = 0
        self.smallest = int(self.generator.integers(factors + 1)) if regime == "subnormal" else 0

    def operand(self, *shape: int) -> np.ndarray:
        """Fill an array that takes part in products: an input, a weight."""
        self.operands += 1
        share = float(self.operands == self.smallest) if self.smallest else 1 / self.factors
        if self.regime == "outliers" and self.operands == 1:
            values = self._array(shape, self.limit, share)
            return round_to(with_outliers(values, self.real, self.generator, share), self.dtype)
        return self._array(shape, self.limit, share)

    def addend(self, *shape: int) -> np.ndarray:
        """Fill an array that is added to products: a bias."""
        return self._array(shape, max(1, min(self.limit**self.factors, int(self.budget))), 1.0)

    def _array(self, shape: tuple[int, ...], limit: int, share: float) -> np.ndarray:
        values = self._real(shape, limit, share)
        if self.parts == 2:
            values = values + 1j * self._real(shape, limit, share)
        return round_to(values, self.dtype)

    def _real(self, shape: tuple[int, ...], limit: int, share: float) -> np.ndarray:
        size = int(np.prod(shape))
        if self.regime == "ramp":
            start, self.count = self.count, self.count + size
            return (np.arange(start, start + size) % min(limit, 9) + 1.0).reshape(shape)
        if self.regime == "integers":
            most = min(limit, 3)
            return self.generator.integers(-most, most, shape, endpoint=True).astype(np.float64)
        if self.regime == "full":
            return self.generator.integers(-limit, limit, shape, endpoint=True).astype(np.float64)
        values = self.generator.standard_normal(shape)
        if self.regime == "mixed":
            spread = self._spread[self.real]
            return np.ldexp(values, self.generator.integers(-spread, spread, shape, endpoint=True))
        if self.regime == "large":
            return np.ldexp(values, int(self._large[self.real] * share))
        if self.regime == "subnormal":
            # Products lie around and below the smallest normal number.
            return np.asarray(values * (4 * self.small) ** share)
        return values
