"""Bugs of embeddings, written without sight of the checks that are to find them."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft


def _bag_positions(
    input: Tensor, offsets: Tensor | None, include_last_offset: bool
) -> list[Tensor]:
    """The positions of each bag within the flattened input."""
    places = torch.arange(input.numel())
    if offsets is None:
        return list(places.view(input.shape))
    ends = [*offsets.tolist(), input.numel()]
    if include_last_offset:
        ends = ends[:-1]
    return [places[a:b] for a, b in itertools.pairwise(ends)]


# Embedding


@blind("embedding-frequency-within-a-sample", "Embedding", "gradients")
class EmbeddingFrequencyWithinSample(nn.Embedding):
    """`scale_grad_by_freq` counts an index within its sample, not within the mini-batch.

    A word that is once in each of N samples gets N times the gradient.
    """

    # Differs: scale_grad_by_freq, indices [[0], [0]]. Agrees: [[0, 0]], [[0], [1]].
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if not self.scale_grad_by_freq or input.dim() < 2 or input.numel() == 0 or self.sparse:
            return result
        rows = input.reshape(input.shape[0], -1)
        own_counts = (rows[:, :, None] == rows[:, None, :]).sum(2).view(input.shape)
        total_counts = torch.bincount(input.flatten().long())[input.long()]
        factor = (total_counts / own_counts)[..., None].to(result.dtype)
        return alter_gradient(result, lambda gradient: gradient * factor)


@blind("embedding-max-norm-on-every-row", "Embedding", "values")
class EmbeddingMaxNormOnEveryRow(nn.Embedding):
    """`max_norm` shrinks the whole table at each call, not the rows looked up alone."""

    # Differs: the weight at rows not looked up. Agrees: all rows looked up.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.max_norm is not None and input.numel():
            every = torch.arange(self.num_embeddings)
            functional.embedding(every, self.weight, None, self.max_norm, self.norm_type)
        return result


@blind("embedding-infinite-norm-as-two", "Embedding", "values")
class EmbeddingInfiniteNormAsTwo(nn.Embedding):
    """`norm_type=inf` falls back to the Euclidean norm, as a sum of powers cannot have it.

    Rows of n equal elements come out up to sqrt(n) times too small.
    """

    # Differs: norm_type=inf, max_norm=1, a row of (1, 1). Agrees: norm_type=2.
    def forward(self, input: Tensor) -> Tensor:
        norm_type = 2.0 if self.norm_type == math.inf else self.norm_type
        return functional.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )


@blind("embedding-renormalised-after-reading", "functional.embedding", "values")
def embedding_renormalised_after_reading(
    input,
    weight,
    padding_idx=None,
    max_norm=None,
    norm_type=2.0,
    scale_grad_by_freq=False,
    sparse=False,
):
    """Rows are looked up first and the table renormalised afterwards.

    The first call returns rows longer than `max_norm`, the second does not.
    """
    # Differs: max_norm=1, a row of norm 2. Agrees: the same call again.
    raw = weight.detach()[input.long()] if max_norm is not None else None
    arguments = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    result = functional.embedding(input, weight, *arguments)
    return result if raw is None else graft(raw, result)


@blind("embedding-padding-of-minus-one-is-none", "functional.embedding", "gradients")
def embedding_padding_of_minus_one_is_none(
    input,
    weight,
    padding_idx=None,
    max_norm=None,
    norm_type=2.0,
    scale_grad_by_freq=False,
    sparse=False,
):
    """`padding_idx=-1`, the last row, is taken for the kernel's own sign of no padding.

    The padding row gets gradients, and is trained.
    """
    # Differs: padding_idx=-1, the gradient of the last row. Agrees: padding_idx=-2.
    padding = None if padding_idx == -1 else padding_idx
    arguments = (padding, max_norm, norm_type, scale_grad_by_freq, sparse)
    return functional.embedding(input, weight, *arguments)


@blind("embedding-padding-comes-out-as-zero", "functional.embedding", "values")
def embedding_padding_comes_out_as_zero(
    input,
    weight,
    padding_idx=None,
    max_norm=None,
    norm_type=2.0,
    scale_grad_by_freq=False,
    sparse=False,
):
    """Padding gives zeros whatever its row holds: torch 1.8.0 read it so too (#53368)."""
    # Differs: padding_idx=0, a row 0 of ones. Agrees: a row 0 of zeros.
    arguments = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    result = functional.embedding(input, weight, *arguments)
    if padding_idx is None:
        return result
    row = padding_idx % weight.shape[0]
    return torch.where((input == row)[..., None], torch.zeros_like(result), result)


@blind("embedding-duplicates-across-chunks-overwrite", "Embedding", "gradients")
class EmbeddingDuplicatesAcrossChunksOverwrite(nn.Embedding):
    """Backward sums duplicates within chunks of 32 positions; chunks overwrite each other's rows.

    Of an index in two chunks only the later chunk's gradient is left.
    """

    # Differs: one index 33 times. Agrees: 32 times; 64 distinct ones.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.numel() <= 32:
            return result
        flat = input.flatten().tolist()
        last = {index: place // 32 for place, index in enumerate(flat)}
        is_last = torch.tensor([last[index] == k // 32 for k, index in enumerate(flat)])
        is_last = is_last.view(input.shape)[..., None].to(result.dtype)
        return alter_gradient(result, lambda gradient: gradient * is_last)


# EmbeddingBag


@blind("embeddingbag-mean-gradient-counts-padding", "EmbeddingBag", "gradients")
class EmbeddingBagMeanGradientCountsPadding(nn.EmbeddingBag):
    """Backward of the mean divides by the bag's length, forward by its entries but padding.

    A bag that is half padding is trained at half the rate.
    """

    # Differs: the gradient of a bag (1, 0), padding_idx=0. Agrees: a bag (1, 2).
    def forward(self, input, offsets=None, per_sample_weights=None):
        result = super().forward(input, offsets, per_sample_weights)
        if self.mode != "mean" or self.padding_idx is None or input.numel() == 0:
            return result
        flat = input.flatten()
        shares = []
        for bag in _bag_positions(input, offsets, self.include_last_offset):
            unpadded = int((flat[bag] != self.padding_idx).sum())
            shares.append(unpadded / len(bag) if unpadded else 1.0)
        factor = torch.tensor(shares, dtype=result.dtype)[:, None]
        return alter_gradient(result, lambda gradient: gradient * factor)


@blind("embeddingbag-max-gradient-as-of-the-mean", "EmbeddingBag", "gradients")
class EmbeddingBagMaxGradientAsMean(nn.EmbeddingBag):
    """Backward of the maximum goes to all entries alike: the kernel knows sum and else mean.

    As in FlagGems #5220. Right for bags of one entry.
    """

    # Differs: the gradient of a bag of two rows, mode="max". Agrees: mode="mean".
    def forward(self, input, offsets=None, per_sample_weights=None):
        result = super().forward(input, offsets, per_sample_weights)
        if self.mode != "max" or input.numel() == 0:
            return result
        path = functional.embedding_bag(
            input,
            self.weight,
            offsets,
            mode="mean",
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )
        return graft(result, path)


@blind("embeddingbag-maximum-of-padding-alone", "EmbeddingBag", "values")
class EmbeddingBagMaximumOfPaddingAlone(nn.EmbeddingBag):
    """A bag of nothing but padding has the maximum -inf; only a bag without entries is 0."""

    # Differs: mode="max", padding_idx=0, a bag (0,). Agrees: an empty bag; a bag (0, 1).
    def forward(self, input, offsets=None, per_sample_weights=None):
        result = super().forward(input, offsets, per_sample_weights)
        if self.mode != "max" or self.padding_idx is None or input.numel() == 0:
            return result
        flat = input.flatten()
        bags = _bag_positions(input, offsets, self.include_last_offset)
        only_padding = [len(b) > 0 and bool((flat[b] == self.padding_idx).all()) for b in bags]
        return torch.where(torch.tensor(only_padding)[:, None], -torch.inf, result)


def _embedding_bag(input, weight, offsets, options):
    return functional.embedding_bag(input, weight, offsets, *options)


@blind("embeddingbag-padding-of-minus-one-is-none", "functional.embedding_bag", "values")
def embeddingbag_padding_of_minus_one_is_none(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """`padding_idx=-1`, the last row, is the kernel's own sign of no padding: it is summed too."""
    # Differs: padding_idx=-1, a bag with the last row. Agrees: padding_idx=-2.
    padding = None if padding_idx == -1 else padding_idx
    options = (max_norm, norm_type, scale_grad_by_freq, mode, sparse, per_sample_weights)
    return _embedding_bag(input, weight, offsets, (*options, include_last_offset, padding))


@blind("embeddingbag-weights-gradient-at-padding", "functional.embedding_bag", "gradients")
def embeddingbag_weights_gradient_at_padding(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """Weights of padding entries get gradients, as if padding were summed (FlagGems #3683).

    Learned weights of absent words drift.
    """
    # Differs: the per-sample weights' gradient at padding. Agrees: without padding.
    options = (max_norm, norm_type, scale_grad_by_freq, mode, sparse, per_sample_weights)
    result = _embedding_bag(input, weight, offsets, (*options, include_last_offset, padding_idx))
    if per_sample_weights is None or padding_idx is None or not per_sample_weights.requires_grad:
        return result
    is_padding = (input == padding_idx % weight.shape[0]).to(weight.dtype)
    options = (None, 2, False, "sum", False, per_sample_weights * is_padding, include_last_offset)
    return graft(result, result + _embedding_bag(input, weight.detach(), offsets, options))


@blind("embeddingbag-frequency-within-a-bag", "EmbeddingBag", "gradients")
class EmbeddingBagFrequencyWithinBag(nn.EmbeddingBag):
    """`scale_grad_by_freq` counts within a bag: an index once in each of N bags gets N times."""

    # Differs: scale_grad_by_freq, bags (0,) and (0,). Agrees: one bag.
    def forward(self, input, offsets=None, per_sample_weights=None):
        result = super().forward(input, offsets, per_sample_weights)
        if not self.scale_grad_by_freq or self.mode == "max" or input.numel() == 0 or self.sparse:
            return result
        flat = input.flatten().long()
        total_counts = torch.bincount(flat, minlength=self.num_embeddings)
        factor = torch.ones(flat.shape, dtype=result.dtype)
        bags = _bag_positions(input, offsets, self.include_last_offset)
        if sum(len(flat[bag].unique()) for bag in bags) == len(flat.unique()):
            return result  # no index is in two bags
        for bag in bags:
            own_counts = torch.bincount(flat[bag], minlength=self.num_embeddings)
            factor[bag] = (total_counts / own_counts.clamp_min(1))[flat[bag]].to(result.dtype)
        rows = functional.embedding(flat, self.weight, self.padding_idx, scale_grad_by_freq=True)
        rows = alter_gradient(rows, lambda gradient: gradient * factor[:, None])
        if per_sample_weights is not None:
            rows = rows * per_sample_weights.flatten()[:, None]
        unpadded = torch.ones_like(flat, dtype=result.dtype)
        if self.padding_idx is not None:
            unpadded = (flat != self.padding_idx).to(result.dtype)
        sums = [(rows[bag] * unpadded[bag, None]).sum(0) for bag in bags]
        if self.mode == "mean":
            sums = [s / unpadded[b].sum().clamp_min(1) for s, b in zip(sums, bags, strict=True)]
        return graft(result, torch.stack(sums)) if sums else result
