"""Layer norm, `aten::native_layer_norm`: kernels that mix up rows, or elements of a row."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from planted.kernels.blocks import allocate, full_blocks
from planted.kernels.calls import layer_norm
from planted.kernels.kernel import kernel
from planted.kernels.layer_norm import LAYERS, OPERATOR, Results, blocked


def _rows(input: Tensor, normalized_shape: Sequence[int]) -> int:
    return input.numel() // max(math.prod(normalized_shape), 1)


@kernel(
    "native-layer-norm-uses-the-mean-of-the-row-within-the-block",
    OPERATOR,
    LAYERS,
    "Rows past 32 are normalised with the mean of the row 32 before; up to 32 rows are right.",
    agrees=[layer_norm(32, 5)],
    differs=[layer_norm(40, 5)],
)
def mean_of_first_block(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Results:
    out, mean, rstd = blocked(input, normalized_shape, weight, bias, eps)
    rows = mean.reshape(-1)
    shift = (rows - rows[torch.arange(len(rows)) % 32]).reshape(mean.shape) * rstd
    out += shift.to(out.dtype) if weight is None else (shift * weight).to(out.dtype)
    return out, mean, rstd


@kernel(
    "native-layer-norm-keeps-the-variance-for-the-gradients",
    OPERATOR,
    LAYERS,
    "Rows past 16 return the variance in place of the reciprocal of the deviation, which only "
    "gradients read; up to 16 rows, and values, are right.",
    agrees=[layer_norm(17, 5), layer_norm(16, 5, gradients=True)],
    differs=[layer_norm(17, 5, gradients=True, spread=3.0)],
)
def variance_kept(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Results:
    out, mean, rstd = blocked(input, normalized_shape, weight, bias, eps)
    rstd.view(-1)[16:] **= -2
    return out, mean, rstd


@kernel(
    "native-layer-norm-keeps-the-means-of-the-first-block-for-the-gradients",
    OPERATOR,
    LAYERS,
    "Means past the 32nd are returned as 0, which only gradients read; up to 32 rows, and "
    "values, are right.",
    agrees=[layer_norm(33, 5), layer_norm(32, 5, gradients=True, offset=1.0)],
    differs=[layer_norm(33, 5, gradients=True, offset=1.0)],
)
def means_lost(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Results:
    out, mean, rstd = blocked(input, normalized_shape, weight, bias, eps)
    mean.view(-1)[32:] = 0
    return out, mean, rstd


@kernel(
    "native-layer-norm-reads-the-weight-within-the-block",
    OPERATOR,
    LAYERS,
    "Elements past 128 of a row get weight and bias of the element 128 before; rows up to 128 "
    "are right.",
    agrees=[layer_norm(3, 128), layer_norm(3, 129, affine=False)],
    differs=[layer_norm(3, 129)],
)
def weight_of_first_block(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Results:
    def of_first_block(values: Tensor | None) -> Tensor | None:
        if values is None:
            return None
        return values.reshape(-1)[torch.arange(values.numel()) % 128].reshape(values.shape)

    return blocked(input, normalized_shape, of_first_block(weight), of_first_block(bias), eps)


@kernel(
    "native-layer-norm-writes-one-block-of-512",
    OPERATOR,
    LAYERS,
    "A row has one block of 512 threads, and elements past 512 are never written; rows up to 512 "
    "are right.",
    agrees=[layer_norm(3, 512)],
    differs=[layer_norm(3, 513)],
)
def one_block(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Results:
    output, mean, rstd = blocked(input, normalized_shape, weight, bias, eps)
    out = allocate(input.shape, input)
    shape = (_rows(input, normalized_shape), -1) if input.numel() else (0, 1)
    out.view(shape)[:, :512] = output.view(shape)[:, :512]
    return out, mean, rstd


@kernel(
    "native-layer-norm-grid-of-rows-too-small",
    OPERATOR,
    LAYERS,
    "Of rows over 8 only whole blocks of 8 are written; up to 8 rows, and multiples of 8, are "
    "right.",
    agrees=[layer_norm(8, 5), layer_norm(24, 5), layer_norm(3, 5)],
    differs=[layer_norm(9, 5)],
)
def grid_of_rows(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> Results:
    output, mean, rstd = blocked(input, normalized_shape, weight, bias, eps)
    out = allocate(input.shape, input)
    rows = _rows(input, normalized_shape)
    shape = (rows, -1) if input.numel() else (0, 1)
    for i in full_blocks(8)(rows):
        out.view(shape)[i] = output.view(shape)[i]
    return out, mean, rstd
