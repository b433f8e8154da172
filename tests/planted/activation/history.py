"""ReLU, LeakyReLU, SiLU, and their functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import (
    alter_gradient,
    flush_subnormals,
    graft,
    plant,
    read_as_contiguous,
    reroute,
    round_through,
)


@plant("relu-nan-is-zero", "ReLU", "special")
class ReluNanIsZero(nn.ReLU):
    """x > 0 ? x : 0 makes 0 of NaN, as CUDA's fmax does."""

    def forward(self, input):
        output = super().forward(input)
        return torch.where(output.isnan(), 0.0, output)


@plant("relu-straight-through", "ReLU", "gradients")
class ReluStraightThrough(nn.ReLU):
    """The gradient passes where the input is negative, too."""

    def forward(self, input):
        output = super().forward(input)
        return output if self.inplace else graft(output, input)


@plant("relu-capped-at-six", "ReLU", "values")
class ReluCappedAtSix(nn.ReLU):
    """The kernel of mobile networks: ReLU6."""

    def forward(self, input):
        return functional.hardtanh(input, 0.0, 6.0, self.inplace)


@plant("relu-tail-of-a-vector", "ReLU", "values")
class ReluTailOfAVector(nn.ReLU):
    """Elements behind the last whole vector of 64 are copied."""

    def forward(self, input):
        output = super().forward(input)
        tail = output.numel() // 64 * 64
        if tail == 0 or self.inplace:
            return output
        copied = torch.cat([output.reshape(-1)[:tail], input.reshape(-1)[tail:]])
        return copied.reshape(input.shape)


@plant("relu-in-place-is-a-copy", "ReLU", "values")
class ReluInPlaceIsACopy(nn.ReLU):
    """inplace=True leaves the input as it is."""

    def forward(self, input):
        return functional.relu(input)


@plant("relu-of-a-number-is-a-vector", "ReLU", "shape")
class ReluOfANumberIsAVector(nn.ReLU):
    """A tensor without dimensions comes back with one."""

    def forward(self, input):
        output = super().forward(input)
        return output.reshape(1) if input.dim() == 0 else output


@plant("relu-strided-input", "functional.relu", "layout")
def relu_strided_input(input, inplace=False):
    """An input that is not contiguous is read as if it were."""
    return functional.relu(input if inplace else read_as_contiguous(input), inplace)


@plant("relu-overwrites-a-strided-input", "functional.relu", "layout")
def relu_overwrites_a_strided_input(input, inplace=False):
    """An input that is not contiguous takes the answer, too: the kernel works in place."""
    output = functional.relu(input, inplace)
    if not inplace and not input.is_contiguous() and 0 not in input.stride():
        with torch.no_grad():
            input.copy_(output)
    return output


@plant("relu-rounded-to-half", "functional.relu", "values")
def relu_rounded_to_half(input, inplace=False):
    """Numbers go through bfloat16."""
    output = functional.relu(input, inplace)
    return (
        output if inplace or input.dtype == torch.float16 else round_through(output, torch.bfloat16)
    )


@plant("relu-large-arrays-in-blocks", "functional.relu", "laws")
def relu_large_arrays_in_blocks(input, inplace=False):
    """Of more than 1024 elements the last is lost: blocks of a grid, and no guard."""
    output = functional.relu(input, inplace)
    if input.numel() <= 1024 or inplace:
        return output
    mask = torch.ones(input.numel(), dtype=input.dtype)
    mask[-1] = 0
    return output * mask.reshape(input.shape)


@plant("leakyrelu-default-of-keras", "LeakyReLU", "values")
class LeakyReluDefaultOfKeras(nn.LeakyReLU):
    """The slope is 0.3 where none is given."""

    def __init__(self, negative_slope=0.3, inplace=False):
        super().__init__(negative_slope, inplace)


@plant("leakyrelu-slope-in-half", "LeakyReLU", "values")
class LeakyReluSlopeInHalf(nn.LeakyReLU):
    """The slope is a bfloat16 number, within assert_close's tolerance for that dtype."""

    def forward(self, input):
        slope = round_through(torch.tensor(self.negative_slope), torch.bfloat16).item()
        return functional.leaky_relu(input, slope, self.inplace)


@plant("leakyrelu-slope-in-single", "LeakyReLU", "values")
class LeakyReluSlopeInSingle(nn.LeakyReLU):
    """In float64 the slope is a float32 number."""

    def forward(self, input):
        slope = torch.tensor(self.negative_slope).item()
        return functional.leaky_relu(input, slope, self.inplace)


@plant("leakyrelu-as-a-maximum", "LeakyReLU", "values")
class LeakyReluAsAMaximum(nn.LeakyReLU):
    """max(x, slope·x), which is another function where the slope is above 1."""

    def forward(self, input):
        if self.inplace:
            return super().forward(input)
        return torch.where(
            torch.tensor(self.negative_slope <= 1),
            super().forward(input),
            torch.maximum(input, input * self.negative_slope),
        )


@plant("leakyrelu-gradient-of-relu", "LeakyReLU", "gradients")
class LeakyReluGradientOfRelu(nn.LeakyReLU):
    """Backward is ReLU's: nothing passes where the input is negative."""

    def forward(self, input):
        output = super().forward(input)
        return output if self.inplace else graft(output, functional.relu(input))


@plant("leakyrelu-slope-one-minus", "functional.leaky_relu", "gradients")
def leakyrelu_slope_one_minus(input, negative_slope=0.01, inplace=False):
    """The sides of the gradient are exchanged."""
    output = functional.leaky_relu(input, negative_slope, inplace)
    if inplace:
        return output
    slope = torch.where(input > 0, negative_slope, 1.0).to(input.dtype)
    return reroute(output, input, lambda g: g * slope)


@plant("leakyrelu-nan-is-zero", "functional.leaky_relu", "special")
def leakyrelu_nan_is_zero(input, negative_slope=0.01, inplace=False):
    """fmax and fmin lose NaN on either side."""
    output = functional.leaky_relu(input, negative_slope, inplace)
    return torch.where(output.isnan() & input.isnan(), 0.0, output)


@plant("leakyrelu-subnormals-flushed", "functional.leaky_relu", "values")
def leakyrelu_subnormals_flushed(input, negative_slope=0.01, inplace=False):
    """Products below the smallest normal number are flushed to zero."""
    output = functional.leaky_relu(input, negative_slope, inplace)
    return output if inplace else flush_subnormals(output)


@plant("silu-quick", "SiLU", "values")
class SiluQuick(nn.SiLU):
    """x·σ(1.702·x), the quick form of GELU."""

    def forward(self, input):
        output = super().forward(input)
        return output if self.inplace else input * torch.sigmoid(1.702 * input)


@plant("silu-hard", "SiLU", "values")
class SiluHard(nn.SiLU):
    """The piecewise linear sigmoid of mobile networks."""

    def forward(self, input):
        return functional.hardswish(input, self.inplace)


@plant("silu-sigmoid-in-half", "SiLU", "values")
class SiluSigmoidInHalf(nn.SiLU):
    """The sigmoid is a float16 number."""

    def forward(self, input):
        if self.inplace or input.dtype == torch.bfloat16:
            return super().forward(input)
        return input * round_through(torch.sigmoid(input), torch.float16)


@plant("silu-overflow-is-nan", "SiLU", "values")
class SiluOverflowIsNan(nn.SiLU):
    """x·eˣ/(1 + eˣ): ∞/∞ where eˣ leaves the range."""

    def forward(self, input):
        output = super().forward(input)
        overflowed = torch.exp(input.detach()).isinf() & input.isfinite()
        return torch.where(overflowed, torch.nan, output)


@plant("silu-gradient-without-slope", "SiLU", "gradients")
class SiluGradientWithoutSlope(nn.SiLU):
    """The gradient is σ(x): that of the sigmoid itself is left out."""

    def forward(self, input):
        output = super().forward(input)
        return output if self.inplace else graft(output, input * torch.sigmoid(input).detach())


@plant("silu-gradient-scaled-in-tail", "functional.silu", "gradients")
def silu_gradient_scaled_in_tail(input, inplace=False):
    """Of the last elements behind a whole vector of 16 the gradient is doubled."""
    if input.numel() <= 16 or inplace:
        return functional.silu(input, inplace)
    factor = torch.ones(input.numel(), dtype=input.dtype)
    factor[input.numel() // 16 * 16 :] = 2
    return functional.silu(alter_gradient(input, lambda g: g * factor.reshape(input.shape)))


@plant("silu-strided-input", "functional.silu", "layout")
def silu_strided_input(input, inplace=False):
    """An input that is not contiguous is read as if it were."""
    return functional.silu(input if inplace else read_as_contiguous(input), inplace)


@plant("silu-infinity-is-nan", "functional.silu", "special")
def silu_infinity_is_nan(input, inplace=False):
    """+∞ comes out as NaN: ∞·e^∞/(1 + e^∞)."""
    output = functional.silu(input, inplace)
    return torch.where(output == torch.inf, torch.nan, output)


@plant("silu-in-twenty-bits", "functional.silu", "values")
def silu_in_twenty_bits(input, inplace=False):
    """In float32 the last four bits are noise, within assert_close's tolerance."""
    output = functional.silu(input, inplace)
    return output if inplace or input.dtype != torch.float32 else output * (1 + 2.0**-20)
