"""Values of queries, keys, values and masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from conformance.model.formats import format_of, round_to

# The simplest first. `zero`: queries of 0, so that all weights are equal; `saturated`: few keys
# have all of the weight; `bits`: values of one bit show the weights themselves; `offset`: scores
# far from 0 and close to each other; `mixed`: many magnitudes; `tiny`, `large`: close to the ends
# of the range.
REGIMES = (
    "ramp", "integers", "zero", "saturated", "bits", "normal", "offset", "mixed", "tiny", "large"
)  # fmt: skip
regimes = st.sampled_from(REGIMES)
_LARGE = {"float16": 13, "bfloat16": 120, "float32": 120, "float64": 1000}
_TINY = {"float16": -13, "bfloat16": -120, "float32": -120, "float64": -1000}
# Queries and keys of this size make scores differ by 1 024, where e^−1024 is 0 in every format.
_GAP = 64.0


class AttentionFiller:
    """Fills the arrays of one case, every element exactly representable in its dtype.

    Args:
        regime: one of `REGIMES`.
    """

    def __init__(self, regime: str, dtype: str, seed: int) -> None:
        self.regime, self.dtype = regime, dtype
        self.generator = np.random.default_rng(seed)
        self.count = 0

    def operands(
        self,
        heads: Sequence[int],
        key_heads: Sequence[int],
        rows: int,
        columns: int,
        widths: tuple[int, int],
        scale: float | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fill query, key and value.

        Args:
            heads, key_heads: leading dimensions of the query, and of key and value.
            rows, columns: numbers of queries and of keys.
            widths: features of a query or key, and of a value.
        """
        width, out = widths
        shapes = ((*heads, rows, width), (*key_heads, columns, width), (*key_heads, columns, out))
        if self.regime == "saturated":
            return self._draw_saturated(*shapes, 1.0 if scale is None else scale)
        if self.regime == "offset":
            return self._draw_offset(*shapes)
        query, key, value = (self.array(shape) for shape in shapes)
        if self.regime == "zero":
            query = np.zeros_like(query)
        return query, key, value

    def mask(self, shape: tuple[int, ...], kind: str) -> np.ndarray:
        """Fill a mask: True where a query attends to a key, or numbers to add, −∞ among them.

        Args:
            kind: `"bool"` or `"float"`.
        """
        masked_share = self.generator.choice((0.0, 0.2, 0.5, 0.8))
        attended = np.asarray(self.generator.random(shape) >= masked_share)
        if self.generator.integers(4) and attended.ndim:
            # Mostly every row attends to a key: one without is a special case.
            first = self.generator.integers(max(shape[-1], 1), size=shape[:-1])
            attended |= np.arange(shape[-1]) == np.asarray(first)[..., np.newaxis]
        if kind == "bool":
            return attended
        integers = self.regime in ("ramp", "integers", "zero", "saturated", "bits")
        numbers = self.generator.integers(-2, 2, shape, endpoint=True) * 1.0
        if not integers:
            numbers = round_to(self.generator.standard_normal(shape) * 3, self.dtype)
        if self.regime in ("zero", "saturated"):
            numbers = np.zeros(shape)
        return np.where(attended, numbers, -np.inf)

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """Fill an array with numbers of the regime."""
        draw = self.generator
        if self.regime == "ramp":
            size = int(np.prod(shape))
            start, self.count = self.count, self.count + size
            return ((np.arange(start, start + size) % 9 + 1) / 4).reshape(shape)
        if self.regime in ("integers", "zero", "saturated"):
            return draw.integers(-3, 3, shape, endpoint=True) * 1.0
        if self.regime == "bits":
            return draw.integers(-1, 1, shape, endpoint=True) * 1.0
        values = draw.standard_normal(shape)
        if self.regime == "mixed":
            values = np.ldexp(values, draw.integers(-6, 2, shape, endpoint=True))
        if self.regime in ("large", "tiny"):
            power = (_LARGE if self.regime == "large" else _TINY)[self.dtype]
            # Half of the tensors: if all were, every product would be infinite, or 0.
            values = np.ldexp(values, power if draw.integers(2) else 0)
        return round_to(values, self.dtype)

    def _draw_saturated(
        self, query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], scale: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores of a query differ by a large gap or not at all: the largest share all weight."""
        q, k = np.zeros(query), np.zeros(key)
        axis = self.generator.integers(query[-1]) if query[-1] else 0
        q[..., axis] = _GAP * self.generator.choice((-1.0, 1.0), query[:-1])
        k[..., axis] = (
            2 * _GAP / scale / 4 * self.generator.integers(-1, 1, key[:-1], endpoint=True)
        )
        return q, k, self.array(value)

    def _draw_offset(
        self, query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keys that are nearly equal: large scores with small differences."""
        bits = format_of(self.dtype).bits
        common = self.generator.standard_normal(key[-1]) * 4
        differences = self.generator.standard_normal(key) * 2.0 ** -(bits // 3)
        q = self.generator.standard_normal(query) * 2
        v = 8 + self.generator.standard_normal(value)
        return tuple(round_to(x, self.dtype) for x in (q, common + differences, v))  # type: ignore[return-value]
