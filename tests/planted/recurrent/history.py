"""RNN, GRU with a wrong answer: values, shape, laws, special."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from planted.bug import plant, round_through


@contextmanager
def changed_weights(layer, change):
    """Let a recurrent layer compute with weights changed by `change(name, weight)`."""
    layer._update_flat_weights()  # or forward would, after an assignment, and undo the change
    original = layer._flat_weights
    names = layer._flat_weights_names
    layer._flat_weights = [change(name, w) for name, w in zip(names, original, strict=True)]
    try:
        yield
    finally:
        layer._flat_weights = original


def map_output(output, change):
    """The output, packed or not, changed elementwise."""
    if isinstance(output, PackedSequence):
        return output._replace(data=change(output.data))
    return change(output)


def map_states(states, change):
    """The state or the pair of states changed; None stays None."""
    if states is None or isinstance(states, torch.Tensor):
        return states if states is None else change(states)
    return tuple(change(state) for state in states)


def is_plain_batch(input):
    return not isinstance(input, PackedSequence) and input.dim() == 3


def time_axis(layer, input):
    return 1 if layer.batch_first and input.dim() == 3 else 0


def gates(weight, order):
    """Rows of a stacked weight or bias with its gates in another order."""
    parts = weight.chunk(len(order))
    return torch.cat([parts[gate] for gate in order])


def exchange_halves(tensor):
    """The two halves of the last dimension exchanged."""
    return torch.cat(tensor.chunk(2, -1)[::-1], -1)


@plant("rnn-relu-clipped-at-six", "RNN", "values")
class RnnReluClippedAtSix(nn.RNN):
    """nonlinearity='relu' is ReLU6: outputs stop at 6."""

    def forward(self, input, hx=None):
        output, hidden = super().forward(input, hx)
        if self.nonlinearity == "tanh":
            return output, hidden
        return map_output(output, lambda y: y.clamp(max=6)), hidden.clamp(max=6)


@plant("rnn-upper-layers-start-from-zero", "RNN", "values")
class RnnUpperLayersStartFromZero(nn.RNN):
    """A given hidden state reaches the first layer only."""

    def forward(self, input, hx=None):
        if hx is None or self.num_layers == 1:
            return super().forward(input, hx)
        first = 2 if self.bidirectional else 1
        return super().forward(input, torch.cat([hx[:first], torch.zeros_like(hx[first:])]))


@plant("rnn-directions-exchanged-in-output", "RNN", "values")
class RnnDirectionsExchangedInOutput(nn.RNN):
    """The output holds the reverse direction first, then the forward one."""

    def forward(self, input, hx=None):
        output, hidden = super().forward(input, hx)
        return map_output(output, exchange_halves) if self.bidirectional else output, hidden


@plant("rnn-packed-relu-is-tanh", "RNN", "values")
class RnnPackedReluIsTanh(nn.RNN):
    """Packed sequences take the tanh kernel, whatever the nonlinearity."""

    def forward(self, input, hx=None):
        mode = self.mode
        if isinstance(input, PackedSequence):
            self.mode = "RNN_TANH"
        try:
            return super().forward(input, hx)
        finally:
            self.mode = mode


@plant("rnn-single-step-has-one-direction", "RNN", "values")
class RnnSingleStepHasOneDirection(nn.RNN):
    """A sequence of one step: the reverse half of the output repeats the forward half."""

    def forward(self, input, hx=None):
        output, hidden = super().forward(input, hx)
        packed = isinstance(input, PackedSequence)
        if packed or not self.bidirectional or output.shape[time_axis(self, input)] != 1:
            return output, hidden
        forward, _ = output.chunk(2, -1)
        return torch.cat([forward, forward], -1), hidden


@plant("rnn-tanh-saturates-short-of-one", "RNN", "values")
class RnnTanhSaturatesShortOfOne(nn.RNN):
    """float32 tanh stops at 1 - 2**-20, the clamp of a rational approximation; within
    assert_close's tolerance."""

    def forward(self, input, hx=None):
        output, hidden = super().forward(input, hx)
        if self.nonlinearity != "tanh" or hidden.dtype != torch.float32:
            return output, hidden
        limit = 1 - 2.0**-20
        return map_output(output, lambda y: y.clamp(-limit, limit)), hidden.clamp(-limit, limit)


@plant("rnn-unbatched-states-upside-down", "RNN", "laws")
class RnnUnbatchedStatesUpsideDown(nn.RNN):
    """Unbatched, with several layers: a given hidden state is read last layer first."""

    def forward(self, input, hx=None):
        if hx is None or isinstance(input, PackedSequence) or input.dim() == 3:
            return super().forward(input, hx)
        return super().forward(input, hx.flip(0))


@plant("rnn-batch-first-hidden-state", "RNN", "shape")
class RnnBatchFirstHiddenState(nn.RNN):
    """batch_first turns the returned hidden state round as well, as Keras users expect."""

    def forward(self, input, hx=None):
        output, hidden = super().forward(input, hx)
        applies = self.batch_first and hidden.dim() == 3
        return output, hidden.transpose(0, 1) if applies else hidden


@plant("rnn-unbatched-hidden-keeps-batch", "RNN", "shape")
class RnnUnbatchedHiddenKeepsBatch(nn.RNN):
    """Unbatched input returns a hidden state with a batch dimension of one."""

    def forward(self, input, hx=None):
        output, hidden = super().forward(input, hx)
        return output, hidden[:, None] if hidden.dim() == 2 else hidden


@plant("rnn-relu-swallows-nan", "RNN", "special")
class RnnReluSwallowsNan(nn.RNN):
    """relu is max(0, x), which is 0 for NaN where the comparison is ordered."""

    def forward(self, input, hx=None):
        output, hidden = super().forward(input, hx)
        if self.nonlinearity == "tanh":
            return output, hidden

        def swallow(y):
            return torch.where(y.isnan(), torch.zeros_like(y), y)

        return map_output(output, swallow), swallow(hidden)


@plant("gru-gates-in-onnx-order", "GRU", "values")
class GruGatesInOnnxOrder(nn.GRU):
    """The stacked weights are read as z, r, n, the order of ONNX and Keras."""

    def forward(self, input, hx=None):
        with changed_weights(self, lambda _, weight: gates(weight, (1, 0, 2))):
            return super().forward(input, hx)


@plant("gru-new-gate-bias-outside-reset", "GRU", "values")
class GruNewGateBiasOutsideReset(nn.GRU):
    """The reset gate leaves b_hn out, as where both biases are merged in one."""

    def forward(self, input, hx=None):
        new_gate = slice(2 * self.hidden_size, None)

        def merge_biases(name, weight):
            hidden_bias = getattr(self, name.replace("_ih_", "_hh_"))
            rows = torch.zeros_like(weight)
            if name.startswith("bias_ih"):
                rows[new_gate] = hidden_bias[new_gate]
                return weight + rows
            rows[new_gate] = 1
            return weight.masked_fill(rows > 0, 0) if name.startswith("bias_hh") else weight

        with changed_weights(self, merge_biases):
            return super().forward(input, hx)


@plant("gru-upper-layer-reads-reverse-first", "GRU", "values")
class GruUpperLayerReadsReverseFirst(nn.GRU):
    """Both directions and several layers: upper layers read (reverse, forward)."""

    def forward(self, input, hx=None):
        def exchange_columns(name, weight):
            upper = name.startswith("weight_ih") and "_l0" not in name and self.bidirectional
            return exchange_halves(weight) if upper else weight

        with changed_weights(self, exchange_columns):
            return super().forward(input, hx)


@plant("gru-packed-initial-state-unsorted", "GRU", "values")
class GruPackedInitialStateUnsorted(nn.GRU):
    """Packed and unsorted, with a given state: the state is not sorted along."""

    def forward(self, input, hx=None):
        packed = isinstance(input, PackedSequence) and input.unsorted_indices is not None
        reordered = hx[:, input.unsorted_indices] if packed and hx is not None else hx
        return super().forward(input, reordered)


@plant("gru-reverse-state-from-last-step", "GRU", "values")
class GruReverseStateFromLastStep(nn.GRU):
    """The reverse direction's final state is read from the output's last step, its first."""

    def forward(self, input, hx=None):
        output, hidden = super().forward(input, hx)
        if isinstance(input, PackedSequence) or not self.bidirectional:
            return output, hidden
        last = output.select(time_axis(self, input), -1)[..., self.hidden_size :]
        return output, torch.cat([hidden[:-1], last[None]])


@plant("gru-square-batch-first", "GRU", "values")
class GruSquareBatchFirst(nn.GRU):
    """batch_first with as many samples as steps: not transposed (MPS, PyTorch #80306)."""

    def forward(self, input, hx=None):
        square = is_plain_batch(input) and input.shape[0] == input.shape[1]
        if not square or not self.batch_first:
            return super().forward(input, hx)
        output, hidden = super().forward(input.transpose(0, 1), hx)
        return output.transpose(0, 1), hidden


@plant("gru-double-initial-state-in-single", "GRU", "values")
class GruDoubleInitialStateInSingle(nn.GRU):
    """A given float64 state is read by way of float32, within assert_close's tolerance."""

    def forward(self, input, hx=None):
        if hx is not None and hx.dtype == torch.float64:
            return super().forward(input, round_through(hx, torch.float32))
        return super().forward(input, hx)


@plant("gru-batch-of-one-squeezed", "GRU", "shape")
class GruBatchOfOneSqueezed(nn.GRU):
    """A batch of one is squeezed away."""

    def forward(self, input, hx=None):
        output, hidden = super().forward(input, hx)
        if not is_plain_batch(input) or hidden.shape[1] != 1:
            return output, hidden
        return output.squeeze(1 - time_axis(self, input)), hidden.squeeze(1)


@plant("gru-float16-output-in-float32", "GRU", "shape")
class GruFloat16OutputInFloat32(nn.GRU):
    """float16 output comes back in float32; the state does not."""

    def forward(self, input, hx=None):
        output, hidden = super().forward(input, hx)
        if hidden.dtype != torch.float16:
            return output, hidden
        return map_output(output, torch.Tensor.float), hidden


@plant("gru-nan-reaches-other-rows", "GRU", "special")
class GruNanReachesOtherRows(nn.GRU):
    """A NaN in one sample makes the whole batch NaN: rows are masked by multiplication."""

    def forward(self, input, hx=None):
        output, hidden = super().forward(input, hx)
        if not is_plain_batch(input):
            return output, hidden
        has_nan = output.isnan().any()
        return output.masked_fill(has_nan, torch.nan), hidden.masked_fill(has_nan, torch.nan)
