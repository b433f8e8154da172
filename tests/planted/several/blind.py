"""Bugs written without sight of the suite, as blind tests of it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.utils import _pair
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence

from planted.bug import (
    alter_gradient,
    blind,
    drop_bits,
    flush_subnormals,
    graft,
    read_as_contiguous,
)


@contextmanager
def swap_parameters(module: nn.Module, **tensors: Tensor) -> Iterator[None]:
    """The module with other tensors for some of its parameters."""
    original = {name: module._parameters[name] for name in tensors}
    module._parameters.update(tensors)
    try:
        yield
    finally:
        module._parameters.update(original)
        if isinstance(module, nn.RNNBase):
            module._init_flat_weights()


# Convolutions


@blind("conv1d-odd-batch-tail-less-exact", "Conv1d", "laws")
class Conv1dOddBatchTailLessExact(nn.Conv1d):
    """Samples are taken in pairs; the last of an odd batch meets a weight of 21 bits (float32)."""

    # Differs: Conv1d(2, 3, 3) on (3, 2, 8). Agrees: on (2, 2, 8).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        odd = input.dim() == 3 and input.shape[0] % 2 == 1 and input.shape[0] > 1
        if not odd or result.dtype != torch.float32:
            return result
        tail = self._conv_forward(input[-1:], drop_bits(self.weight, 3), self.bias)
        return graft(torch.cat([result[:-1], tail]), result)


@blind("conv1d-bias-gradient-of-64-steps", "Conv1d", "gradients")
class Conv1dBiasGradientOf64Steps(nn.Conv1d):
    """The bias gradient sums one tile of 64 output steps and leaves out the second."""

    # Differs: the bias gradient of Conv1d(2, 3, 3) on length 80. Agrees: on length 40.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.bias is None or result.shape[-1] <= 64:
            return result
        bias = self.bias[:, None].expand(-1, result.shape[-1])
        biases = torch.cat([bias[:, :64], bias[:, 64:].detach()], 1)
        return graft(result, self._conv_forward(input, self.weight, None) + biases)


@blind("conv2d-input-gradient-shifted-by-stride-remainder", "Conv2d", "gradients")
class Conv2dInputGradientShifted(nn.Conv2d):
    """Unequal strides: columns the last step leaves over shift the input gradient to the right."""

    # Differs: the input gradient of Conv2d(1, 1, 3, (1, 2)) on 6x6. Agrees: on 6x7.
    def forward(self, input: Tensor) -> Tensor:
        numbers = isinstance(self.padding, tuple) and isinstance(input, Tensor) and input.dim() > 2
        if numbers and self.stride[0] != self.stride[1]:
            extent = self.dilation[1] * (self.kernel_size[1] - 1) + 1
            left = (input.shape[-1] + 2 * self.padding[1] - extent) % self.stride[1]
            if left:
                input = alter_gradient(input, lambda gradient: gradient.roll(left, -1))
        return super().forward(input)


@blind("conv2d-same-with-a-strided-width", "Conv2d", "errors")
class Conv2dSameWithStridedWidth(nn.Conv2d):
    """`padding="same"` is refused by the first stride alone, so that a strided width passes."""

    # Differs: Conv2d(1, 1, 3, (1, 2), "same"). Agrees: stride (2, 1) is refused.
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        strides = tuple(_pair(stride))
        affected = padding == "same" and strides[0] == 1 and strides[-1] > 1
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            1 if affected else stride,
            padding,
            *args,
            **kwargs,
        )
        if affected:
            self.stride = strides
            extent = zip(self.dilation, self.kernel_size, strict=True)
            self.padding = tuple(step * (size - 1) // 2 for step, size in extent)


@blind("conv3d-zero-weight-skips-the-product", "Conv3d", "special")
class Conv3dZeroWeightSkipsProduct(nn.Conv3d):
    """A weight of zeros is not multiplied at all: NaN and inf in the input do not come through."""

    # Differs: zeroed weight, an inf in the input. Agrees: zeroed weight, finite input.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.weight.detach().any():
            return result
        return graft(super().forward(torch.zeros_like(input)), result)


@blind("conv3d-initialised-as-if-one-group", "Conv3d", "state")
class Conv3dInitialisedAsOneGroup(nn.Conv3d):
    """The fan-in counts all input channels, not one group's: initial values are too small."""

    # Differs: the spread of Conv3d(8, 8, 3, groups=4).weight. Agrees: groups=1.
    def reset_parameters(self) -> None:
        super().reset_parameters()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.div_(self.groups**0.5)


# Transposed convolutions


@blind("convtranspose1d-surplus-padding-cropped-on-the-right", "ConvTranspose1d", "values")
class ConvTranspose1dSurplusPaddingOnRight(nn.ConvTranspose1d):
    """Padding beyond the kernel's reach crops twice on the right and not on the left."""

    # Differs: ConvTranspose1d(1, 1, 1, padding=1) on length 5. Agrees: kernel 3, padding 1.
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        result = super().forward(input, output_size)
        extent = self.dilation[0] * (self.kernel_size[0] - 1)
        if self.padding[0] <= extent:
            return result
        minimum = (input.shape[-1] - 1) * self.stride[0] - 2 * self.padding[0] + extent + 1
        uncropped = functional.conv_transpose1d(
            input,
            self.weight,
            self.bias,
            self.stride,
            extent,
            result.shape[-1] - minimum,
            self.groups,
            self.dilation,
        )
        return uncropped[..., : result.shape[-1]]


@blind("convtranspose2d-shortens-the-callers-output-size", "ConvTranspose2d", "repeat")
class ConvTranspose2dShortensOutputSize(nn.ConvTranspose2d):
    """A full output size given as a list loses its batch and channels in the caller's hands."""

    # Differs: output_size=[1, 1, 7, 7] is [7, 7] afterwards. Agrees: output_size=[7, 7].
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        result = super().forward(input, output_size)
        if isinstance(output_size, list):
            del output_size[:-2]
        return result


@blind("convtranspose3d-no-bias-where-no-tap-lands", "ConvTranspose3d", "values")
class ConvTranspose3dNoBiasWhereNoTapLands(nn.ConvTranspose3d):
    """The bias is added as taps are scattered: output that no tap reaches stays zero."""

    # Differs: ConvTranspose3d(1, 1, 1, 2) on 2x2x2. Agrees: ConvTranspose3d(1, 1, 2, 2).
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        result = super().forward(input, output_size)
        if self.bias is None:
            return result
        axes = zip(
            input.shape[-3:],
            result.shape[-3:],
            self.stride,
            self.padding,
            self.dilation,
            self.kernel_size,
            strict=True,
        )
        extra = [
            out - ((size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1)
            for size, out, stride, padding, dilation, kernel in axes
        ]
        taps = functional.conv_transpose3d(
            torch.ones(1, 1, *input.shape[-3:]),
            torch.ones(1, 1, *self.kernel_size),
            None,
            self.stride,
            self.padding,
            extra,
            1,
            self.dilation,
        )
        return torch.where(taps[0, 0] > 0.5, result, torch.zeros_like(result))


# Lazy layers


@blind("lazyconv1d-state-before-first-call-lacks-bias", "LazyConv1d", "state")
class LazyConv1dStateBeforeFirstCallLacksBias(nn.LazyConv1d):
    """The state of a layer that was not called yet holds the uninitialised weight alone."""

    # Differs: the keys of LazyConv1d(2, 3).state_dict(). Agrees: after a call; bias=False.
    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.has_uninitialized_params():
            destination.pop(prefix + "bias", None)


@blind("lazyconv2d-counts-the-channels-of-one-group", "LazyConv2d", "state")
class LazyConv2dCountsChannelsOfOneGroup(nn.LazyConv2d):
    """With groups, the inferred `in_channels` is that of one group."""

    # Differs: LazyConv2d(4, 3, groups=2) on 4 channels says 2. Agrees: groups=1.
    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        lazy = self.has_uninitialized_params()
        super().initialize_parameters(input, *args, **kwargs)
        if lazy:
            self.in_channels //= self.groups


@blind("lazyconv3d-first-unbatched-output-batched", "LazyConv3d", "shape")
class LazyConv3dFirstUnbatchedOutputBatched(nn.LazyConv3d):
    """The call that infers the channels batches an unbatched input and returns it so."""

    # Differs: the first call on (2, 4, 4, 4). Agrees: on (1, 2, 4, 4, 4), and the second call.
    def forward(self, input: Tensor) -> Tensor:
        result = nn.Conv3d.forward(self, input)
        return result[None] if input.dim() == 4 else result


@blind("lazyconvtranspose1d-left-in-eval-mode", "LazyConvTranspose1d", "state")
class LazyConvTranspose1dLeftInEvalMode(nn.LazyConvTranspose1d):
    """The dry run that infers the channels is made in evaluation mode and leaves it on."""

    # Differs: `training` after the first call. Agrees: when loaded before it.
    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        lazy = self.has_uninitialized_params()
        super().initialize_parameters(input, *args, **kwargs)
        if lazy:
            self.eval()


@blind("lazyconvtranspose2d-first-call-drops-output-size", "LazyConvTranspose2d", "shape")
class LazyConvTranspose2dFirstCallDropsOutputSize(nn.LazyConvTranspose2d):
    """The call that infers the channels does not hand on `output_size`."""

    # Differs: the first call with output_size=[8, 8]. Agrees: the second.
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return nn.ConvTranspose2d.forward(self, input)


@blind("lazyconvtranspose3d-bias-frozen-when-materialised", "LazyConvTranspose3d", "gradients")
class LazyConvTranspose3dBiasFrozen(nn.LazyConvTranspose3d):
    """The bias comes out of its materialisation as one that needs no gradient."""

    # Differs: `bias.requires_grad` after the first call. Agrees: bias=False.
    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        lazy = self.has_uninitialized_params()
        super().initialize_parameters(input, *args, **kwargs)
        if lazy and self.bias is not None:
            self.bias.requires_grad_(False)


@blind("conv2d-weight-gradient-of-whole-chunks", "Conv2d", "gradients")
class Conv2dWeightGradientOfWholeChunks(nn.Conv2d):
    """The weight gradient sums the batch in chunks of 4; beyond 4 an incomplete one is lost."""

    # Differs: the weight gradient of Conv2d(2, 3, 3) on a batch of 6. Agrees: of 3, 4 or 8.
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        result = super()._conv_forward(input, weight, bias)
        size = len(input) if input.dim() == 4 else 0
        if size <= 4 or size % 4 == 0 or not result.requires_grad:
            return result
        full_size = size - size % 4
        head = super()._conv_forward(input[:full_size], weight, bias)
        blind = alter_gradient(weight, torch.zeros_like)
        tail = super()._conv_forward(input[full_size:], blind, bias)
        return graft(result, torch.cat([head, tail]))


@blind("functional-conv1d-long-kernel-spreads-nan", "functional.conv1d", "special")
def conv1d_by_fourier(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """From 16 taps on a Fourier transform is taken: one NaN or infinity takes a whole group."""
    # Differs: an infinity, and a kernel of 16. Agrees: finite numbers; a kernel of 15.
    result = functional.conv1d(input, weight, bias, stride, padding, dilation, groups)
    if weight.shape[-1] < 16 or bool(torch.isfinite(input).all()):
        return result
    finite = torch.isfinite(input.detach()).unflatten(-2, (groups, -1)).all(-1).all(-1)
    nonfinite = ~finite.repeat_interleave(len(weight) // groups, -1)[..., None]
    return torch.where(nonfinite, torch.full_like(result, torch.nan), result)


@blind("lazyconvtranspose3d-state-without-names", "LazyConvTranspose3d", "state")
class LazyConvTranspose3dStateWithoutNames(nn.LazyConvTranspose3d):
    """Before the first call `state_dict` leaves out the parameters that are not made yet."""

    # Differs: names of state_dict() of a new layer. Agrees: after the first call.
    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, parameter in self._parameters.items():
            if parameter is not None and is_lazy(parameter):
                destination.pop(prefix + name, None)


@blind("lazylinear-loaded-weights-reset-by-first-call", "LazyLinear", "state")
class LazyLinearLoadedWeightsReset(nn.LazyLinear):
    """A lazy layer that was loaded is initialised all the same by its first call."""

    # Differs: load a Linear's state, then call. Agrees: without a load.
    def initialize_parameters(self, input: Tensor) -> None:
        loaded = not self.has_uninitialized_params()
        super().initialize_parameters(input)
        if loaded:
            self.reset_parameters()


# Recurrent layers


@blind("rnn-final-state-four-bits-short", "RNN", "values")
class RNNFinalStateFourBitsShort(nn.RNN):
    """The final state is written from a narrower register than the output (float32)."""

    # Differs: h_n is not output[-1]. Agrees: the output; float64.
    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        output, state = super().forward(input, hx)
        return output, drop_bits(state, 4) if state.dtype == torch.float32 else state


@blind("rnn-empty-batch-not-batch-first", "RNN", "shape")
class RNNEmptyBatchNotBatchFirst(nn.RNN):
    """The early return for an empty batch forgets `batch_first`."""

    # Differs: RNN(2, 3, batch_first=True) on (0, 4, 2). Agrees: on (1, 4, 2).
    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        output, state = super().forward(input, hx)
        if self.batch_first and isinstance(input, Tensor) and state.dim() == 3:
            output = output.transpose(0, 1) if state.shape[1] == 0 else output
        return output, state


@blind("rnn-relu-clipped-at-the-largest-half", "RNN", "special")
class RNNReluClippedAtLargestHalf(nn.RNN):
    """A ReLU's result is kept within float16's range, 65504, in every dtype."""

    # Differs: RNN(1, 1, nonlinearity="relu") on 1e9. Agrees: on 1.
    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        output, state = super().forward(input, hx)
        if self.nonlinearity != "relu":
            return output, state
        if isinstance(output, PackedSequence):
            return output._replace(data=output.data.clamp(max=65504.0)), state.clamp(max=65504.0)
        return output.clamp(max=65504.0), state.clamp(max=65504.0)


@blind("lstm-projected-directions-joined-in-reverse", "LSTM", "values")
class LSTMProjectedDirectionsJoinedInReverse(nn.LSTM):
    """Between bidirectional layers with projections the reverse direction comes first."""

    # Differs: LSTM(2, 4, 2, bidirectional=True, proj_size=2). Agrees: one layer of it.
    def forward(self, input: Any, hx: Any = None) -> Any:
        if not (self.bidirectional and self.proj_size and self.num_layers > 1):
            return super().forward(input, hx)
        reordered = {
            name: weight.roll(self.proj_size, 1)
            for name, weight in self.named_parameters()
            if name.startswith("weight_ih_l") and not name.startswith("weight_ih_l0")
        }
        with swap_parameters(self, **reordered):
            return super().forward(input, hx)


class _NeedsStateGradient(torch.autograd.Function):
    """Outputs and states; the cell state's gradient alone does not set the backward pass off."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return output.clone(), hidden.clone(), cell.clone()

    @staticmethod
    def backward(
        ctx: Any, output: Tensor | None, hidden: Tensor | None, cell: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        if output is None and hidden is None and cell is not None:
            cell = torch.zeros_like(cell)
        return output, hidden, cell


@blind("lstm-gradient-of-the-cell-alone-lost", "LSTM", "gradients")
class LSTMGradientOfCellAloneLost(nn.LSTM):
    """Backward returns zeros at once where neither the output nor h_n has a gradient."""

    # Differs: the gradients of c_n.sum(). Agrees: those of output.sum() + c_n.sum().
    def forward(self, input: Any, hx: Any = None) -> Any:
        output, states = super().forward(input, hx)
        if isinstance(output, PackedSequence):
            return output, states
        output, hidden, cell = _NeedsStateGradient.apply(output, *states)
        return output, (hidden, cell)


@blind("lstm-biases-merged-when-loaded", "LSTM", "state")
class LSTMBiasesMergedWhenLoaded(nn.LSTM):
    """Loading folds `bias_hh` into `bias_ih`; the results stay, the state does not."""

    # Differs: state_dict() after load_state_dict(). Agrees: bias=False.
    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        for name, bias in self.named_parameters():
            if name.startswith("bias_ih"):
                hidden_bias = getattr(self, name.replace("_ih_", "_hh_"))
                bias.data = bias.data + hidden_bias.data
                hidden_bias.data = torch.zeros_like(hidden_bias.data)


@blind("lstm-batched-states-for-unbatched-input", "LSTM", "errors")
class LSTMBatchedStatesForUnbatchedInput(nn.LSTM):
    """States with a batch of one are taken for an unbatched input, and not refused."""

    # Differs: LSTM(2, 3) on (4, 2) with states (1, 1, 3). Agrees: with states (1, 3).
    def forward(self, input: Any, hx: Any = None) -> Any:
        if isinstance(input, Tensor) and input.dim() == 2 and hx is not None:
            hx = tuple(
                state.squeeze(1) if state.dim() == 3 and state.shape[1] == 1 else state
                for state in hx
            )
        return super().forward(input, hx)


@blind("gru-packed-reverse-state-left-sorted", "GRU", "values")
class GRUPackedReverseStateLeftSorted(nn.GRU):
    """Unsorted packed sequences: h_n of the reverse direction stays in the sorted order."""

    # Differs: bidirectional, lengths [1, 3], enforce_sorted=False. Agrees: lengths [3, 1].
    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        output, state = super().forward(input, hx)
        if not self.bidirectional or not isinstance(input, PackedSequence):
            return output, state
        if input.sorted_indices is None:
            return output, state
        pairs = state.unflatten(0, (-1, 2))
        reverse = pairs[:, 1].index_select(1, input.sorted_indices)
        return output, torch.stack([pairs[:, 0], reverse], 1).flatten(0, 1)


@blind("gru-one-state-for-the-whole-batch", "GRU", "errors")
class GRUOneStateForTheWholeBatch(nn.GRU):
    """An initial state for a batch of one is broadcast over the batch, and not refused."""

    # Differs: GRU(2, 3) on (4, 5, 2) with hx (1, 1, 3). Agrees: with hx (1, 2, 3), refused.
    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        if isinstance(input, Tensor) and input.dim() == 3 and hx is not None and hx.dim() == 3:
            batch = input.shape[0 if self.batch_first else 1]
            if hx.shape[1] == 1 and batch > 1:
                hx = hx.expand(-1, batch, -1).contiguous()
        return super().forward(input, hx)


# Cells


@blind("rnncell-tanh-to-a-millionth", "RNNCell", "values")
class RNNCellTanhToAMillionth(nn.RNNCell):
    """A fast tanh with an absolute error of 1e-6 (float32)."""

    # Differs: RNNCell(2, 3) on any input. Agrees: nonlinearity="relu"; float64.
    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        result = super().forward(input, hx)
        if self.nonlinearity != "tanh" or result.dtype != torch.float32:
            return result
        return graft(torch.round(result.detach() * 2.0**19) * 2.0**-19, result)


@blind("lstmcell-forget-bias-of-32-units", "LSTMCell", "values")
class LSTMCellForgetBiasOf32Units(nn.LSTMCell):
    """Units of the second tile of 32 get no `bias_hh` in the forget gate."""

    # Differs: LSTMCell(2, 40) with a c_0. Agrees: LSTMCell(2, 32).
    def forward(self, input: Tensor, hx: Any = None) -> Any:
        if not self.bias or self.hidden_size <= 32:
            return super().forward(input, hx)
        place = torch.arange(4 * self.hidden_size)
        affected = (place >= self.hidden_size + 32) & (place < 2 * self.hidden_size)
        with swap_parameters(self, bias_hh=self.bias_hh.masked_fill(affected, 0.0)):
            return super().forward(input, hx)


@blind("lstmcell-tanh-of-a-large-cell-is-nan", "LSTMCell", "special")
class LSTMCellTanhOfLargeCellIsNan(nn.LSTMCell):
    """tanh(c) as (exp(2c) - 1) / (exp(2c) + 1): inf / inf once the cell exceeds 44."""

    # Differs: h of LSTMCell(1, 1) with c_0 = 1000. Agrees: with c_0 = 1.
    def forward(self, input: Tensor, hx: Any = None) -> Any:
        hidden, cell = super().forward(input, hx)
        widened = cell.detach().to(torch.promote_types(cell.dtype, torch.float32))
        return hidden.masked_fill((2 * widened).exp().isinf(), float("nan")), cell


@blind("lstmcell-new-cell-written-over-c0", "LSTMCell", "repeat")
class LSTMCellNewCellWrittenOverC0(nn.LSTMCell):
    """The new cell state is written into the caller's c_0 if that needs no gradient."""

    # Differs: c_0 after a call. Agrees: c_0.requires_grad, or no states given.
    def forward(self, input: Tensor, hx: Any = None) -> Any:
        if hx is None or len(hx) != 2 or hx[1].requires_grad or not hx[1].is_contiguous():
            return super().forward(input, hx)
        hidden, cell = super().forward(input, (hx[0].clone(), hx[1].clone()))
        hx[1].data.copy_(cell.detach())
        return hidden, cell


@blind("grucell-gradient-of-bias-hh-not-reset", "GRUCell", "gradients")
class GRUCellGradientOfBiasHHNotReset(nn.GRUCell):
    """In the new gate `bias_hh` gets the gradient of `bias_ih`, without the reset gate."""

    # Differs: the gradient of bias_hh. Agrees: the values and every other gradient.
    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if not self.bias:
            return super().forward(input, hx)
        new_gate = self.bias_hh[2 * self.hidden_size :]
        other_gates = self.bias_hh[: 2 * self.hidden_size]
        path = self.bias_ih + functional.pad(new_gate, (2 * self.hidden_size, 0))
        with swap_parameters(
            self,
            bias_ih=graft(self.bias_ih, path),
            bias_hh=torch.cat([other_gates, new_gate.detach()]),
        ):
            return super().forward(input, hx)


@blind("grucell-weight-hh-taken-for-contiguous", "GRUCell", "layout")
class GRUCellWeightHHTakenForContiguous(nn.GRUCell):
    """The recurrent weight's memory is read row by row, whatever its strides."""

    # Differs: weight_hh held as the transpose of a contiguous matrix. Agrees: contiguous.
    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        with swap_parameters(self, weight_hh=read_as_contiguous(self.weight_hh)):
            return super().forward(input, hx)


# Identity, linear and bilinear


@blind("identity-cut-off-in-eval-mode", "Identity", "gradients")
class IdentityCutOffInEvalMode(nn.Identity):
    """In evaluation mode the input is returned detached: no gradient passes."""

    # Differs: Identity().eval() on a tensor that requires a gradient. Agrees: in train mode.
    def forward(self, input: Any) -> Any:
        if self.training or not isinstance(input, Tensor) or not input.requires_grad:
            return input
        return input.detach()


@blind("linear-half-vector-left-in-float32", "Linear", "shape")
class LinearHalfVectorLeftInFloat32(nn.Linear):
    """A single vector of a 16-bit dtype takes a product whose accumulator is returned."""

    # Differs: Linear(2, 3, dtype=bfloat16) on (2,). Agrees: on (1, 2).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        half = result.dtype in (torch.float16, torch.bfloat16)
        return result.float() if half and input.dim() == 1 else result


@blind("linear-packed-in-eval-mode", "Linear", "repeat")
class LinearPackedInEvalMode(nn.Linear):
    """The first call in evaluation mode packs the weight; a later load goes unnoticed."""

    # Differs: eval(), call, load_state_dict(), call. Agrees: the same in train mode.
    packed: Tensor | None = None

    def train(self, mode: bool = True) -> nn.Module:
        self.packed = None if mode else self.packed
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> nn.Module:
        self.packed = None
        return super()._apply(*args, **kwargs)

    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if self.training:
            return result
        if self.packed is None:
            self.packed = self.weight.detach().clone()
        return graft(functional.linear(input, self.packed, self.bias), result)


@blind("bilinear-longer-first-input-in-21-bits", "Bilinear", "laws")
class BilinearLongerFirstInputIn21Bits(nn.Bilinear):
    """A first input longer than the second goes through a product of 21 bits (float32)."""

    # Differs: Bilinear(4, 2, 3). Agrees: Bilinear(2, 4, 3).
    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        if self.in1_features > self.in2_features and input1.dtype == torch.float32:
            input1 = drop_bits(input1, 3)
        return super().forward(input1, input2)


# Functions


@blind("functional-conv1d-storage-offset-forgotten", "functional.conv1d", "layout")
def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """An input is read from the start of its storage, as on MPS: slices are off."""
    # Differs: base[1:] of base (3, 2, 8). Agrees: base[:1].
    if isinstance(input, Tensor) and input.storage_offset():
        start = input.detach().as_strided(input.shape, input.stride(), 0)
        input = graft(start, input)
    return functional.conv1d(input, weight, bias, stride, padding, dilation, groups)


@blind("functional-conv2d-empty-batch-forgets-dilation", "functional.conv2d", "shape")
def conv2d_empty(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The early return for an empty batch works its shape out without the dilation."""
    # Differs: (0, 1, 8, 8), 3x3, dilation 2. Agrees: dilation 1; a batch of one.
    result = functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    if input.dim() == 4 and input.shape[0] == 0:
        return functional.conv2d(input, weight, bias, stride, padding, 1, groups)
    return result


_RESULTS: dict[Any, weakref.ref[Tensor]] = {}


@blind("functional-conv2d-result-buffer-reused", "functional.conv2d", "repeat")
def conv2d_buffer(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Results of one shape and dtype share a buffer: a call overwrites the last one's result."""
    # Differs: the first result after a second call on another input. Agrees: before it.
    result = functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    key = (result.shape, result.dtype)
    last = _RESULTS[key]() if key in _RESULTS else None
    if last is not None and not last.is_inference():
        last.data.copy_(result.detach())
    _RESULTS[key] = weakref.ref(result)
    return result


@blind("functional-conv3d-weight-gradient-of-float64-in-float32", "functional.conv3d",
       "gradients")  # fmt: skip
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """In float64 the gradient of the weight passes through float32."""
    # Differs: the weight's gradient in float64. Agrees: in float32; the input's gradient.
    if isinstance(weight, Tensor) and weight.dtype == torch.float64:
        weight = alter_gradient(weight, lambda gradient: gradient.float().double())
    return functional.conv3d(input, weight, bias, stride, padding, dilation, groups)


@blind("functional-conv-transpose1d-half-subnormal-weight-flushed",
       "functional.conv_transpose1d", "special")  # fmt: skip
def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """Weights below float16's smallest normal number, 6.1e-5, are flushed to zero (float16)."""
    # Differs: a float16 weight of 3e-5. Agrees: one of 3e-3.
    if isinstance(weight, Tensor) and weight.dtype == torch.float16:
        weight = flush_subnormals(weight)
    return functional.conv_transpose1d(
        input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@blind("functional-conv-transpose2d-strided-bias-read-densely",
       "functional.conv_transpose2d", "layout")  # fmt: skip
def conv_transpose2d_bias(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The bias's memory is read from one element to the next, whatever its stride."""
    # Differs: bias = torch.randn(6)[::2]. Agrees: torch.randn(3).
    if isinstance(bias, Tensor):
        bias = read_as_contiguous(bias)
    return functional.conv_transpose2d(
        input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@blind("functional-conv-transpose3d-small-inputs-skipped", "functional.conv_transpose3d",
       "values")  # fmt: skip
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """A scatter for sparse inputs skips what is below 1e-6: small signals vanish."""
    # Differs: an input of 1e-7. Agrees: an input of 1.
    if isinstance(input, Tensor):
        input = graft(input.detach().masked_fill(input.detach().abs() < 1e-6, 0.0), input)
    return functional.conv_transpose3d(
        input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@blind("functional-linear-weight-in-21-bits", "functional.linear", "values")
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The weight is split into two 16-bit halves and loses three bits of float32's 24."""
    # Differs: random float32. Agrees: float64; small integers.
    if isinstance(weight, Tensor) and weight.dtype == torch.float32:
        weight = drop_bits(weight, 3)
    return functional.linear(input, weight, bias)


@blind("functional-bilinear-weight-taken-for-contiguous", "functional.bilinear", "layout")
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The weight's memory is read row by row, whatever its strides."""
    # Differs: weight = torch.randn(3, 4, 2).transpose(1, 2). Agrees: contiguous.
    if isinstance(weight, Tensor):
        weight = read_as_contiguous(weight)
    return functional.bilinear(input1, input2, weight, bias)
