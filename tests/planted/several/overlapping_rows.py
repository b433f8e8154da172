"""Strides that overlap, as those of a signal's frames: wrong where two places are one in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import graft, plant, read_as_contiguous


def _overlaps(x: Tensor) -> bool:
    """Whether two places of a tensor are one in memory, other than by strides of 0."""
    axes = sorted(
        (stride, size) for stride, size in zip(x.stride(), x.shape, strict=True) if size > 1
    )
    reach = 0
    for stride, size in axes:
        if 0 < stride <= reach:
            return True
        reach += stride * (size - 1)
    return False


def _in_its_memory(x: Tensor, result: Tensor) -> Tensor:
    """The result as it comes out of memory with the strides of `x`: the last write wins."""
    if not _overlaps(x) or x.shape != result.shape:
        return result
    places = torch.zeros(x.shape, dtype=torch.int64)
    for axis, (size, stride) in enumerate(zip(x.shape, x.stride(), strict=True)):
        shape = [1] * x.dim()
        shape[axis] = size
        places = places + torch.arange(size).reshape(shape) * stride
    memory = torch.zeros(int(places.max()) + 1, dtype=result.dtype)
    memory[places.reshape(-1)] = result.detach().reshape(-1)
    return graft(memory[places], result)


@plant("gelu-frames-taken-for-contiguous", "GELU", "layout")
class GeluFramesTakenForContiguous(nn.GELU):
    """An elementwise kernel walks through memory in one line, although rows overlap."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input) if _overlaps(input) else input)


@plant("softmax-result-with-the-strides-of-frames", "Softmax", "layout")
class SoftmaxResultWithTheStridesOfFrames(nn.Softmax):
    """The result gets the strides of the input: rows that overlap overwrite each other."""

    def forward(self, input):
        return _in_its_memory(input, super().forward(input))


@plant("layernorm-result-with-the-strides-of-frames", "LayerNorm", "layout")
class LayerNormResultWithTheStridesOfFrames(nn.LayerNorm):
    """The result gets the strides of the input: rows that overlap overwrite each other."""

    def forward(self, input):
        return _in_its_memory(input, super().forward(input))


@plant("linear-rows-of-frames-taken-for-contiguous", "Linear", "layout")
class LinearRowsOfFramesTakenForContiguous(nn.Linear):
    """A last stride of 1 is taken for a contiguous matrix: frames are read side by side."""

    def forward(self, input):
        if input.dim() > 1 and _overlaps(input):
            input = read_as_contiguous(input)
        return super().forward(input)


@plant("conv1d-rows-of-frames-taken-for-contiguous", "Conv1d", "layout")
class Conv1dRowsOfFramesTakenForContiguous(nn.Conv1d):
    """Channels that overlap in memory are read side by side."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input) if _overlaps(input) else input)


@plant("functional-normalize-of-frames-in-place", "functional.normalize", "layout")
def functional_normalize_of_frames_in_place(input, p=2.0, dim=1, eps=1e-12, out=None):
    """The division happens in a copy that keeps the strides: frames overwrite each other."""
    return _in_its_memory(input, functional.normalize(input, p, dim, eps))
