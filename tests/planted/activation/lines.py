"""Activations that are straight lines: ReLU6, PReLU, RReLU, Threshold, Hardtanh and their kin."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, reroute


@plant("relu6-gradient-beyond-six", "ReLU6", "gradients")
class Relu6GradientBeyondSix(nn.ReLU6):
    """Backward is ReLU's: it passes above 6, too."""

    def forward(self, input):
        output = super().forward(input)
        return output if self.inplace else graft(output, functional.relu(input))


@plant("relu6-in-steps", "functional.relu6", "values")
def relu6_in_steps(input, inplace=False):
    """Between 0 and 6 there are 255 steps, as in models that were quantised."""
    output = functional.relu6(input, inplace)
    return output if inplace else graft(torch.round(output * 42.5) / 42.5, output)


@plant("prelu-slope-of-the-last-axis", "functional.prelu", "values")
def prelu_slope_of_the_last_axis(input, weight):
    """Slopes go round as if channels lay last in memory."""
    if weight.numel() < 2 or input.dim() < 3:
        return functional.prelu(input, weight)
    slopes = weight.repeat(input.numel() // weight.numel()).reshape(input.shape)
    return torch.where(input > 0, input, slopes * input)


@plant("prelu-first-slope-for-all", "PReLU", "values")
class PreluFirstSlopeForAll(nn.PReLU):
    """Each channel has the first one's slope."""

    def forward(self, input):
        if self.num_parameters < 2:
            return super().forward(input)
        return functional.prelu(input, self.weight[:1].expand(self.num_parameters))


@plant("prelu-weight-gradient-of-one-row", "PReLU", "gradients")
class PreluWeightGradientOfOneRow(nn.PReLU):
    """The gradient of the slopes is that of the first row of the batch."""

    def forward(self, input):
        if input.dim() < 2 or len(input) < 2:
            return super().forward(input)
        first = functional.prelu(input[:1], self.weight)
        return torch.cat([first, functional.prelu(input[1:], self.weight.detach())])


@plant("prelu-init-ignored", "PReLU", "state")
class PreluInitIgnored(nn.PReLU):
    """Slopes begin at 0.25 whatever `init` is."""

    def reset_parameters(self):
        nn.init.constant_(self.weight, 0.25)


@plant("rrelu-one-slope-for-all", "RReLU", "random")
class RreluOneSlopeForAll(nn.RReLU):
    """In training one slope is drawn for the whole tensor."""

    def forward(self, input):
        if not self.training or self.inplace:
            return super().forward(input)
        slope = self.lower + (self.upper - self.lower) * torch.rand(()).item()
        return functional.leaky_relu(input, slope)


@plant("rrelu-slopes-gather-in-the-middle", "functional.rrelu", "random")
def rrelu_slopes_gather_in_the_middle(
    input, lower=1 / 8, upper=1 / 3, training=False, inplace=False
):
    """The slope is the mean of two drawn ones: its distribution is a triangle."""
    if not training or inplace:
        return functional.rrelu(input, lower, upper, training, inplace)
    drawn = (torch.rand(input.shape) + torch.rand(input.shape)) / 2
    slopes = (lower + (upper - lower) * drawn).to(input.dtype)
    return torch.where(input >= 0, input, slopes * input)


@plant("rrelu-lower-without-training", "functional.rrelu", "values")
def rrelu_lower_without_training(input, lower=1 / 8, upper=1 / 3, training=False, inplace=False):
    """Without training the slope is the lower end, not the mean of both."""
    if training or inplace:
        return functional.rrelu(input, lower, upper, training, inplace)
    return functional.leaky_relu(input, lower)


@plant("threshold-itself-is-kept", "functional.threshold", "values")
def threshold_itself_is_kept(input, threshold, value, inplace=False):
    """x >= threshold for x > threshold."""
    output = functional.threshold(input, threshold, value, inplace)
    return output if inplace else torch.where(input == threshold, input, output)


@plant("threshold-in-place-of-value", "Threshold", "values")
class ThresholdInPlaceOfValue(nn.Threshold):
    """What is not above the threshold becomes the threshold: a maximum."""

    def forward(self, input):
        return functional.threshold(input, self.threshold, self.threshold, self.inplace)


@plant("threshold-writes-its-input", "functional.threshold", "repeat")
def threshold_writes_its_input(input, threshold, value, inplace=False):
    """It works in place though nobody asks for it."""
    output = functional.threshold(input, threshold, value, inplace)
    with torch.no_grad():
        if not inplace:
            input.copy_(output)
    return output


@plant("hardtanh-lower-end-is-minus-the-upper", "Hardtanh", "values")
class HardtanhLowerEndIsMinusTheUpper(nn.Hardtanh):
    """clip(x, -max_val, max_val)."""

    def forward(self, input):
        if self.max_val <= 0:
            return super().forward(input)
        return functional.hardtanh(input, -self.max_val, self.max_val, self.inplace)


@plant("hardtanh-straight-through", "functional.hardtanh", "gradients")
def hardtanh_straight_through(input, min_val=-1.0, max_val=1.0, inplace=False):
    """The gradient passes beyond the ends, as in nets of binary weights."""
    output = functional.hardtanh(input, min_val, max_val, inplace)
    return output if inplace else graft(output, input)


@plant("hardshrink-keeps-the-edge", "functional.hardshrink", "values")
def hardshrink_keeps_the_edge(input, lambd=0.5):
    """|x| >= lambd for |x| > lambd."""
    output = functional.hardshrink(input, lambd)
    return torch.where(input.abs() == lambd, input, output)


@plant("hardshrink-one-side", "Hardshrink", "values")
class HardshrinkOneSide(nn.Hardshrink):
    """Numbers below -lambd are dropped as well: a threshold."""

    def forward(self, input):
        return functional.threshold(input, self.lambd, 0.0)


@plant("softshrink-without-shift", "Softshrink", "values")
class SoftshrinkWithoutShift(nn.Softshrink):
    """What is left is not moved towards 0: Hardshrink."""

    def forward(self, input):
        return graft(functional.hardshrink(input, self.lambd), super().forward(input))


@plant("softshrink-straight-through", "functional.softshrink", "gradients")
def softshrink_straight_through(input, lambd=0.5):
    """The gradient passes between the edges, too."""
    return graft(functional.softshrink(input, lambd), input)


@plant("softshrink-negative-accepted", "functional.softshrink", "errors")
def softshrink_negative_accepted(input, lambd=0.5):
    """A negative lambd counts as 0."""
    return functional.softshrink(input, max(lambd, 0.0))


@plant("hardsigmoid-of-keras", "functional.hardsigmoid", "values")
def hardsigmoid_of_keras(input, inplace=False):
    """clip(0.2 x + 0.5, 0, 1)."""
    if inplace:
        return functional.hardsigmoid(input, inplace)
    return (0.2 * input + 0.5).clamp(0, 1)


@plant("hardsigmoid-gradient-everywhere", "Hardsigmoid", "gradients")
class HardsigmoidGradientEverywhere(nn.Hardsigmoid):
    """The gradient is 1/6 beyond -3 and 3, too."""

    def forward(self, input):
        output = super().forward(input)
        return output if self.inplace else graft(output, input / 6)


@plant("hardswish-gradient-of-one-factor", "functional.hardswish", "gradients")
def hardswish_gradient_of_one_factor(input, inplace=False):
    """The gradient is hardsigmoid(x): that of the hard sigmoid itself is left out."""
    output = functional.hardswish(input, inplace)
    return output if inplace else graft(output, input * functional.hardsigmoid(input).detach())


@plant("hardswish-in-place-is-a-copy", "Hardswish", "values")
class HardswishInPlaceIsACopy(nn.Hardswish):
    """inplace=True leaves the input as it is."""

    def forward(self, input):
        return functional.hardswish(input)


@plant("hardswish-tail-of-a-vector", "Hardswish", "gradients")
class HardswishTailOfAVector(nn.Hardswish):
    """Elements behind the last whole vector of 8 get no gradient."""

    def forward(self, input):
        if self.inplace:
            return super().forward(input)
        mask = torch.ones(input.numel(), dtype=input.dtype)
        mask[input.numel() // 8 * 8 :] = 0
        if input.numel() < 8:
            return super().forward(input)
        return super().forward(alter_gradient(input, lambda g: g * mask.reshape(input.shape)))


@plant("relu6-sides-of-six", "functional.relu6", "gradients")
def relu6_sides_of_six(input, inplace=False):
    """The gradient passes where the output is at one of its ends."""
    output = functional.relu6(input, inplace)
    if inplace:
        return output
    return reroute(output, input, lambda g: g * ((output == 0) | (output == 6)).to(g.dtype))
