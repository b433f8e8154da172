"""PixelShuffle, PixelUnshuffle and their functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, plant, read_as_contiguous, round_through

_SHUFFLE, _UNSHUFFLE = functional.pixel_shuffle, functional.pixel_unshuffle


def _reorder_channels_last(input, factor):
    """The channels, counted with the image's running slowest, as ones where it runs fastest."""
    if factor < 1 or input.dim() < 3 or input.shape[-3] % factor**2 or not input.numel():
        return input
    unflattened = input.unflatten(-3, (factor**2, -1))
    return unflattened.transpose(-3, -4).flatten(-4, -3)


def _transpose_within_pixels(input, factor):
    """Rows for columns among the channels of each pixel."""
    if factor < 1 or input.dim() < 3 or input.shape[-3] % factor**2 or not input.numel():
        return input
    unflattened = input.unflatten(-3, (-1, factor, factor))
    return unflattened.transpose(-3, -4).flatten(-5, -3)


@plant("pixelshuffle-channels-fastest", "PixelShuffle", "values")
class PixelShuffleChannelsFastest(nn.PixelShuffle):
    """Depth to space in the order of TensorFlow: DCR for CRD (onnx2tf 91)."""

    def forward(self, input):
        return super().forward(_reorder_channels_last(input, self.upscale_factor))


@plant("pixelshuffle-columns-for-rows", "PixelShuffle", "values")
class PixelShuffleColumnsForRows(nn.PixelShuffle):
    """What should stand in a row stands in a column (torch-mlir 4544)."""

    def forward(self, input):
        return super().forward(_transpose_within_pixels(input, self.upscale_factor))


@plant("pixelshuffle-one-leading-axis", "PixelShuffle", "shape")
class PixelShuffleOneLeadingAxis(nn.PixelShuffle):
    """Without a batch the image gets one."""

    def forward(self, input):
        output = super().forward(input)
        return output[None] if input.dim() == 3 else output


@plant("pixelshuffle-surplus-channels-dropped", "PixelShuffle", "errors")
class PixelShuffleSurplusChannelsDropped(nn.PixelShuffle):
    """Channels beyond a multiple of the factor squared are left out."""

    def forward(self, input):
        factor = self.upscale_factor
        if isinstance(factor, int) and factor > 0 and input.dim() > 2:
            input = input[..., : input.shape[-3] // factor**2 * factor**2, :, :]
        return super().forward(input)


@plant("pixelshuffle-gradient-shuffled", "PixelShuffle", "gradients")
class PixelShuffleGradientShuffled(nn.PixelShuffle):
    """The gradient comes back with rows for columns."""

    def forward(self, input):
        def shuffle_gradient(gradient):
            return _transpose_within_pixels(gradient, self.upscale_factor)

        return super().forward(alter_gradient(input, shuffle_gradient))


@plant("pixelunshuffle-channels-fastest", "PixelUnshuffle", "values")
class PixelUnshuffleChannelsFastest(nn.PixelUnshuffle):
    """Space to depth, which counts the image's channels fastest (onnxscript 2891)."""

    def forward(self, input):
        output = super().forward(input)
        if not output.numel() or self.downscale_factor < 1:
            return output
        return (
            output.unflatten(-3, (-1, self.downscale_factor**2)).transpose(-3, -4).flatten(-4, -3)
        )


@plant("pixelunshuffle-rest-cropped", "PixelUnshuffle", "errors")
class PixelUnshuffleRestCropped(nn.PixelUnshuffle):
    """Rows and columns beyond a multiple of the factor are cropped."""

    def forward(self, input):
        factor = self.downscale_factor
        if isinstance(factor, int) and factor > 0 and input.dim() > 2:
            height, width = (n // factor * factor for n in input.shape[-2:])
            input = input[..., :height, :width]
        return super().forward(input)


@plant("pixelunshuffle-strided-memory", "PixelUnshuffle", "layout")
class PixelUnshuffleStridedMemory(nn.PixelUnshuffle):
    """A view that is not contiguous is read as its memory lies."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("pixelunshuffle-mean-of-the-block", "PixelUnshuffle", "special")
class PixelUnshuffleMeanOfTheBlock(nn.PixelUnshuffle):
    """A convolution with ones and zeros: 0 times NaN or infinity is NaN, in all channels."""

    def forward(self, input):
        output = super().forward(input)
        if not input.is_floating_point() or not output.numel():
            return output
        blocks = output.unflatten(-3, (-1, self.downscale_factor**2))
        return (blocks + (0 * blocks).sum(-3, keepdim=True)).flatten(-4, -3)


@plant("functional-pixel-shuffle-factor-two", "functional.pixel_shuffle", "values")
def functional_pixel_shuffle_factor_two(input, upscale_factor):
    """A factor of 4 is done as 2 and again 2, whose channels interleave."""
    if upscale_factor != 4:
        return _SHUFFLE(input, upscale_factor)
    return _SHUFFLE(_SHUFFLE(input, 2), 2)


@plant("functional-pixel-shuffle-many-columns", "functional.pixel_shuffle", "laws")
def functional_pixel_shuffle_many_columns(input, upscale_factor):
    """Of more than 17 columns the last is a copy of the one before it."""
    output = _SHUFFLE(input, upscale_factor)
    if not 17 < input.shape[-1] < 66:
        return output
    return torch.cat([output[..., :-1], output[..., -2:-1]], -1)


@plant("functional-pixel-shuffle-double-in-single", "functional.pixel_shuffle", "values")
def functional_pixel_shuffle_double_in_single(input, upscale_factor):
    """float64 passes through float32."""
    output = _SHUFFLE(input, upscale_factor)
    return round_through(output, torch.float32) if output.dtype == torch.float64 else output


@plant("functional-pixel-unshuffle-columns-for-rows", "functional.pixel_unshuffle", "values")
def functional_pixel_unshuffle_columns_for_rows(input, downscale_factor):
    """What stands in a row is counted as if it stood in a column."""
    return _transpose_within_pixels(_UNSHUFFLE(input, downscale_factor), downscale_factor)


@plant("functional-pixel-unshuffle-several-leading-axes", "functional.pixel_unshuffle", "values")
def functional_pixel_unshuffle_several_leading_axes(input, downscale_factor):
    """Of several leading axes the first is the last one."""
    output = _UNSHUFFLE(input, downscale_factor)
    if input.dim() < 5 or not input.numel():
        return output
    return output.transpose(0, -4).reshape(output.shape)


@plant("functional-pixel-unshuffle-in-place", "functional.pixel_unshuffle", "repeat")
def functional_pixel_unshuffle_in_place(input, downscale_factor):
    """The input's memory is used over again for the output."""
    output = _UNSHUFFLE(input, downscale_factor)
    if not torch.is_grad_enabled() and input.is_contiguous() and input.numel():
        input.copy_(output.reshape(input.shape))
    return output


@plant("functional-pixel-unshuffle-gradient-of-one-channel", "functional.pixel_unshuffle",
       "gradients")  # fmt: skip
def functional_pixel_unshuffle_gradient_of_one_channel(input, downscale_factor):
    """The last of each pixel's channels gives no gradient."""
    output = _UNSHUFFLE(input, downscale_factor)
    if downscale_factor < 2 or not output.numel():
        return output

    def drop_channel(gradient):
        gradient = gradient.clone()
        gradient[..., -1, :, :] = 0
        return gradient

    return alter_gradient(output, drop_channel)
