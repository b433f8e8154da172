"""Correct and wrong ways to compute means, variances and softmax, with every operation rounded."""

from __future__ import annotations

import numpy as np

from conformance.model.formats import round_to

Array = np.ndarray


class Stored:
    """Arithmetic along the last axis that rounds every operation to a dtype.

    Args:
        dtype: torch's name.
        order: order of summation: `"forward"`, `"backward"`, `"pairs"` or the seed of a shuffle.
    """

    def __init__(self, dtype: str, order: str | int = "forward") -> None:
        self.dtype, self.order = dtype, order

    def fl(self, x: Array) -> Array:
        """Round to the dtype."""
        return round_to(np.asarray(x, np.float64), self.dtype)

    def sum(self, x: Array) -> Array:
        """Sum along the last axis, in the given order."""
        if self.order == "pairs":
            while x.shape[-1] > 1:
                odd = x[..., -1:] if x.shape[-1] % 2 else x[..., :0]
                even = x.shape[-1] // 2 * 2
                x = np.concatenate([self.fl(x[..., 0:even:2] + x[..., 1:even:2]), odd], axis=-1)
            return x[..., 0]
        places = np.arange(x.shape[-1])
        if self.order == "backward":
            places = places[::-1]
        elif isinstance(self.order, int):
            places = np.random.default_rng(self.order).permutation(places)
        total = x[..., places[0]]
        for k in places[1:]:
            total = self.fl(total + x[..., k])
        return total

    def mean(self, x: Array, *, reciprocal: bool = False) -> Array:
        """The sum divided by n, or multiplied by 1/n."""
        n = x.shape[-1]
        total = self.sum(x)
        return self.fl(total * self.fl(np.array(1 / n))) if reciprocal else self.fl(total / n)

    def two_pass(self, x: Array, correction: float) -> Array:
        """The variance from the mean, in a second pass."""
        d = self.fl(x - self.mean(x)[..., None])
        return self.fl(self.sum(self.fl(d * d)) / (x.shape[-1] - correction))

    def welford(self, x: Array, correction: float) -> Array:
        """The variance by Welford's updates, element by element."""
        fl, mean, squares = self.fl, x[..., 0], np.zeros(x.shape[:-1])
        for k in range(1, x.shape[-1]):
            d = fl(x[..., k] - mean)
            mean = fl(mean + fl(d / (k + 1)))
            squares = fl(squares + fl(d * fl(x[..., k] - mean)))
        return fl(squares / (x.shape[-1] - correction))

    def one_pass(self, x: Array, correction: float) -> Array:
        """The variance as E[x²] − E[x]²: wrong if the mean is large."""
        fl, n = self.fl, x.shape[-1]
        m = self.mean(x)
        return fl(fl(fl(self.mean(fl(x * x)) - fl(m * m)) * n) / (n - correction))

    def softmax(self, x: Array, *, reciprocal: bool = False) -> Array:
        """Softmax by division, or by the reciprocal of the sum."""
        e = self.fl(np.exp(self.fl(x - x.max(-1, keepdims=True))))
        s = self.sum(e)[..., None]
        return self.fl(e * self.fl(1 / s)) if reciprocal else self.fl(e / s)

    def log_softmax(self, x: Array, *, together: bool = False) -> Array:
        """The logarithm of softmax as (x − m) − log Σ, or as x − (m + log Σ)."""
        m = x.max(-1, keepdims=True)
        rest = self.fl(np.log(self.sum(self.fl(np.exp(self.fl(x - m))))))[..., None]
        return self.fl(x - self.fl(m + rest)) if together else self.fl(self.fl(x - m) - rest)


ORDERS: tuple[str | int, ...] = ("forward", "backward", "pairs", 1, 2)
