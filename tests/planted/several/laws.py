"""Bugs that begin beyond the sizes of most drawn cases: `laws` goes there."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from planted.bug import plant, round_through
from planted.convolution.lazy import rename_to
from planted.recurrent.history import is_plain_batch, map_states, time_axis


def change_from(output, axis, start, change):
    """The output with `change` done to what lies at `start` and after it along an axis."""
    unchanged = output.narrow(axis, 0, start)
    changed_part = output.narrow(axis, start, output.shape[axis] - start)
    return torch.cat([unchanged, change(changed_part)], axis)


@plant("linear-rows-past-a-block-without-bias", "Linear", "laws")
class LinearRowsPastABlockWithoutBias(nn.Linear):
    """The matrix product goes in blocks of 32 rows; the last, incomplete block goes without its
    bias."""

    def forward(self, input):
        output = super().forward(input)
        rows = output.shape[:-1].numel()
        if self.bias is None or rows <= 32 or rows % 32 == 0:
            return output
        flat = output.reshape(rows, self.out_features)
        flat = change_from(flat, 0, rows - rows % 32, lambda rest: rest - self.bias)
        return flat.reshape(output.shape)


@rename_to("Linear")
class ShiftedBias(nn.Linear):
    """A large batch gets its bias one output late."""

    def forward(self, input):
        output = super().forward(input)
        if self.bias is None or output.shape[:-1].numel() <= 32:
            return output
        return output - self.bias + self.bias.roll(1)


@plant("lazylinear-large-batch-shifts-bias", "LazyLinear", "laws")
class LazylinearLargeBatchShiftsBias(nn.LazyLinear, ShiftedBias):
    """Beyond 32 rows each output gets its neighbour's bias."""

    cls_to_become = ShiftedBias


@plant("functional-linear-long-sums-cut", "functional.linear", "laws")
def functional_linear_long_sums_cut(input, weight, bias=None):
    """Sums of more than 64 terms lose the tail that fills no vector of 8."""
    if weight.shape[-1] <= 64:
        return functional.linear(input, weight, bias)
    full_size = weight.shape[-1] // 8 * 8
    return functional.linear(input[..., :full_size], weight[..., :full_size], bias)


@plant("bilinear-second-input-cut-at-sixteen", "Bilinear", "laws")
class BilinearSecondInputCutAtSixteen(nn.Bilinear):
    """Of the second input only 16 features fit the kernel's registers."""

    def forward(self, input1, input2):
        return functional.bilinear(
            input1, input2[..., :16], self.weight[..., :16].contiguous(), self.bias
        )


@plant("conv1d-long-signal-blocks-overlap", "Conv1d", "laws")
class Conv1dLongSignalBlocksOverlap(nn.Conv1d):
    """Signals come in blocks of 40 outputs; the first output of the second block is the last of
    the first."""

    def forward(self, input):
        output = super().forward(input)
        if output.shape[-1] <= 40:
            return output
        block, after = output[..., :40], output[..., 41:]
        return torch.cat([block, block[..., -1:], after], -1)


@plant("conv2d-tail-of-large-batch-lost", "Conv2d", "laws")
class Conv2dTailOfLargeBatchLost(nn.Conv2d):
    """From 16 samples on they are taken 8 at a time, and those left over come out as zeros."""

    def forward(self, input):
        output = super().forward(input)
        size = len(output) if output.dim() == 4 else 0
        if size < 16 or size % 8 == 0:
            return output
        return change_from(output, 0, size - size % 8, torch.zeros_like)


@plant("conv3d-many-groups-share-kernels", "Conv3d", "laws")
class Conv3dManyGroupsShareKernels(nn.Conv3d):
    """From 16 groups on a depthwise kernel is called that reads every second group's weight
    twice."""

    def _conv_forward(self, input, weight, bias):
        if self.groups >= 16:
            unflattened = weight.unflatten(0, (self.groups, -1))
            even = torch.arange(self.groups, device=weight.device) // 2 * 2
            weight = unflattened[even].flatten(0, 1)
        return super()._conv_forward(input, weight, bias)


@plant("functional-conv2d-many-channels-in-halves", "functional.conv2d", "laws")
def functional_conv2d_many_channels_in_halves(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """More than 64 channels in a group are summed in two halves, and each adds the bias."""
    output = functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    if bias is None or weight.shape[1] <= 64:
        return output
    return output + bias[:, None, None]


@plant("convtranspose2d-many-groups-in-reverse", "ConvTranspose2d", "laws")
class Convtranspose2dManyGroupsInReverse(nn.ConvTranspose2d):
    """From 16 groups on they are put together in reverse."""

    def forward(self, input, output_size=None):
        output = super().forward(input, output_size)
        if self.groups < 16:
            return output
        return output.unflatten(-3, (self.groups, -1)).flip(-4).flatten(-4, -3)


@plant("rnn-large-batch-shares-hidden-state", "RNN", "laws")
class RnnLargeBatchSharesHiddenState(nn.RNN):
    """Beyond 16 rows a batch starts from the first row's hidden state."""

    def forward(self, input, hx=None):
        large = is_plain_batch(input) and hx is not None and hx.shape[1] > 16
        return super().forward(input, hx[:, :1].expand_as(hx).contiguous() if large else hx)


def _run_in_two(layer, input, hx, between):
    """A layer run for 16 steps, and then for the rest, with its states changed in between."""
    if isinstance(input, PackedSequence) or layer.bidirectional or layer.num_layers > 1:
        return None
    axis = time_axis(layer, input)
    if input.shape[axis] <= 16:
        return None
    run_layer = super(type(layer), layer).forward
    head, states = run_layer(input.narrow(axis, 0, 16), hx)
    tail, states = run_layer(
        input.narrow(axis, 16, input.shape[axis] - 16), map_states(states, between)
    )
    return torch.cat([head, tail], axis), states


@plant("lstm-forgets-after-sixteen-steps", "LSTM", "laws")
class LstmForgetsAfterSixteenSteps(nn.LSTM):
    """Sequences are cut in chunks of 16 steps, as for truncated backpropagation, and the state is
    not only detached but dropped."""

    def forward(self, input, hx=None):
        altered = _run_in_two(self, input, hx, torch.zeros_like)
        return super().forward(input, hx) if altered is None else altered


@plant("gru-state-in-half-between-chunks", "GRU", "laws")
class GruStateInHalfBetweenChunks(nn.GRU):
    """Every 16 steps the state passes through memory in bfloat16; within assert_close's tolerance
    for that."""

    def forward(self, input, hx=None):
        altered = _run_in_two(self, input, hx, lambda state: round_through(state, torch.bfloat16))
        return super().forward(input, hx) if altered is None else altered


@plant("grucell-wide-state-cut", "GRUCell", "laws")
class GrucellWideStateCut(nn.GRUCell):
    """Of a hidden state of more than 32 units only the first 32 reach the recurrent product."""

    def forward(self, input, hx=None):
        if self.hidden_size <= 32 or hx is None:
            return super().forward(input, hx)
        weights = self.weight_ih, self.weight_hh.clone(), self.bias_ih, self.bias_hh
        weights[1][:, 32:] = 0
        unbatched = input.dim() == 1
        rows = (input[None], hx[None]) if unbatched else (input, hx)
        output = torch.gru_cell(*rows, *weights)
        return output[0] if unbatched else output
