"""ZeroPad1d–3d, ConstantPad1d–3d and CircularPad1d–3d."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous

_PAD = functional.pad


def _sides(numbers):
    """(before, after) of each dimension, the last one first."""
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


@plant("zero-pad2d-multiplied-away", "ZeroPad2d", "special")
class ZeroPad2dMultipliedAway(nn.ZeroPad2d):
    """Zeros are made by multiplying copies of the edge with 0: of NaN and infinity that is NaN."""

    def forward(self, input):
        output = super().forward(input)
        if not input.is_floating_point() or not input.numel() or max(self.padding) <= 0:
            return output
        padded = _PAD(torch.ones_like(input), self.padding)
        edges = _PAD(input, self.padding, mode="replicate")
        return graft(edges * padded, output)


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
        return super().forward(read_as_contiguous(input))


@plant("constant-pad3d-whole-value", "ConstantPad3d", "values")
class ConstantPad3dWholeValue(nn.ConstantPad3d):
    """The value is a whole number, as of a kernel for int tensors."""

    def forward(self, input):
        value = self.value
        truncated = math.trunc(value) if math.isfinite(value) and abs(value) < 2**31 else value
        return _PAD(input, self.padding, "constant", truncated)


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
        padded = _PAD(input, tuple(max(n, 0) for n in self.padding), mode="circular")
        return _PAD(padded, tuple(min(n, 0) for n in self.padding))


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
        is_four_integers = len(self.padding) == 6 and all(isinstance(n, int) for n in self.padding)
        if not is_four_integers or input.dim() not in (4, 5) or 0 in input.shape[-3:]:
            return super().forward(input)
        if min(self.padding) < 0:
            return super().forward(input)
        for axis, (before, after) in enumerate(sides, 1):
            positions = torch.arange(-before, input.shape[-axis] + after)
            input = input.index_select(-axis, positions.remainder(input.shape[-axis]))
        return input
