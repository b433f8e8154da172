"""Activations that bend: the exponential units, Mish, Sigmoid, Tanh, Softplus and their kin."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import graft, plant, reroute


def _scale_gradient(output, input, slope):
    """The numbers of `output`; the gradient is multiplied by `slope`."""
    return reroute(output, input, lambda g: g * slope.to(g.dtype))


@plant("elu-exponential-minus-one", "functional.elu", "values")
def elu_exponential_minus_one(input, alpha=1.0, inplace=False):
    """exp(x) - 1, which cancels next to 0, for expm1(x)."""
    output = functional.elu(input, alpha, inplace)
    if inplace:
        return output
    negative_part = alpha * (torch.exp(input.clamp(max=0)) - 1)
    return graft(torch.where(input > 0, input, negative_part), output)


@plant("elu-alpha-on-both-sides", "ELU", "values")
class EluAlphaOnBothSides(nn.ELU):
    """Positive numbers are multiplied by alpha, too."""

    def forward(self, input):
        output = super().forward(input)
        return output if self.inplace else torch.where(input > 0, self.alpha * input, output)


@plant("elu-gradient-without-alpha", "functional.elu", "gradients")
def elu_gradient_without_alpha(input, alpha=1.0, inplace=False):
    """Below 0 the gradient is exp(x)."""
    output = functional.elu(input, alpha, inplace)
    return output if inplace else graft(output, functional.elu(input, 1.0))


@plant("elu-gradient-of-the-other-branch", "ELU", "gradients")
class EluGradientOfTheOtherBranch(nn.ELU):
    """Both branches are differentiated and one is multiplied by 0: NaN where exp(x) overflows."""

    def forward(self, input):
        output = super().forward(input)
        if self.inplace:
            return output
        overflowed = torch.exp(input.detach()).isinf()
        return _scale_gradient(
            output, input, torch.where(overflowed, torch.nan, self._slope(input))
        )

    def _slope(self, input):
        x = input.detach()
        return torch.where(x > 0, torch.ones_like(x), self.alpha * torch.exp(x))


@plant("elu-alpha-outside-the-row", "functional.elu", "values")
def elu_alpha_outside_the_row(input, alpha=1.0, inplace=False):
    """alpha is left out below 0."""
    output = functional.elu(input, alpha, inplace)
    return output if inplace else functional.elu(input, 1.0)


@plant("selu-short-constants", "SELU", "values")
class SeluShortConstants(nn.SELU):
    """alpha and scale have five digits, as many blogs print them."""

    def forward(self, input):
        if self.inplace:
            return super().forward(input)
        return 1.0507 * functional.elu(input, 1.6733)


@plant("selu-scale-above-only", "functional.selu", "values")
def selu_scale_above_only(input, inplace=False):
    """Below 0 the scale is left out."""
    output = functional.selu(input, inplace)
    return output if inplace else torch.where(input > 0, output, output / 1.0507009873554805)


@plant("selu-constants-in-single", "functional.selu", "values")
def selu_constants_in_single(input, inplace=False):
    """In float64 alpha and scale are float32 numbers."""
    if inplace or input.dtype != torch.float64:
        return functional.selu(input, inplace)
    alpha, scale = torch.tensor([1.6732632423543772, 1.0507009873554805]).tolist()
    return scale * functional.elu(input, alpha)


@plant("celu-operand-not-divided", "CELU", "values")
class CeluOperandNotDivided(nn.CELU):
    """alpha (exp(x) - 1): ELU."""

    def forward(self, input):
        return functional.elu(input, self.alpha, self.inplace)


@plant("celu-gradient-times-alpha", "functional.celu", "gradients")
def celu_gradient_times_alpha(input, alpha=1.0, inplace=False):
    """That of exp(x/alpha) is not divided by alpha."""
    output = functional.celu(input, alpha, inplace)
    if inplace:
        return output
    slope = torch.where(input > 0, torch.ones_like(input), alpha * torch.exp(input / alpha))
    return _scale_gradient(output, input, slope.detach())


@plant("mish-linear-from-eight", "functional.mish", "values")
def mish_linear_from_eight(input, inplace=False):
    """From 8 on it is x."""
    output = functional.mish(input, inplace)
    return output if inplace else torch.where(input > 8, input, output)


@plant("mish-gradient-without-softplus", "Mish", "gradients")
class MishGradientWithoutSoftplus(nn.Mish):
    """That of softplus counts as 1."""

    def forward(self, input):
        output = super().forward(input)
        if self.inplace:
            return output
        t = torch.tanh(functional.softplus(input.detach()))
        return _scale_gradient(output, input, t + input.detach() * (1 - t * t))


@plant("mish-of-tanh-and-sigmoid", "Mish", "values")
class MishOfTanhAndSigmoid(nn.Mish):
    """x tanh(2 sigmoid(x)): much the same curve."""

    def forward(self, input):
        output = super().forward(input)
        return output if self.inplace else input * torch.tanh(2 * torch.sigmoid(input))


@plant("sigmoid-cut-at-sixteen", "functional.sigmoid", "values")
def sigmoid_cut_at_sixteen(input):
    """The operand is cut at -16 and 16, so that nothing overflows."""
    return torch.sigmoid(input.clamp(-16, 16))


@plant("sigmoid-gradient-of-one-factor", "Sigmoid", "gradients")
class SigmoidGradientOfOneFactor(nn.Sigmoid):
    """The gradient is s for s (1 - s)."""

    def forward(self, input):
        output = super().forward(input)
        return _scale_gradient(output, input, output.detach())


@plant("sigmoid-by-tanh-in-half", "Sigmoid", "values")
class SigmoidByTanhInHalf(nn.Sigmoid):
    """0.5 (1 + tanh(x/2)), which cancels where x is negative."""

    def forward(self, input):
        return 0.5 * (1 + torch.tanh(input / 2))


@plant("tanh-rational", "functional.tanh", "values")
def tanh_rational(input):
    """x (27 + x^2)/(27 + 9 x^2) between -3 and 3, and -1 and 1 beyond."""
    x = input.clamp(-3, 3)
    return x * (27 + x * x) / (27 + 9 * x * x)


@plant("tanh-gradient-not-squared", "Tanh", "gradients")
class TanhGradientNotSquared(nn.Tanh):
    """1 - |t| for 1 - t^2."""

    def forward(self, input):
        output = super().forward(input)
        return _scale_gradient(output, input, 1 - output.detach().abs())


@plant("tanh-of-exponentials", "functional.tanh", "values")
def tanh_of_exponentials(input):
    """As printed, by four exponentials: cancels at 0, NaN where exp(x) overflows."""
    up, down = torch.exp(input), torch.exp(-input)
    return (up - down) / (up + down)


@plant("softplus-threshold-of-x", "functional.softplus", "values")
def softplus_threshold_of_x(input, beta=1, threshold=20):
    """x, not beta x, is compared with the threshold."""
    output = functional.softplus(input, beta, threshold)
    curved = functional.softplus(input, beta, torch.inf)
    selected = torch.where(input > threshold, input, curved)
    return output if selected.isinf().any() else selected


@plant("softplus-beta-outside-only", "Softplus", "values")
class SoftplusBetaOutsideOnly(nn.Softplus):
    """log(1 + exp(x))/beta."""

    def forward(self, input):
        return functional.softplus(input, 1, self.threshold) / self.beta


@plant("softplus-log-of-a-sum", "Softplus", "values")
class SoftplusLogOfASum(nn.Softplus):
    """log(1 + exp(x)), which is 0 where exp(x) is small, for log1p."""

    def forward(self, input):
        output = super().forward(input)
        z = input * self.beta
        negative_part = torch.log(1 + torch.exp(z.clamp(max=0))) / self.beta
        return graft(torch.where(z < 0, negative_part, output), output)


@plant("softplus-gradient-times-beta", "functional.softplus", "gradients")
def softplus_gradient_times_beta(input, beta=1, threshold=20):
    """The logarithm is not divided by beta when it is differentiated."""
    output = functional.softplus(input, beta, threshold)
    return graft(output, output * beta)


@plant("logsigmoid-log-of-sigmoid", "functional.logsigmoid", "values")
def logsigmoid_log_of_sigmoid(input):
    """log(sigmoid(x)) as printed: -inf where the sigmoid is 0."""
    return torch.log(torch.sigmoid(input))


@plant("logsigmoid-gradient-reflected", "LogSigmoid", "gradients")
class LogsigmoidGradientReflected(nn.LogSigmoid):
    """The gradient is sigmoid(x) for sigmoid(-x)."""

    def forward(self, input):
        output = super().forward(input)
        return _scale_gradient(output, input, torch.sigmoid(input.detach()))


@plant("softsign-of-a-square", "Softsign", "values")
class SoftsignOfASquare(nn.Softsign):
    """x/sqrt(1 + x^2)."""

    def forward(self, input):
        return input * torch.rsqrt(1 + input * input)


@plant("softsign-gradient-of-one-factor", "functional.softsign", "gradients")
def softsign_gradient_of_one_factor(input):
    """1/(1 + |x|), not squared."""
    return graft(functional.softsign(input), input / (1 + input.detach().abs()))


@plant("tanhshrink-cubic", "functional.tanhshrink", "values")
def tanhshrink_cubic(input):
    """x^3/3 where |x| < 1/4."""
    output = functional.tanhshrink(input)
    return torch.where(input.abs() < 0.25, input**3 / 3, output)


@plant("tanhshrink-gradient-of-tanh", "Tanhshrink", "gradients")
class TanhshrinkGradientOfTanh(nn.Tanhshrink):
    """1 - tanh^2, not what is left of 1."""

    def forward(self, input):
        return graft(super().forward(input), torch.tanh(input))
