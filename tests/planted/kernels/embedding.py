"""Embedding, `aten::embedding`: one blocked kernel and its wrong relatives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from planted.kernels.blocks import Cut, all_blocks, allocate, full_blocks, read_as_contiguous
from planted.kernels.calls import embedding
from planted.kernels.kernel import kernel

LAYERS = ("Embedding", "functional.embedding")
OPERATOR = "aten::embedding"
_TILE = all_blocks(64)


def blocked(
    weight: Tensor, indices: Tensor, *, places: Cut = _TILE, columns: Cut = _TILE
) -> Tensor:
    """Copy a row of the table for each index, tile by tile.

    Raises:
        IndexError: an index is outside of the table.
    """
    flat = indices.detach().numpy().reshape(-1).astype(np.int64)
    if flat.size and (flat.min() < 0 or flat.max() >= len(weight)):
        raise IndexError("index out of range in self")
    out = allocate((flat.size, weight.shape[1]), weight)
    for i in places(flat.size):
        for j in columns(weight.shape[1]):
            out[i, j] = weight.detach()[torch.from_numpy(flat[i]), j]
    return out.reshape(*indices.shape, weight.shape[1])


@kernel(
    "embedding-blocked",
    OPERATOR,
    LAYERS,
    agrees=[
        embedding(300, 70, (3, 40)),
        embedding(9, 5, (7,), dtype="bfloat16", padding_idx=3),
        embedding(9, 5, (2, 3), weight_transposed=True, indices_transposed=True),
    ],
)
def aten_embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    return blocked(weight, indices)


@kernel(
    "embedding-keeps-indices-in-seven-bits",
    OPERATOR,
    LAYERS,
    "Indices are kept in seven bits, so that those past 127 wrap; tables up to 128 are right.",
    agrees=[embedding(128, 3, (9,))],
    differs=[embedding(129, 3, (9,))],
)
def seven_bits(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    return blocked(weight, indices % 128)


@kernel(
    "embedding-takes-the-last-row-past-the-first-block",
    OPERATOR,
    LAYERS,
    "Places past 64 get the last row of the table, as their offset is clamped instead of masked; "
    "up to 64 indices are right.",
    agrees=[embedding(9, 3, (64,)), embedding(9, 3, (8, 8))],
    differs=[embedding(9, 3, (66,)), embedding(9, 3, (33, 2))],
)
def last_row(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    flat = indices.reshape(-1).clone()
    flat[64:] = len(weight) - 1
    return blocked(weight, flat.reshape(indices.shape))


@kernel(
    "embedding-does-not-write-the-tail-of-a-row-past-128",
    OPERATOR,
    LAYERS,
    "Of rows over 128 only whole blocks of 128 are written; up to 128, and multiples, are right.",
    agrees=[embedding(9, 128, (3,)), embedding(9, 256, (3,))],
    differs=[embedding(9, 129, (3,))],
)
def tail_of_row(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    return blocked(weight, indices, columns=full_blocks(128))


@kernel(
    "embedding-grid-of-indices-too-small",
    OPERATOR,
    LAYERS,
    "Of more than 32 indices only whole blocks of 32 are written; up to 32 are right.",
    agrees=[embedding(9, 3, (32,)), embedding(9, 3, (5,))],
    differs=[embedding(9, 3, (33,)), embedding(9, 3, (7, 5))],
)
def grid_of_indices(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    return blocked(weight, indices, places=full_blocks(32))


@kernel(
    "embedding-writes-zeros-for-the-padding",
    OPERATOR,
    LAYERS,
    "The padding index gets zeros instead of its row, which only has no gradient; tables without "
    "a padding index are right.",
    agrees=[embedding(9, 3, (5,))],
    differs=[embedding(9, 3, (5,), padding_idx=2)],
)
def padding_as_zeros(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    out = blocked(weight, indices)
    out[indices == padding_idx] = 0
    return out


@kernel(
    "embedding-takes-its-table-for-contiguous",
    OPERATOR,
    LAYERS,
    "The table is read as though contiguous, wrong for a transposed one; contiguous is right.",
    agrees=[embedding(9, 3, (5,))],
    differs=[embedding(9, 3, (5,), weight_transposed=True)],
)
def table_contiguous(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    return blocked(read_as_contiguous(weight), indices)


@kernel(
    "embedding-takes-its-indices-for-contiguous",
    OPERATOR,
    LAYERS,
    "Indices are read as though contiguous, wrong for transposed ones; contiguous is right.",
    agrees=[embedding(9, 3, (5, 2))],
    differs=[embedding(9, 3, (5, 2), indices_transposed=True)],
)
def indices_contiguous(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    return blocked(weight, read_as_contiguous(indices))
