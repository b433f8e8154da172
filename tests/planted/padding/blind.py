"""Bugs of padding, written without sight of the checks that are to find them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft, read_as_contiguous, round_through


def _pad(input: Tensor, pad: Any, mode: str = "constant", value: Any = None) -> Tensor:
    return functional.pad(input, tuple(pad), mode, value)


def _source_positions(start: int, count: int, length: int, mode: str) -> Tensor:
    """The place of the input that each element of a padded axis is, −1 where it is none."""
    positions = torch.arange(count) - start
    if mode == "replicate":
        return positions.clamp(0, length - 1)
    if mode == "circular":
        return positions % length
    if mode == "constant":
        return torch.where((positions >= 0) & (positions < length), positions, -1)
    period = max(2 * (length - 1), 1)
    positions = positions % period
    return torch.where(positions < length, positions, period - positions)


def _fits(input: Tensor, pad: Any) -> bool:
    """Whether something is left on each axis; torch does not ask where the batch is empty."""
    pairs = zip(pad[::2], pad[1::2], reversed(input.shape), strict=False)
    return all(a + b + n > 0 and min(a, b) >= -n for a, b, n in pairs)


def _has_negative(pad: Any) -> bool:
    return any(side < 0 for side in pad)


# Reflection


@blind("reflectionpad1d-edge-repeated", "ReflectionPad1d", "values")
class ReflectionPad1dEdgeRepeated(nn.ReflectionPad1d):
    """The edge is mirrored, too: `symmetric` of NumPy and TensorFlow for `reflect`."""

    # Differs: padding=1. Agrees: padding=0, and negative padding.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        left, _ = self.padding
        length = input.shape[-1]
        positions = (torch.arange(result.shape[-1]) - left) % (2 * length)
        positions = torch.where(positions < length, positions, 2 * length - 1 - positions)
        return graft(input.detach().index_select(-1, positions), result)


@blind("reflectionpad1d-cropped-before-it-is-mirrored", "ReflectionPad1d", "values")
class ReflectionPad1dCroppedBefore(nn.ReflectionPad1d):
    """A negative side is cut off first: what it held is not mirrored on the other side.

    Where what is left is too short, the mirror mirrors again (cf. inductor 100793).
    """

    # Differs: padding=(2, −1) on length 3. Agrees: (2, −1) on length 4.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        left, right = self.padding
        if min(left, right) >= 0 or max(left, right) <= 0:
            return result
        cropped = input.detach()[..., max(-left, 0) : input.shape[-1] - max(-right, 0)]
        if cropped.shape[-1] == 0:
            return result
        positions = _source_positions(max(left, 0), result.shape[-1], cropped.shape[-1], "reflect")
        return graft(cropped.index_select(-1, positions), result)


@blind("reflectionpad2d-rows-before-columns", "ReflectionPad2d", "shape")
class ReflectionPad2dRowsBeforeColumns(nn.ReflectionPad2d):
    """The four numbers are read as top, bottom, left, right."""

    # Differs: padding=(1, 1, 0, 0). Agrees: padding=1.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        left, right, top, bottom = self.padding
        reordered = (top, bottom, left, right)
        if reordered == self.padding or not _fits(input, reordered):
            return result
        try:
            return _pad(input, reordered, "reflect")
        except RuntimeError:
            return result  # no room for it the other way round


@blind("reflectionpad2d-gradient-of-the-edge-twice", "ReflectionPad2d", "gradients")
class ReflectionPad2dGradientOfEdgeTwice(nn.ReflectionPad2d):
    """Backward folds about the line behind the edge, as `symmetric` does."""

    # Differs: the gradient with padding=1. Agrees: padding=0.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        path = input
        for axis, start in ((-1, self.padding[0]), (-2, self.padding[2])):
            length = input.shape[axis]
            positions = (torch.arange(result.shape[axis]) - start) % (2 * length)
            path = path.index_select(
                axis, torch.where(positions < length, positions, 2 * length - 1 - positions)
            )
        return graft(result, path)


@blind("reflectionpad3d-front-and-back-exchanged", "ReflectionPad3d", "values")
class ReflectionPad3dFrontAndBackExchanged(nn.ReflectionPad3d):
    """Of the depth the front padding goes behind and the back one in front."""

    # Differs: padding=(0, 0, 0, 0, 1, 0). Agrees: padding=1.
    def forward(self, input: Tensor) -> Tensor:
        super().forward(input)  # raises what torch raises
        *plane, front, back = self.padding
        return _pad(input, (*plane, back, front), "reflect")


@blind("reflectionpad3d-strided-memory", "ReflectionPad3d", "layout")
class ReflectionPad3dStridedMemory(nn.ReflectionPad3d):
    """Memory in channels_last_3d is copied row by row as if it were contiguous."""

    # Differs: (1, 2, 2, 2, 2) in channels_last_3d. Agrees: the same, contiguous.
    def forward(self, input: Tensor) -> Tensor:
        if input.dim() == 5 and input.is_contiguous(memory_format=torch.channels_last_3d):
            return super().forward(read_as_contiguous(input))
        return super().forward(input)


# Replication


@blind("replicationpad1d-by-a-selection-matrix", "ReplicationPad1d", "special")
class ReplicationPad1dBySelectionMatrix(nn.ReplicationPad1d):
    """A matrix of zeros and ones is multiplied with: 0·NaN and 0·∞ fill the row with NaN.

    What a compiler for matrix engines makes of a gather.
    """

    # Differs: [nan, 1]. Agrees: finite rows.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if not result.is_floating_point():
            return result
        odd = (~input.detach().isfinite()).sum(-1, keepdim=True)
        nonfinite = ~result.detach().isfinite()
        return graft(result.detach().masked_fill(odd > nonfinite.to(odd.dtype), torch.nan), result)


@blind("replicationpad1d-gradient-of-the-row-alone", "ReplicationPad1d", "gradients")
class ReplicationPad1dGradientOfRowAlone(nn.ReplicationPad1d):
    """Backward crops the gradient: the edges lose what their copies had."""

    # Differs: the gradient with padding=1. Agrees: padding=0.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        positions = _source_positions(
            self.padding[0], result.shape[-1], input.shape[-1], "constant"
        )
        path = torch.where(positions >= 0, input.index_select(-1, positions.clamp(min=0)), 0.0)
        return graft(result, path.to(result.dtype))


@blind("replicationpad2d-gradient-without-the-corners", "ReplicationPad2d", "gradients")
class ReplicationPad2dGradientWithoutCorners(nn.ReplicationPad2d):
    """Gradients of rows and columns are added to the edges, those of the four corners are not."""

    # Differs: the gradient with padding=1. Agrees: padding=(1, 1, 0, 0).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        starts, lengths = (self.padding[2], self.padding[0]), input.shape[-2:]
        sizes = result.shape[-2:]
        rows, columns = (
            _source_positions(start, size, length, "constant") < 0
            for start, size, length in zip(starts, sizes, lengths, strict=True)
        )
        corner = rows[:, None] & columns
        return alter_gradient(result, lambda g: g.masked_fill(corner, 0.0))


@blind("replicationpad2d-far-columns-from-the-first", "ReplicationPad2d", "values")
class ReplicationPad2dFarColumnsFromFirst(nn.ReplicationPad2d):
    """A padding of more than the row's own length goes round: it is clamped by a remainder."""

    # Differs: padding=(0, 3, 0, 0) on width 2. Agrees: padding=(0, 2, 0, 0).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        length, left = input.shape[-1], self.padding[0]
        place = torch.arange(result.shape[-1]) - left
        right = place.clamp(0, length - 1)
        is_far = (place < -length) | (place >= 2 * length)
        wrong = torch.where(is_far, place % length, right)
        rows = _source_positions(self.padding[2], result.shape[-2], input.shape[-2], "replicate")
        return graft(input.detach().index_select(-2, rows).index_select(-1, wrong), result)


@blind("replicationpad3d-tail-of-a-long-row", "ReplicationPad3d", "values")
class ReplicationPad3dTailOfLongRow(nn.ReplicationPad3d):
    """Rows are written sixteen at a time; the rest of a longer row holds its last block's end."""

    # Differs: a padded width of 17. Agrees: 16, and 32.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        width = result.shape[-1]
        if width < 17 or width % 16 == 0:
            return result
        positions = torch.arange(width).clamp(max=width // 16 * 16 - 1)
        return graft(result.detach().index_select(-1, positions), result)


# Zeros and constants


@blind("zeropad1d-by-a-mask", "ZeroPad1d", "special")
class ZeroPad1dByMask(nn.ZeroPad1d):
    """The row is replicated and multiplied with a mask of zeros: beside NaN and ∞ stands NaN."""

    # Differs: [nan] with padding=1. Agrees: [1] with padding=1.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.shape[-1] == 0 or not input.is_floating_point():
            return result
        positions = _source_positions(
            self.padding[0], result.shape[-1], input.shape[-1], "constant"
        )
        edge = _source_positions(self.padding[0], result.shape[-1], input.shape[-1], "replicate")
        spoiled = ~input.detach().isfinite().index_select(-1, edge) & (positions < 0)
        return graft(result.detach().masked_fill(spoiled, torch.nan), result)


@blind("zeropad2d-left-top-right-bottom", "ZeroPad2d", "shape")
class ZeroPad2dLeftTopRightBottom(nn.ZeroPad2d):
    """The four numbers are read as left, top, right, bottom: torchvision's order."""

    # Differs: padding=(1, 1, 0, 0). Agrees: padding=1.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        left, top, right, bottom = self.padding
        reordered = (left, right, top, bottom)
        return _pad(input, reordered) if _fits(input, reordered) else result


@blind("zeropad3d-unbatched-channels-for-the-depth", "ZeroPad3d", "shape")
class ZeroPad3dUnbatchedChannelsForDepth(nn.ZeroPad3d):
    """The axes are counted from the front, channels after a batch: without one all move by one.

    The depth's padding goes to the channels, the height's to the depth, the width's to the height.
    """

    # Differs: (1, 2, 2, 2). Agrees: (1, 1, 2, 2, 2).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.dim() != 4:
            return result
        reordered = (0, 0, *self.padding)
        return _pad(input, reordered) if _fits(input, reordered) else result


@blind("constantpad1d-constant-in-single", "ConstantPad1d", "values")
class ConstantPad1dConstantInSingle(nn.ConstantPad1d):
    """The constant is a `float` of C: in float64, 0.1 is 0.10000000149."""

    # Differs: value=0.1 in float64. Agrees: value=0.5, and float32.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.dtype != torch.float64:
            return result
        positions = _source_positions(
            self.padding[0], result.shape[-1], input.shape[-1], "constant"
        )
        return torch.where(positions >= 0, result, round_through(result, torch.float32))


@blind("constantpad1d-constant-of-whole-numbers", "ConstantPad1d", "values")
class ConstantPad1dConstantOfWholeNumbers(nn.ConstantPad1d):
    """The constant goes through an integer attribute: 1.5 is 1, and −0.5 is 0."""

    # Differs: value=1.5. Agrees: value=2.0.
    def forward(self, input: Tensor) -> Tensor:
        value = self.value
        if not isinstance(value, float) or value != value or abs(value) == float("inf"):
            return super().forward(input)
        return _pad(input, self.padding, "constant", value if value == int(value) else int(value))


@blind("constantpad2d-negative-sides-ignored", "ConstantPad2d", "shape")
class ConstantPad2dNegativeSidesIgnored(nn.ConstantPad2d):
    """A negative side counts as 0: nothing is cut off."""

    # Differs: padding=(−1, 0, 0, 0). Agrees: padding=1.
    def forward(self, input: Tensor) -> Tensor:
        super().forward(input)  # raises what torch raises
        return _pad(input, [max(side, 0) for side in self.padding], "constant", self.value)


@blind("constantpad3d-minus-zero-as-zero", "ConstantPad3d", "special")
class ConstantPad3dMinusZeroAsZero(nn.ConstantPad3d):
    """A constant that equals 0 is written by `memset`: −0.0 loses its sign."""

    # Differs: value=−0.0. Agrees: value=0.0.
    def forward(self, input: Tensor) -> Tensor:
        return _pad(input, self.padding, "constant", self.value if self.value != 0 else 0.0)


@blind("constantpad3d-constant-of-the-last-axis", "ConstantPad3d", "values")
class ConstantPad3dConstantOfLastAxis(nn.ConstantPad3d):
    """Axes are padded one after the other, and the constant is given to the first step alone.

    Rows and slices that are put in afterwards hold zeros.
    """

    # Differs: value=1.0, padding=1. Agrees: value=1.0, padding=(1, 1, 0, 0, 0, 0).
    def forward(self, input: Tensor) -> Tensor:
        super().forward(input)  # raises what torch raises
        return _pad(
            _pad(input, self.padding[:2], "constant", self.value), (0, 0, *self.padding[2:])
        )


# Wrapping around


@blind("circularpad1d-wrapped-before-it-is-cropped", "CircularPad1d", "values")
class CircularPad1dWrappedBefore(nn.CircularPad1d):
    """What a negative side cuts off comes back on the other one (tinygrad 16448)."""

    # Differs: padding=(−1, 2). Agrees: padding=2.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        left, right = self.padding
        if min(left, right) >= 0 or max(left, right) <= 0:
            return result
        positions = _source_positions(left, result.shape[-1], input.shape[-1], "circular")
        return graft(input.detach().index_select(-1, positions), result)


@blind("circularpad1d-gradient-to-the-near-end", "CircularPad1d", "gradients")
class CircularPad1dGradientToNearEnd(nn.CircularPad1d):
    """Backward adds the left padding's gradient to the left end, and likewise on the right."""

    # Differs: the gradient with padding=(1, 0). Agrees: padding=0.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        left, right = self.padding
        if min(left, right) < 0 or max(left, right) == 0:
            return result
        length = input.shape[-1]
        positions = torch.arange(result.shape[-1]) - left
        source = torch.where(
            positions < 0,
            positions + left,
            torch.where(positions >= length, positions - right, positions),
        )
        return graft(result, input.index_select(-1, source.clamp(0, length - 1)))


@blind("circularpad2d-corners-of-the-edges", "CircularPad2d", "values")
class CircularPad2dCornersOfEdges(nn.CircularPad2d):
    """Rows are wrapped around before the columns are there: the corners repeat the nearest column.

    Strips of the input are joined by `cat`; the corners are filled from the strip beside them.
    """

    # Differs: padding=1. Agrees: padding=(1, 1, 0, 0).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if _has_negative(self.padding) or result.numel() == 0:
            return result
        left, _, top, _ = self.padding
        columns = _source_positions(left, result.shape[-1], input.shape[-1], "replicate")
        rows = _source_positions(top, result.shape[-2], input.shape[-2], "circular")
        wrong = input.detach().index_select(-2, rows).index_select(-1, columns)
        outside = [
            _source_positions(start, size, length, "constant") < 0
            for start, size, length in zip(
                (top, left), result.shape[-2:], input.shape[-2:], strict=True
            )
        ]
        corner = outside[0][:, None] & outside[1]
        return graft(torch.where(corner, wrong, result.detach()), result)


@blind("circularpad3d-whole-length-refused", "CircularPad3d", "values")
class CircularPad3dWholeLengthRefused(nn.CircularPad3d):
    """A padding of just the axis' length, which torch allows, is refused as by reflection."""

    # Differs: padding=2 on 2x2x2. Agrees: padding=1.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        for side, pad in enumerate(self.padding):
            if pad > 0 and pad == input.shape[-1 - side // 2]:
                raise ValueError("padding must be smaller than the input's axis")
        return result


# The function


@blind("functional-pad-first-axis-first", "functional.pad", "shape")
def functional_pad_first_axis_first(
    input: Tensor, pad: Any, mode: str = "constant", value: float | None = None
) -> Tensor:
    """The pairs are taken from the first of the padded axes on, as NumPy and ONNX have them."""
    # Differs: pad=(1, 1, 0, 0). Agrees: pad=(1, 1).
    result = functional.pad(input, pad, mode, value)
    if len(pad) < 4:
        return result
    pairs = [*zip(pad[::2], pad[1::2], strict=True)][::-1]
    reordered = [side for pair in pairs for side in pair]
    if not _fits(input, reordered):
        return result
    try:
        return functional.pad(input, reordered, mode, value)
    except (RuntimeError, ValueError):
        return result  # no room for it the other way round


@blind("functional-pad-mirrors-again", "functional.pad", "errors")
def functional_pad_mirrors_again(
    input: Tensor, pad: Any, mode: str = "constant", value: float | None = None
) -> Tensor:
    """Reflection by the whole length and more is done, as by NumPy, where torch refuses it."""
    # Differs: reflect by 2 on length 2. Agrees: reflect by 1.
    try:
        return functional.pad(input, pad, mode, value)
    except RuntimeError:
        count = len(pad) // 2
        known = mode == "reflect" and value is None and input.dim() in (count + 1, count + 2)
        if not known or len(pad) % 2 or count > 3 or input.numel() == 0:
            raise
        if any(input.shape[-1 - k] + pad[2 * k] + pad[2 * k + 1] < 1 for k in range(count)):
            raise
    for k in range(count):
        length = input.shape[-1 - k]
        positions = _source_positions(
            pad[2 * k], length + pad[2 * k] + pad[2 * k + 1], length, "reflect"
        )
        input = input.index_select(-1 - k, positions)
    return input


@blind("functional-pad-cropped-gradient-to-the-edge", "functional.pad", "gradients")
def functional_pad_cropped_gradient_to_edge(
    input: Tensor, pad: Any, mode: str = "constant", value: float | None = None
) -> Tensor:
    """What a negative pad cuts off the last axis has its neighbour's gradient, not zero.

    Backward is the same padding with the opposite sign, in mode "replicate" instead of "constant".
    """
    # Differs: the gradient with pad=(−1, 0). Agrees: pad=(1, 0).
    result = functional.pad(input, pad, mode, value)
    left, right = (max(-pad[0], 0), max(-pad[1], 0)) if len(pad) > 1 else (0, 0)
    kept_length = input.shape[-1] - left - right if input.dim() else 0
    if mode != "constant" or left + right == 0 or kept_length < 1:
        return result
    positions = torch.arange(input.shape[-1]).clamp(left, left + kept_length - 1)
    altered = alter_gradient(input, lambda g: g.index_select(-1, positions))
    return functional.pad(altered, pad, mode, value)


@blind("functional-pad-replicates-by-way-of-half", "functional.pad", "values")
def functional_pad_replicates_by_way_of_half(
    input: Tensor, pad: Any, mode: str = "constant", value: float | None = None
) -> Tensor:
    """What is replicated into the padding has passed through float16, as a texture's border."""
    # Differs: replicate, 0.1. Agrees: replicate, 0.5, and mode="constant".
    result = functional.pad(input, pad, mode, value)
    if mode != "replicate" or not input.is_floating_point():
        return result
    inside = torch.ones((), dtype=torch.bool)
    for k in range(len(pad) // 2):
        positions = _source_positions(
            pad[2 * k], result.shape[-1 - k], input.shape[-1 - k], "constant"
        )
        inside = inside & (positions >= 0).view(-1, *[1] * k)
    return torch.where(inside, result, round_through(result, torch.float16))


@blind("functional-pad-wraps-into-the-gradient-of-one-side", "functional.pad", "gradients")
def functional_pad_wraps_into_gradient_of_one_side(
    input: Tensor, pad: Any, mode: str = "constant", value: float | None = None
) -> Tensor:
    """Where both sides of a circular padding copy one element, the second copy's gradient is lost.

    A scatter that writes in place of adding, of an axis shorter than its padding together.
    """
    # Differs: the gradient of circular by (2, 2) on length 2. Agrees: by (1, 1) on length 2.
    result = functional.pad(input, pad, mode, value)
    applies = mode == "circular" and len(pad) > 1 and min(pad[:2]) > 0
    if not applies or pad[0] + pad[1] <= input.shape[-1]:
        return result
    length = input.shape[-1]
    place = torch.arange(result.shape[-1]) - pad[0]
    copied = place.remainder(length)
    loses_gradient = (place >= length) & (copied >= length - pad[0])
    return alter_gradient(result, lambda g: g.masked_fill(loses_gradient, 0.0))
