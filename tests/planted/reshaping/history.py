"""Flatten, Unflatten, ChannelShuffle and its functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, plant, read_as_contiguous, round_through

# Its torch function has no derivative; its kin has.
_NATIVE = functional.native_channel_shuffle


@plant("flatten-column-major", "Flatten", "values")
class FlattenColumnMajor(nn.Flatten):
    """The first of the flattened axes runs fastest, as in MATLAB and Fortran."""

    def forward(self, input):
        axes = max(input.dim(), 1)
        start, end = self.start_dim % axes, self.end_dim % axes
        order = [*range(start), *range(end, start - 1, -1), *range(end + 1, input.dim())]
        return super().forward(input.permute(order) if input.dim() else input)


@plant("flatten-end-left-out", "Flatten", "shape")
class FlattenEndLeftOut(nn.Flatten):
    """An end_dim that is not negative is the first axis that is not flattened, as of a slice."""

    def forward(self, input):
        end = self.end_dim
        if end > self.start_dim >= 0:
            end -= 1
        return input.flatten(self.start_dim, end)


@plant("flatten-all-of-it", "Flatten", "shape")
class FlattenAllOfIt(nn.Flatten):
    """Everything behind start_dim is flattened: end_dim is ignored, as ONNX's Flatten has none."""

    def forward(self, input):
        return input.flatten(self.start_dim, -1)


@plant("flatten-a-number-stays", "Flatten", "shape")
class FlattenANumberStays(nn.Flatten):
    """A number comes back as a number, not as a row of one."""

    def forward(self, input):
        return input if input.dim() == 0 else super().forward(input)


@plant("flatten-strided-memory", "Flatten", "layout")
class FlattenStridedMemory(nn.Flatten):
    """A view that is not contiguous is flattened as its memory lies."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("flatten-ends-exchanged", "Flatten", "errors")
class FlattenEndsExchanged(nn.Flatten):
    """A start_dim behind end_dim flattens the axes between them all the same."""

    def forward(self, input):
        axes = max(input.dim(), 1)
        ends = (self.start_dim, self.end_dim)
        if all(-axes <= end < axes for end in ends):
            ends = sorted(end % axes for end in ends)
        return input.flatten(*ends)


@plant("flatten-last-of-many-rows", "Flatten", "laws")
class FlattenLastOfManyRows(nn.Flatten):
    """Of 17 rows or more the last is a copy of the one before it."""

    def forward(self, input):
        output = super().forward(input)
        if not 16 < len(output) < 66 or output.dim() < 2:
            return output
        return torch.cat([output[:-1], output[-2:-1]])


@plant("unflatten-from-the-back", "Unflatten", "values")
class UnflattenFromTheBack(nn.Unflatten):
    """The first of the new axes runs fastest, as in MATLAB and Fortran."""

    def forward(self, input):
        dim, count = self.dim % input.dim(), len(self.unflattened_size)
        output = input.unflatten(self.dim, self.unflattened_size)
        flipped = input.unflatten(self.dim, tuple(output.shape[dim : dim + count])[::-1])
        reversed_axes = range(dim + count - 1, dim - 1, -1)
        return flipped.permute([*range(dim), *reversed_axes, *range(dim + count, output.dim())])


@plant("unflatten-dim-from-the-end", "Unflatten", "shape")
class UnflattenDimFromTheEnd(nn.Unflatten):
    """A negative dim is counted in the output, which has more axes."""

    def forward(self, input):
        extra = len(self.unflattened_size) - 1
        dim = self.dim + extra if self.dim + extra < 0 and self.dim < 0 else self.dim
        try:
            return input.unflatten(dim, self.unflattened_size)
        except RuntimeError:
            return super().forward(input)


@plant("unflatten-inferred-from-the-whole", "Unflatten", "shape")
class UnflattenInferredFromTheWhole(nn.Unflatten):
    """What is left to be inferred takes the axes before it along: a view of (-1, ...)."""

    def forward(self, input):
        if self.unflattened_size[0] != -1 or self.dim % input.dim() != 1 or not input.numel():
            return super().forward(input)
        return input.flatten(0, 1).unflatten(0, self.unflattened_size)


@plant("unflatten-surplus-dropped", "Unflatten", "errors")
class UnflattenSurplusDropped(nn.Unflatten):
    """What the sizes leave over is cut off, as by numpy.resize."""

    def forward(self, input):
        sizes, product = self.unflattened_size, 1
        for size in sizes:
            product *= 1 if size == -1 else size
        if product > 0 and -input.dim() <= self.dim < input.dim():
            length = input.shape[self.dim]
            used_length = length // product * product if -1 in sizes else min(product, length)
            input = input.narrow(self.dim, 0, used_length)
        return input.unflatten(self.dim, sizes)


@plant("unflatten-gradient-doubled", "Unflatten", "gradients")
class UnflattenGradientDoubled(nn.Unflatten):
    """The gradient is added to itself where the axis is the last one."""

    def forward(self, input):
        if self.dim % input.dim() == input.dim() - 1:
            input = alter_gradient(input, lambda g: 2 * g)
        return super().forward(input)


@plant("unflatten-as-memory-lies", "Unflatten", "layout")
class UnflattenAsMemoryLies(nn.Unflatten):
    """The axis is split in the memory of a view that is not contiguous."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("channelshuffle-undone", "ChannelShuffle", "values")
class ChannelShuffleUndone(nn.ChannelShuffle):
    """C/g groups of g: the inverse of the shuffle, which is the same where C is g squared."""

    def forward(self, input):
        super().forward(input)  # refuses what is to be refused
        return functional.channel_shuffle(input, input.shape[1] // self.groups or 1)


@plant("channelshuffle-channels-last", "ChannelShuffle", "values")
class ChannelShuffleChannelsLast(nn.ChannelShuffle):
    """The last axis is shuffled where groups divide it, as where channels come last."""

    def forward(self, input):
        output = super().forward(input)
        if not input.shape[-1] or input.shape[-1] % self.groups:
            return output
        return functional.channel_shuffle(input.movedim(-1, 1), self.groups).movedim(1, -1)


@plant("channelshuffle-indivisible", "ChannelShuffle", "errors")
class ChannelShuffleIndivisible(nn.ChannelShuffle):
    """Channels that the groups leave over stay where they are."""

    def forward(self, input):
        remainder = input.shape[1] % self.groups if self.groups > 0 else 0
        if not remainder:
            return super().forward(input)
        used_channels = input.shape[1] - remainder
        if not used_channels:
            return input.clone()
        return torch.cat([super().forward(input[:, :used_channels]), input[:, used_channels:]], 1)


@plant("channelshuffle-gradient-shuffled-again", "ChannelShuffle", "gradients")
class ChannelShuffleGradientShuffledAgain(nn.ChannelShuffle):
    """The gradient is shuffled once more instead of back."""

    def forward(self, input):
        def shuffle_gradient(gradient):
            # Of what was shuffled back, twice the shuffle is the shuffle.
            for _ in range(2):
                gradient = functional.channel_shuffle(gradient, self.groups)
            return gradient

        return super().forward(alter_gradient(input, shuffle_gradient))


@plant("channelshuffle-channels-last-memory", "ChannelShuffle", "layout")
class ChannelShuffleChannelsLastMemory(nn.ChannelShuffle):
    """Memory in channels_last is read as if it were contiguous."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("functional-channel-shuffle-flipped", "functional.channel_shuffle", "values")
def functional_channel_shuffle_flipped(input, groups):
    """The groups come from the last to the first."""
    output = functional.channel_shuffle(input, groups)
    size = input.shape[1] // groups
    if not input.numel():
        return output
    return output.unflatten(1, (size, groups)).flip(2).flatten(1, 2)


@plant("functional-channel-shuffle-volumes-as-they-are", "functional.channel_shuffle", "values")
def functional_channel_shuffle_volumes_as_they_are(input, groups):
    """Of five axes nothing is shuffled."""
    return functional.channel_shuffle(input, groups if input.dim() < 5 else 1)


@plant("functional-channel-shuffle-double-in-single", "functional.channel_shuffle", "values")
def functional_channel_shuffle_double_in_single(input, groups):
    """float64 passes through float32."""
    output = functional.channel_shuffle(input, groups)
    return round_through(output, torch.float32) if output.dtype == torch.float64 else output


@plant("functional-channel-shuffle-zero-for-nan", "functional.channel_shuffle", "special")
def functional_channel_shuffle_zero_for_nan(input, groups):
    """A permutation matrix is multiplied with: 0 times NaN or infinity is NaN, in all channels."""
    output = functional.channel_shuffle(input, groups)
    if not input.is_floating_point():
        return output
    return output + (0 * input).sum(1, keepdim=True)


@plant("native-channel-shuffle-of-the-batch", "functional.native_channel_shuffle", "values")
def native_channel_shuffle_of_the_batch(input, groups):
    """Samples are shuffled along with the channels where groups divide both."""
    output = _NATIVE(input, groups)
    if groups < 2 or not len(input) or len(input) % groups:
        return output
    return output.unflatten(0, (groups, -1)).transpose(0, 1).flatten(0, 1)


@plant("native-channel-shuffle-odd-sample", "functional.native_channel_shuffle", "values")
def native_channel_shuffle_odd_sample(input, groups):
    """Two threads shuffle half of the batch each; of an odd number the last sample is copied."""
    output = _NATIVE(input, groups)
    if len(input) < 2 or len(input) % 2 == 0:
        return output
    return torch.cat([output[:-1], input[-1:]])


@plant("native-channel-shuffle-two-groups", "functional.native_channel_shuffle", "values")
def native_channel_shuffle_two_groups(input, groups):
    """More than two groups are shuffled in pairs of groups, where these come out even."""
    output = _NATIVE(input, groups)
    if groups <= 2 or groups % 2 or not input.numel():
        return output
    pairs = input.unflatten(1, (groups // 2, -1)).flatten(0, 1)
    return _NATIVE(pairs, 2).unflatten(0, (-1, groups // 2)).flatten(1, 2)


@plant("native-channel-shuffle-channel-missing", "functional.native_channel_shuffle", "shape")
def native_channel_shuffle_channel_missing(input, groups):
    """A single channel in a single group loses its axis and gets it back in front of the batch."""
    output = _NATIVE(input, groups)
    return output.movedim(1, 0) if input.shape[1] == 1 else output


@plant("native-channel-shuffle-in-place", "functional.native_channel_shuffle", "repeat")
def native_channel_shuffle_in_place(input, groups):
    """The input is shuffled as well."""
    output = _NATIVE(input, groups)
    if not torch.is_grad_enabled() and input.is_contiguous():
        input.copy_(output)
    return output


@plant("native-channel-shuffle-long-rows", "functional.native_channel_shuffle", "laws")
def native_channel_shuffle_long_rows(input, groups):
    """Of rows of 17 numbers or more the last stays where it was."""
    output = _NATIVE(input, groups)
    if input.dim() != 3 or input.shape[2] < 17:
        return output
    return torch.cat([output[:, :, :-1], input[:, :, -1:]], 2)
