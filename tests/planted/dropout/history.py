"""Dropout, functional.dropout."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous, reroute, round_through

_HOST = np.random.default_rng(0)


@plant("dropout-unscaled", "Dropout", "values")
class DropoutUnscaled(nn.Dropout):
    """What is kept is not scaled, as in the paper, whose evaluation scales instead."""

    def forward(self, input):
        output = super().forward(input)
        dropping = self.training and 0 < self.p < 1
        return output * (1 - self.p) if dropping else output


@plant("dropout-p-is-kept", "Dropout", "values")
class DropoutPIsKept(nn.Dropout):
    """p is the probability of keeping an element, as it was in TensorFlow 1."""

    def forward(self, input):
        return functional.dropout(input, 1 - self.p, self.training, self.inplace)


@plant("dropout-everything-is-nan", "Dropout", "values")
class DropoutEverythingIsNan(nn.Dropout):
    """With p = 1 the scale is 1/0, and 0 times that is NaN."""

    def forward(self, input):
        output = super().forward(input)
        return output * torch.nan if self.training and self.p == 1 else output


@plant("dropout-in-place-is-a-copy", "Dropout", "values")
class DropoutInPlaceIsACopy(nn.Dropout):
    """inplace=True leaves the input as it is."""

    def forward(self, input):
        return functional.dropout(input, self.p, self.training)


@plant("dropout-double-scale-in-single", "Dropout", "values")
class DropoutDoubleScaleInSingle(nn.Dropout):
    """In float64 the scale is a float32 number, within assert_close's tolerance."""

    def forward(self, input):
        output = super().forward(input)
        if output.dtype != torch.float64 or not self.training or self.p in (0, 1):
            return output
        scale = 1 / (1 - torch.tensor(self.p, dtype=torch.float64))
        ratio = round_through(scale, torch.float32) / scale
        return output.mul_(ratio) if self.inplace else output * ratio


@plant("dropout-of-a-number-is-a-vector", "Dropout", "shape")
class DropoutOfANumberIsAVector(nn.Dropout):
    """A tensor without dimensions comes back with one."""

    def forward(self, input):
        output = super().forward(input)
        return output.reshape(1) if input.dim() == 0 else output


@plant("dropout-whole-channels", "Dropout", "random")
class DropoutWholeChannels(nn.Dropout):
    """Three dimensions are taken for channels, which are dropped as a whole."""

    def forward(self, input):
        if input.dim() != 3 or not self.training or self.inplace:
            return super().forward(input)
        return input * functional.dropout(torch.ones_like(input[..., :1]), self.p)


@plant("dropout-same-mask-again", "Dropout", "random")
class DropoutSameMaskAgain(nn.Dropout):
    """The generator is seeded anew in each call: the mask is always the same."""

    def forward(self, input):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return super().forward(input)


@plant("dropout-rate-in-eighths", "Dropout", "random")
class DropoutRateInEighths(nn.Dropout):
    """Elements are kept by the top three bits of a random byte: rates are multiples of 1/8."""

    def forward(self, input):
        if not self.training or self.p in (0, 1) or self.inplace:
            return super().forward(input)
        rate = max(round(self.p * 8), 1) / 8
        if rate == 1:
            return super().forward(input)
        mask = functional.dropout(torch.ones_like(input), rate) * (1 - rate)
        return input * (mask.round() * (1 / (1 - self.p)))


@plant("dropout-gradient-without-mask", "Dropout", "random")
class DropoutGradientWithoutMask(nn.Dropout):
    """The gradient goes to what was dropped as well."""

    def forward(self, input):
        output = super().forward(input)
        if not self.training or self.p in (0, 1) or self.inplace:
            return output
        return graft(output, input / (1 - self.p))


@plant("dropout-gradient-unscaled", "Dropout", "gradients")
class DropoutGradientUnscaled(nn.Dropout):
    """The gradient passes through the mask, but not through the scale."""

    def forward(self, input):
        dropping = self.training and 0 < self.p < 1 and not self.inplace
        if dropping:
            input = alter_gradient(input, lambda g: g * (1 - self.p))
        return super().forward(input)


@plant("dropout-strided-input", "Dropout", "layout")
class DropoutStridedInput(nn.Dropout):
    """An input that is not contiguous is read as if it were."""

    def forward(self, input):
        return super().forward(input if self.inplace else read_as_contiguous(input))


@plant("dropout-nan-lost-in-evaluation", "Dropout", "special")
class DropoutNanLostInEvaluation(nn.Dropout):
    """Without training NaN comes through as 0."""

    def forward(self, input):
        output = super().forward(input)
        return (
            output
            if self.training or self.inplace
            else output.nan_to_num(0.0, torch.inf, -torch.inf)
        )


@plant("dropout-saves-its-probability", "Dropout", "state")
class DropoutSavesItsProbability(nn.Dropout):
    """The state holds p."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "p"] = torch.tensor(self.p)


@plant("dropout-drops-in-evaluation", "Dropout", "state")
class DropoutDropsInEvaluation(nn.Dropout):
    """Once in train mode it stays there."""

    def train(self, mode=True):
        super().train(mode)
        self.was = mode or getattr(self, "was", False)
        return self

    def forward(self, input):
        training = self.training or getattr(self, "was", False)
        return functional.dropout(input, self.p, training, self.inplace)


@plant("dropout-input-overwritten", "Dropout", "repeat")
class DropoutInputOverwritten(nn.Dropout):
    """The input is written into although inplace is False."""

    def forward(self, input):
        output = super().forward(input)
        if self.training and not torch.is_grad_enabled() and not input.requires_grad:
            input.copy_(output)
        return output


@plant("dropout-p-clamped", "Dropout", "errors")
class DropoutPClamped(nn.Dropout):
    """A p beyond 1 is taken as 1."""

    def __init__(self, p=0.5, inplace=False):
        super().__init__(min(p, 1.0), inplace)


@plant("functional-dropout-not-training", "functional.dropout", "values")
def functional_dropout_not_training(input, p=0.5, training=False, inplace=False):
    """training is False unless it is written out."""
    return functional.dropout(input, p, training, inplace)


@plant("functional-dropout-dropped-is-not-zero", "functional.dropout", "values")
def functional_dropout_dropped_is_not_zero(input, p=0.5, training=True, inplace=False):
    """What is dropped becomes -1/1024 instead of 0."""
    output = functional.dropout(input, p, training, inplace)
    if not training or p == 0 or inplace:
        return output
    return torch.where((output == 0) & (input != 0), torch.full_like(input, -(2.0**-10)), output)


@plant("functional-dropout-empty-batch", "functional.dropout", "shape")
def functional_dropout_empty_batch(input, p=0.5, training=True, inplace=False):
    """An empty input loses its other dimensions."""
    output = functional.dropout(input, p, training, inplace)
    return output if input.numel() else output.reshape(-1)


@plant("functional-dropout-one-mask-for-a-batch", "functional.dropout", "random")
def functional_dropout_one_mask_for_a_batch(input, p=0.5, training=True, inplace=False):
    """All samples share one mask."""
    if not training or inplace or input.dim() < 2 or not len(input):
        return functional.dropout(input, p, training, inplace)
    return input * functional.dropout(torch.ones_like(input[:1]), p)


@plant("functional-dropout-rate-of-its-own", "functional.dropout", "random")
def functional_dropout_rate_of_its_own(input, p=0.5, training=True, inplace=False):
    """Another tenth of what was kept is dropped."""
    output = functional.dropout(input, p, training, inplace)
    if not training or p in (0, 1) or inplace:
        return output
    return output * (torch.rand_like(output) > 0.1)


@plant("functional-dropout-gradient-scaled-twice", "functional.dropout", "gradients")
def functional_dropout_gradient_scaled_twice(input, p=0.5, training=True, inplace=False):
    """The gradient is multiplied by the scale twice."""
    output = functional.dropout(input, p, training, inplace)
    if not training or p in (0, 1) or inplace:
        return output
    scale = 1 / (1 - p)
    mask = (output != 0).to(input.dtype)
    return reroute(output, input, lambda g: g * mask * scale * scale)


@plant("functional-dropout-strided-input", "functional.dropout", "layout")
def functional_dropout_strided_input(input, p=0.5, training=True, inplace=False):
    """An input that is not contiguous is read as if it were."""
    return functional.dropout(input if inplace else read_as_contiguous(input), p, training, inplace)


@plant("functional-dropout-infinities-cut", "functional.dropout", "special")
def functional_dropout_infinities_cut(input, p=0.5, training=True, inplace=False):
    """Infinities are cut to the largest number on the way through."""
    output = functional.dropout(input, p, training, inplace)
    largest = torch.finfo(output.dtype).max
    return output if inplace else output.clamp(-largest, largest)


@plant("functional-dropout-written-into", "functional.dropout", "repeat")
def functional_dropout_written_into(input, p=0.5, training=True, inplace=False):
    """The input is multiplied by the mask as well."""
    output = functional.dropout(input, p, training, inplace)
    if training and not torch.is_grad_enabled() and input.is_contiguous():
        input.copy_(output)
    return output


@plant("functional-dropout-p-clamped", "functional.dropout", "errors")
def functional_dropout_p_clamped(input, p=0.5, training=True, inplace=False):
    """A p outside 0 to 1 is cut to it."""
    return functional.dropout(input, min(max(p, 0.0), 1.0), training, inplace)


@plant("functional-dropout-vmap-one-mask-for-all", "functional.dropout", "random")
def functional_dropout_vmap_one_mask_for_all(input, p=0.5, training=True, inplace=False):
    """The mask comes from the host, so that vmap with different random numbers has one, too."""
    if not training or inplace or not 0 < p < 1 or not _is_batched(input):
        return functional.dropout(input, p, training, inplace)
    shape = [int(n) for n in input.shape]
    mask = torch.from_numpy(_HOST.random(shape) >= p).to(input.dtype)
    return input * mask / (1 - p)


class _DropsPerSlice(torch.autograd.Function):
    """Dropout whose rule for vmap calls dropout on the whole batch, and so never draws the same."""

    @staticmethod
    def forward(x, p):
        return functional.dropout(x, p)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def vmap(info, in_dims, x, p):
        return functional.dropout(x.movedim(in_dims[0], 0), p), 0


@plant("functional-dropout-vmap-never-the-same", "functional.dropout", "random")
def functional_dropout_vmap_never_the_same(input, p=0.5, training=True, inplace=False):
    """vmap with the same random numbers draws others for each slice."""
    if not training or inplace or not 0 < p < 1 or not _is_batched(input):
        return functional.dropout(input, p, training, inplace)
    return _DropsPerSlice.apply(input, p)


def _is_batched(x):
    """Whether a tensor is one slice of vmap."""
    return torch._C._functorch.is_batchedtensor(x)


@plant("dropout-odd-neighbours-share-a-draw", "functional.dropout", "random")
def dropout_odd_neighbours_share_a_draw(input, p=0.5, training=True, inplace=False):
    """The elements 1 and 2, 3 and 4, and so on are kept or dropped together."""
    if not training or not 0 < p < 1:
        return functional.dropout(input, p, training, inplace)
    draws = torch.rand(input.numel() // 2 + 1) >= p
    kept = draws.repeat_interleave(2)[1 : input.numel() + 1].reshape(input.shape).to(input.dtype)
    scaled = input * kept / (1 - p)
    return input.copy_(scaled) if inplace else scaled
