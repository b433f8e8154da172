"""Matrix products with a bias, `aten::addmm`: one blocked kernel and its wrong relatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from planted.kernels.blocks import (
    Cut,
    all_blocks,
    allocate,
    overlapping_blocks,
    read_as_contiguous,
    store,
    widened,
)
from planted.kernels.blocks import full_blocks as whole_blocks
from planted.kernels.calls import linear, linear_twice
from planted.kernels.kernel import kernel

LAYERS = (
    "Linear",
    "LazyLinear",
    "functional.linear",
    "RNN",
    "LSTM",
    "GRU",
    "RNNCell",
    "LSTMCell",
    "GRUCell",
    "MultiheadAttention",
)
OPERATOR = "aten::addmm"
_TILE = all_blocks(32)


def blocked(
    out: Tensor,
    self: Tensor,
    mat1: Tensor,
    mat2: Tensor,
    beta: Any = 1,
    alpha: Any = 1,
    *,
    rows: Cut = _TILE,
    columns: Cut = _TILE,
    inner: Cut = _TILE,
    register: torch.dtype | None = None,
) -> Tensor:
    """Write `beta * self + alpha * mat1 @ mat2`, tile by tile.

    Args:
        out: what is written, only where there are tiles.
        self: the bias, which broadcasts.
        mat1: m × k.
        mat2: k × n.
        beta: times the bias, which is not read where it is 0.
        alpha: times the product.
        rows: how m is cut.
        columns: how n is cut.
        inner: how k is cut.
        register: the dtype that the running sum is rounded to, if any.
    """
    a, b = widened(mat1), widened(mat2)
    bias = np.broadcast_to(widened(self), (a.shape[0], b.shape[1]))
    for i in rows(a.shape[0]):
        for j in columns(b.shape[1]):
            total = np.zeros((i.stop - i.start, j.stop - j.start), a.dtype)
            for k in inner(a.shape[1]):
                total += a[i, k] @ b[k, j]
                if register is not None:
                    total = widened(torch.from_numpy(total).to(register))
            total = alpha * total
            store(out, (i, j), total + beta * bias[i, j] if beta != 0 else total)
    return out


def _shape(mat1: Tensor, mat2: Tensor) -> tuple[int, int]:
    """The shape of the product.

    Raises:
        RuntimeError: an operand is no matrix; what torch says.
    """
    if mat1.ndim != 2 or mat2.ndim != 2:
        name, ndim = ("mat1", mat1.ndim) if mat1.ndim != 2 else ("mat2", mat2.ndim)
        raise RuntimeError(f"{name} must be a matrix, got {ndim}-D tensor")
    return mat1.shape[0], mat2.shape[1]


@kernel(
    "addmm-blocked",
    OPERATOR,
    LAYERS,
    agrees=[
        linear(65, 129, 33),
        linear(3, 300, 5, dtype="bfloat16"),
        linear(2, 40, 7, dtype="float64", gradients=True),
        linear(3, 20, 33, dtype="float16", input_transposed=True),
    ],
)
def addmm(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    return blocked(allocate(_shape(mat1, mat2), mat1), self, mat1, mat2, beta, alpha)


def _plant_lost_tail(letter: str, block: int) -> None:
    """Enter a kernel that takes only the whole blocks of one dimension."""
    axis = "mkn".index(letter)
    sizes = {
        size: linear(*[size if at == axis else 5 for at in range(3)])
        for size in (block, block + 1, 2 * block, 2 * block - 1)
    }
    argument = {"m": "rows", "n": "columns", "k": "inner"}[letter]

    @kernel(
        f"addmm-drops-the-tail-of-{letter}-past-{block}",
        OPERATOR,
        LAYERS,
        f"Of {letter} over {block} only whole blocks of {block} are computed, the rest stays 0; "
        f"up to {block}, and multiples of {block}, are right.",
        agrees=[sizes[block], sizes[2 * block]],
        differs=[sizes[block + 1], sizes[2 * block - 1]],
    )
    def addmm(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
        out = torch.zeros(_shape(mat1, mat2), dtype=mat1.dtype)
        cuts = {argument: whole_blocks(block)}
        return blocked(out, self, mat1, mat2, beta, alpha, **cuts)


for _letter, _block in (("k", 32), ("k", 64), ("k", 128), ("n", 32), ("n", 64), ("n", 128)):
    _plant_lost_tail(_letter, _block)
_plant_lost_tail("m", 64)


@kernel(
    "addmm-grid-one-block-of-rows-too-small",
    OPERATOR,
    LAYERS,
    "The grid has m // 16 blocks of rows, so that rows past the last whole block of 16 are never "
    "written; m up to 16 and multiples of 16 are right.",
    agrees=[linear(16, 5, 5), linear(7, 5, 5), linear(48, 5, 5)],
    differs=[linear(17, 5, 5)],
)
def grid_too_small(
    self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    out = allocate(_shape(mat1, mat2), mat1)
    return blocked(out, self, mat1, mat2, beta, alpha, rows=whole_blocks(16))


@kernel(
    "addmm-adds-the-bias-once-per-split",
    OPERATOR,
    LAYERS,
    "k over 64 is split and every split adds the bias; k up to 64 is right.",
    agrees=[linear(3, 64, 5)],
    differs=[linear(3, 65, 5)],
)
def bias_per_split(
    self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    splits = max(1, -(-mat1.shape[1] // 64))
    out = allocate(_shape(mat1, mat2), mat1)
    return blocked(out, self, mat1, mat2, beta * splits, alpha)


@kernel(
    "addmm-loses-the-last-split-of-k",
    OPERATOR,
    LAYERS,
    "k over 256 is summed in four splits, of which the last is not added; k up to 256 is right.",
    agrees=[linear(3, 256, 5)],
    differs=[linear(3, 257, 5), linear(3, 512, 5)],
)
def last_split_lost(
    self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    def three_of_four(length: int) -> list[slice]:
        return all_blocks(-(-length // 4))(length)[:3] if length > 256 else all_blocks(32)(length)

    out = allocate(_shape(mat1, mat2), mat1)
    return blocked(out, self, mat1, mat2, beta, alpha, inner=three_of_four)


@kernel(
    "addmm-accumulates-in-half-precision",
    OPERATOR,
    LAYERS,
    "In half precision the running sum is rounded after each block of 4 of k; float32 is right.",
    agrees=[linear(3, 257, 5), linear(3, 4, 5, dtype="bfloat16")],
    differs=[linear(3, 256, 5, dtype="bfloat16"), linear(3, 256, 5, dtype="float16")],
)
def half_sums(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    out = allocate(_shape(mat1, mat2), mat1)
    return blocked(out, self, mat1, mat2, beta, alpha, inner=all_blocks(4), register=mat1.dtype)


@kernel(
    "addmm-adds-the-product-at-a-block-boundary-twice",
    OPERATOR,
    LAYERS,
    "Blocks of 64 of k overlap by one, so that the product before each boundary counts twice; "
    "k up to 64 is right.",
    agrees=[linear(3, 64, 5)],
    differs=[linear(3, 65, 5), linear(3, 128, 5)],
)
def boundary_twice(
    self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    out = allocate(_shape(mat1, mat2), mat1)
    return blocked(out, self, mat1, mat2, beta, alpha, inner=overlapping_blocks(64))


@kernel(
    "addmm-multiplies-float32-with-ten-bits",
    OPERATOR,
    LAYERS,
    "Operands in float32 are cut to the ten bits of TF32; other dtypes are right.",
    agrees=[linear(3, 9, 5, dtype="float64"), linear(3, 9, 5, dtype="float16")],
    differs=[linear(3, 9, 5)],
)
def ten_bits(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    out = allocate(_shape(mat1, mat2), mat1)
    if mat1.dtype is torch.float32:
        mat1, mat2 = ((mat.view(torch.int32) & -8192).view(mat.dtype) for mat in (mat1, mat2))
    return blocked(out, self, mat1, mat2, beta, alpha)


@kernel(
    "addmm-takes-its-input-for-contiguous",
    OPERATOR,
    LAYERS,
    "The first matrix is read as though contiguous, wrong for a transposed one; contiguous ones "
    "are right.",
    agrees=[linear(3, 9, 5)],
    differs=[linear(3, 9, 5, input_transposed=True)],
)
def input_contiguous(
    self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    out = allocate(_shape(mat1, mat2), mat1)
    return blocked(out, self, read_as_contiguous(mat1), mat2, beta, alpha)


@kernel(
    "addmm-takes-its-weight-for-a-transposed-contiguous-one",
    OPERATOR,
    LAYERS,
    "The second matrix is read as the transpose of a contiguous one, wrong where the weight "
    "itself is not contiguous; contiguous weights are right.",
    agrees=[linear(3, 9, 5)],
    differs=[linear(3, 9, 5, weight_transposed=True)],
)
def weight_contiguous(
    self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    out = allocate(_shape(mat1, mat2), mat1)
    return blocked(out, self, mat1, read_as_contiguous(mat2.t()).t(), beta, alpha)


_CACHE: dict[tuple[Any, ...], Tensor] = {}


@kernel(
    "addmm-returns-an-earlier-result-of-the-same-sizes",
    OPERATOR,
    LAYERS,
    "Results of m·n over 16 are kept by size and dtype, and the first one returned for all later "
    "calls; up to 16 elements, and first calls, are right.",
    agrees=[linear(9, 5, 5), linear_twice(4, 5, 4)],
    differs=[linear_twice(4, 5, 5)],
)
def cached(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    key = (*mat1.shape, *mat2.shape, mat1.dtype)
    if key not in _CACHE:
        out = allocate(_shape(mat1, mat2), mat1)
        _CACHE[key] = blocked(out, self, mat1, mat2, beta, alpha)
    out = _CACHE[key]
    return out.clone() if out.numel() > 16 else _CACHE.pop(key)


@kernel(
    "addmm-uses-its-input-as-scratch",
    OPERATOR,
    LAYERS,
    "Where n is k the result is first written over the first matrix; other sizes leave it alone.",
    agrees=[linear(3, 9, 5)],
    differs=[linear(3, 9, 9)],
)
def scratch(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    out = blocked(allocate(_shape(mat1, mat2), mat1), self, mat1, mat2, beta, alpha)
    if out.shape == mat1.shape:
        mat1.copy_(out)
    return out


@kernel(
    "addmm-reads-the-bias-at-the-column-within-the-block",
    OPERATOR,
    LAYERS,
    "Columns past 128 get the bias of the column 128 before; n up to 128 is right.",
    agrees=[linear(3, 9, 128)],
    differs=[linear(3, 9, 129)],
)
def bias_within_block(
    self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    self = self.expand(_shape(mat1, mat2))[:, torch.arange(mat2.shape[1]) % 128]
    return blocked(allocate(_shape(mat1, mat2), mat1), self, mat1, mat2, beta, alpha)


@kernel(
    "addmm-orders-tiles-in-groups-that-do-not-fit",
    OPERATOR,
    LAYERS,
    "Tiles of 16 × 16 are ordered in groups of four rows of tiles, and the last group takes its "
    "size for four as well: with m over 64 and n over 16 some tiles are never written, unless the "
    "rows of tiles are a multiple of four; m up to 64, and n up to 16, are right.",
    agrees=[linear(64, 5, 33), linear(70, 5, 16)],
    differs=[linear(65, 5, 17)],
)
def grouped(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    m, n = _shape(mat1, mat2)
    out = allocate((m, n), mat1)
    down, across = all_blocks(16)(m), all_blocks(16)(n)
    for program in range(len(down) * len(across)):
        first, index_in_group = divmod(program, 4 * len(across))
        row, column = 4 * first + index_in_group % 4, index_in_group // 4
        if len(across) == 1 or len(down) <= 4:
            row, column = program % len(down), program // len(down)
        if row < len(down):
            i, j = down[row], across[column]
            bias = self.expand(m, n)[i, j]
            blocked(out[i, j], bias, mat1[i], mat2[:, j], beta, alpha)
    return out


@kernel(
    "addmm-masks-k-with-one-element-too-many",
    OPERATOR,
    LAYERS,
    "The mask of the last block of 32 of k is <= instead of <, so that each row also takes in "
    "the first element of the next; multiples of 32 are right.",
    agrees=[linear(3, 32, 5), linear(3, 64, 5)],
    differs=[linear(3, 9, 5), linear(3, 33, 5)],
)
def mask_too_wide(
    self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    out = allocate(_shape(mat1, mat2), mat1)
    if out.numel() and mat1.shape[1] % 32:

        def one_more(rows: Tensor) -> Tensor:
            following = torch.cat([rows[1:, :1], torch.zeros(1, 1, dtype=rows.dtype)])
            return torch.cat([rows, following], dim=1)

        mat1, mat2 = one_more(mat1), one_more(mat2.t()).t()
    return blocked(out, self, mat1, mat2, beta, alpha)


@kernel(
    "addmm-loads-four-at-a-time",
    OPERATOR,
    LAYERS,
    "With k over 16 the k % 4 elements left over by loads of four are not summed; k up to 16 and "
    "multiples of four are right.",
    agrees=[linear(3, 15, 5), linear(3, 20, 5)],
    differs=[linear(3, 17, 5)],
)
def loads_of_four(
    self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Tensor:
    k = mat1.shape[1]
    k = k - k % 4 if k > 16 else k
    out = allocate(_shape(mat1, mat2), mat1)
    return blocked(out, self, mat1[:, :k], mat2[:k], beta, alpha)
