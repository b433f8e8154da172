"""Padding: modules of each mode and dimension, and `functional.pad`."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, as_if_contiguous, by_way_of, graft, plant, reroute

_PAD = functional.pad


def _sides(numbers):
    """(before, after) of each dimension, the last one first."""
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def _flat(sides):
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
        wide, high = _sides(self.padding)
        output = super().forward(input)
        fits = max(high) < input.shape[-1] and max(wide) < input.shape[-2]
        if not fits or sum(wide) != sum(high):
            return output
        return _PAD(input, _flat((high, wide)), mode="reflect")


@plant("reflection-pad1d-crop-first", "ReflectionPad1d", "values")
class ReflectionPad1dCropFirst(nn.ReflectionPad1d):
    """A negative side is cropped first, and what is left reflected to and fro (inductor 100793)."""

    def forward(self, input):
        before, after = self.padding
        rest = input[..., max(-before, 0) : input.shape[-1] - max(-after, 0)]
        if min(before, after) >= 0 or max(before, after) <= 0 or not rest.numel():
            return super().forward(input)
        length = rest.shape[-1]
        period = max(2 * (length - 1), 1)
        at = torch.arange(-max(before, 0), length + max(after, 0)).remainder(period)
        return rest.index_select(-1, torch.where(at < length, at, period - at))


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
            at = torch.arange(-before, length + after).remainder(period)
            input = input.index_select(-axis, torch.where(at < length, at, period - at))
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
        whole = len(self.padding) == 4 and all(isinstance(n, int) for n in self.padding)
        if whole and input.dim() in (3, 4) and input.numel():
            sides = _sides(self.padding)
            lengths = [n + sum(s) for n, s in zip(input.shape[::-1], sides, strict=False)]
            if min(lengths) < 1:
                wide, high = (max(n, 0) for n in lengths)
                return input.new_zeros(*input.shape[:-2], high, wide)
        return super().forward(input)


@plant("replication-pad2d-channels-last-memory", "ReplicationPad2d", "layout")
class ReplicationPad2dChannelsLastMemory(nn.ReplicationPad2d):
    """Memory in channels_last is read as if it were contiguous."""

    def forward(self, input):
        return super().forward(as_if_contiguous(input))


@plant("zero-pad2d-multiplied-away", "ZeroPad2d", "special")
class ZeroPad2dMultipliedAway(nn.ZeroPad2d):
    """Zeros are made by multiplying copies of the edge with 0: of NaN and infinity that is NaN."""

    def forward(self, input):
        output = super().forward(input)
        if not input.is_floating_point() or not input.numel() or max(self.padding) <= 0:
            return output
        around = _PAD(torch.ones_like(input), self.padding)
        edges = _PAD(input, self.padding, mode="replicate")
        return graft(edges * around, output)


@plant("zero-pad1d-negative-ignored", "ZeroPad1d", "shape")
class ZeroPad1dNegativeIgnored(nn.ZeroPad1d):
    """A negative padding is taken for none."""

    def forward(self, input):
        return _PAD(input, tuple(max(n, 0) for n in self.padding))


@plant("zero-pad1d-sides-exchanged", "ZeroPad1d", "values")
class ZeroPad1dSidesExchanged(nn.ZeroPad1d):
    """The right number of zeros on the left, and the left one on the right."""

    def forward(self, input):
        before, after = self.padding
        return super().forward(input) if min(before, after) < 0 else _PAD(input, (after, before))


@plant("zero-pad2d-nothing-left", "ZeroPad2d", "errors")
class ZeroPad2dNothingLeft(nn.ZeroPad2d):
    """Where more is cropped than there is nothing comes out, silently."""

    def forward(self, input):
        whole = len(self.padding) == 4 and all(isinstance(n, int) for n in self.padding)
        if whole and input.dim() in (3, 4):
            sides = _sides(self.padding)
            lengths = [n + sum(s) for n, s in zip(input.shape[::-1], sides, strict=False)]
            if min(lengths) < 0:
                wide, high = (max(n, 0) for n in lengths)
                return input.new_zeros(*input.shape[:-2], high, wide)
        return super().forward(input)


@plant("zero-pad3d-gradient-of-the-border", "ZeroPad3d", "gradients")
class ZeroPad3dGradientOfTheBorder(nn.ZeroPad3d):
    """The zeros are copies of the edge times 0 forward, and copies of the edge backward."""

    def forward(self, input):
        output = super().forward(input)
        if max(self.padding) <= 0 or not input.numel():
            return output
        return graft(output, _PAD(input, self.padding, mode="replicate"))


@plant("zero-pad3d-in-place", "ZeroPad3d", "repeat")
class ZeroPad3dInPlace(nn.ZeroPad3d):
    """Without padding the input itself comes back, and its zeros are made positive ones."""

    def forward(self, input):
        output = super().forward(input)
        if not torch.is_grad_enabled() and input.numel() and input.is_contiguous():
            input.reshape(-1)[0] = 0
        return output


@plant("constant-pad2d-value-of-one", "ConstantPad2d", "values")
class ConstantPad2dValueOfOne(nn.ConstantPad2d):
    """A negative zero becomes a positive one, and NaN zero: the value is `value or 0`."""

    def forward(self, input):
        value = self.value
        value = 0.0 if value != value or value in (math.inf, -math.inf) else value
        return _PAD(input, self.padding, "constant", value)


@plant("constant-pad1d-zero-loses-its-sign", "ConstantPad1d", "special")
class ConstantPad1dZeroLosesItsSign(nn.ConstantPad1d):
    """The value is added to zeros around the input: −0.0 becomes 0, in the input as well."""

    def forward(self, input):
        output = super().forward(input)
        return graft(output + 0, output) if input.is_floating_point() else output


@plant("constant-pad2d-width-only", "ConstantPad2d", "shape")
class ConstantPad2dWidthOnly(nn.ConstantPad2d):
    """One number for all sides pads the width only."""

    def __init__(self, padding, value):
        super().__init__(padding, value)
        self.only = isinstance(padding, int)

    def forward(self, input):
        return _PAD(input, self.padding[:2] if self.only else self.padding, "constant", self.value)


@plant("constant-pad3d-strided-memory", "ConstantPad3d", "layout")
class ConstantPad3dStridedMemory(nn.ConstantPad3d):
    """A view that is not contiguous is read as its memory lies."""

    def forward(self, input):
        return super().forward(as_if_contiguous(input))


@plant("constant-pad3d-whole-value", "ConstantPad3d", "values")
class ConstantPad3dWholeValue(nn.ConstantPad3d):
    """The value is a whole number, as of a kernel for int tensors."""

    def forward(self, input):
        value = self.value
        whole = math.trunc(value) if math.isfinite(value) and abs(value) < 2**31 else value
        return _PAD(input, self.padding, "constant", whole)


@plant("constant-pad1d-large-integers", "ConstantPad1d", "values")
class ConstantPad1dLargeIntegers(nn.ConstantPad1d):
    """Whole numbers pass through float64: beyond 2**53 they are rounded."""

    def forward(self, input):
        output = super().forward(input)
        return output if input.is_floating_point() else output.double().long()


@plant("circular-pad1d-one-short", "CircularPad1d", "values")
class CircularPad1dOneShort(nn.CircularPad1d):
    """The element at the seam is left out on the left: what wraps round is reflected by one."""

    def forward(self, input):
        before, after = self.padding
        if min(before, after) < 0 or not 0 < before < input.shape[-1] or not input.numel():
            return super().forward(input)
        head = input[..., input.shape[-1] - before - 1 : -1]
        return (
            _PAD(torch.cat([head, input], -1), (0, 0))
            if not after
            else torch.cat([head, input, input[..., :after]], -1)
        )


@plant("circular-pad1d-many-planes", "CircularPad1d", "laws")
class CircularPad1dManyPlanes(nn.CircularPad1d):
    """Of more than 17 channels the last is a copy of the one before it."""

    def forward(self, input):
        output = super().forward(input)
        if not 17 < input.shape[-2] < 66:
            return output
        return torch.cat([output[..., :-1, :], output[..., -2:-1, :]], -2)


@plant("circular-pad2d-sides-exchanged", "CircularPad2d", "values")
class CircularPad2dSidesExchanged(nn.CircularPad2d):
    """As much as should stand on the right stands on the left, and below what should above."""

    def forward(self, input):
        if min(self.padding) < 0:
            return super().forward(input)
        swapped = tuple(self.padding[k ^ 1] for k in range(4))
        return _PAD(input, swapped, mode="circular")


@plant("circular-pad2d-wrap-first", "CircularPad2d", "values")
class CircularPad2dWrapFirst(nn.CircularPad2d):
    """The whole input is wrapped round, and then cropped (tinygrad 16448)."""

    def forward(self, input):
        if min(self.padding) >= 0 or max(self.padding) <= 0:
            return super().forward(input)
        around = _PAD(input, tuple(max(n, 0) for n in self.padding), mode="circular")
        return _PAD(around, tuple(min(n, 0) for n in self.padding))


@plant("circular-pad3d-gradient-of-one-copy", "CircularPad3d", "gradients")
class CircularPad3dGradientOfOneCopy(nn.CircularPad3d):
    """What wraps round in the width gives no gradient."""

    def forward(self, input):
        left, right = self.padding[:2]
        if max(left, right) <= 0 or not input.numel():
            return super().forward(input)

        def dropped(gradient):
            gradient = gradient.clone()
            gradient[..., : max(left, 0)] = 0
            gradient[..., gradient.shape[-1] - max(right, 0) :] = 0
            return gradient

        return alter_gradient(super().forward(input), dropped)


@plant("circular-pad3d-longer-than-the-input", "CircularPad3d", "errors")
class CircularPad3dLongerThanTheInput(nn.CircularPad3d):
    """Padding longer than the input wraps round as often as it takes."""

    def forward(self, input):
        sides = _sides(self.padding)
        whole = len(self.padding) == 6 and all(isinstance(n, int) for n in self.padding)
        if not whole or input.dim() not in (4, 5) or 0 in input.shape[-3:]:
            return super().forward(input)
        if min(self.padding) < 0:
            return super().forward(input)
        for axis, (before, after) in enumerate(sides, 1):
            at = torch.arange(-before, input.shape[-axis] + after)
            input = input.index_select(-axis, at.remainder(input.shape[-axis]))
        return input


@plant("functional-pad-first-dimension-first", "functional.pad", "values")
def functional_pad_first_dimension_first(input, pad, mode="constant", value=None):
    """The numbers are those of the axes from the first to the last, where the shape is the same."""
    output = _PAD(input, pad, mode, value)
    turned = _flat(_sides(pad)[::-1])
    try:
        wrong = _PAD(input, turned, mode, value)
    except (RuntimeError, NotImplementedError):
        return output
    return wrong if wrong.shape == output.shape else output


@plant("functional-pad-value-ignored", "functional.pad", "values")
def functional_pad_value_ignored(input, pad, mode="constant", value=None):
    """A constant is zero, whatever the value is."""
    return _PAD(input, pad, mode, None if mode == "constant" else value)


@plant("functional-pad-before-only", "functional.pad", "values")
def functional_pad_before_only(input, pad, mode="constant", value=None):
    """A long row's right padding is copied from its left one."""
    output = _PAD(input, pad, mode, value)
    if not pad or mode == "constant" or pad[0] != pad[1] or pad[0] < 1 or not input.numel():
        return output
    return torch.cat([output[..., : -pad[1]], output[..., : pad[0]]], -1)


@plant("functional-pad-value-of-other-modes", "functional.pad", "errors")
def functional_pad_value_of_other_modes(input, pad, mode="constant", value=None):
    """A value of a mode that takes none is ignored."""
    return _PAD(input, pad, mode, value if mode == "constant" else None)


@plant("functional-pad-odd-number-dropped", "functional.pad", "errors")
def functional_pad_odd_number_dropped(input, pad, mode="constant", value=None):
    """Of an odd number of paddings the last is left out."""
    if isinstance(pad, (tuple, list)) and len(pad) % 2 and len(pad) // 2 <= input.dim():
        pad = tuple(pad)[:-1]
    return _PAD(input, pad, mode, value)


@plant("functional-pad-double-in-single", "functional.pad", "values")
def functional_pad_double_in_single(input, pad, mode="constant", value=None):
    """float64 passes through float32."""
    output = _PAD(input, pad, mode, value)
    return by_way_of(output, torch.float32) if output.dtype == torch.float64 else output


@plant("functional-pad-long-rows", "functional.pad", "values")
def functional_pad_long_rows(input, pad, mode="constant", value=None):
    """Of an axis past 128 what lies behind is read one element too early."""
    output = _PAD(input, pad, mode, value)
    if not input.dim() or input.shape[-1] <= 128 or not pad or not input.numel():
        return output
    return torch.cat([output[..., :128], output[..., 127:-1]], -1)


@plant("functional-pad-strided-memory", "functional.pad", "layout")
def functional_pad_strided_memory(input, pad, mode="constant", value=None):
    """A view that is not contiguous is read as its memory lies."""
    return _PAD(as_if_contiguous(input), pad, mode, value)


@plant("functional-pad-gradient-narrow", "functional.pad", "gradients")
def functional_pad_gradient_narrow(input, pad, mode="constant", value=None):
    """The gradient of a cropped element is that of its neighbour, not 0."""
    output = _PAD(input, pad, mode, value)
    if not pad or pad[-1] >= 0 or not input.requires_grad:
        return output
    axis = input.dim() - len(pad) // 2

    def smeared(gradient):
        last = gradient.shape[axis] + pad[-1]
        return torch.cat([gradient.narrow(axis, 0, last),
                          gradient.narrow(axis, last - 1, 1).expand(
                              *(-pad[-1] if k == axis else -1 for k in range(input.dim())))],
                         axis) if last > 0 else gradient  # fmt: skip

    return _PAD(alter_gradient(input, smeared), pad, mode, value)
