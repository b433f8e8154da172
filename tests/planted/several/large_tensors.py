"""Indices of 16 bits: wrong from the 65,537th element on, in tensors, windows and tables."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from planted.bug import alter_gradient, graft, plant

LIMIT = 2**16


def _wrap(tensor: Tensor) -> Tensor:
    """The tensor with elements from the 65,537th on read from its beginning again."""
    if tensor.numel() <= LIMIT:
        return tensor
    flat = tensor.detach().reshape(-1)
    places = torch.arange(flat.numel()) % LIMIT
    return graft(flat[places].reshape(tensor.shape), tensor)


@plant("relu-index-of-16-bits", "ReLU", "values")
class ReluIndexOf16Bits(nn.ReLU):
    """Elements are counted in 16 bits: behind 65,536 the first ones come again."""

    def forward(self, input):
        return super().forward(_wrap(input))


@plant("gelu-gradient-index-of-16-bits", "GELU", "gradients")
class GeluGradientIndexOf16Bits(nn.GELU):
    """The backward pass counts elements in 16 bits."""

    def forward(self, input):
        return alter_gradient(super().forward(input), _wrap)


@plant("embedding-rows-of-16-bits", "Embedding", "values")
class EmbeddingRowsOf16Bits(nn.Embedding):
    """Rows are looked up by indices of 16 bits."""

    def forward(self, input):
        return super().forward(input % LIMIT)


@plant("linear-batch-past-65536", "Linear", "values")
class LinearBatchPast65536(nn.Linear):
    """A grid has at most 65,535 blocks in its second dimension: rows behind it stay 0 (CUDA)."""

    def forward(self, input):
        right = super().forward(input)
        if right.dim() < 2 or right.shape[:-1].numel() <= LIMIT:
            return right
        rows = torch.arange(right.shape[:-1].numel()).reshape(*right.shape[:-1], 1)
        return torch.where(rows < LIMIT, right, torch.zeros_like(right))


@plant("softmax-rows-past-65536", "Softmax", "values")
class SoftmaxRowsPast65536(nn.Softmax):
    """A row's elements are counted in 16 bits: the last ones do not count in the sum."""

    def forward(self, input):
        if input.numel() <= LIMIT or input.shape[self.dim or 0] <= LIMIT:
            return super().forward(input)
        axis = self.dim or 0
        head = input.narrow(axis, 0, LIMIT).logsumexp(axis, keepdim=True)
        return (input - head).exp()


@plant("mse-loss-mean-of-the-first-65536", "MSELoss", "values")
class MseLossMeanOfTheFirst65536(nn.MSELoss):
    """The count of a mean is of 16 bits."""

    def forward(self, input, target):
        right = super().forward(input, target)
        if self.reduction == "mean" and input.shape == target.shape and input.numel() > LIMIT:
            return right * (input.numel() / (input.numel() % LIMIT))
        return right


@plant("layernorm-rows-past-65536", "LayerNorm", "values")
class LayerNormRowsPast65536(nn.LayerNorm):
    """Rows are counted in 16 bits: those behind 65,536 are left as they are."""

    def forward(self, input):
        right = super().forward(input)
        rows = input[(...,) + (0,) * len(self.normalized_shape)]
        if rows.numel() <= LIMIT:
            return right
        places = torch.arange(rows.numel()).reshape(rows.shape)
        places = places.reshape(*rows.shape, *(1 for _ in self.normalized_shape))
        return torch.where(places < LIMIT, right, input)
