"""Correct and wrong ways to compute means, variances and softmax, with every operation rounded."""

from __future__ import annotations

import numpy as np

from conformance.model.formats import round_to

Array = np.ndarray


class StoredArithmetic:
    """Arithmetic along the last axis that rounds every operation to a dtype.

    Args:
        dtype: torch's name.
        order: order of summation: `"forward"`, `"backward"`, `"pairs"` or the seed of a shuffle.
    """

    def __init__(self, dtype: str, order: str | int = "forward") -> None:
        self.dtype, self.order = dtype, order

    def rounded(self, x: Array) -> Array:
        """Round to the dtype."""
        return round_to(np.asarray(x, np.float64), self.dtype)

    def sum(self, x: Array) -> Array:
        """Sum along the last axis, in the given order."""
        if self.order == "pairs":
            while x.shape[-1] > 1:
                last = x[..., -1:] if x.shape[-1] % 2 else x[..., :0]
                even = x.shape[-1] // 2 * 2
                x = np.concatenate(
                    [self.rounded(x[..., 0:even:2] + x[..., 1:even:2]), last], axis=-1
                )
            return x[..., 0]
        order = np.arange(x.shape[-1])
        if self.order == "backward":
            order = order[::-1]
        elif isinstance(self.order, int):
            order = np.random.default_rng(self.order).permutation(order)
        total = x[..., order[0]]
        for k in order[1:]:
            total = self.rounded(total + x[..., k])
        return total

    def mean(self, x: Array, *, reciprocal: bool = False) -> Array:
        """The sum divided by n, or multiplied by 1/n."""
        n = x.shape[-1]
        total = self.sum(x)
        return (
            self.rounded(total * self.rounded(np.array(1 / n)))
            if reciprocal
            else self.rounded(total / n)
        )

    def two_pass(self, x: Array, correction: float) -> Array:
        """The variance from the mean, in a second pass."""
        d = self.rounded(x - self.mean(x)[..., None])
        return self.rounded(self.sum(self.rounded(d * d)) / (x.shape[-1] - correction))

    def welford(self, x: Array, correction: float) -> Array:
        """The variance by Welford's updates, element by element."""
        rounded, mean, squares = self.rounded, x[..., 0], np.zeros(x.shape[:-1])
        for k in range(1, x.shape[-1]):
            d = rounded(x[..., k] - mean)
            mean = rounded(mean + rounded(d / (k + 1)))
            squares = rounded(squares + rounded(d * rounded(x[..., k] - mean)))
        return rounded(squares / (x.shape[-1] - correction))

    def one_pass(self, x: Array, correction: float) -> Array:
        """The variance as E[x²] − E[x]²: wrong if the mean is large."""
        rounded, n = self.rounded, x.shape[-1]
        m = self.mean(x)
        return rounded(
            rounded(rounded(self.mean(rounded(x * x)) - rounded(m * m)) * n) / (n - correction)
        )

    def softmax(self, x: Array, *, reciprocal: bool = False) -> Array:
        """Softmax by division, or by the reciprocal of the sum."""
        e = self.rounded(np.exp(self.rounded(x - x.max(-1, keepdims=True))))
        s = self.sum(e)[..., None]
        return self.rounded(e * self.rounded(1 / s)) if reciprocal else self.rounded(e / s)

    def log_softmax(self, x: Array, *, together: bool = False) -> Array:
        """The logarithm of softmax as (x − m) − log Σ, or as x − (m + log Σ)."""
        m = x.max(-1, keepdims=True)
        log_sum = self.rounded(np.log(self.sum(self.rounded(np.exp(self.rounded(x - m))))))[
            ..., None
        ]
        return (
            self.rounded(x - self.rounded(m + log_sum))
            if together
            else self.rounded(self.rounded(x - m) - log_sum)
        )


ORDERS: tuple[str | int, ...] = ("forward", "backward", "pairs", 1, 2)
