"""Bugs written without sight of the suite: activations, softmax, gated linear units."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft, read_as_contiguous


@blind("gelu-tanh-form-has-the-exact-form-s-gradient", "GELU", "gradients")
class _ExactGradient(nn.GELU):
    """approximate="tanh" computes the approximation and the gradient of the exact function: one
    backward kernel for both."""

    # Differs: the gradient of approximate="tanh" near 2. Agrees: "none"; every value.

    def forward(self, input: Tensor) -> Tensor:
        value = super().forward(input)
        return value if self.approximate == "none" else graft(value, functional.gelu(input))


@blind("softplus-threshold-of-the-input-alone", "Softplus", "values")
class _InputAlone(nn.Softplus):
    """The threshold is compared with x, not beta x, so that a small beta is linear too early."""

    # Differs: beta=0.1 at 25. Agrees: beta=1; beta=0.1 at 15.

    def forward(self, input: Tensor) -> Tensor:
        affected = (input > self.threshold) & (input * self.beta <= self.threshold)
        return torch.where(affected, input, super().forward(input))


@blind("prelu-channels-last-where-they-fit", "PReLU", "values")
class _LastAxis(nn.PReLU):
    """Slopes are broadcast along the last axis where its length is theirs, as arrays do by
    themselves, and along the channels only where that fails."""

    # Differs: PReLU(3) on (2, 3, 3). Agrees: PReLU(3) on (2, 3, 4), on (2, 3).

    def forward(self, input: Tensor) -> Tensor:
        slopes = self.num_parameters
        if slopes == 1 or input.dim() < 3 or input.size(-1) != slopes:
            return super().forward(input)
        return torch.where(input > 0, input, self.weight * input)


@blind("logsigmoid-takes-the-logarithm-of-nothing", "LogSigmoid", "values")
class _OfNothing(nn.LogSigmoid):
    """The logarithm is taken of a sigmoid that has underflowed: minus infinity for numbers far
    below zero."""

    # Differs: -110 in float32. Agrees: -50.

    def forward(self, input: Tensor) -> Tensor:
        underflows = input < math.log(torch.finfo(input.dtype).tiny)
        return torch.where(underflows, -torch.inf, super().forward(input))


@blind("functional-threshold-in-place-leaves-its-input", "functional.threshold_", "values")
def _leaves_input(input: Tensor, threshold: float, value: float) -> Tensor:
    """The function in place returns a new tensor: an alias of threshold in a port whose arrays
    cannot be written to."""
    # Differs: the input after the call, where it changes. Agrees: the result.
    return functional.threshold(input, threshold, value)


@blind("functional-hardtanh-in-place-writes-to-a-copy", "functional.hardtanh_", "layout")
def _writes_to_copy(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """An input that is not contiguous is made so, and the copy is written to."""
    # Differs: the input after x.t(). Agrees: a contiguous input.
    if input.is_contiguous():
        return functional.hardtanh_(input, min_val, max_val)
    return functional.hardtanh(input, min_val, max_val)


@blind("softshrink-takes-a-negative-lambda", "Softshrink", "errors")
class _NegativeLambda(nn.Softshrink):
    """A negative lambda is taken, and moves numbers away from zero."""

    # Differs: Softshrink(-0.5). Agrees: Softshrink(0.5), Softshrink(0.0).

    def forward(self, input: Tensor) -> Tensor:
        if self.lambd >= 0:
            return super().forward(input)
        return torch.where(input > 0, input - self.lambd, input + self.lambd)


@blind("functional-celu-gradient-forgets-alpha", "functional.celu", "gradients")
def _forgets_alpha(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """The gradient below zero is exp(x), not exp(x / alpha): the backward of ELU."""
    # Differs: the gradient for alpha=2 below zero. Agrees: alpha=1; every value.
    value = functional.celu(input, alpha, inplace)
    return value if inplace or alpha == 1 else graft(value, functional.elu(input))


@blind("functional-softmax-casts-afterwards", "functional.softmax", "values")
def _casts_afterwards(
    input: Tensor,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """dtype is applied to the result; the documentation casts the input first, so that nothing
    is rounded to the narrow dtype."""
    # Differs: float16 with dtype=torch.float32. Agrees: no dtype.
    if not input.is_floating_point():
        return functional.softmax(input, dim, _stacklevel, dtype)
    result = functional.softmax(input, dim, _stacklevel)
    return result if dtype is None else result.to(dtype)


@blind("functional-softmin-axis-zero-is-no-axis", "functional.softmin", "values")
def _axis_zero(
    input: Tensor,
    dim: int | None = None,
    _stacklevel: int = 3,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """dim=0 is false, as None is, and the last axis is taken."""
    # Differs: dim=0 on (2, 3). Agrees: dim=1; dim=0 on a vector.
    return functional.softmin(input, -1 if dim == 0 else dim, _stacklevel, dtype)


@blind("softmax2d-unbatched-takes-the-height", "Softmax2d", "values")
class _Height(nn.Softmax2d):
    """Axis 1 is the channels of (N, C, H, W), and is the height of (C, H, W)."""

    # Differs: an input of (2, 3, 4). Agrees: an input of (1, 2, 3, 4).

    def forward(self, input: Tensor) -> Tensor:
        return functional.softmax(input, 1) if input.dim() == 3 else super().forward(input)


@blind("logsoftmax-maximum-of-the-first-sixteen", "LogSoftmax", "values")
class _FirstSixteen(nn.LogSoftmax):
    """The row's maximum, taken off against overflow, is that of its first block of sixteen; a
    later element that is far larger overflows the sum."""

    # Differs: 17 scores, the last of them 200, in float32. Agrees: 16 scores; scores near zero.

    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.dim is None or input.dim() == 0 or input.size(self.dim) <= 16:
            return result
        largest = input.detach().amax(self.dim, keepdim=True)
        first = input.detach().narrow(self.dim, 0, 16).amax(self.dim, keepdim=True)
        compute_dtype = torch.promote_types(input.dtype, torch.float32)
        overflows = largest - first > math.log(torch.finfo(compute_dtype).max)
        overflows = overflows & largest.isfinite() & first.isfinite()
        return torch.where(overflows, -torch.inf, result)


@blind("functional-gumbel-softmax-hard-along-the-last-axis", "functional.gumbel_softmax", "laws")
def _last_axis(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Hard samples are one along the last axis, whatever dim says."""
    # Differs: hard=True, dim=0 on (2, 3). Agrees: dim=-1; hard=False.
    if not hard or dim in (-1, logits.dim() - 1):
        return functional.gumbel_softmax(logits, tau, hard, eps, dim)
    soft = functional.gumbel_softmax(logits, tau, False, eps, dim)
    chosen = soft.max(-1, keepdim=True)[1]
    one_hot = torch.zeros_like(logits).scatter_(-1, chosen, 1.0)
    return one_hot - soft.detach() + soft


@blind("glu-odd-axis-loses-its-last", "GLU", "errors")
class _OddAxis(nn.GLU):
    """An axis of odd length is halved rounding down and its last element is left out; torch
    refuses it."""

    # Differs: 5 elements. Agrees: 4 elements.

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() == 0:
            return super().forward(input)
        return functional.glu(input.narrow(self.dim, 0, input.size(self.dim) // 2 * 2), self.dim)


@blind("glu-images-halved-by-channels", "GLU", "shape")
class _ByChannels(nn.GLU):
    """Without dim an input of four axes is halved along its channels, as convolutional ports do."""

    # Differs: GLU() on (1, 2, 4, 4). Agrees: GLU() on (2, 4), on (1, 3, 4, 4).

    def forward(self, input: Tensor) -> Tensor:
        image = self.dim == -1 and input.dim() == 4 and input.size(1) % 2 == 0
        return functional.glu(input, 1 if image else self.dim)


@blind("functional-glu-reads-memory-in-order", "functional.glu", "layout")
def _in_order(input: Tensor, dim: int = -1) -> Tensor:
    """The halves are found by counting elements in memory, whatever the strides are."""
    # Differs: x.t() of (4, 3). Agrees: a contiguous input.
    return functional.glu(read_as_contiguous(input), dim)
