"""Bugs written without sight of the suite: embeddings and dropout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft


@blind(
    "functional-embedding-negative-padding-index-not-masked", "functional.embedding", "gradients"
)
def _not_masked(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """A padding_idx counted from the end is compared with the indices as it is, never matches,
    and its row gets a gradient."""
    # Differs: padding_idx=-1 and an index of the last row. Agrees: padding_idx=2; every value.
    if padding_idx is not None and -weight.size(0) <= padding_idx < 0:
        padding_idx = None
    return functional.embedding(
        input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
    )


@blind("embedding-frequencies-counted-by-rows", "Embedding", "gradients")
class _CountedByRows(nn.Embedding):
    """scale_grad_by_freq counts an index within its row of the batch, not in all of it."""

    # Differs: the gradient for [[1], [1]]. Agrees: for [1, 1] and [[1, 1]]; every value.

    def forward(self, input: Tensor) -> Tensor:
        if not self.scale_grad_by_freq or input.dim() < 2 or self.sparse:
            return super().forward(input)
        padding, norm = self.padding_idx, self.max_norm
        result = functional.embedding(input, self.weight, padding, norm, self.norm_type)
        counts = (input.unsqueeze(-1) == input.unsqueeze(-2)).sum(-1)
        return alter_gradient(result, lambda gradient: gradient / counts.unsqueeze(-1))


@blind("embedding-indices-read-as-contiguous", "Embedding", "layout")
class _IndexMemory(nn.Embedding):
    """The indices' memory is taken for contiguous: strides are only asked of the weight."""

    # Differs: indices.t() of (2, 3). Agrees: contiguous indices.

    def forward(self, input: Tensor) -> Tensor:
        if not input.is_contiguous() and input.numel():
            length = input.untyped_storage().nbytes() // input.element_size()
            memory = input.as_strided((length - input.storage_offset(),), (1,))
            memory = memory.repeat(-(-input.numel() // memory.numel()))
            input = memory[: input.numel()].view(input.shape).clamp(0, self.num_embeddings - 1)
        return super().forward(input)


@blind("embeddingbag-mean-divides-by-padding-too", "EmbeddingBag", "values")
class _PaddingCounted(nn.EmbeddingBag):
    """The mean of a bag divides by all of its entries, those of padding_idx too, which are left
    out of the sum."""

    # Differs: mode="mean", padding_idx=0 and a bag [0, 1]. Agrees: a bag without padding.

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Any = None
    ) -> Tensor:
        result = super().forward(input, offsets, per_sample_weights)
        if self.mode != "mean" or self.padding_idx is None or input.dim() != 2:
            return result
        unpadded = (input != self.padding_idx).sum(1, keepdim=True)
        factor = (unpadded / max(input.size(1), 1)).to(result.dtype)
        return torch.where(unpadded < input.size(1), result * factor, result)


@blind("embeddingbag-maximum-of-no-entries-is-minus-infinity", "EmbeddingBag", "values")
class _EmptyMaximum(nn.EmbeddingBag):
    """An empty bag's maximum is minus infinity, the start of the fold, where torch gives zeros."""

    # Differs: mode="max", offsets [0, 0]. Agrees: bags that have entries; mode="sum".

    def forward(
        self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Any = None
    ) -> Tensor:
        result = super().forward(input, offsets, per_sample_weights)
        if self.mode != "max" or offsets is None:
            return result
        ends = offsets
        if not self.include_last_offset:
            ends = torch.cat([offsets, offsets.new_tensor([input.numel()])])
        empty = (ends[1:] <= ends[:-1]).unsqueeze(-1)
        return torch.where(empty, torch.full_like(result, -torch.inf), result)


@blind("embeddingbag-new-padding-row-is-not-zero", "EmbeddingBag", "state")
class _PaddingDrawn(nn.EmbeddingBag):
    """A new layer's row of padding_idx is drawn as the others are; it should be zeros."""

    # Differs: the weight of a new EmbeddingBag(4, 2, padding_idx=1). Agrees: padding_idx=None.

    def _fill_padding_idx_with_zero(self) -> None:
        pass


@blind("functional-embedding-bag-weights-get-no-gradient", "functional.embedding_bag", "gradients")
def _constant_weights(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """per_sample_weights get zeros for a gradient: a backward that knows the table alone."""
    # Differs: the gradient of per_sample_weights. Agrees: every value; the table's gradient.
    if per_sample_weights is not None:
        per_sample_weights = alter_gradient(per_sample_weights, torch.zeros_like)
    norm = (max_norm, norm_type, scale_grad_by_freq, mode, sparse)
    last = (per_sample_weights, include_last_offset, padding_idx)
    return functional.embedding_bag(input, weight, offsets, *norm, *last)


@blind("dropout3d-one-mask-for-the-batch", "Dropout3d", "random")
class _OneMask(nn.Dropout3d):
    """All samples of a batch lose the same channels: the mask's shape lacks the batch."""

    # Differs: a batch of 8 in training. Agrees: a batch of 1; in eval mode.

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.inplace or input.dim() != 5 or input.size(0) < 2:
            return super().forward(input)
        mask = functional.dropout(torch.ones_like(input[:1, :, :1, :1, :1]), self.p)
        return torch.where(mask == 0, input * 0, input * mask)


@blind("dropout-tail-past-fours-is-always-kept", "Dropout", "random")
class _TailKept(nn.Dropout):
    """The last elements past a multiple of four are never dropped: one random call serves four,
    and the tail's branch only scales."""

    # Differs: 7 elements in training. Agrees: 8 elements; in eval mode.

    def forward(self, input: Tensor) -> Tensor:
        count = input.numel()
        if not self.training or self.inplace or not 0 < self.p < 1 or count % 4 == 0:
            return super().forward(input)
        tail = (torch.arange(count) >= count // 4 * 4).view(input.shape)
        return torch.where(tail, input / (1 - self.p), super().forward(input))


@blind("functional-dropout-backward-draws-anew", "functional.dropout", "random")
def _drawn_anew(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """The backward pass draws its own mask, as the generator's state was not kept for it."""
    # Differs: the gradient at p=0.5. Agrees: p=0; training=False; every value.
    value = functional.dropout(input, p, training, inplace)
    if not training or inplace or not 0 < p < 1:
        return value
    with torch.random.fork_rng(devices=[]):
        return graft(value, functional.dropout(input, p))


@blind("dropout1d-in-place-leaves-its-input", "Dropout1d", "values")
class _NotInPlace(nn.Dropout1d):
    """inplace=True is taken and not acted on: the input stays as it was."""

    # Differs: the input after inplace=True in training. Agrees: inplace=False; the result.

    def forward(self, input: Tensor) -> Tensor:
        return functional.dropout1d(input, self.p, self.training, False)
