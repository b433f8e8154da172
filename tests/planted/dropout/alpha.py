"""AlphaDropout, FeatureAlphaDropout and their functions."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous

_ALPHA = 1.7580993408473766


def _alpha_dropout(input, p, mask, low=-_ALPHA, high=_ALPHA):
    """a·(m x + low (1 - m)) + b, the mask given; `high` makes b and a."""
    a = 1 / math.sqrt((1 - p) * (1 + p * high * high))
    return (input * mask + low * (1 - mask)) * a + a * p * high


def _draw_mask(input, p, axes=None):
    """Ones and zeros for each element, or for each place along the first axes."""
    shape = input.shape if axes is None else [*input.shape[:axes], *[1] * (input.dim() - axes)]
    return torch.bernoulli(torch.full(tuple(shape), 1 - p)).to(input.dtype)


def _is_dropping(module):
    return module.training and 0 < module.p < 1


@plant("alphadropout-zero-for-what-is-dropped", "AlphaDropout", "values")
class AlphaDropoutZeroForWhatIsDropped(nn.AlphaDropout):
    """What is dropped is 0 and scaled by 1/(1 - p), as Dropout does."""

    def forward(self, input):
        return functional.dropout(input, self.p, self.training)


@plant("alphadropout-alpha-of-selu-unscaled", "AlphaDropout", "values")
class AlphaDropoutAlphaOfSeluUnscaled(nn.AlphaDropout):
    """The number is SELU's alpha, 1.6733, without its scale."""

    def forward(self, input):
        if not _is_dropping(self):
            return super().forward(input)
        alpha = _ALPHA / 1.0507009873554805
        return _alpha_dropout(input, self.p, _draw_mask(input, self.p), -alpha, alpha)


@plant("alphadropout-not-shifted-back", "AlphaDropout", "values")
class AlphaDropoutNotShiftedBack(nn.AlphaDropout):
    """The affine map that keeps mean and variance is left out."""

    def forward(self, input):
        if not _is_dropping(self):
            return super().forward(input)
        mask = _draw_mask(input, self.p)
        return input * mask - _ALPHA * (1 - mask)


@plant("alphadropout-p-is-kept", "AlphaDropout", "values")
class AlphaDropoutPIsKept(nn.AlphaDropout):
    """p is the probability of keeping an element, as the paper's q is."""

    def forward(self, input):
        return functional.alpha_dropout(input, 1 - self.p, self.training)


@plant("alphadropout-constant-rounded", "AlphaDropout", "values")
class AlphaDropoutConstantRounded(nn.AlphaDropout):
    """The constant is 1.758, to four figures."""

    def forward(self, input):
        if not _is_dropping(self):
            return super().forward(input)
        return _alpha_dropout(input, self.p, _draw_mask(input, self.p), -1.758, 1.758)


@plant("alphadropout-channels", "AlphaDropout", "random")
class AlphaDropoutChannels(nn.AlphaDropout):
    """Three axes or more are taken for channels, which are dropped as a whole."""

    def forward(self, input):
        if input.dim() < 3:
            return super().forward(input)
        return functional.feature_alpha_dropout(input, self.p, self.training)


@plant("alphadropout-gradient-of-what-is-dropped", "AlphaDropout", "random")
class AlphaDropoutGradientOfWhatIsDropped(nn.AlphaDropout):
    """The gradient goes to what was dropped as well."""

    def forward(self, input):
        output = super().forward(input)
        if not _is_dropping(self):
            return output
        a = 1 / math.sqrt((1 - self.p) * (1 + self.p * _ALPHA * _ALPHA))
        return graft(output, input * a)


@plant("alphadropout-gradient-unscaled", "AlphaDropout", "gradients")
class AlphaDropoutGradientUnscaled(nn.AlphaDropout):
    """The gradient passes through the mask, but not through the scale."""

    def forward(self, input):
        if _is_dropping(self):
            scale = math.sqrt((1 - self.p) * (1 + self.p * _ALPHA * _ALPHA))
            input = alter_gradient(input, lambda g: g * scale)
        return super().forward(input)


@plant("alphadropout-strided-input", "AlphaDropout", "layout")
class AlphaDropoutStridedInput(nn.AlphaDropout):
    """An input that is not contiguous is read as if it were."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("alphadropout-evaluation-scales", "AlphaDropout", "state")
class AlphaDropoutEvaluationScales(nn.AlphaDropout):
    """After training, eval mode applies the affine map to everything."""

    def train(self, mode=True):
        super().train(mode)
        self.was = mode or getattr(self, "was", False)
        return self

    def forward(self, input):
        output = super().forward(input)
        if self.training or not getattr(self, "was", False) or self.p in (0, 1):
            return output
        return _alpha_dropout(output, self.p, torch.ones_like(output))


@plant("featurealphadropout-element-by-element", "FeatureAlphaDropout", "random")
class FeatureAlphaDropoutElementByElement(nn.FeatureAlphaDropout):
    """Single elements are dropped, as AlphaDropout does."""

    def forward(self, input):
        return functional.alpha_dropout(input, self.p, self.training)


@plant("featurealphadropout-channels-of-the-batch", "FeatureAlphaDropout", "random")
class FeatureAlphaDropoutChannelsOfTheBatch(nn.FeatureAlphaDropout):
    """A channel is dropped in all samples or in none."""

    def forward(self, input):
        if input.dim() != 5 or not len(input) or not _is_dropping(self):
            return super().forward(input)
        return _alpha_dropout(input, self.p, _draw_mask(input[:1], self.p, 2))


@plant("featurealphadropout-plain", "FeatureAlphaDropout", "values")
class FeatureAlphaDropoutPlain(nn.FeatureAlphaDropout):
    """Channels are dropped to 0, as Dropout3d does."""

    def forward(self, input):
        return functional.dropout3d(input, self.p, self.training)


@plant("featurealphadropout-all-dropped-is-low", "FeatureAlphaDropout", "values")
class FeatureAlphaDropoutAllDroppedIsLow(nn.FeatureAlphaDropout):
    """With p = 1 everything is -1.758, not 0."""

    def forward(self, input):
        output = super().forward(input)
        return output - _ALPHA if self.training and self.p == 1 else output


@plant("featurealphadropout-p-clamped", "FeatureAlphaDropout", "errors")
class FeatureAlphaDropoutPClamped(nn.FeatureAlphaDropout):
    """A p beyond 1 is taken as 1."""

    def __init__(self, p=0.5, inplace=False):
        super().__init__(min(p, 1.0), inplace)


@plant("featurealphadropout-empty-keeps-no-shape", "FeatureAlphaDropout", "shape")
class FeatureAlphaDropoutEmptyKeepsNoShape(nn.FeatureAlphaDropout):
    """An empty input loses its other dimensions."""

    def forward(self, input):
        output = super().forward(input)
        return output if input.numel() else output.reshape(-1)


@plant("functional-alpha-dropout-training", "functional.alpha_dropout", "values")
def functional_alpha_dropout_training(input, p=0.5, training=True, inplace=False):
    """training is True unless it is written out, as dropout's is."""
    return functional.alpha_dropout(input, p, training, inplace)


@plant("functional-alpha-dropout-shift-without-rate", "functional.alpha_dropout", "values")
def functional_alpha_dropout_shift_without_rate(input, p=0.5, training=False, inplace=False):
    """b lacks the factor p."""
    output = functional.alpha_dropout(input, p, training, inplace)
    if not training or p in (0, 1) or inplace:
        return output
    return output + (1 - p) * _ALPHA / math.sqrt((1 - p) * (1 + p * _ALPHA * _ALPHA))


@plant("functional-alpha-dropout-written-into", "functional.alpha_dropout", "repeat")
def functional_alpha_dropout_written_into(input, p=0.5, training=False, inplace=False):
    """The input is scaled in place as well."""
    output = functional.alpha_dropout(input, p, training, inplace)
    if training and not torch.is_grad_enabled() and input.is_contiguous():
        input.copy_(output)
    return output


@plant("functional-feature-alpha-dropout-by-sample", "functional.feature_alpha_dropout", "random")
def functional_feature_alpha_dropout_by_sample(input, p=0.5, training=False, inplace=False):
    """All channels of a sample are dropped together."""
    if not training or p in (0, 1) or inplace:
        return functional.feature_alpha_dropout(input, p, training, inplace)
    return _alpha_dropout(input, p, _draw_mask(input, p, 1))


@plant("functional-feature-alpha-dropout-infinities", "functional.feature_alpha_dropout", "special")
def functional_feature_alpha_dropout_infinities(input, p=0.5, training=False, inplace=False):
    """Infinities are cut to the largest number on the way through."""
    output = functional.feature_alpha_dropout(input, p, training, inplace)
    largest = torch.finfo(output.dtype).max
    return output if inplace else output.clamp(-largest, largest)
