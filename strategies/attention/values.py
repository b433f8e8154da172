"""What queries, keys, values and masks hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from conformance.model.formats import format_of, round_to

# The plainest first. `zero`: queries of 0, so that all weights are alike; `saturated`: one key has
# all of the weight; `bits`: values of one bit show the weights themselves; `offset`: scores far
# from 0 and near to each other; `mixed`: of many magnitudes; `large`: values near the range's end.
REGIMES = (
    "ramp", "integers", "zero", "saturated", "bits", "normal", "offset", "mixed", "tiny", "large"
)  # fmt: skip
regimes = st.sampled_from(REGIMES)
_LARGE = {"float16": 13, "bfloat16": 120, "float32": 120, "float64": 1000}
_TINY = {"float16": -13, "bfloat16": -120, "float32": -120, "float64": -1000}
# The gap of scores that makes e^−gap 0 in every format, 1 024, by way of queries and keys.
_GAP = 64.0


class AttentionFiller:
    """Fills the arrays of one case, every element exactly representable in its dtype.

    Args:
        regime: one of `REGIMES`.
        dtype: torch's name of the dtype.
        seed: of the NumPy generator.
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
        """Query, key and value.

        Args:
            heads, key_heads: leading dimensions of the query and of the other two.
            rows, columns: lengths.
            scale: the scaling factor.
        """
        width, out = widths
        shapes = ((*heads, rows, width), (*key_heads, columns, width), (*key_heads, columns, out))
        if self.regime == "saturated":
            return self._saturated(*shapes, 1.0 if scale is None else scale)
        if self.regime == "offset":
            return self._offset(*shapes)
        query, key, value = (self.array(shape) for shape in shapes)
        if self.regime == "zero":
            query = np.zeros_like(query)
        return query, key, value

    def mask(self, shape: tuple[int, ...], kind: str) -> np.ndarray:
        """True where a key takes part; or numbers to add, among them −∞ and 0.

        Args:
            kind: `"bool"` or `"float"`.
        """
        share = self.generator.choice((0.0, 0.2, 0.5, 0.8))
        taking = np.asarray(self.generator.random(shape) >= share)
        if self.generator.integers(4) and taking.ndim:
            # Rows that attend to nothing are a matter of their own.
            first = self.generator.integers(max(shape[-1], 1), size=shape[:-1])
            taking |= np.arange(shape[-1]) == np.asarray(first)[..., np.newaxis]
        if kind == "bool":
            return taking
        whole = self.regime in ("ramp", "integers", "zero", "saturated", "bits")
        numbers = self.generator.integers(-2, 2, shape, endpoint=True) * 1.0
        if not whole:
            numbers = round_to(self.generator.standard_normal(shape) * 3, self.dtype)
        if self.regime in ("zero", "saturated"):
            numbers = np.zeros(shape)
        return np.where(taking, numbers, -np.inf)

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers of the regime."""
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
            # Half of the tensors: products of all would be nothing but infinities, or zeros.
            values = np.ldexp(values, power if draw.integers(2) else 0)
        return round_to(values, self.dtype)

    def _saturated(
        self, query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], scale: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each query meets keys of 0 and of one other size: those have the weight, equal parts."""
        q, k = np.zeros(query), np.zeros(key)
        axis = self.generator.integers(query[-1]) if query[-1] else 0
        q[..., axis] = _GAP * self.generator.choice((-1.0, 1.0), query[:-1])
        k[..., axis] = (
            2 * _GAP / scale / 4 * self.generator.integers(-1, 1, key[:-1], endpoint=True)
        )
        return q, k, self.array(value)

    def _offset(
        self, query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keys that are nearly alike: large scores, small differences."""
        bits = format_of(self.dtype).bits
        common = self.generator.standard_normal(key[-1]) * 4
        near = self.generator.standard_normal(key) * 2.0 ** -(bits // 3)
        q = self.generator.standard_normal(query) * 2
        v = 8 + self.generator.standard_normal(value)
        return tuple(round_to(x, self.dtype) for x in (q, common + near, v))  # type: ignore[return-value]
