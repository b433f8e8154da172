"""Dropout1d, Dropout2d, Dropout3d and their functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous


def _is_dropping(module):
    """Whether a module's call has anything to draw, and may be written anew."""
    return module.training and 0 < module.p < 1 and not module.inplace


def _ones(input, axes):
    """Ones of the input's first axes, and of length 1 along the others."""
    return input.new_ones(*input.shape[:axes], *[1] * (input.dim() - axes))


@plant("dropout1d-element-by-element", "Dropout1d", "random")
class Dropout1dElementByElement(nn.Dropout1d):
    """Single elements are dropped, as Dropout does."""

    def forward(self, input):
        return functional.dropout(input, self.p, self.training, self.inplace)


@plant("dropout1d-two-axes-are-a-batch", "Dropout1d", "random")
class Dropout1dTwoAxesAreABatch(nn.Dropout1d):
    """An input (C, L) is taken for (N, C), whose elements are channels."""

    def forward(self, input):
        if input.dim() != 2 or not _is_dropping(self):
            return super().forward(input)
        return functional.dropout(input, self.p)


@plant("dropout1d-in-place-is-a-copy", "Dropout1d", "values")
class Dropout1dInPlaceIsACopy(nn.Dropout1d):
    """An unbatched input is copied on the way, and what is dropped in place is the copy."""

    def forward(self, input):
        unbatched = input.dim() == 2 and self.inplace
        return super().forward(input.clone() if unbatched else input)


@plant("dropout1d-batch-of-one-squeezed", "Dropout1d", "shape")
class Dropout1dBatchOfOneSqueezed(nn.Dropout1d):
    """An axis of length 1 in front is taken away, be it the batch's or not."""

    def forward(self, input):
        output = super().forward(input)
        return output.squeeze(0) if input.dim() == 3 else output


@plant("dropout1d-other-ranks-taken", "Dropout1d", "errors")
class Dropout1dOtherRanksTaken(nn.Dropout1d):
    """Inputs of any rank are taken."""

    def forward(self, input):
        if input.dim() in (2, 3):
            return super().forward(input)
        return functional.dropout(input, self.p, self.training, self.inplace)


@plant("dropout1d-nan-dropped-to-zero-in-evaluation", "Dropout1d", "special")
class Dropout1dNanDroppedToZeroInEvaluation(nn.Dropout1d):
    """A mask of ones is applied by a comparison in eval mode, and NaN compares with nothing."""

    def forward(self, input):
        output = super().forward(input)
        if self.training or self.inplace:
            return output
        return torch.where(output == output, output, torch.zeros_like(output))


@plant("dropout2d-element-by-element", "Dropout2d", "random")
class Dropout2dElementByElement(nn.Dropout2d):
    """Single elements are dropped, as Dropout does."""

    def forward(self, input):
        return functional.dropout(input, self.p, self.training, self.inplace)


@plant("dropout2d-rows-by-themselves", "Dropout2d", "random")
class Dropout2dRowsByThemselves(nn.Dropout2d):
    """A mask (N, C, H, 1): each row of a channel is dropped by itself."""

    def forward(self, input):
        if input.dim() != 4 or not _is_dropping(self):
            return super().forward(input)
        return input * functional.dropout(_ones(input, 3), self.p)


@plant("dropout2d-channels-of-the-batch", "Dropout2d", "random")
class Dropout2dChannelsOfTheBatch(nn.Dropout2d):
    """A mask (1, C, 1, 1): a channel is dropped in all samples or in none."""

    def forward(self, input):
        if not len(input) or not _is_dropping(self):
            return super().forward(input)
        return input * functional.dropout(_ones(input[:1], 2), self.p)


@plant("dropout2d-channels-last", "Dropout2d", "random")
class Dropout2dChannelsLast(nn.Dropout2d):
    """Channels are the last axis, as in Keras."""

    def forward(self, input):
        if input.dim() != 4 or not _is_dropping(self):
            return super().forward(input)
        mask = functional.dropout(_ones(input.permute(0, 3, 1, 2), 2), self.p)
        return input * mask.permute(0, 2, 3, 1)


@plant("dropout2d-three-axes-are-one-sample", "Dropout2d", "random")
class Dropout2dThreeAxesAreOneSample(nn.Dropout2d):
    """Three axes are (C, H, W), as torch says that they will be."""

    def forward(self, input):
        if input.dim() != 3 or not _is_dropping(self):
            return super().forward(input)
        return super().forward(input[None])[0]


@plant("dropout2d-scaled-by-what-was-kept", "Dropout2d", "values")
class Dropout2dScaledByWhatWasKept(nn.Dropout2d):
    """What is kept is scaled by the share that was kept, not by 1/(1 - p)."""

    def forward(self, input):
        if not _is_dropping(self) or not input.numel():
            return super().forward(input)
        mask = (functional.dropout2d(_ones(input, 2), self.p) != 0).to(input.dtype)
        return input * mask / mask.mean().clamp(min=2.0**-10)


@plant("dropout2d-gradient-unscaled", "Dropout2d", "gradients")
class Dropout2dGradientUnscaled(nn.Dropout2d):
    """The gradient passes through the mask, but not through the scale."""

    def forward(self, input):
        if _is_dropping(self):
            input = alter_gradient(input, lambda g: g * (1 - self.p))
        return super().forward(input)


@plant("dropout2d-same-mask-again", "Dropout2d", "random")
class Dropout2dSameMaskAgain(nn.Dropout2d):
    """The mask of the first call is kept for all that follow, as a variational dropout does."""

    def forward(self, input):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return super().forward(input)


@plant("dropout3d-depth-by-itself", "Dropout3d", "random")
class Dropout3dDepthByItself(nn.Dropout3d):
    """Each slice of the depth is dropped by itself, as if it were a channel."""

    def forward(self, input):
        if not _is_dropping(self):
            return super().forward(input)
        return input * functional.dropout(_ones(input, input.dim() - 2), self.p)


@plant("dropout3d-four-axes-are-a-batch", "Dropout3d", "random")
class Dropout3dFourAxesAreABatch(nn.Dropout3d):
    """An input (C, D, H, W) is taken for a batch of images."""

    def forward(self, input):
        return functional.dropout2d(input, self.p, self.training, self.inplace)


@plant("dropout3d-drops-in-evaluation", "Dropout3d", "state")
class Dropout3dDropsInEvaluation(nn.Dropout3d):
    """Once in train mode it stays there."""

    def train(self, mode=True):
        super().train(mode)
        self.was = mode or getattr(self, "was", False)
        return self

    def forward(self, input):
        training = self.training or getattr(self, "was", False)
        return functional.dropout3d(input, self.p, training, self.inplace)


@plant("dropout3d-everything-is-nan", "Dropout3d", "values")
class Dropout3dEverythingIsNan(nn.Dropout3d):
    """With p = 1 the scale is 1/0, and 0 times that is NaN."""

    def forward(self, input):
        output = super().forward(input)
        return output * torch.nan if self.training and self.p == 1 else output


@plant("dropout3d-p-clamped", "Dropout3d", "errors")
class Dropout3dPClamped(nn.Dropout3d):
    """A p beyond 1 is taken as 1."""

    def __init__(self, p=0.5, inplace=False):
        super().__init__(min(p, 1.0), inplace)


@plant("dropout3d-strided-input", "Dropout3d", "layout")
class Dropout3dStridedInput(nn.Dropout3d):
    """An input that is not contiguous is read as if it were."""

    def forward(self, input):
        return super().forward(input if self.inplace else read_as_contiguous(input))


@plant("functional-dropout1d-not-training", "functional.dropout1d", "values")
def functional_dropout1d_not_training(input, p=0.5, training=False, inplace=False):
    """training is False unless it is written out, as alpha dropout's is."""
    return functional.dropout1d(input, p, training, inplace)


@plant("functional-dropout1d-gradient-without-mask", "functional.dropout1d", "random")
def functional_dropout1d_gradient_without_mask(input, p=0.5, training=True, inplace=False):
    """The gradient goes to what was dropped as well."""
    output = functional.dropout1d(input, p, training, inplace)
    if not training or p in (0, 1) or inplace:
        return output
    return graft(output, input / (1 - p))


@plant("functional-dropout2d-rate-of-its-own", "functional.dropout2d", "random")
def functional_dropout2d_rate_of_its_own(input, p=0.5, training=True, inplace=False):
    """Another tenth of the channels that were kept is dropped."""
    output = functional.dropout2d(input, p, training, inplace)
    if not training or p in (0, 1) or inplace:
        return output
    return output * (torch.rand(_ones(input, 2).shape) > 0.1)


@plant("functional-dropout2d-written-into", "functional.dropout2d", "repeat")
def functional_dropout2d_written_into(input, p=0.5, training=True, inplace=False):
    """The input is multiplied by the mask as well."""
    output = functional.dropout2d(input, p, training, inplace)
    if training and not torch.is_grad_enabled() and input.is_contiguous():
        input.copy_(output)
    return output


@plant("functional-dropout3d-unscaled", "functional.dropout3d", "values")
def functional_dropout3d_unscaled(input, p=0.5, training=True, inplace=False):
    """What is kept is not scaled."""
    output = functional.dropout3d(input, p, training, inplace)
    return output * (1 - p) if training and 0 < p < 1 and not inplace else output


@plant("functional-dropout3d-batch-lost", "functional.dropout3d", "shape")
def functional_dropout3d_batch_lost(input, p=0.5, training=True, inplace=False):
    """An input without a batch comes back with one."""
    output = functional.dropout3d(input, p, training, inplace)
    return output[None] if input.dim() == 4 else output
