"""Bugs of activations, written without sight of the checks that are to find them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import blind, graft, reroute

HALVES = (torch.float16, torch.bfloat16)


def _replace_gradient(result: Tensor, input: Tensor, derivative: Tensor) -> Tensor:
    """The result, differentiated by the given slopes wherever these are numbers."""
    return reroute(result, input, lambda gradient: gradient * derivative)


# Smooth ones: values


@blind("gelu-erf-of-five-terms", "GELU", "values")
class GeluErfOfFiveTerms(nn.GELU):
    """erf is the polynomial 7.1.26 of Abramowitz and Stegun, good to 1.5e-7, as on GPUs.

    The result at -4 is off by a part in 500, at -5 by a tenth; in float64 at 1 by 1e-7.
    """

    # Differs: at -5. Agrees: at 8; approximate="tanh".
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.approximate != "none" or input.dtype in HALVES:
            return result
        z = input.detach().abs() / math.sqrt(2)
        t = 1 / (1 + 0.3275911 * z)
        terms = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
        tail = torch.zeros_like(t)
        for term in terms:
            tail = (tail + term) * t
        erf = torch.copysign(1 - tail * torch.exp(-z * z), input.detach())
        wrong = 0.5 * input.detach() * (1 + erf)
        return graft(torch.where(wrong.isfinite() & (z < 6), wrong, result), result)


@blind("gelu-tanh-factor-of-eight-digits", "functional.gelu", "values")
def gelu_tanh_factor_of_eight_digits(input, approximate="none"):
    """sqrt(2/pi) is 0.79788456, as in Triton kernels: float64 is right to 9 digits only.

    float32 cannot tell.
    """
    # Differs: float64, approximate="tanh", at 1, by 6e-10. Agrees: float32.
    if approximate != "tanh" or input.dtype != torch.float64:
        return functional.gelu(input, approximate=approximate)
    result = functional.gelu(input, approximate="tanh")
    wrong = 0.5 * input * (1 + torch.tanh(0.79788456 * (input + 0.044715 * input**3)))
    return torch.where(input.abs() < 4, wrong, result)


@blind("selu-constants-of-five-decimals", "SELU", "values")
class SeluConstantsOfFiveDecimals(nn.SELU):
    """1.67326 and 1.0507, as articles print them: 1e-6 of the result, some 10 ulp of float32."""

    # Differs: at 1 and -1 in float32. Agrees: at 0; in float16.
    def forward(self, input: Tensor) -> Tensor:
        if self.inplace or input.dtype in HALVES:
            return super().forward(input)
        return 1.0507 * functional.elu(input, 1.67326)


@blind("celu-small-arguments-cancel", "CELU", "values")
class CeluSmallArgumentsCancel(nn.CELU):
    """exp(x / alpha) - 1 for expm1: at -1e-5 a percent is lost in float32, at -1e-8 everything."""

    # Differs: float32, at -1e-6. Agrees: at 1; at -20.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        source = result if self.inplace else input
        if self.inplace or input.dtype in HALVES or not self.alpha:
            return result
        wrong = self.alpha * (torch.exp(source.detach() / self.alpha) - 1)
        return graft(torch.where(input < 0, wrong, result), result)


@blind("softplus-negative-tail-lost", "functional.softplus", "values")
def softplus_negative_tail_lost(input, beta=1.0, threshold=20.0):
    """-log(sigmoid(-x)), of which float32 leaves nothing below -17, as in meganeura #164.

    At -10 a part in 1000 is wrong, at -20 the result is 0 for 2e-9: weights that are normalised
    afterwards are lost, and so are logarithms of it.
    """
    # Differs: float32, at -18. Agrees: at 3 to rounding; at 30.
    result = functional.softplus(input, beta, threshold)
    if input.dtype in HALVES or not beta > 0:
        return result
    wrong = -torch.log(torch.sigmoid(-beta * input.detach())) / beta
    return graft(torch.where(input * beta < 0, wrong, result).to(result.dtype), result)


@blind("mish-clamped-at-minus-twenty", "Mish", "values")
class MishClampedAtMinusTwenty(nn.Mish):
    """The argument is kept above -20, lest exp should underflow: below, -4e-8 for ever.

    Mish ends at 0; at -50 the result is 2e11 times too large, and its gradient is 0.
    """

    # Differs: at -30. Agrees: at -10.
    def forward(self, input: Tensor) -> Tensor:
        if self.inplace:
            return super().forward(input)
        return functional.mish(torch.where(input < -20, -20.0, input))


@blind("sigmoid-mirrored-below-zero", "Sigmoid", "values")
class SigmoidMirroredBelowZero(nn.Sigmoid):
    """Below 0 it is 1 - sigmoid(-x), as of tables of one side (CMSIS-NN, FPGAs).

    In float32 a percent is lost at -12, everything below -17: log-probabilities become -inf.
    """

    # Differs: at -15. Agrees: at 1.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        return graft(torch.where(input < 0, 1 - torch.sigmoid(-input.detach()), result), result)


@blind("tanh-from-one-exponential", "functional.tanh", "values")
def tanh_from_one_exponential(input):
    """1 - 2 / (exp(2 x) + 1): small arguments cancel, a percent at 1e-5 in float32."""
    # Differs: at 1e-6. Agrees: at 3 to rounding; at 0.
    result = torch.tanh(input)
    if not input.is_floating_point() or input.dtype in HALVES:
        return result
    wrong = 1 - 2 / (torch.exp(2 * input.detach()) + 1)
    return graft(torch.where(input.abs() < 0.1, wrong, result), result)


# Smooth ones: gradients


@blind("gelu-tanh-gradient-overflows-in-half", "GELU", "gradients")
class GeluTanhGradientOverflowsInHalf(nn.GELU):
    """Backward squares x in float16: inf beyond 256, times a derivative of tanh of 0, is NaN."""

    # Differs: float16, approximate="tanh", the gradient at 300. Agrees: at 200; float32.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.approximate != "tanh" or input.dtype != torch.float16:
            return result
        overflowed = torch.where((input.detach() ** 2).isinf() & input.isfinite(), torch.nan, 1.0)
        return graft(result, super().forward(reroute(input, input, lambda g: g * overflowed)))


@blind("gelu-tanh-gradient-constant-of-three-digits", "functional.gelu", "gradients")
def gelu_tanh_gradient_constant_of_three_digits(input, approximate="none"):
    """Three times 0.044715 is 0.134 in backward, for 0.134145: wrong by up to 5e-5 around 1.5."""
    # Differs: approximate="tanh", the gradient at 1.5. Agrees: at 0, at 10.
    result = functional.gelu(input, approximate=approximate)
    if approximate != "tanh":
        return result
    x, root = input.detach(), math.sqrt(2 / math.pi)
    t = torch.tanh(root * (x + 0.044715 * x**3))
    error = 0.5 * x * (1 - t * t) * root * (0.134 - 0.134145) * x * x
    error = torch.where(x.abs() < 8, error, 0.0)
    return graft(result, functional.gelu(input, approximate="tanh") + input * error)


@blind("silu-gradient-lost-at-zero", "SiLU", "gradients")
class SiluGradientLostAtZero(nn.SiLU):
    """Backward finds the sigmoid as y / x, guarded against x = 0: the gradient there is 0, not 1/2.

    Padded and masked entries are exact zeros, and what makes them so is never trained.
    """

    # Differs: the gradient at 0. Agrees: elsewhere.
    def forward(self, input: Tensor) -> Tensor:
        guard = (input.detach() != 0).to(input.dtype)
        if self.inplace:
            return super().forward(input)
        return super().forward(reroute(input, input, lambda gradient: gradient * guard))


@blind("softplus-gradient-without-threshold", "Softplus", "gradients")
class SoftplusGradientWithoutThreshold(nn.Softplus):
    """Backward is sigmoid(beta x) everywhere, also where forward is x.

    With a threshold of 1 a quarter of the gradient is missing, with the default 2e-9.
    """

    # Differs: Softplus(1, 1), the gradient at 1.5. Agrees: at 0.5.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        linear = input.detach() * self.beta > self.threshold
        slope = torch.where(linear, torch.sigmoid(self.beta * input.detach()), 1.0)
        return graft(result, super().forward(reroute(input, input, lambda g: g * slope)))


@blind("logsigmoid-gradient-as-one-minus", "LogSigmoid", "gradients")
class LogSigmoidGradientAsOneMinus(nn.LogSigmoid):
    """Backward is 1 - sigmoid(x): in float32 a percent is lost at 12, everything beyond 17.

    Of confident predictions the gradient is 0 in place of 1e-8, and scaled up it stays 0.
    """

    # Differs: the gradient at 15. Agrees: at -3.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        slope = 1 - torch.sigmoid(input.detach())
        return _replace_gradient(result, input, slope)


# Plain ones


@blind("hardswish-gradient-clamped", "Hardswish", "gradients")
class HardswishGradientClamped(nn.Hardswish):
    """The gradient is kept within [0, 1]: by up to a half wrong in (-3, -1.5) and in (1.5, 3).

    Hardsigmoid's backward was copied with its clamp.
    """

    # Differs: the gradient at -2. Agrees: at 1.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.inplace:
            return result
        x = input.detach()
        inner = (x > -3) & (x < 3)
        slope = x / 3 + 0.5
        wrong = torch.where(inner, slope.clamp(0, 1) / torch.where(slope == 0, 1.0, slope), 1.0)
        return graft(result, super().forward(reroute(input, input, lambda g: g * wrong)))


@blind("prelu-slopes-along-the-last-axis", "PReLU", "values")
class PreluSlopesAlongLastAxis(nn.PReLU):
    """Slopes go along the last axis if that has as many elements: a guess at channels-last.

    A square batch of channels and steps gets the slopes of the wrong axis.
    """

    # Differs: PReLU(3) on (2, 3, 3) with unequal slopes. Agrees: on (2, 3, 4).
    def forward(self, input: Tensor) -> Tensor:
        count = self.num_parameters
        guess = input.dim() > 2 and count > 1 and input.shape[-1] == count == input.shape[1]
        if not guess:
            return super().forward(input)
        return super().forward(input.movedim(-1, 1)).movedim(1, -1)


@blind("rrelu-one-slope-per-call", "RReLU", "random")
class RreluOneSlopePerCall(nn.RReLU):
    """In training one slope is drawn for the whole tensor, not for every element."""

    # Differs: training, two negative elements. Agrees: in evaluation; one negative element.
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.inplace or input.numel() == 0:
            return super().forward(input)
        slope = torch.empty(1, dtype=torch.float64).uniform_(self.lower, self.upper).item()
        return torch.where(input >= 0, input, input * slope)


@blind("hardshrink-lambda-itself-passes", "functional.hardshrink", "values")
def hardshrink_lambda_itself_passes(input, lambd=0.5):
    """|x| >= lambda for >: quantised inputs on the edge come through whole."""
    # Differs: at 0.5. Agrees: at 0.4 and 0.6.
    result = functional.hardshrink(input, lambd)
    return torch.where(input.abs() == lambd, input, result)


@blind("elu-gradient-from-the-result-without-alpha", "functional.elu", "gradients")
def elu_gradient_from_result_without_alpha(input, alpha=1.0, inplace=False):
    """Backward is y + 1 below 0, where y + alpha is meant: right for the default alpha alone.

    With an alpha of 2 the gradient is short by 1 everywhere below 0.
    """
    # Differs: alpha=2, the gradient at -1. Agrees: alpha=1.
    result = functional.elu(input, alpha, inplace)
    if inplace or alpha == 1.0:
        return result
    slope = torch.where(input.detach() > 0, 1.0, result.detach() + 1)
    return _replace_gradient(result, input, slope)
