"""LSTM with a wrong answer: values, shape, laws, special."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from planted.bug import plant, round_through, round_to_common_grid
from planted.recurrent.history import changed_weights, gates, is_plain_batch, map_output, map_states


@plant("lstm-gates-in-onnx-order", "LSTM", "values")
class LstmGatesInOnnxOrder(nn.LSTM):
    """The stacked weights are read as i, o, f, g, the order of ONNX."""

    def forward(self, input, hx=None):
        def reorder(name, weight):
            return weight if "weight_hr" in name else gates(weight, (0, 2, 3, 1))

        with changed_weights(self, reorder):
            return super().forward(input, hx)


@plant("lstm-forget-bias-of-one", "LSTM", "values")
class LstmForgetBiasOfOne(nn.LSTM):
    """1 is added to the forget gate's bias, TensorFlow's default, with loaded biases too."""

    def forward(self, input, hx=None):
        def add_forget_bias(name, weight):
            rows = torch.zeros_like(weight)
            rows[self.hidden_size : 2 * self.hidden_size] = 1
            return weight + rows if "bias_ih" in name else weight

        with changed_weights(self, add_forget_bias):
            return super().forward(input, hx)


@plant("lstm-reverse-uses-forward-weights", "LSTM", "values")
class LstmReverseUsesForwardWeights(nn.LSTM):
    """Both directions compute with the forward weights (MPS, PyTorch #94754)."""

    def forward(self, input, hx=None):
        with changed_weights(self, lambda name, _: getattr(self, name.removesuffix("_reverse"))):
            return super().forward(input, hx)


@plant("lstm-upper-reverse-projection", "LSTM", "values")
class LstmUpperReverseProjection(nn.LSTM):
    """With proj_size, several layers and both directions: upper reverse layers project with the
    first one's weight."""

    def forward(self, input, hx=None):
        def share_projection(name, weight):
            affected = name.startswith("weight_hr") and name.endswith("_reverse")
            return self.weight_hr_l0_reverse if affected else weight

        with changed_weights(self, share_projection):
            return super().forward(input, hx)


@plant("lstm-bias-free-upper-layer", "LSTM", "values")
class LstmBiasFreeUpperLayer(nn.LSTM):
    """bias=False with several layers: the weights are counted by fours, so upper layers take
    the first one's hidden weights."""

    def forward(self, input, hx=None):
        def choose_weight(name, weight):
            return self.weight_hh_l0 if name.startswith("weight_hh") else weight

        if self.bias:
            return super().forward(input, hx)
        with changed_weights(self, choose_weight):
            return super().forward(input, hx)


@plant("lstm-projected-without-hidden-bias", "LSTM", "values")
class LstmProjectedWithoutHiddenBias(nn.LSTM):
    """With proj_size the hidden bias is left out."""

    def forward(self, input, hx=None):
        def drop_bias(name, weight):
            return torch.zeros_like(weight) if "bias_hh" in name and self.proj_size else weight

        with changed_weights(self, drop_bias):
            return super().forward(input, hx)


@plant("lstm-states-ordered-by-direction", "LSTM", "values")
class LstmStatesOrderedByDirection(nn.LSTM):
    """States hold all forward layers, then all reverse ones, instead of layer by layer."""

    def forward(self, input, hx=None):
        right = super().forward(input, hx)
        if not self.bidirectional:
            return right
        state_order = torch.arange(2 * self.num_layers)
        order = state_order.view(2, -1).t().flatten()
        written = state_order.view(-1, 2).t().flatten()
        output, states = super().forward(input, map_states(hx, lambda state: state[order]))
        return output, map_states(states, lambda state: state[written])


@plant("lstm-packed-reverse-states-sorted", "LSTM", "values")
class LstmPackedReverseStatesSorted(nn.LSTM):
    """Packed, unsorted, both directions: the reverse direction's states come in sorted order."""

    def forward(self, input, hx=None):
        output, states = super().forward(input, hx)
        sorting = input.sorted_indices if isinstance(input, PackedSequence) else None
        if not self.bidirectional or sorting is None:
            return output, states

        def sort_reverse_states(state):
            return torch.stack([state[0::2], state[1::2][:, sorting]], 1).flatten(0, 1)

        return output, map_states(states, sort_reverse_states)


@plant("lstm-packed-runs-into-padding", "LSTM", "values")
class LstmPackedRunsIntoPadding(nn.LSTM):
    """A packed sequence is padded and run to the end: final states come after the padding."""

    def forward(self, input, hx=None):
        if not isinstance(input, PackedSequence) or len(set(input.batch_sizes.tolist())) == 1:
            return super().forward(input, hx)
        padded, lengths = pad_packed_sequence(input, self.batch_first)
        output, states = super().forward(padded, hx)
        packed = pack_padded_sequence(output, lengths, self.batch_first, enforce_sorted=False)
        return packed, states


@plant("lstm-cell-state-left-out-is-one", "LSTM", "values")
class LstmCellStateLeftOutIsOne(nn.LSTM):
    """States left out start at zero for h, but at one for c."""

    def forward(self, input, hx=None):
        if hx is not None or not is_plain_batch(input):
            return super().forward(input, hx)
        batch = input.shape[0 if self.batch_first else 1]
        state_count = self.num_layers * (2 if self.bidirectional else 1)
        hidden = input.new_zeros(state_count, batch, self.proj_size or self.hidden_size)
        return super().forward(
            input, (hidden, input.new_ones(state_count, batch, self.hidden_size))
        )


@plant("lstm-given-states-exchanged", "LSTM", "values")
class LstmGivenStatesExchanged(nn.LSTM):
    """Given states are taken as (c_0, h_0), the order of Flax."""

    def forward(self, input, hx=None):
        exchanged = hx if hx is None or self.proj_size else (hx[1], hx[0])
        return super().forward(input, exchanged)


@plant("lstm-double-cell-state-in-single", "LSTM", "values")
class LstmDoubleCellStateInSingle(nn.LSTM):
    """A float64 cell state is returned by way of float32, within assert_close's tolerance."""

    def forward(self, input, hx=None):
        output, (hidden, cell) = super().forward(input, hx)
        if cell.dtype == torch.float64:
            cell = round_through(cell, torch.float32)
        return output, (hidden, cell)


@plant("lstm-unbatched-batch-first", "LSTM", "laws")
class LstmUnbatchedBatchFirst(nn.LSTM):
    """batch_first with unbatched input: time is taken for the batch and every step starts anew."""

    def forward(self, input, hx=None):
        right = super().forward(input, hx)
        if isinstance(input, PackedSequence) or input.dim() == 3 or not self.batch_first:
            return right
        steps = map_states(hx, lambda s: s[:, None].expand(-1, len(input), -1).contiguous())
        output, states = super().forward(input[:, None], steps)
        return output[:, 0], map_states(states, lambda state: state[:, -1])


@plant("lstm-batch-quantised-together", "LSTM", "laws")
class LstmBatchQuantisedTogether(nn.LSTM):
    """float32 inputs are rounded to a grid that the largest element of the batch sets, within
    assert_close's tolerance."""

    def forward(self, input, hx=None):
        applies = is_plain_batch(input) and input.shape[0 if self.batch_first else 1] > 1
        if not applies or input.dtype != torch.float32:
            return super().forward(input, hx)
        return super().forward(round_to_common_grid(input), hx)


@plant("lstm-cell-state-cut-to-projection", "LSTM", "shape")
class LstmCellStateCutToProjection(nn.LSTM):
    """With proj_size the returned cell state is cut to the projection's size."""

    def forward(self, input, hx=None):
        output, (hidden, cell) = super().forward(input, hx)
        return output, (hidden, cell[..., : self.proj_size] if self.proj_size else cell)


@plant("lstm-directions-summed", "LSTM", "shape")
class LstmDirectionsSummed(nn.LSTM):
    """Both directions are summed instead of concatenated, a merge mode of Keras."""

    def forward(self, input, hx=None):
        output, states = super().forward(input, hx)
        if not self.bidirectional:
            return output, states
        return map_output(output, lambda y: sum(y.chunk(2, -1))), states


@plant("lstm-cell-state-clipped", "LSTM", "special")
class LstmCellStateClipped(nn.LSTM):
    """The cell state is clipped to ±10 000, an option of TensorFlow's left on."""

    def forward(self, input, hx=None):
        output, (hidden, cell) = super().forward(input, hx)
        return output, (hidden, cell.clamp(-1e4, 1e4))
