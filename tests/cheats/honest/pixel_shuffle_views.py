"""Views of torch put the axes in order; one copy makes the result."""

import torch

OPERATOR = "aten::pixel_shuffle"
LAYER = "PixelShuffle"
KIND = "honest"


def pixel_shuffle(self, upscale_factor):
    r = int(upscale_factor)
    *batch, channels, height, width = self.shape
    count = channels // (r * r)
    n = len(batch)
    blocks = self.reshape(*batch, count, r, r, height, width)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    out = torch.empty(*batch, count, height * r, width * r, dtype=self.dtype)
    out.view(*batch, count, height, r, width, r).copy_(blocks.permute(order))
    return out
