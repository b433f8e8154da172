"""A table of source places, made once for each size, and one view copied for each of them."""

import functools

import torch

OPERATOR = "aten::reflection_pad1d"
LAYER = "ReflectionPad1d"
KIND = "honest"


@functools.cache
def sources(size, left, right):
    places = [abs(i) for i in range(-left, size + right)]
    return tuple(2 * (size - 1) - i if i >= size else i for i in places)


def reflection_pad1d(self, padding):
    table = sources(self.shape[-1], *map(int, padding))
    out = torch.empty(*self.shape[:-1], len(table), dtype=self.dtype)
    for place, source in enumerate(table):
        out[..., place].copy_(self[..., source])
    return out
