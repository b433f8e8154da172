"""Layer norm, `aten::native_layer_norm`: one blocked kernel and its wrong relatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from planted.kernels.blocks import all_blocks, allocate, full_blocks, rounded, store, widened
from planted.kernels.calls import layer_norm
from planted.kernels.kernel import kernel

LAYERS = ("LayerNorm", "functional.layer_norm")
OPERATOR = "aten::native_layer_norm"
Results = tuple[Tensor, Tensor, Tensor]
Moments = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]


def block_means(rows: np.ndarray) -> np.ndarray:
    """The mean of each row, in blocks of 128."""
    sums = np.zeros(len(rows), rows.dtype)
    for j in all_blocks(128)(rows.shape[1]):
        sums += rows[:, j].sum(axis=1)
    return sums / rows.dtype.type(max(rows.shape[1], 1))


def two_passes(rows: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each row, then one over the root of the mean square of what is off it."""
    mean = block_means(rows)
    variance = block_means(np.square(rows - mean[:, None]))
    return mean, 1 / np.sqrt(variance + eps)


def blocked(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    *,
    moments: Moments = two_passes,
) -> Results:
    """The normalised rows, their means and the reciprocals of their deviations.

    Args:
        input: the input.
        normalized_shape: its trailing dimensions, which make a row.
        weight: one factor for each element of a row, or None.
        bias: one summand for each element of a row, or None.
        eps: added to the variance.
        moments: what gives the means and reciprocals of a block of rows.
    """
    size = math.prod(normalized_shape)
    leading = input.shape[: input.ndim - len(normalized_shape)]
    rows = widened(input).reshape(math.prod(leading), size)
    scale = None if weight is None else widened(weight).reshape(size)
    shift = None if bias is None else widened(bias).reshape(size)
    out = allocate(rows.shape, input)
    statistics = allocate((2, len(rows)), input if weight is None else weight)
    for i in all_blocks(32)(len(rows)):
        mean, rstd = moments(rows[i], eps)
        store(statistics, (0, i), mean)
        store(statistics, (1, i), rstd)
        for j in all_blocks(128)(size):
            normalized = (rows[i, j] - mean[:, None]) * rstd[:, None]
            normalized = normalized if scale is None else normalized * scale[j]
            store(out, (i, j), normalized if shift is None else normalized + shift[j])
    ones = [1] * len(normalized_shape)
    mean, rstd = (row.clone().reshape(*leading, *ones) for row in statistics)
    return out.reshape(input.shape), mean, rstd


@kernel(
    "native-layer-norm-blocked",
    OPERATOR,
    LAYERS,
    agrees=[
        layer_norm(33, 129, gradients=True),
        layer_norm(3, 300, dtype="float16"),
        layer_norm(3, 20, dtype="bfloat16", gradients=True),
        layer_norm(3, 20, affine=False, dtype="float64"),
    ],
)
def native_layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Results:
    return blocked(input, normalized_shape, weight, bias, eps)


def _plant_moments(
    name: str, moments: Moments, wrong: str, agrees: object, differs: object
) -> None:
    """Enter a kernel with other means or reciprocals."""

    @kernel(f"native-layer-norm-{name}", OPERATOR, LAYERS, wrong, agrees=agrees, differs=differs)
    def native_layer_norm(
        input: Tensor,
        normalized_shape: Sequence[int],
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> Results:
        return blocked(input, normalized_shape, weight, bias, eps, moments=moments)


def _one_pass(rows: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    mean = block_means(rows)
    variance = np.maximum(block_means(np.square(rows)) - np.square(mean), 0)
    return mean, 1 / np.sqrt(variance + eps)


def _eps_outside(rows: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    mean = block_means(rows)
    variance = block_means(np.square(rows - mean[:, None]))
    return mean, 1 / (np.sqrt(variance) + eps)


def _padded_count(rows: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    size = max(rows.shape[1], 1)
    ratio = rows.dtype.type(size / (size if size <= 128 else -(-size // 128) * 128))
    mean = block_means(rows) * ratio
    variance = block_means(np.square(rows - mean[:, None])) * ratio
    return mean, 1 / np.sqrt(variance + eps)


def _padding_in_variance(rows: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    size = max(rows.shape[1], 1)
    padding = -size % 64 if size > 64 else 0
    mean = block_means(rows)
    variance = block_means(np.square(rows - mean[:, None])) + np.square(mean) * padding / size
    return mean, 1 / np.sqrt(variance + eps)


def _twelve_bits(rows: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    mean, rstd = two_passes(rows, eps)
    return mean, (rstd.view(np.int32) & -4096).view(np.float32) if rstd.itemsize == 4 else rstd


def _tail_not_reduced(rows: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    return two_passes(
        rows[:, : full_blocks(256)(rows.shape[1])[-1].stop] if rows.size else rows, eps
    )


def _half_sums(rows: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    sums = np.zeros(len(rows), rows.dtype)
    for j in all_blocks(1)(rows.shape[1]):
        sums = rounded(sums + rows[:, j].sum(axis=1), torch.bfloat16)
    mean = sums / max(rows.shape[1], 1)
    return mean, 1 / np.sqrt(block_means(np.square(rows - mean[:, None])) + eps)


_plant_moments(
    "takes-the-variance-in-one-pass",
    _one_pass,
    "The variance is the mean square less the square of the mean, which cancels for rows far "
    "from 0; rows around 0 are right.",
    [layer_norm(3, 20)],
    [layer_norm(3, 20, offset=1000.0)],
)
_plant_moments(
    "adds-eps-outside-the-root",
    _eps_outside,
    "eps is added to the deviation, which shows where that is small; deviations far over eps "
    "are right.",
    [layer_norm(3, 20, spread=100.0)],
    [layer_norm(3, 20, spread=0.01)],
)
_plant_moments(
    "divides-by-the-padded-size",
    _padded_count,
    "Rows over 128 are divided by their size rounded up to a multiple of 128; up to 128, and "
    "multiples of 128, are right.",
    [layer_norm(3, 128), layer_norm(3, 20), layer_norm(3, 256)],
    [layer_norm(3, 129)],
)
_plant_moments(
    "counts-the-padding-in-the-variance",
    _padding_in_variance,
    "Masked elements of the last block of 64, in rows over 64, count as zeros in the variance; "
    "up to 64, and multiples of 64, are right.",
    [layer_norm(3, 64, offset=3.0), layer_norm(3, 20, offset=3.0)],
    [layer_norm(3, 65, offset=3.0)],
)
_plant_moments(
    "takes-the-root-with-twelve-bits",
    _twelve_bits,
    "In float32 the reciprocal of the root has 12 bits, as of a hardware instruction without a "
    "Newton step; float64 is right.",
    [layer_norm(3, 20, dtype="float64")],
    [layer_norm(3, 20)],
)
_plant_moments(
    "does-not-reduce-the-tail-past-256",
    _tail_not_reduced,
    "Mean and variance of rows over 256 are taken over whole blocks of 256 only; up to 256 is "
    "right.",
    [layer_norm(3, 256), layer_norm(3, 20)],
    [layer_norm(3, 257, offset=1.0)],
)


@kernel(
    "native-layer-norm-sums-in-bfloat16",
    OPERATOR,
    LAYERS,
    "In bfloat16 the sum of a row is kept in bfloat16, which shows on long rows off 0; float32 "
    "is right.",
    agrees=[layer_norm(3, 300, offset=2.0)],
    differs=[layer_norm(3, 300, offset=2.0, dtype="bfloat16")],
)
def half_sums(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Results:
    moments = _half_sums if input.dtype is torch.bfloat16 else two_passes
    return blocked(input, normalized_shape, weight, bias, eps, moments=moments)
