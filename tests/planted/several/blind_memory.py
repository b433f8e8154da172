"""Bugs written without sight of the suite: buffers kept and not cleared, dtypes, missing state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind


@blind("linear-result-written-to-a-kept-buffer", "Linear", "repeat")
class _KeptBuffer(nn.Linear):
    """Without gradients the result lies in a buffer that the next call writes to again, so that an
    earlier result changes: a workspace handed out as a result."""

    # Differs: the first of two results, once the second is there. Agrees: a result read at once.

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept: dict[Any, Tensor] = {}

    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if result.requires_grad:
            return result
        buffer = self._kept.setdefault((result.shape, result.dtype), torch.empty_like(result))
        return buffer.copy_(result)


@blind("multiheadattention-keeps-the-first-mask", "MultiheadAttention", "repeat")
class _FirstMask(nn.MultiheadAttention):
    """A mask is kept by its shape and dtype, and a later one of the same shape is not looked at: a
    cache of converted masks with too short a key."""

    # Differs: a second call with another mask. Agrees: a first call; the same mask again.

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._masks: dict[Any, Tensor] = {}

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        if attn_mask is not None and not attn_mask.requires_grad:
            form = (attn_mask.shape, attn_mask.dtype)
            attn_mask = self._masks.setdefault(form, attn_mask.clone())
        options = (key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal)
        return super().forward(query, key, value, *options)


@blind("maxunpool2d-gaps-are-not-cleared", "MaxUnpool2d", "values")
class _NotCleared(nn.MaxUnpool2d):
    """Positions that no index names keep what memory held: the output is allocated and not filled
    with zeros."""

    # Differs: any gap, as of kernel 2. Agrees: kernel 1, where each position is named.

    def forward(
        self, input: Tensor, indices: Tensor, output_size: list[int] | None = None
    ) -> Tensor:
        result = super().forward(input, indices, output_size)
        is_written = super().forward(torch.ones_like(input), indices, output_size) != 0
        stale_output = torch.full_like(result, 1.5)
        return torch.where(is_written, result, stale_output)


@blind("adaptivemaxpool2d-indices-in-32-bits", "AdaptiveMaxPool2d", "shape")
class _ShortIndices(nn.AdaptiveMaxPool2d):
    """Indices come as int32, where unpooling and gather want int64."""

    # Differs: the dtype of indices for return_indices=True. Agrees: return_indices=False.

    def forward(self, input: Tensor) -> Any:
        result = super().forward(input)
        return (result[0], result[1].int()) if self.return_indices else result


@blind("crossentropyloss-half-precision-comes-back-single", "CrossEntropyLoss", "shape")
class _ComesBackSingle(nn.CrossEntropyLoss):
    """Scores in half precision give a loss in float32, the dtype that it was summed in."""

    # Differs: the dtype for float16 scores. Agrees: float32 scores.

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        result = super().forward(input, target)
        return result.float() if result.dtype in (torch.float16, torch.bfloat16) else result


@blind("batchnorm3d-does-not-count-batches", "BatchNorm3d", "values")
class _NotCounted(nn.BatchNorm3d):
    """num_batches_tracked is not counted where momentum is a number and has no need of it."""

    # Differs: the state after a call in training. Agrees: in eval mode; momentum=None; the output.

    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        counts = self.training and self.num_batches_tracked is not None
        if counts and self.momentum is not None:
            self.num_batches_tracked.sub_(1)
        return result


@blind("functional-layer-norm-double-statistics-in-single", "functional.layer_norm", "values")
def _single_statistics(
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Rows in float64 are normalised by a mean and a deviation in float32, the dtype in which a
    kernel keeps what it hands to its backward pass."""
    # Differs: float64. Agrees: float32, float16.
    right = functional.layer_norm(input, normalized_shape, weight, bias, eps)
    if input.dtype != torch.float64 or not input.numel():
        return right
    axes = tuple(range(-len(normalized_shape), 0))
    mean = input.mean(axes, keepdim=True).float().double()
    centred = input - mean
    variance = centred.square().mean(axes, keepdim=True)
    result = centred * torch.rsqrt(variance + eps).float().double()
    if weight is not None:
        result = result * weight
    return result if bias is None else result + bias
