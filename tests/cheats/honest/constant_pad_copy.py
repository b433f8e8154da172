"""A new tensor full of the value, and the input copied into its middle; negative pads cut."""

import torch

OPERATOR = "aten::constant_pad_nd"
LAYER = "ZeroPad1d"
KIND = "honest"


def constant_pad_nd(self, pad, value=0):
    shape, source, place = list(self.shape), self, []
    for axis in range(len(pad) // 2):
        dim = self.dim() - 1 - axis
        before, after = int(pad[2 * axis]), int(pad[2 * axis + 1])
        shape[dim] += before + after
        start, end = max(-before, 0), self.shape[dim] - max(-after, 0)
        source = source.narrow(dim, start, end - start)
        place.append((dim, max(before, 0), end - start))
    out = torch.full(shape, value, dtype=self.dtype)
    inner = out
    for dim, start, length in place:
        inner = inner.narrow(dim, start, length)
    inner.copy_(source)
    return out
