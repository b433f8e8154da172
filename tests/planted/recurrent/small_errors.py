"""Recurrent layers wrong by less than a chain of roundings hides: values, gradients.

Seen by equality where nothing rounds (relu with ±1 weights, saturated gates, held states, dyadic
gradients), or step by step in a long sequence.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from planted.bug import alter_gradient, drop_bits, graft, plant, round_through
from planted.recurrent.cells import hidden_or_zeros, project_hidden, project_input
from planted.recurrent.history import changed_weights, time_axis


def run_in_two_parts(forward, layer, input, hx, steps, between):
    """A forward pass of one direction, its state changed by `between` after so many steps."""
    axis = time_axis(layer, input)
    first, hidden = forward(input.narrow(axis, 0, steps), hx)
    second_part = input.narrow(axis, steps, input.shape[axis] - steps)
    second, hidden = forward(second_part, between(hidden))
    return torch.cat([first, second], axis), hidden


def is_longer_than(steps, layer, input):
    """Whether a plain sequence of one direction is longer than so many steps."""
    applies = not isinstance(input, PackedSequence) and not layer.bidirectional
    return applies and input.dim() in (2, 3) and input.shape[time_axis(layer, input)] > steps


def set_last_bits(tensor):
    """A bfloat16 tensor with the last bit of every significand set, but for zeros."""
    bits = tensor.detach().contiguous().view(torch.int16) | 1
    return graft(torch.where(tensor == 0, tensor, bits.view(torch.bfloat16)), tensor)


@plant("gru-state-in-half-after-sixteen-steps", "GRU", "values")
class GruStateInHalfAfterSixteenSteps(nn.GRU):
    """A float32 sequence is cut in pieces of 16 steps; the state is handed over in float16."""

    def forward(self, input, hx=None):
        right = super().forward(input, hx)  # refuses what torch's refuses
        if not is_longer_than(16, self, input) or input.dtype != torch.float32:
            return right
        return run_in_two_parts(
            super().forward, self, input, hx, 16, lambda h: round_through(h, torch.float16)
        )


@plant("rnn-state-in-half-after-sixteen-steps", "RNN", "values")
class RnnStateInHalfAfterSixteenSteps(nn.RNN):
    """A float32 tanh sequence is cut in pieces of 16 steps; the state is handed over in float16."""

    def forward(self, input, hx=None):
        right = super().forward(input, hx)  # refuses what torch's refuses
        if self.nonlinearity == "relu" or not is_longer_than(16, self, input):
            return right
        if input.dtype != torch.float32:
            return right
        return run_in_two_parts(
            super().forward, self, input, hx, 16, lambda h: round_through(h, torch.float16)
        )


@plant("rnn-long-relu-weights-jammed", "RNN", "values")
class RnnLongReluWeightsJammed(nn.RNN):
    """The bfloat16 relu kernel for sequences of more than eight steps reads W_hh after von Neumann
    rounding, the last bit always set: one ULP."""

    def forward(self, input, hx=None):
        packed = isinstance(input, PackedSequence)
        steps = len(input.batch_sizes) if packed else input.shape[time_axis(self, input)]
        if self.nonlinearity != "relu" or steps <= 8:
            return super().forward(input, hx)

        def convert_weight(name, weight):
            affected = name.startswith("weight_hh") and weight.dtype == torch.bfloat16
            return set_last_bits(weight) if affected else weight

        with changed_weights(self, convert_weight):
            return super().forward(input, hx)


@plant("lstmcell-float16-logits-clamped-at-eleven", "LSTMCell", "values")
class LstmcellFloat16LogitsClampedAtEleven(nn.LSTMCell):
    """float16 pre-activations are clamped to ±11, beyond which exp overflows: a closed gate lets
    1.7e-5 through."""

    def forward(self, input, hx=None):
        right = super().forward(input, hx)
        if input.dtype != torch.float16:
            return right
        states = (None, None) if hx is None else hx
        hidden, cell = (hidden_or_zeros(self, input, state) for state in states)
        logits = (project_input(self, input) + project_hidden(self, hidden)).clamp(-11, 11)
        i, f, g, o = logits.chunk(4, -1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        return graft(torch.sigmoid(o) * torch.tanh(cell), right[0]), graft(cell, right[1])


@plant("grucell-single-update-gate-short-of-one", "GRUCell", "values")
class GrucellSingleUpdateGateShortOfOne(nn.GRUCell):
    """float32 gates stop at 1 - 2**-23, so that their logarithm exists: a held state decays."""

    def forward(self, input, hx=None):
        right = super().forward(input, hx)
        if input.dtype != torch.float32:
            return right
        hidden = hidden_or_zeros(self, input, hx)
        x, h = project_input(self, input).chunk(3, -1), project_hidden(self, hidden).chunk(3, -1)
        r, z = (torch.sigmoid(x[gate] + h[gate]).clamp(max=1 - 2.0**-23) for gate in (0, 1))
        new_gate = torch.tanh(x[2] + r * h[2])
        return graft((hidden - new_gate) * z + new_gate, right)


@plant("lstm-single-cell-state-in-two-halves", "LSTM", "values")
class LstmSingleCellStateInTwoHalves(nn.LSTM):
    """A given float32 cell state is split in two float16 halves, which keep 22 of 24 bits."""

    def forward(self, input, hx=None):
        if hx is None or hx[1].dtype != torch.float32:
            return super().forward(input, hx)
        return super().forward(input, (hx[0], drop_bits(hx[1], 2)))


def rescale_gradient(gradient):
    """Scaled by 41, and back by the reciprocal of it: 41 × (1/41) is not 1 in float32."""
    return gradient * 41 * gradient.new_tensor(1 / 41)


@plant("gru-gradient-unscaled-by-reciprocal", "GRU", "gradients")
class GruGradientUnscaledByReciprocal(nn.GRU):
    """The input's gradient is scaled, and unscaled by a product with the reciprocal: one ULP."""

    def forward(self, input, hx=None):
        if isinstance(input, PackedSequence):
            return super().forward(input, hx)
        return super().forward(alter_gradient(input, rescale_gradient), hx)


@plant("lstmcell-gradient-unscaled-by-reciprocal", "LSTMCell", "gradients")
class LstmcellGradientUnscaledByReciprocal(nn.LSTMCell):
    """The input's gradient is scaled, and unscaled by a product with the reciprocal: one ULP."""

    def forward(self, input, hx=None):
        return super().forward(alter_gradient(input, rescale_gradient), hx)
