"""Interpolation whose lengths and bounds are computed in floating point."""

from __future__ import annotations

import math

import numpy as np
from torch import nn
from torch.nn import functional

from planted.bug import plant
from planted.interpolation.history import NAME, _matrices, _output_lengths, _per_axis, _resize

_right = functional.interpolate


def _bounds_of_shares(i, length, outputs):
    """The bounds of a region in float32: a share of the outputs times the length."""
    start, end = (np.float32(k) / np.float32(outputs) * np.float32(length) for k in (i, i + 1))
    return math.floor(start), min(math.ceil(end), length)


def _share(i, length, outputs):
    start, end = _bounds_of_shares(i, length, outputs)
    return [(start <= j < end) / (end - start) for j in range(length)]


@plant("interpolate-area-of-a-share", NAME, "values")
def interpolate_area_of_a_share(input, size=None, scale_factor=None, mode="nearest", **options):
    """An area reaches from floor((i / o) * L) to the next one's end, in float32."""
    outputs = _output_lengths(input, size, scale_factor)
    is_right = all(
        _bounds_of_shares(i, n, o) == (i * n // o, -(-(i + 1) * n // o))
        for n, o in zip(input.shape[2:], outputs, strict=True)
        for i in range(o)
    )
    if mode != "area" or is_right:
        return _right(input, size, scale_factor, mode, **options)
    return _resize(input, _matrices(input, outputs, _share))


@plant("upsample-length-in-float32", "Upsample", "shape")
class UpsampleLengthInFloat32(nn.Upsample):
    """Factors are stored in float32, as in a Resize of ONNX, and a whole product loses one."""

    def forward(self, input):
        if self.size is not None:
            return super().forward(input)
        factors = [float(np.float32(f)) for f in _per_axis(self.scale_factor, input.dim() - 2)]
        lengths = [int(n * f) for n, f in zip(input.shape[2:], factors, strict=True)]
        if lengths == list(_output_lengths(input, None, self.scale_factor)):
            return super().forward(input)
        return _right(input, lengths, mode=self.mode, align_corners=self.align_corners)
