"""Matrix products without a bias, `aten::mm` and `aten::bmm`, by the tiles of `addmm`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from planted.kernels.addmm import blocked
from planted.kernels.blocks import (
    Cut,
    all_blocks,
    allocate,
    full_blocks,
    overlapping_blocks,
    read_as_contiguous,
)
from planted.kernels.calls import attend, linear
from planted.kernels.kernel import kernel

MM_LAYERS = (
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
BMM_LAYERS = (
    "MultiheadAttention",
    "functional.scaled_dot_product_attention",
    "Bilinear",
    "functional.bilinear",
)


def _product(a: Tensor, b: Tensor, out: Tensor | None = None, **options: Any) -> Tensor:
    """The product of two matrices by the blocked kernel, into new memory unless given some."""
    out = allocate((a.shape[0], b.shape[1]), a) if out is None else out
    return blocked(out, torch.zeros((), dtype=a.dtype), a, b, 0, **options)


def _products(a: Tensor, b: Tensor, out: Tensor | None = None, **options: Any) -> Tensor:
    """The products of two batches of matrices, into new memory unless given some."""
    out = allocate((*a.shape[:2], b.shape[2]), a) if out is None else out
    for matrix, left, right in zip(out, a, b, strict=True):
        _product(left, right, matrix, **options)
    return out


@kernel(
    "mm-blocked",
    "aten::mm",
    MM_LAYERS,
    agrees=[
        linear(65, 129, 33, bias=False),
        linear(2, 300, 5, bias=False, dtype="bfloat16"),
        linear(3, 40, 7, bias=False, dtype="float64", gradients=True),
    ],
)
def mm(self: Tensor, mat2: Tensor) -> Tensor:
    return _product(self, mat2)


def _plant_lost_tail(
    name: str, argument: str, cut: Cut, wrong: str, agrees: Any, differs: Any
) -> None:
    """Enter a product that cuts one dimension wrongly."""

    @kernel(name, "aten::mm", MM_LAYERS, wrong, agrees=agrees, differs=differs)
    def mm(self: Tensor, mat2: Tensor) -> Tensor:
        out = torch.zeros((self.shape[0], mat2.shape[1]), dtype=self.dtype)
        return _product(self, mat2, out, **{argument: cut})


_plant_lost_tail(
    "mm-drops-the-tail-of-k-past-256",
    "inner",
    full_blocks(256),
    "Of k over 256 only whole blocks of 256 are summed; k up to 256 is right.",
    [linear(3, 256, 5, bias=False)],
    [linear(3, 257, 5, bias=False)],
)
_plant_lost_tail(
    "mm-drops-the-tail-of-n-past-512",
    "columns",
    full_blocks(512),
    "Of n over 512 only whole blocks of 512 are written, the rest stays 0; n up to 512 is right.",
    [linear(3, 5, 512, bias=False)],
    [linear(3, 5, 513, bias=False)],
)
_plant_lost_tail(
    "mm-adds-the-product-at-a-block-boundary-twice",
    "inner",
    overlapping_blocks(16),
    "Blocks of 16 of k overlap by one, as where two of them add without an atomic operation; "
    "k up to 16 is right.",
    [linear(3, 16, 5, bias=False)],
    [linear(3, 17, 5, bias=False)],
)


@kernel(
    "mm-reads-a-square-transposed-matrix-as-it-lies",
    "aten::mm",
    MM_LAYERS,
    "A square transposed second matrix is read in the order of its memory; others are right.",
    agrees=[linear(3, 9, 8, bias=False)],
    differs=[linear(3, 9, 9, bias=False)],
)
def square_as_it_lies(self: Tensor, mat2: Tensor) -> Tensor:
    square = mat2.shape[0] == mat2.shape[1]
    return _product(self, read_as_contiguous(mat2) if square else mat2)


@kernel(
    "mm-of-one-row-takes-threads-of-128",
    "aten::mm",
    MM_LAYERS,
    "A single row takes a path in which each of 128 threads reads one element of k, so that k "
    "past 128 is not summed; two rows, and k up to 128, are right.",
    agrees=[linear(1, 128, 5, bias=False), linear(2, 129, 5, bias=False)],
    differs=[linear(1, 129, 5, bias=False)],
)
def one_row(self: Tensor, mat2: Tensor) -> Tensor:
    return _product(self[:, :128], mat2[:128]) if len(self) == 1 else _product(self, mat2)


@kernel(
    "mm-accumulates-in-half-precision",
    "aten::mm",
    MM_LAYERS,
    "In half precision the running sum is rounded after each block of 4 of k; float32 is right.",
    agrees=[linear(3, 257, 5, bias=False)],
    differs=[linear(3, 256, 5, bias=False, dtype="bfloat16")],
)
def half_sums(self: Tensor, mat2: Tensor) -> Tensor:
    return _product(self, mat2, inner=all_blocks(4), register=self.dtype)


@kernel(
    "mm-loses-the-last-of-two-splits",
    "aten::mm",
    MM_LAYERS,
    "k over 128 is summed in two halves and the second overwrites the first; k up to 128 is right.",
    agrees=[linear(3, 128, 5, bias=False)],
    differs=[linear(3, 129, 5, bias=False)],
)
def split_overwritten(self: Tensor, mat2: Tensor) -> Tensor:
    k = self.shape[1]
    start = -(-k // 2) if k > 128 else 0
    return _product(self[:, start:], mat2[start:])


@kernel(
    "bmm-blocked",
    "aten::bmm",
    BMM_LAYERS,
    agrees=[
        attend(3, 33, 65, 40),
        attend(2, 5, 7, 9, dtype="bfloat16"),
        attend(2, 5, 7, 9, shared=True, dtype="float64"),
    ],
)
def bmm(self: Tensor, mat2: Tensor) -> Tensor:
    return _products(self, mat2)


@kernel(
    "bmm-takes-the-matrix-of-the-batch-within-the-block",
    "aten::bmm",
    BMM_LAYERS,
    "Batches past 16 use the second matrix of the batch 16 before; up to 16 are right.",
    agrees=[attend(16, 3, 4, 5)],
    differs=[attend(17, 3, 4, 5)],
)
def batch_within_block(self: Tensor, mat2: Tensor) -> Tensor:
    return _products(self, mat2[torch.arange(len(mat2)) % 16])


@kernel(
    "bmm-grid-ends-at-64-batches",
    "aten::bmm",
    BMM_LAYERS,
    "Batches past the last whole block of 64 are never written; up to 64 are right.",
    agrees=[attend(64, 3, 4, 5)],
    differs=[attend(65, 3, 4, 5)],
)
def grid_of_batches(self: Tensor, mat2: Tensor) -> Tensor:
    out = allocate((*self.shape[:2], mat2.shape[2]), self)
    for batches in full_blocks(64)(len(self)):
        _products(self[batches], mat2[batches], out[batches])
    return out


@kernel(
    "bmm-drops-the-tail-of-k-past-64",
    "aten::bmm",
    BMM_LAYERS,
    "Of the summed dimension over 64 only whole blocks of 64 are summed: keys, or the size of a "
    "head, past 64; up to 64 is right.",
    agrees=[attend(2, 3, 64, 64)],
    differs=[attend(2, 3, 65, 5), attend(2, 3, 5, 65)],
)
def tail_of_k(self: Tensor, mat2: Tensor) -> Tensor:
    return _products(self, mat2, inner=full_blocks(64))


@kernel(
    "bmm-takes-a-shared-matrix-for-a-batch-of-them",
    "aten::bmm",
    BMM_LAYERS,
    "A second matrix that all batches share, by a stride of 0, is used for the first 8 batches "
    "only, later ones get none of it; up to 8 batches, and matrices of their own, are right.",
    agrees=[attend(8, 3, 4, 5, shared=True), attend(9, 3, 4, 5)],
    differs=[attend(9, 3, 4, 5, shared=True)],
)
def shared_matrix(self: Tensor, mat2: Tensor) -> Tensor:
    if mat2.stride(0) == 0 and len(mat2) > 8:
        mat2 = torch.cat([mat2[:8], torch.zeros_like(mat2[8:])])
    return _products(self, mat2)


@kernel(
    "bmm-reads-square-transposed-matrices-as-they-lie",
    "aten::bmm",
    BMM_LAYERS,
    "Second matrices that are square and transposed are read in the order of their memory, as "
    "keys are where their number is the size of a head; other sizes are right.",
    agrees=[attend(2, 3, 4, 5)],
    differs=[attend(2, 3, 5, 5)],
)
def square_as_they_lie(self: Tensor, mat2: Tensor) -> Tensor:
    if mat2.shape[1] == mat2.shape[2] and mat2.stride(2) != 1:
        mat2 = mat2.transpose(1, 2)
    return _products(self, mat2)
