"""ReflectionPad1d–3d and ReplicationPad1d–3d."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import plant, read_as_contiguous, reroute

_PAD = functional.pad


def _sides(numbers):
    """(before, after) of each dimension, the last one first."""
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def _flatten_sides(sides):
    return tuple(n for side in sides for n in side)


@plant("reflection-pad1d-edge-again", "ReflectionPad1d", "values")
class ReflectionPad1dEdgeAgain(nn.ReflectionPad1d):
    """The edge is met twice: NumPy's symmetric for its reflect."""

    def forward(self, input):
        before, after = self.padding
        if min(before, after) < 0 or not input.numel():
            return super().forward(input)
        ends = (input[..., :before].flip(-1), input, input[..., input.shape[-1] - after :].flip(-1))
        return torch.cat(ends, -1)


@plant("reflection-pad2d-height-first", "ReflectionPad2d", "values")
class ReflectionPad2dHeightFirst(nn.ReflectionPad2d):
    """The four numbers are (top, bottom, left, right), where that gives the same shape."""

    def forward(self, input):
        width, height = _sides(self.padding)
        output = super().forward(input)
        is_valid = max(height) < input.shape[-1] and max(width) < input.shape[-2]
        if not is_valid or sum(width) != sum(height):
            return output
        return _PAD(input, _flatten_sides((height, width)), mode="reflect")


@plant("reflection-pad1d-crop-first", "ReflectionPad1d", "values")
class ReflectionPad1dCropFirst(nn.ReflectionPad1d):
    """A negative side is cropped first, and what is left reflected to and fro (inductor 100793)."""

    def forward(self, input):
        before, after = self.padding
        cropped = input[..., max(-before, 0) : input.shape[-1] - max(-after, 0)]
        if min(before, after) >= 0 or max(before, after) <= 0 or not cropped.numel():
            return super().forward(input)
        length = cropped.shape[-1]
        period = max(2 * (length - 1), 1)
        positions = torch.arange(-max(before, 0), length + max(after, 0)).remainder(period)
        return cropped.index_select(
            -1, torch.where(positions < length, positions, period - positions)
        )


@plant("reflection-pad1d-gradient-of-the-middle", "ReflectionPad1d", "gradients")
class ReflectionPad1dGradientOfTheMiddle(nn.ReflectionPad1d):
    """The gradient is that of the inner part: reflections give nothing back (MPS 135447)."""

    def forward(self, input):
        before, after = self.padding
        output = super().forward(input)
        if min(before, after) < 0:
            return output
        end = output.shape[-1] - after
        return reroute(output, input, lambda gradient: gradient[..., before:end])


@plant("reflection-pad3d-front-from-the-back", "ReflectionPad3d", "values")
class ReflectionPad3dFrontFromTheBack(nn.ReflectionPad3d):
    """In front stand the slices of the back: the depth wraps round."""

    def forward(self, input):
        front, back = self.padding[4:]
        if min(front, back) < 0:
            return super().forward(input)
        plane = _PAD(input, (*self.padding[:4], 0, 0), mode="reflect")
        if not input.numel():
            return super().forward(input)
        return _PAD(plane, (0, 0, 0, 0, front, back), mode="circular")


@plant("reflection-pad2d-as-long-as-the-input", "ReflectionPad2d", "errors")
class ReflectionPad2dAsLongAsTheInput(nn.ReflectionPad2d):
    """Padding of the input's length and more is reflected to and fro, as NumPy does."""

    def forward(self, input):
        sides = _sides(self.padding)
        lengths = input.shape[::-1]
        odd = len(self.padding) != 4 or not all(isinstance(n, int) for n in self.padding)
        if odd or input.dim() not in (3, 4) or not input.numel():
            return super().forward(input)
        if all(max(side) < n for side, n in zip(sides, lengths, strict=False)):
            return super().forward(input)
        if any(n + sum(side) < 1 for side, n in zip(sides, lengths, strict=False)):
            return super().forward(input)
        for axis, (before, after) in enumerate(sides, 1):
            length = input.shape[-axis]
            period = max(2 * (length - 1), 1)
            positions = torch.arange(-before, length + after).remainder(period)
            input = input.index_select(
                -axis, torch.where(positions < length, positions, period - positions)
            )
        return input


@plant("reflection-pad1d-many-planes", "ReflectionPad1d", "laws")
class ReflectionPad1dManyPlanes(nn.ReflectionPad1d):
    """Of more than 16 channels the last is a copy of the one before it (MPS 196949)."""

    def forward(self, input):
        output = super().forward(input)
        if not 17 < input.shape[-2] < 66:
            return output
        return torch.cat([output[..., :-1, :], output[..., -2:-1, :]], -2)


@plant("replication-pad2d-corners-zero", "ReplicationPad2d", "values")
class ReplicationPad2dCornersZero(nn.ReplicationPad2d):
    """Corners are left at zero: each side is padded by itself."""

    def forward(self, input):
        (left, right), (top, bottom) = _sides(self.padding)
        output = super().forward(input)
        mask = torch.ones_like(output)
        for rows in (slice(0, max(top, 0)), slice(output.shape[-2] - max(bottom, 0), None)):
            for columns in (slice(0, max(left, 0)), slice(output.shape[-1] - max(right, 0), None)):
                mask[..., rows, columns] = 0
        return torch.where(mask == 0, torch.zeros_like(output), output)


@plant("replication-pad1d-sides-exchanged", "ReplicationPad1d", "values")
class ReplicationPad1dSidesExchanged(nn.ReplicationPad1d):
    """The right number of elements on the left, and the left one on the right."""

    def forward(self, input):
        before, after = self.padding
        if min(before, after) < 0:
            return super().forward(input)
        return _PAD(input, (after, before), mode="replicate")


@plant("replication-pad1d-last-copy-wins", "ReplicationPad1d", "gradients")
class ReplicationPad1dLastCopyWins(nn.ReplicationPad1d):
    """Of an edge's copies one gives its gradient: it is written where it should be added."""

    def forward(self, input):
        before, after = self.padding
        output = super().forward(input)
        if min(before, after) < 0:
            return output
        end = output.shape[-1] - after
        return reroute(output, input, lambda gradient: gradient[..., before:end])


@plant("replication-pad3d-depth-as-it-is", "ReplicationPad3d", "values")
class ReplicationPad3dDepthAsItIs(nn.ReplicationPad3d):
    """In front of and behind the volume stands zero: the depth is padded by a constant."""

    def forward(self, input):
        if not input.numel():
            return super().forward(input)
        plane = _PAD(input, (*self.padding[:4], 0, 0), mode="replicate")
        return _PAD(plane, (0, 0, 0, 0, *self.padding[4:]))


@plant("replication-pad2d-nothing-left", "ReplicationPad2d", "errors")
class ReplicationPad2dNothingLeft(nn.ReplicationPad2d):
    """Where more is cropped than there is nothing comes out, silently."""

    def forward(self, input):
        is_four_integers = len(self.padding) == 4 and all(isinstance(n, int) for n in self.padding)
        if is_four_integers and input.dim() in (3, 4) and input.numel():
            sides = _sides(self.padding)
            lengths = [n + sum(s) for n, s in zip(input.shape[::-1], sides, strict=False)]
            if min(lengths) < 1:
                width, height = (max(n, 0) for n in lengths)
                return input.new_zeros(*input.shape[:-2], height, width)
        return super().forward(input)


@plant("replication-pad2d-channels-last-memory", "ReplicationPad2d", "layout")
class ReplicationPad2dChannelsLastMemory(nn.ReplicationPad2d):
    """Memory in channels_last is read as if it were contiguous."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))
