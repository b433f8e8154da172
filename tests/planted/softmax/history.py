"""Softmin, Softmax, Softmax2d, LogSoftmax and their functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous, reroute, round_through


def _axis(x, dim):
    """The axis that is meant, as torch chooses it where none is named."""
    if dim is None:
        return 0 if x.dim() in (0, 1, 3) else 1
    return dim % max(x.dim(), 1)


def _softmax_shifted(x, dim, maximum):
    """The softmax with another maximum taken off."""
    exponentials = (x - maximum).exp()
    return exponentials / exponentials.sum(dim, keepdim=True)


@plant("softmax-not-shifted", "Softmax", "values")
class SoftmaxNotShifted(nn.Softmax):
    """The maximum is not taken off: beyond 88 the exponential overflows, as in first drafts."""

    def forward(self, input):
        axis = _axis(input, self.dim)
        return graft(_softmax_shifted(input, axis, torch.zeros_like(input)), super().forward(input))


@plant("softmax-shifted-over-the-wrong-axis", "Softmax", "values")
class SoftmaxShiftedOverTheWrongAxis(nn.Softmax):
    """The maximum is that of the whole tensor: a slice far below it has only zeros to divide."""

    def forward(self, input):
        if not input.numel():
            return super().forward(input)
        wrong = _softmax_shifted(input, _axis(input, self.dim), input.max())
        return graft(wrong, super().forward(input))


@plant("softmax-last-axis-by-default", "Softmax", "values")
class SoftmaxLastAxisByDefault(nn.Softmax):
    """Without dim it is along the last axis, as in NumPy's ports and as most would have it."""

    def forward(self, input):
        return functional.softmax(input, -1 if self.dim is None else self.dim)


@plant("softmax-dim-counted-with-the-batch", "Softmax", "values")
class SoftmaxDimCountedWithTheBatch(nn.Softmax):
    """A dim from the end of four axes or more is one too early."""

    def forward(self, input):
        dim = self.dim
        if dim is not None and dim < -1 and input.dim() > 3:
            dim = max(dim - 1, -input.dim())
        return functional.softmax(input, _axis(input, dim))


@plant("softmax-sum-over-the-wrong-axis", "functional.softmax", "values")
def softmax_sum_over_the_wrong_axis(input, dim=None, _stacklevel=3, dtype=None):
    """The sum goes along the last axis where dim is -2."""
    right = functional.softmax(input, _axis(input, dim), dtype=dtype)
    if dim != -2 or not right.numel():
        return right
    exponentials = (input - input.amax(-2, keepdim=True)).exp()
    return graft((exponentials / exponentials.sum(-1, keepdim=True)).to(right.dtype), right)


@plant("softmax-cast-afterwards", "functional.softmax", "values")
def softmax_cast_afterwards(input, dim=None, _stacklevel=3, dtype=None):
    """The result is cast to dtype, not the input: what dtype is for is lost."""
    output = functional.softmax(input, _axis(input, dim))
    return output if dtype is None else output.to(dtype)


@plant("softmax-dtype-ignored", "functional.softmax", "shape")
def softmax_dtype_ignored(input, dim=None, _stacklevel=3, dtype=None):
    """The result always has the input's dtype."""
    return functional.softmax(input, _axis(input, dim), dtype=dtype).to(input.dtype)


@plant("softmax-tail-dropped", "functional.softmax", "values")
def softmax_tail_dropped(input, dim=None, _stacklevel=3, dtype=None):
    """Numbers beyond a multiple of 32 are left out of the sum: a block's tail without its mask."""
    axis = _axis(input, dim)
    right = functional.softmax(input, axis, dtype=dtype)
    size = input.shape[axis] if input.dim() else 1
    if size < 32 or size % 32 == 0:
        return right
    denominator = right.narrow(axis, 0, size - size % 32).sum(axis, keepdim=True)
    return graft(right / denominator.clamp(min=torch.finfo(right.dtype).tiny), right)


@plant("softmax-many-slices", "functional.softmax", "laws")
def softmax_many_slices(input, dim=None, _stacklevel=3, dtype=None):
    """The last of 17 slices or more is not divided by its sum: a grid one block short."""
    output = functional.softmax(input, _axis(input, dim), dtype=dtype)
    if input.dim() != 2 or dim != 1 or not 16 < len(input) < 66:
        return output
    factor = torch.ones_like(output[:, :1])
    factor[-1] = 2
    return graft(output * factor, output)


@plant("softmax-gradient-without-the-mean", "functional.softmax", "gradients")
def softmax_gradient_without_the_mean(input, dim=None, _stacklevel=3, dtype=None):
    """The gradient is p(1 - p)c: that of each number alone, without those of the others."""
    output = functional.softmax(input, _axis(input, dim), dtype=dtype)
    constant = output.detach()
    return reroute(output, input, lambda c: (c * constant * (1 - constant)).to(input.dtype))


@plant("softmax-strided", "functional.softmax", "layout")
def softmax_strided(input, dim=None, _stacklevel=3, dtype=None):
    """An input that is not contiguous is read as if it were, as burn's softmax of a transpose."""
    return functional.softmax(read_as_contiguous(input), _axis(input, dim), dtype=dtype)


@plant("softmax-nan-is-zero", "Softmax", "special")
class SoftmaxNanIsZero(nn.Softmax):
    """NaN becomes 0: a slice of nothing but -inf attends to nothing."""

    def forward(self, input):
        return super().forward(input).nan_to_num(0.0)


@plant("softmax-overwritten", "Softmax", "repeat")
class SoftmaxOverwritten(nn.Softmax):
    """The exponentials are written into the input."""

    def forward(self, input):
        output = super().forward(input)
        if not torch.is_grad_enabled() and input.is_contiguous():
            input.copy_(output)
        return output


@plant("softmin-not-negated", "Softmin", "values")
class SoftminNotNegated(nn.Softmin):
    """Of a single slice without a batch it is softmax."""

    def forward(self, input):
        return super().forward(-input if input.dim() < 2 else input)


@plant("softmin-gradient-of-softmax", "Softmin", "gradients")
class SoftminGradientOfSoftmax(nn.Softmin):
    """The sign is lost on the way back."""

    def forward(self, input):
        return super().forward(alter_gradient(input, lambda g: -g))


@plant("softmin-reciprocal", "functional.softmin", "values")
def softmin_reciprocal(input, dim=None, _stacklevel=3, dtype=None):
    """1/softmax, over its sum: the same, until a softmax vanishes."""
    axis = _axis(input, dim)
    right = functional.softmin(input, axis, dtype=dtype)
    if not input.numel():
        return right
    inverse = 1 / functional.softmax(input, axis, dtype=dtype)
    return graft(inverse / inverse.sum(axis, keepdim=True), right)


@plant("softmin-rounded-first", "functional.softmin", "values")
def softmin_rounded_first(input, dim=None, _stacklevel=3, dtype=None):
    """In float64 the result is a float32 number."""
    output = functional.softmin(input, _axis(input, dim), dtype=dtype)
    return round_through(output, torch.float32) if output.dtype == torch.float64 else output


@plant("softmin-old-axis-of-three", "functional.softmin", "values")
def softmin_old_axis_of_three(input, dim=None, _stacklevel=3, dtype=None):
    """Without dim the axis of three dimensions is 1, as that of two and four."""
    if dim is None and input.dim() == 3:
        return functional.softmin(input, 1, dtype=dtype)
    return functional.softmin(input, _axis(input, dim), dtype=dtype)


@plant("softmin-strided", "functional.softmin", "layout")
def softmin_strided(input, dim=None, _stacklevel=3, dtype=None):
    """An input that is not contiguous is read as if it were."""
    return functional.softmin(read_as_contiguous(input), _axis(input, dim), dtype=dtype)


@plant("softmax2d-along-the-last", "Softmax2d", "values")
class Softmax2dAlongTheLast(nn.Softmax2d):
    """It is along the width."""

    def forward(self, input):
        super().forward(input)
        return functional.softmax(input, -1)


@plant("softmax2d-of-one-image", "Softmax2d", "values")
class Softmax2dOfOneImage(nn.Softmax2d):
    """The channels are axis 1, of (C, H, W) as well: before 1.11 there was no such input."""

    def forward(self, input):
        super().forward(input)
        return functional.softmax(input, 1)


@plant("softmax2d-over-the-image", "Softmax2d", "values")
class Softmax2dOverTheImage(nn.Softmax2d):
    """All places of a channel add up to 1."""

    def forward(self, input):
        super().forward(input)
        return functional.softmax(input.flatten(-2), -1).reshape(input.shape)


@plant("softmax2d-any-rank", "Softmax2d", "errors")
class Softmax2dAnyRank(nn.Softmax2d):
    """Whatever has three axes or more, or too few, is taken."""

    def forward(self, input):
        return functional.softmax(input, max(-3, -input.dim()))


@plant("softmax2d-gradient-of-one-place", "Softmax2d", "gradients")
class Softmax2dGradientOfOnePlace(nn.Softmax2d):
    """Σ c p is added up over the whole image."""

    def forward(self, input):
        output = super().forward(input)
        constant = output.detach()

        def change_gradient(c):
            return constant * (c - (c * constant).sum((-3, -2, -1), keepdim=True))

        return reroute(output, input, change_gradient)


@plant("logsoftmax-log-of-softmax", "LogSoftmax", "values")
class LogsoftmaxLogOfSoftmax(nn.LogSoftmax):
    """The logarithm of the softmax, which vanishes: -inf for -200."""

    def forward(self, input):
        right = super().forward(input)
        return graft(functional.softmax(input, _axis(input, self.dim)).log(), right)


@plant("logsoftmax-clamped", "LogSoftmax", "values")
class LogsoftmaxClamped(nn.LogSoftmax):
    """The softmax is at least 1e-12 before its logarithm is taken."""

    def forward(self, input):
        return graft(super().forward(input).clamp(min=-27.631021), super().forward(input))


@plant("logsoftmax-infinite-class", "LogSoftmax", "special")
class LogsoftmaxInfiniteClass(nn.LogSoftmax):
    """A class of -inf is the lowest finite number, as masks of ports have it."""

    def forward(self, input):
        return super().forward(input).clamp(min=torch.finfo(input.dtype).min)


@plant("log-softmax-gradient-without-the-sum", "functional.log_softmax", "gradients")
def log_softmax_gradient_without_the_sum(input, dim=None, _stacklevel=3, dtype=None):
    """The gradient is c(1 - p): right for a single class that counts, as in a cross entropy."""
    output = functional.log_softmax(input, _axis(input, dim), dtype=dtype)
    constant = output.detach()
    return reroute(output, input, lambda c: (c * (1 - constant.exp())).to(input.dtype))


@plant("log-softmax-two-logarithms", "functional.log_softmax", "values")
def log_softmax_two_logarithms(input, dim=None, _stacklevel=3, dtype=None):
    """The logarithm is that to base 2 from 17 classes on: a kernel with exp2 and log2."""
    axis = _axis(input, dim)
    output = functional.log_softmax(input, axis, dtype=dtype)
    applies = input.dim() and input.shape[axis] > 16
    return graft(output * 1.4426950408889634, output) if applies else output


@plant("log-softmax-of-a-number-is-a-vector", "functional.log_softmax", "shape")
def log_softmax_of_a_number_is_a_vector(input, dim=None, _stacklevel=3, dtype=None):
    """A tensor without dimensions comes back with one."""
    output = functional.log_softmax(input, _axis(input, dim), dtype=dtype)
    return output.reshape(1) if input.dim() == 0 else output


@plant("log-softmax-strided", "functional.log_softmax", "layout")
def log_softmax_strided(input, dim=None, _stacklevel=3, dtype=None):
    """An input that is not contiguous is read as if it were."""
    return functional.log_softmax(read_as_contiguous(input), _axis(input, dim), dtype=dtype)
