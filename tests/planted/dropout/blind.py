"""Bugs of dropouts, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft

SATURATION = -1.7580993408473766


def _draw_mask(shape: tuple[int, ...], p: float, like: Tensor) -> Tensor:
    """A mask that keeps with probability 1 - p."""
    return (torch.rand(shape) >= p).to(like.dtype)


def _apply_mask(input: Tensor, mask: Tensor, p: float) -> Tensor:
    return torch.where(mask.expand(input.shape) != 0, input / (1 - p), input * 0)


def _alpha_dropout(input: Tensor, mask: Tensor, p: float, saturation: float = SATURATION) -> Tensor:
    """Alpha dropout with a given mask."""
    scale = ((1 - p) * (1 + p * SATURATION**2)) ** -0.5
    offset = -scale * SATURATION * p
    return torch.where(mask.expand(input.shape) != 0, input, saturation) * scale + offset


@blind("dropout-mask-of-period-64", "Dropout", "random")
class DropoutMaskOfPeriod64(nn.Dropout):
    """A word of 64 random bits is used over and over: element k + 64 lives if element k does.

    Every single element is dropped at the right rate; wide layers lose whole patterns.
    """

    # Differs: 128 elements. Agrees: 64 elements in distribution; evaluation.
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.inplace or not 0 < self.p < 1 or input.numel() <= 64:
            return super().forward(input)
        pattern = _draw_mask((64,), self.p, input)
        mask = pattern.repeat(-(-input.numel() // 64))[: input.numel()]
        return _apply_mask(input, mask.view(input.shape), self.p)


@blind("dropout-rows-overlap", "Dropout", "random")
class DropoutRowsOverlap(nn.Dropout):
    """Row r draws from a counter at seed + r: its mask is row 0's, moved by r (as in Triton code).

    Each element and each row alone is right; element (r, j) lives if (r + 1, j - 1) does.
    """

    # Differs: an array of 8x8. Agrees: one row in distribution; evaluation.
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.inplace or not 0 < self.p < 1 or input.dim() < 2:
            return super().forward(input)
        length = input.shape[-1]
        rows = input.numel() // max(length, 1)
        noise = _draw_mask((rows + length,), self.p, input)
        places = torch.arange(rows)[:, None] + torch.arange(length)
        return _apply_mask(input, noise[places].view(input.shape), self.p)


@blind("dropout-neighbours-antithetic", "functional.dropout", "random")
def dropout_neighbours_antithetic(input, p=0.5, training=True, inplace=False):
    """A number u serves one element and 1 - u the next: at p = 0.5 one of each pair always lives.

    The rate of each element is right, that of pairs is not: 0 for 1/4 at p = 0.5.
    """
    # Differs: two elements, p=0.5. Agrees: one element in distribution; evaluation.
    if not training or inplace or not 0 < p < 1 or input.numel() < 2:
        return functional.dropout(input, p, training, inplace)
    draws = torch.rand((input.numel() + 1) // 2)
    pairs = torch.stack([draws, 1 - draws], 1).flatten()[: input.numel()]
    return _apply_mask(input, (pairs >= p).to(input.dtype).view(input.shape), p)


@blind("dropout-probability-of-eight-bits", "Dropout", "random")
class DropoutProbabilityOfEightBits(nn.Dropout):
    """A random byte is compared with floor(256 p), as in flash attention; the scale is exact.

    A p of 0.003 never drops, 0.1 drops 0.0977: the mean is off by up to 0.4%.
    """

    # Differs: p=0.003 drops nothing. Agrees: p=0.5 in distribution; evaluation.
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.inplace or not 0 < self.p < 1:
            return super().forward(input)
        mask = torch.randint(256, input.shape) >= int(256 * self.p)
        return _apply_mask(input, mask.to(input.dtype), self.p)


@blind("dropout-scaled-by-the-kept", "functional.dropout", "random")
def dropout_scaled_by_the_kept(input, p=0.5, training=True, inplace=False):
    """What lives is multiplied by elements over kept elements, not by 1 / (1 - p).

    Kept entries depend on all others; of 100 elements at p = 0.5 the scale is off by 10%.
    """
    # Differs: 5 elements, p=0.5. Agrees: evaluation; p=0.
    if not training or inplace or not 0 < p < 1 or input.numel() == 0:
        return functional.dropout(input, p, training, inplace)
    mask = _draw_mask(tuple(input.shape), p, input)
    return torch.where(mask != 0, input * (input.numel() / mask.sum().clamp_min(1)), input * 0)


@blind("dropout-mode-of-the-first-call", "Dropout", "state")
class DropoutModeOfFirstCall(nn.Dropout):
    """The first call's mode is compiled in: `eval()` afterwards changes nothing, nor `train()`."""

    # Differs: train, call, eval, call. Agrees: eval, call, call.
    def forward(self, input: Tensor) -> Tensor:
        if not hasattr(self, "compiled"):
            self.compiled = self.training
        return functional.dropout(input, self.p, self.compiled, self.inplace)


@blind("dropout1d-unbatched-by-element", "Dropout1d", "random")
class Dropout1dUnbatchedByElement(nn.Dropout1d):
    """(C, L) is read as (N, C): without a batch single elements fall out, not channels."""

    # Differs: on (3, 4). Agrees: on (2, 3, 4).
    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 2:
            return super().forward(input)
        return functional.dropout(input, self.p, self.training, self.inplace)


@blind("dropout2d-of-three-axes-unbatched", "Dropout2d", "random")
class Dropout2dOfThreeAxesUnbatched(nn.Dropout2d):
    """Three axes are (C, H, W): whole first entries fall out, where torch reads (N, C, L)."""

    # Differs: on (2, 3, 4). Agrees: on (2, 3, 4, 5).
    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 3 or self.inplace or not self.training or not 0 < self.p < 1:
            return super().forward(input)
        return _apply_mask(input, _draw_mask((input.shape[0], 1, 1), self.p, input), self.p)


@blind("dropout2d-channels-of-a-batch-alike", "functional.dropout2d", "random")
def dropout2d_channels_of_a_batch_alike(input, p=0.5, training=True, inplace=False):
    """From 4 samples on two neighbours share their mask: the grid has half the blocks it needs."""
    # Differs: on (4, 3, 2, 2). Agrees: on (2, 3, 2, 2).
    if input.dim() != 4 or input.shape[0] < 4 or inplace or not training or not 0 < p < 1:
        return functional.dropout2d(input, p, training, inplace)
    samples, channels = input.shape[:2]
    mask = _draw_mask(((samples + 1) // 2, channels, 1, 1), p, input).repeat_interleave(2, 0)
    return _apply_mask(input, mask[:samples], p)


@blind("dropout3d-gradient-not-scaled", "Dropout3d", "gradients")
class Dropout3dGradientNotScaled(nn.Dropout3d):
    """Backward multiplies by the mask but not by 1 / (1 - p): half the gradient at p = 0.5."""

    # Differs: the gradient in training. Agrees: in evaluation.
    def forward(self, input: Tensor) -> Tensor:
        if self.training and not self.inplace and 0 < self.p < 1:
            keep_probability = 1 - self.p
            input = alter_gradient(input, lambda gradient: gradient * keep_probability)
        return super().forward(input)


@blind("dropout1d-gradient-of-another-mask", "functional.dropout1d", "random")
def dropout1d_gradient_of_another_mask(input, p=0.5, training=True, inplace=False):
    """Backward draws its mask anew, as when a seed is replayed from a counter that moved on."""
    # Differs: the gradient in training. Agrees: in evaluation.
    result = functional.dropout1d(input, p, training, inplace)
    if inplace or not training or not 0 < p < 1:
        return result
    return graft(result, functional.dropout1d(input, p, training, inplace))


@blind("alphadropout-saturates-without-the-scale", "AlphaDropout", "random")
class AlphaDropoutSaturatesWithoutScale(nn.AlphaDropout):
    """Dropped entries are -1.6733, SELU's alpha, where alpha times scale, -1.7581, is meant.

    Dropped results are 0.06 too large or so, and the mean is p times that.
    """

    # Differs: the value of dropped elements. Agrees: evaluation.
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.inplace or not 0 < self.p < 1:
            return super().forward(input)
        mask = _draw_mask(tuple(input.shape), self.p, input)
        return _alpha_dropout(input, mask, self.p, -1.6732632423543772)


@blind("alphadropout-keep-and-drop-exchanged", "functional.alpha_dropout", "random")
def alphadropout_keep_and_drop_exchanged(input, p=0.5, training=False, inplace=False):
    """The affine map has p and 1 - p exchanged: right at the default of 0.5 alone.

    At p = 0.1 kept elements are multiplied by 1.64, where 0.92 keeps their variance.
    """
    # Differs: p=0.1. Agrees: p=0.5 in distribution; evaluation.
    if not training or inplace or not 0 < p < 1:
        return functional.alpha_dropout(input, p, training, inplace)
    masked = torch.where(_draw_mask(tuple(input.shape), p, input) != 0, input, SATURATION)
    scale = (p * (1 + (1 - p) * SATURATION**2)) ** -0.5
    return masked * scale - scale * SATURATION * (1 - p)


@blind("featurealphadropout-one-mask-for-the-batch", "FeatureAlphaDropout", "random")
class FeatureAlphaDropoutOneMask(nn.FeatureAlphaDropout):
    """All samples of a batch lose the same features."""

    # Differs: two samples. Agrees: one sample in distribution; evaluation.
    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.inplace or not 0 < self.p < 1 or input.dim() < 2:
            return super().forward(input)
        mask = _draw_mask((1, input.shape[1], *[1] * (input.dim() - 2)), self.p, input)
        return _alpha_dropout(input, mask, self.p)
