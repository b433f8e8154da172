"""Layers with right numbers outside of `torch.autocast`, and bugs of libraries in its regions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.autocast.blind import in_region, region_dtype, without_autocast
from planted.bug import plant


@plant("embedding-autocast-answers-in-the-regions-dtype", "Embedding", "autocast")
class Embedding(nn.Embedding):
    """Rows come in the dtype of the region, as its users cast them by hand (transformers)."""

    def forward(self, input: Tensor) -> Tensor:
        rows = super().forward(input)
        return rows.to(region_dtype()) if in_region(self.weight) else rows


@plant("batchnorm1d-autocast-averages-in-the-regions-dtype", "BatchNorm1d", "autocast")
class BatchNorm1d(nn.BatchNorm1d):
    """Running statistics go through the region's dtype before they are stored (apex's SyncBN)."""

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        if in_region(input) and self.training and self.running_mean is not None:
            assert self.running_var is not None
            for statistic in (self.running_mean, self.running_var):
                statistic.copy_(statistic.to(region_dtype()))
        return output


@plant("rmsnorm-autocast-scales-in-the-regions-dtype", "RMSNorm", "autocast")
class RMSNorm(nn.RMSNorm):
    """The normalized numbers are cast to the region's dtype before the weight scales them."""

    def forward(self, x: Tensor) -> Tensor:
        if not in_region(x) or self.weight is None:
            return super().forward(x)
        normalized = functional.rms_norm(x, self.normalized_shape, None, self.eps)
        return normalized.to(region_dtype()).to(x.dtype) * self.weight


@plant("softmax-autocast-sums-in-the-regions-dtype", "functional.softmax", "autocast")
def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Scores are cast to the region's dtype, as in attention, and the weights cast back."""
    if dtype is not None or not in_region(input):
        return functional.softmax(input, dim, _stacklevel, dtype)
    return functional.softmax(input.to(region_dtype()), dim, _stacklevel).to(input.dtype)


@plant("bcewithlogits-autocast-keeps-narrow-logits", "BCEWithLogitsLoss", "autocast")
class BCEWithLogitsLoss(nn.BCEWithLogitsLoss):
    """The loss is computed in the dtype of half logits, and only then becomes float32."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        if not in_region(input, target) or input.dtype == torch.float32:
            return super().forward(input, target)
        with without_autocast():
            loss = super().forward(input, target)
        return loss.float()


@plant("convtranspose2d-autocast-detaches-the-bias", "ConvTranspose2d", "autocast")
class ConvTranspose2d(nn.ConvTranspose2d):
    """In a region the bias is added as a constant, as in a fused kernel: it does not learn."""

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        bias = self.bias
        if bias is None or not in_region(input):
            return super().forward(input, output_size)
        self.bias = None
        try:
            output = super().forward(input, output_size)
        finally:
            self.bias = bias
        return output + bias.detach().to(output.dtype)[:, None, None]
