"""Windows of the padded input are views; each offset of the kernel is copied to its row."""

import itertools

import torch

OPERATOR = "aten::im2col"
LAYER = "Unfold"
KIND = "honest"


def im2col(self, kernel_size, dilation, padding, stride):
    k, d, p, s = (tuple(v) * (2 // len(v)) for v in (kernel_size, dilation, padding, stride))
    x = self if self.dim() == 4 else self[None]
    n, c, h, w = x.shape
    padded = torch.zeros(n, c, h + 2 * p[0], w + 2 * p[1], dtype=x.dtype)
    padded[:, :, p[0] : p[0] + h, p[1] : p[1] + w].copy_(x)
    sizes = [(padded.shape[2 + i] - d[i] * (k[i] - 1) - 1) // s[i] + 1 for i in (0, 1)]
    out = torch.empty(n, c, k[0], k[1], *sizes, dtype=x.dtype)
    for a, b in itertools.product(range(k[0]), range(k[1])):
        rows = slice(a * d[0], a * d[0] + (sizes[0] - 1) * s[0] + 1, s[0])
        columns = slice(b * d[1], b * d[1] + (sizes[1] - 1) * s[1] + 1, s[1])
        out[:, :, a, b].copy_(padded[:, :, rows, columns])
    out = out.view(n, c * k[0] * k[1], sizes[0] * sizes[1])
    return out if self.dim() == 4 else out[0]
