"""Softmax, `aten::_softmax` and `aten::_log_softmax`: blocked kernels and their wrong relatives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from planted.kernels.blocks import (
    Cut,
    all_blocks,
    full_blocks,
    read_as_contiguous,
    rounded,
    to_tensor,
    widened,
)
from planted.kernels.calls import softmax
from planted.kernels.kernel import kernel

LAYERS = (
    "Softmax",
    "functional.softmax",
    "Softmin",
    "functional.softmin",
    "Softmax2d",
    "functional.gumbel_softmax",
    "MultiheadAttention",
    "functional.scaled_dot_product_attention",
)
LOG_LAYERS = (
    "LogSoftmax",
    "functional.log_softmax",
    "CrossEntropyLoss",
    "functional.cross_entropy",
)
OPERATOR = "aten::_softmax"
Exp = Callable[[np.ndarray], np.ndarray]
_BLOCK = all_blocks(64)


def largest_and_sum(
    rows: np.ndarray, blocks: Cut, exp: Exp, rescaled: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The largest element of each row and the sum of exp(x − largest), in one pass over blocks.

    Args:
        rows: the rows.
        blocks: how they are cut.
        exp: the exponential.
        rescaled: whether the sum so far is made one of the new largest element.
    """
    largest = np.full((len(rows), 1), -np.inf, rows.dtype)
    total = np.zeros((len(rows), 1), rows.dtype)
    for j in blocks(rows.shape[1]):
        new_largest = np.maximum(largest, rows[:, j].max(axis=1, keepdims=True))
        base = np.where(new_largest == -np.inf, rows.dtype.type(0), new_largest)
        scale = exp(largest - base) if rescaled else 1
        total = total * scale + exp(rows[:, j] - base).sum(axis=1, keepdims=True)
        largest = new_largest
    return largest, total


def blocked(rows: np.ndarray, *, blocks: Cut = _BLOCK, exp: Exp = np.exp) -> np.ndarray:
    """Softmax of rows: a pass for the largest elements and sums, and one that writes."""
    largest, total = largest_and_sum(rows, blocks, exp)
    out = np.empty_like(rows)
    for j in all_blocks(64)(rows.shape[1]):
        out[:, j] = exp(rows[:, j] - largest) / total
    return out


def apply_along(self: Tensor, dim: int, rows: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """Apply a function of rows along a dimension."""
    if self.numel() == 0:
        return torch.empty(self.shape, dtype=self.dtype)
    numbers = np.moveaxis(widened(self).reshape(self.shape or (1,)), dim, -1)
    with np.errstate(all="ignore"):
        out = rows(np.ascontiguousarray(numbers).reshape(-1, numbers.shape[-1]))
    out = np.moveaxis(out.reshape(numbers.shape), -1, dim)
    return to_tensor(out.reshape(tuple(self.shape)), self)


@kernel(
    "softmax-blocked",
    OPERATOR,
    LAYERS,
    agrees=[
        softmax(33, 130, spread=5.0),
        softmax(3, 70, 4, dim=1, dtype="float64"),
        softmax(3, 300, dtype="bfloat16"),
        softmax(70, 3, rising=30.0, dim=0, transposed=True),
    ],
)
def _softmax(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return apply_along(self, dim, blocked)


def _plant_rows(name: str, rows: Exp, wrong: str, agrees: object, differs: object) -> None:
    """Enter a kernel by what it makes of rows."""

    @kernel(f"softmax-{name}", OPERATOR, LAYERS, wrong, agrees=agrees, differs=differs)
    def _softmax(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
        return apply_along(self, dim, rows)


def _not_rescaled(rows: np.ndarray) -> np.ndarray:
    largest, total = largest_and_sum(rows, all_blocks(64), np.exp, rescaled=False)
    return np.exp(rows - largest) / total


def _first_largest(rows: np.ndarray) -> np.ndarray:
    shifted = np.exp(rows - rows[:, :64].max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _largest_from_zero(rows: np.ndarray) -> np.ndarray:
    shifted = np.exp(rows - np.maximum(rows.max(axis=1, keepdims=True), 0))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _padding_as_zero(rows: np.ndarray) -> np.ndarray:
    size = rows.shape[1]
    padded = np.pad(rows, [(0, 0), (0, -size % 32 if size > 32 else 0)])
    return blocked(padded)[:, :size]


def _tail_of_sum(rows: np.ndarray) -> np.ndarray:
    largest, total = largest_and_sum(rows, full_blocks(128), np.exp)
    return np.exp(rows - largest) / total


def _one_block(rows: np.ndarray) -> np.ndarray:
    out = np.zeros_like(rows)
    out[:, :1024] = blocked(rows[:, :1024])
    return out


def _fast_exp(rows: np.ndarray) -> np.ndarray:
    if rows.dtype == np.float64:
        return blocked(rows)

    def exp(x: np.ndarray) -> np.ndarray:
        power = np.clip(x * np.float32(1.442695), -126, 126)
        whole_part = np.floor(power)
        fraction = power - whole_part
        return np.ldexp(1 + fraction * (0.6565 + 0.3435 * fraction), whole_part.astype(int)).astype(
            "f4"
        )

    return blocked(rows, exp=exp)


def _last_block_unmasked(rows: np.ndarray) -> np.ndarray:
    size = rows.shape[1]
    if size <= 16 or size % 16 == 0:
        return blocked(rows)
    following = np.roll(rows, -1, axis=0)[:, :1]
    return blocked(np.concatenate([rows, following], axis=1))[:, :size]


def _rows_past_64(rows: np.ndarray) -> np.ndarray:
    out = blocked(rows)
    out[full_blocks(64)(len(rows))[-1].stop :] = 0
    return out


_plant_rows(
    "does-not-rescale-at-the-second-block",
    _not_rescaled,
    "The sum of earlier blocks of 64 is not rescaled where a later block has a larger element; "
    "up to 64 elements, and rows that fall, are right.",
    [softmax(3, 64, spread=5.0), softmax(3, 100, rising=-1.0)],
    [softmax(3, 65, rising=1.0)],
)
_plant_rows(
    "subtracts-the-largest-of-the-first-block",
    _first_largest,
    "The largest of the first 64 elements is subtracted from all, which overflows where one past "
    "64 is larger by 89; up to 64 elements are right.",
    [softmax(3, 64, rising=3.0), softmax(3, 65)],
    [softmax(3, 100, rising=3.0)],
)
_plant_rows(
    "starts-the-largest-at-zero",
    _largest_from_zero,
    "The largest element starts at 0 instead of -inf, so that rows far below 0 are 0 / 0; rows "
    "with a positive element are right.",
    [softmax(3, 20, spread=5.0)],
    [softmax(3, 20, offset=-200.0)],
)
_plant_rows(
    "pads-the-last-block-with-zeros",
    _padding_as_zero,
    "Rows over 32 are padded with 0 instead of -inf up to a multiple of 32, which adds to the "
    "sum; up to 32, and multiples of 32, are right.",
    [softmax(3, 32), softmax(3, 7), softmax(3, 64)],
    [softmax(3, 33)],
)
_plant_rows(
    "does-not-sum-the-tail-past-128",
    _tail_of_sum,
    "Of rows over 128 only whole blocks of 128 are summed; up to 128 is right.",
    [softmax(3, 128)],
    [softmax(3, 129)],
)
_plant_rows(
    "has-one-block-of-1024",
    _one_block,
    "Elements past 1024 are neither summed nor written; rows up to 1024 are right.",
    [softmax(2, 1024)],
    [softmax(2, 1025)],
)
_plant_rows(
    "takes-a-fast-exponential",
    _fast_exp,
    "In float32 the exponential is 2 to the power, of which the fraction is a polynomial of "
    "degree two, off by 2e-3; float64 is right.",
    [softmax(3, 20, dtype="float64")],
    [softmax(3, 20)],
)
_plant_rows(
    "masks-the-last-block-with-one-element-too-many",
    _last_block_unmasked,
    "In rows over 16 the mask of the last block of 16 lets in the first element of the next "
    "row; up to 16, and multiples of 16, are right.",
    [softmax(3, 16), softmax(3, 5), softmax(3, 48)],
    [softmax(3, 17)],
)
_plant_rows(
    "grid-of-rows-too-small",
    _rows_past_64,
    "Of more than 64 rows only whole blocks of 64 are written; up to 64 rows are right.",
    [softmax(64, 5)],
    [softmax(65, 5)],
)


@kernel(
    "softmax-takes-inner-dimensions-for-the-last",
    OPERATOR,
    LAYERS,
    "A dimension as long as the last one is taken for it; the last dimension, and other lengths, "
    "are right.",
    agrees=[softmax(4, 5, dim=0), softmax(5, 5)],
    differs=[softmax(5, 5, dim=0)],
)
def wrong_dim(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return apply_along(
        self, -1 if self.ndim and self.shape[dim] == self.shape[-1] else dim, blocked
    )


@kernel(
    "softmax-takes-its-input-for-contiguous",
    OPERATOR,
    LAYERS,
    "The input is read as though contiguous; contiguous inputs are right.",
    agrees=[softmax(4, 5, dim=0)],
    differs=[softmax(4, 5, dim=0, transposed=True)],
)
def contiguous(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return apply_along(read_as_contiguous(self), dim, blocked)


@kernel(
    "softmax-rounds-exponentials-to-bfloat16-before-the-sum",
    OPERATOR,
    LAYERS,
    "In bfloat16 the running sum is kept in bfloat16; float32 and float16 are right.",
    agrees=[softmax(3, 300), softmax(3, 300, dtype="float16")],
    differs=[softmax(3, 300, dtype="bfloat16")],
)
def half_sum(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    def rows_in_half(rows: np.ndarray) -> np.ndarray:
        powers = np.exp(rows - rows.max(axis=1, keepdims=True))
        total = np.zeros((len(rows), 1), rows.dtype)
        for j in all_blocks(1)(rows.shape[1]):
            total = rounded(total + powers[:, j], torch.bfloat16)
        return powers / total

    return apply_along(self, dim, rows_in_half if self.dtype is torch.bfloat16 else blocked)


def log_blocked(rows: np.ndarray, blocks: Cut = _BLOCK) -> np.ndarray:
    """Log-softmax of rows: x − largest − log of the sum."""
    largest, total = largest_and_sum(rows, blocks, np.exp)
    return rows - largest - np.log(total)


@kernel(
    "log-softmax-blocked",
    "aten::_log_softmax",
    LOG_LAYERS,
    agrees=[
        softmax(3, 130, spread=5.0, log=True),
        softmax(3, 70, 4, dim=1, dtype="float16", log=True),
        softmax(3, 70, offset=-500.0, dtype="float64", log=True),
    ],
)
def _log_softmax(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return apply_along(self, dim, log_blocked)


@kernel(
    "log-softmax-does-not-sum-the-tail-past-64",
    "aten::_log_softmax",
    LOG_LAYERS,
    "Of rows over 64 only whole blocks of 64 are summed; up to 64 is right.",
    agrees=[softmax(3, 64, log=True), softmax(3, 5, log=True)],
    differs=[softmax(3, 65, log=True)],
)
def log_tail(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return apply_along(self, dim, lambda rows: log_blocked(rows, full_blocks(64)))


@kernel(
    "log-softmax-is-the-logarithm-of-softmax",
    "aten::_log_softmax",
    LOG_LAYERS,
    "The logarithm is taken of the softmax, so that what that underflows to is -inf; elements "
    "within 80 of the largest are right.",
    agrees=[softmax(3, 20, dtype="float64", log=True)],
    differs=[softmax(3, 20, rising=20.0, log=True)],
)
def log_of_softmax(self: Tensor, dim: int, half_to_float: bool) -> Tensor:
    return apply_along(self, dim, lambda rows: np.log(blocked(rows)))
