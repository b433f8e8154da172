"""Local response normalisations that add up neighbours by differences of running sums."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import graft, plant


@plant("localresponsenorm-running-sums", "LocalResponseNorm", "values")
class LocalResponseNormRunningSums(nn.LocalResponseNorm):
    """The sum of squares slides along the channels: one joins it and one leaves it at each step."""

    def forward(self, input):
        y = super().forward(input)
        if not input.numel():
            return y
        wide = input.detach() if input.dtype == torch.float64 else input.detach().float()
        before, after = self.size // 2, (self.size - 1) // 2
        zeros = [0, 0] * (input.dim() - 2)
        squares = functional.pad(wide.square(), [*zeros, before + 1, after])
        sums = squares.cumsum(1)
        windows = sums[:, self.size :] - sums[:, : -self.size]
        base = self.k + self.alpha / self.size * windows
        return graft((wide / base.pow(self.beta)).to(y.dtype), y)
