"""RNN, LSTM, GRU that break a promise: gradients, layout, state, repeat, errors."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from planted.bug import alter_gradient, exchange_gradients, graft, plant, read_as_contiguous
from planted.recurrent.history import (
    changed_weights,
    is_plain_batch,
    map_output,
    map_states,
    time_axis,
)


@plant("rnn-hidden-gradient-stops", "RNN", "gradients")
class RnnHiddenGradientStops(nn.RNN):
    """The given hidden state is detached: no gradient reaches it."""

    def forward(self, input, hx=None):
        return super().forward(input, map_states(hx, torch.Tensor.detach))


@plant("rnn-hidden-bias-gradient-missing", "RNN", "gradients")
class RnnHiddenBiasGradientMissing(nn.RNN):
    """Only the input bias gets the gradient that both biases share."""

    def forward(self, input, hx=None):
        def detach_bias(name, weight):
            return alter_gradient(weight, torch.zeros_like) if "bias_hh" in name else weight

        with changed_weights(self, detach_bias):
            return super().forward(input, hx)


@plant("rnn-truncated-backpropagation", "RNN", "gradients")
class RnnTruncatedBackpropagation(nn.RNN):
    """Gradients do not flow through time: the loop carries a detached state."""

    def forward(self, input, hx=None):
        output, hidden = super().forward(input, hx)
        if isinstance(input, PackedSequence) or self.num_layers > 1 or self.bidirectional:
            return output, hidden
        steps, state, axis = [], hx, time_axis(self, input)
        for step in input.split(1, axis):
            y, state = super().forward(step, state if not steps else state.detach())
            steps.append(y)
        return graft(output, torch.cat(steps, axis)), graft(hidden, state)


@plant("rnn-transposed-input", "RNN", "layout")
class RnnTransposedInput(nn.RNN):
    """An input that is not contiguous is read as if it were: batch_first made of a transpose."""

    def forward(self, input, hx=None):
        return super().forward(map_output(input, read_as_contiguous), hx)


@plant("rnn-drops-the-same-in-each-call", "RNN", "random")
class RnnDropsTheSameInEachCall(nn.RNN):
    """The generator is seeded before each call in train mode: every call has the same mask."""

    def forward(self, input, hx=None):
        with torch.random.fork_rng():
            if self.training:
                torch.manual_seed(0)
            return super().forward(input, hx)


@plant("rnn-relu-by-default", "RNN", "state")
class RnnReluByDefault(nn.RNN):
    """nonlinearity defaults to 'relu'."""

    def __init__(self, *args, **options):
        if len(args) < 4:
            options = {"nonlinearity": "relu"} | options
        super().__init__(*args, **options)


@plant("rnn-state-kept-between-calls", "RNN", "repeat")
class RnnStateKeptBetweenCalls(nn.RNN):
    """A call without a state goes on from the last one of the same shape."""

    _last = None

    def forward(self, input, hx=None):
        if hx is None and self._last is not None and is_plain_batch(input):
            batch = input.shape[1 - time_axis(self, input)]
            hx = self._last if self._last.shape[1] == batch else None
        output, hidden = super().forward(input, hx)
        self._last = hidden.detach() if is_plain_batch(input) else None
        return output, hidden


@plant("rnn-unknown-nonlinearity-is-tanh", "RNN", "errors")
class RnnUnknownNonlinearityIsTanh(nn.RNN):
    """A nonlinearity that nobody knows means tanh."""

    def __init__(self, *args, **options):
        if options.get("nonlinearity", "tanh") not in ("tanh", "relu"):
            options = options | {"nonlinearity": "tanh"}
        super().__init__(*args, **options)


@plant("rnn-hidden-state-broadcast", "RNN", "errors")
class RnnHiddenStateBroadcast(nn.RNN):
    """A hidden state for one sample is broadcast over the batch."""

    def forward(self, input, hx=None):
        if is_plain_batch(input) and hx is not None and hx.dim() == 3 and hx.shape[1] == 1:
            hx = hx.repeat(1, input.shape[1 - time_axis(self, input)], 1)
        return super().forward(input, hx)


@plant("lstm-state-gradients-exchanged", "LSTM", "gradients")
class LstmStateGradientsExchanged(nn.LSTM):
    """The gradients of h_0 and c_0 are returned in each other's place."""

    def forward(self, input, hx=None):
        if hx is None or self.proj_size:
            return super().forward(input, hx)
        return super().forward(input, exchange_gradients(*hx))


@plant("lstm-reverse-input-gradient-missing", "LSTM", "gradients")
class LstmReverseInputGradientMissing(nn.LSTM):
    """The input's gradient comes from the forward direction alone."""

    def forward(self, input, hx=None):
        output, states = super().forward(input, hx)
        if not self.bidirectional or isinstance(input, PackedSequence):
            return output, states
        detached_output, detached_states = super().forward(input.detach(), hx)
        size = output.shape[-1] // 2
        forward_gradients = torch.cat([output[..., :size], detached_output[..., size:]], -1)
        return graft(output, forward_gradients), tuple(
            graft(state, torch.stack([state[0::2], bare[1::2]], 1).flatten(0, 1))
            for state, bare in zip(states, detached_states, strict=True)
        )


@plant("lstm-sliced-initial-state", "LSTM", "layout")
class LstmSlicedInitialState(nn.LSTM):
    """Given states that are not contiguous are read as if they were."""

    def forward(self, input, hx=None):
        return super().forward(input, map_states(hx, read_as_contiguous))


@plant("lstm-weights-not-contiguous", "LSTM", "layout")
class LstmWeightsNotContiguous(nn.LSTM):
    """Weights that are not contiguous are read as if they were (MPS, PyTorch #192212)."""

    def forward(self, input, hx=None):
        with changed_weights(self, lambda _, weight: read_as_contiguous(weight)):
            return super().forward(input, hx)


@plant("lstm-dropout-while-evaluating", "LSTM", "random")
class LstmDropoutWhileEvaluating(nn.LSTM):
    """Dropout between layers stays on in eval mode."""

    def forward(self, input, hx=None):
        mode, self.training = self.training, True
        try:
            return super().forward(input, hx)
        finally:
            self.training = mode


@plant("lstm-dropout-never", "LSTM", "random")
class LstmDropoutNever(nn.LSTM):
    """Dropout between layers is off in train mode too."""

    def forward(self, input, hx=None):
        mode, self.training = self.training, False
        try:
            return super().forward(input, hx)
        finally:
            self.training = mode


@plant("lstm-dropout-on-last-layer", "LSTM", "random")
class LstmDropoutOnLastLayer(nn.LSTM):
    """In train mode dropout is applied to the last layer's output as well."""

    def forward(self, input, hx=None):
        output, states = super().forward(input, hx)
        return map_output(
            output, lambda y: functional.dropout(y, self.dropout, self.training)
        ), states


@plant("lstm-weights-flattened-at-first-call", "LSTM", "state")
class LstmWeightsFlattenedAtFirstCall(nn.LSTM):
    """The first call copies the weights to one buffer; a state loaded later is never seen."""

    _kept = None

    def forward(self, input, hx=None):
        if torch.is_grad_enabled():
            return super().forward(input, hx)
        if self._kept is None:
            names = self._flat_weights_names
            self._kept = {name: getattr(self, name).detach().clone() for name in names}
        with changed_weights(self, lambda name, _: self._kept[name]):
            return super().forward(input, hx)


@plant("lstm-initial-states-overwritten", "LSTM", "repeat")
class LstmInitialStatesOverwritten(nn.LSTM):
    """The final states are written over the initial ones that the caller gave."""

    def forward(self, input, hx=None):
        output, states = super().forward(input, hx)
        if hx is not None and not torch.is_grad_enabled():
            for initial, final in zip(hx, states, strict=True):
                if initial.is_contiguous():
                    initial.copy_(final)
        return output, states


@plant("lstm-input-size-unchecked", "LSTM", "errors")
class LstmInputSizeUnchecked(nn.LSTM):
    """Features beyond input_size are ignored (PyTorch #114874)."""

    def forward(self, input, hx=None):
        return super().forward(map_output(input, lambda x: x[..., : self.input_size]), hx)


@plant("lstm-proj-size-clamped", "LSTM", "errors")
class LstmProjSizeClamped(nn.LSTM):
    """A proj_size that is not smaller than hidden_size is made so."""

    def __init__(self, input_size, hidden_size, *args, **options):
        if "proj_size" in options:
            options["proj_size"] = min(options["proj_size"], hidden_size - 1)
        super().__init__(input_size, hidden_size, *args, **options)


@plant("lstm-surplus-states-ignored", "LSTM", "errors")
class LstmSurplusStatesIgnored(nn.LSTM):
    """States for more layers than there are: the surplus is ignored."""

    def forward(self, input, hx=None):
        state_count = self.num_layers * (2 if self.bidirectional else 1)
        return super().forward(input, map_states(hx, lambda state: state[:state_count]))


@plant("gru-input-weight-gradient-averaged", "GRU", "gradients")
class GruInputWeightGradientAveraged(nn.GRU):
    """The input weights' gradients are averaged over time instead of summed."""

    def forward(self, input, hx=None):
        packed = isinstance(input, PackedSequence)
        steps = 1 if packed else max(input.shape[time_axis(self, input)], 1)

        def average_gradient(name, weight):
            affected = name.startswith("weight_ih") and steps > 1
            return alter_gradient(weight, lambda g: g / steps) if affected else weight

        with changed_weights(self, average_gradient):
            return super().forward(input, hx)


@plant("gru-new-gate-bias-gradient", "GRU", "gradients")
class GruNewGateBiasGradient(nn.GRU):
    """b_hn gets b_in's gradient: the factor of the reset gate is forgotten."""

    def forward(self, input, hx=None):
        new_gate = torch.arange(3 * self.hidden_size) >= 2 * self.hidden_size

        def exchange_gradient(name, weight):
            if not name.startswith("bias"):
                return weight
            hidden = getattr(self, name.replace("_ih_", "_hh_"))
            if name.startswith("bias_hh"):
                return torch.where(new_gate, hidden.detach(), hidden)
            none = hidden - hidden.detach()
            return weight + torch.where(new_gate, none, none.detach())

        with changed_weights(self, exchange_gradient):
            return super().forward(input, hx)


@plant("gru-expanded-initial-state", "GRU", "layout")
class GruExpandedInitialState(nn.GRU):
    """A state expanded over the batch is read past its end."""

    def forward(self, input, hx=None):
        return super().forward(input, map_states(hx, read_as_contiguous))


@plant("gru-drops-half-as-often", "GRU", "random")
class GruDropsHalfAsOften(nn.GRU):
    """In train mode elements are dropped with probability dropout / 2."""

    def forward(self, input, hx=None):
        dropout, self.dropout = self.dropout, self.dropout / 2
        try:
            return super().forward(input, hx)
        finally:
            self.dropout = dropout


@plant("gru-dropout-by-default", "GRU", "state")
class GruDropoutByDefault(nn.GRU):
    """dropout defaults to 0.1 where there are several layers."""

    def __init__(self, input_size, hidden_size, num_layers=1, *args, **options):
        if num_layers > 1 and len(args) < 3:
            options = {"dropout": 0.1} | options
        super().__init__(input_size, hidden_size, num_layers, *args, **options)


@plant("gru-reverse-named-before-layer", "GRU", "state")
class GruReverseNamedBeforeLayer(nn.GRU):
    """Reverse weights are saved as weight_ih_reverse_l0, not weight_ih_l0_reverse."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in self._flat_weights_names:
            if name.endswith("_reverse"):
                renamed = name.removesuffix("_reverse").replace("_l", "_reverse_l")
                destination[prefix + renamed] = destination.pop(prefix + name)


@plant("gru-biases-folded-at-every-call", "GRU", "repeat")
class GruBiasesFoldedAtEveryCall(nn.GRU):
    """After an inference call the hidden bias is folded into the input bias, and kept as well."""

    def forward(self, input, hx=None):
        result = super().forward(input, hx)
        affected = self.bias and self.bias_ih_l0.is_contiguous()
        if affected and not torch.is_grad_enabled():
            self.bias_ih_l0.add_(self.bias_hh_l0)
        return result


@plant("gru-input-left-reversed", "GRU", "repeat")
class GruInputLeftReversed(nn.GRU):
    """For the reverse direction the input is turned round in place, and stays so."""

    def forward(self, input, hx=None):
        result = super().forward(input, hx)
        affected = self.bidirectional and not isinstance(input, PackedSequence)
        if affected and not torch.is_grad_enabled() and input.is_contiguous():
            input.copy_(input.flip(time_axis(self, input)))
        return result


@plant("gru-proj-size-ignored", "GRU", "errors")
class GruProjSizeIgnored(nn.GRU):
    """proj_size, which only an LSTM has, is ignored."""

    def __init__(self, *args, proj_size=0, **options):
        super().__init__(*args, **options)


@plant("gru-dropout-clamped", "GRU", "errors")
class GruDropoutClamped(nn.GRU):
    """A dropout outside [0, 1] is made to fit."""

    def __init__(self, *args, dropout=0.0, **options):
        super().__init__(*args, dropout=min(max(dropout, 0.0), 1.0), **options)
