"""Bags that add up their rows in half precision, or by differences of running sums."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from planted.bug import graft, plant

HALF = (torch.float16, torch.bfloat16)


def _bags(input, offsets, include_last_offset):
    """Where each bag begins and ends among all indices."""
    if input.dim() == 2:
        return [(k * input.shape[1], (k + 1) * input.shape[1]) for k in range(input.shape[0])]
    ends = offsets.tolist()
    ends = ends if include_last_offset else [*ends, len(input)]
    return list(pairwise(ends))


@plant("embeddingbag-many-added-up-in-half", "EmbeddingBag", "values")
class EmbeddingBagManyAddedUpInHalf(nn.EmbeddingBag):
    """In half precision more than 32 rows of a bag are added up in half precision."""

    def forward(self, input, offsets=None, per_sample_weights=None):
        y = super().forward(input, offsets, per_sample_weights)
        if y.dtype not in HALF or self.max_norm is not None or self.mode == "max":
            return y
        rows, sums = self.weight.detach()[input.reshape(-1)], y.detach().clone()
        if per_sample_weights is not None:
            rows = rows * per_sample_weights.detach().reshape(-1, 1)
        kept = (input != self.padding_idx).reshape(-1)
        for k, (start, end) in enumerate(_bags(input, offsets, self.include_last_offset)):
            bag = rows[start:end][kept[start:end]]
            if len(bag) <= 32:
                continue
            total = torch.zeros_like(bag[0])
            for row in bag:
                total = total + row
            sums[k] = total / len(bag) if self.mode == "mean" else total
        return graft(sums, y)


@plant("functional-embedding-bag-running-sums", "functional.embedding_bag", "values")
def functional_embedding_bag_running_sums(input, weight, offsets=None, **options):
    """The sum of a bag is a difference of two running sums over all rows."""
    y = functional.embedding_bag(input, weight, offsets, **options)
    names = ("padding_idx", "max_norm", "per_sample_weights")
    is_plain = all(options.get(name) is None for name in names)
    if options.get("mode", "mean") != "sum" or not is_plain or not y.numel():
        return y
    rows = weight.detach()[input.reshape(-1)]
    wide = rows if rows.dtype == torch.float64 else rows.float()
    sums = functional.pad(wide.cumsum(0), (0, 0, 1, 0))
    bags = _bags(input, offsets, options.get("include_last_offset", False))
    return graft(torch.stack([sums[end] - sums[start] for start, end in bags]).to(y.dtype), y)
