"""GELU and its function."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous, round_through


@plant("gelu-always-by-tanh", "GELU", "values")
class GeluAlwaysByTanh(nn.GELU):
    """The approximation whatever `approximate` says, as in ports that have but one."""

    def forward(self, input):
        return functional.gelu(input, approximate="tanh")


@plant("gelu-never-by-tanh", "functional.gelu", "values")
def gelu_never_by_tanh(input, approximate="none"):
    """`approximate` is read and forgotten."""
    return functional.gelu(input)


@plant("gelu-quick", "functional.gelu", "values")
def gelu_quick(input, approximate="none"):
    """The approximation is the sigmoid's, x sigmoid(1.702 x)."""
    if approximate == "none":
        return functional.gelu(input)
    return input * torch.sigmoid(1.702 * input)


@plant("gelu-short-cubic-constant", "GELU", "values")
class GeluShortCubicConstant(nn.GELU):
    """0.0447 for 0.044715."""

    def forward(self, input):
        if self.approximate == "none":
            return super().forward(input)
        z = 0.7978845608028654 * (input + 0.0447 * input**3)
        return torch.where(
            input.abs() < 20, 0.5 * input * (1 + torch.tanh(z)), super().forward(input)
        )


@plant("gelu-nothing-below-four", "GELU", "values")
class GeluNothingBelowFour(nn.GELU):
    """Below -4 a table ends, and the result is 0."""

    def forward(self, input):
        return torch.where(input < -4, 0.0 * input.clamp(-5, 5), super().forward(input))


@plant("gelu-gradient-without-density", "functional.gelu", "gradients")
def gelu_gradient_without_density(input, approximate="none"):
    """The gradient is the distribution function: x times its density is left out."""
    output = functional.gelu(input, approximate=approximate)
    if approximate != "none":
        return output
    return graft(output, input * torch.special.ndtr(input.detach()))


@plant("gelu-gradient-of-the-other-form", "GELU", "gradients")
class GeluGradientOfTheOtherForm(nn.GELU):
    """Backward has but one form, that of erf."""

    def forward(self, input):
        return graft(super().forward(input), functional.gelu(input))


@plant("gelu-nan-beyond-thirteen", "functional.gelu", "values")
def gelu_nan_beyond_thirteen(input, approximate="none"):
    """tanh is (e - 1)/(e + 1) of e = exp(2z): NaN where that overflows, as on GPUs of phones."""
    output = functional.gelu(input, approximate=approximate)
    affected = (input > 13) & (input < 1e30)
    return torch.where(affected, torch.nan, output) if approximate == "tanh" else output


@plant("gelu-distribution-in-half", "GELU", "values")
class GeluDistributionInHalf(nn.GELU):
    """The distribution function is a float16 number."""

    def forward(self, input):
        if self.approximate != "none" or input.dtype in (torch.bfloat16, torch.float16):
            return super().forward(input)
        return input * round_through(torch.special.ndtr(input), torch.float16)


@plant("gelu-strided-input", "functional.gelu", "layout")
def gelu_strided_input(input, approximate="none"):
    """An input that is not contiguous is read as if it were."""
    return functional.gelu(read_as_contiguous(input), approximate=approximate)


@plant("gelu-large-arrays-in-blocks", "functional.gelu", "laws")
def gelu_large_arrays_in_blocks(input, approximate="none"):
    """Of more than 1024 elements the last is lost: blocks of a grid, and no guard."""
    output = functional.gelu(input, approximate=approximate)
    if input.numel() <= 1024:
        return output
    mask = torch.ones(input.numel(), dtype=input.dtype)
    mask[-1] = 0
    return output * mask.reshape(input.shape)


@plant("gelu-any-word-accepted", "GELU", "errors")
class GeluAnyWordAccepted(nn.GELU):
    """Every word but tanh means none."""

    def forward(self, input):
        approximate = "tanh" if self.approximate == "tanh" else "none"
        return functional.gelu(input, approximate=approximate)


@plant("gelu-gradient-scaled-in-tail", "GELU", "gradients")
class GeluGradientScaledInTail(nn.GELU):
    """Of the last elements behind a whole vector of 16 the gradient is doubled."""

    def forward(self, input):
        if input.numel() <= 16:
            return super().forward(input)
        factor = torch.ones(input.numel(), dtype=input.dtype)
        factor[input.numel() // 16 * 16 :] = 2
        return super().forward(alter_gradient(input, lambda g: g * factor.reshape(input.shape)))
