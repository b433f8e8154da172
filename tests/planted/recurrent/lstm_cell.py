"""LSTMCell."""

from __future__ import annotations

import torch
from torch import nn

from planted.bug import graft, plant, read_as_contiguous
from planted.recurrent.cells import (
    changed_parameters,
    gates,
    hidden_or_zeros,
    project_hidden,
    project_input,
)


@plant("lstmcell-gates-in-caffe-order", "LSTMCell", "values")
class LstmcellGatesInCaffeOrder(nn.LSTMCell):
    """The stacked weights are read as i, f, o, g, the order of Caffe."""

    def forward(self, input, hx=None):
        with changed_parameters(self, lambda _, parameter: gates(parameter, (0, 1, 3, 2))):
            return super().forward(input, hx)


@plant("lstmcell-cell-returned-first", "LSTMCell", "values")
class LstmcellCellReturnedFirst(nn.LSTMCell):
    """Returns (c, h), the order of Flax."""

    def forward(self, input, hx=None):
        hidden, cell = super().forward(input, hx)
        return cell, hidden


@plant("lstmcell-sigmoid-from-a-table", "LSTMCell", "values")
class LstmcellSigmoidFromATable(nn.LSTMCell):
    """float32 sigmoids have 18 bits after the point, a lookup table's; within assert_close's
    tolerance."""

    def forward(self, input, hx=None):
        right = super().forward(input, hx)
        if input.dtype != torch.float32:
            return right
        states = (None, None) if hx is None else hx
        hidden, cell = (hidden_or_zeros(self, input, state) for state in states)
        i, f, g, o = (project_input(self, input) + project_hidden(self, hidden)).chunk(4, -1)
        i, f, o = (torch.round(torch.sigmoid(gate) * 2**18) / 2**18 for gate in (i, f, o))
        cell = f * cell + i * torch.tanh(g)
        return graft(o * torch.tanh(cell), right[0]), graft(cell, right[1])


@plant("lstmcell-bias-free-forget-bias", "LSTMCell", "values")
class LstmcellBiasFreeForgetBias(nn.LSTMCell):
    """Without biases the forget gate still gets the customary 1: it starts wide open."""

    def forward(self, input, hx=None):
        right = super().forward(input, hx)
        if self.bias or hx is None:
            return right
        shift = input.new_zeros(4 * self.hidden_size)
        shift[self.hidden_size : 2 * self.hidden_size] = 1
        batch = [x[None] if input.dim() == 1 else x for x in (input, *hx)]
        zero = torch.zeros_like(shift)
        states = torch.lstm_cell(batch[0], batch[1:], self.weight_ih, self.weight_hh, shift, zero)
        return tuple(s[0] if input.dim() == 1 else s for s in states)


@plant("lstmcell-half-cell-in-float32", "LSTMCell", "shape")
class LstmcellHalfCellInFloat32(nn.LSTMCell):
    """float16 and bfloat16 return the cell state in float32, as under mixed precision."""

    def forward(self, input, hx=None):
        hidden, cell = super().forward(input, hx)
        return hidden, cell if cell.dtype == torch.float64 else cell.float()


@plant("lstmcell-unbatched-keeps-batch", "LSTMCell", "shape")
class LstmcellUnbatchedKeepsBatch(nn.LSTMCell):
    """Unbatched input returns states with a batch dimension of one."""

    def forward(self, input, hx=None):
        states = super().forward(input, hx)
        return tuple(state[None] if input.dim() == 1 else state for state in states)


@plant("lstmcell-naive-sigmoid", "LSTMCell", "special")
class LstmcellNaiveSigmoid(nn.LSTMCell):
    """sigmoid is exp(x) / (1 + exp(x)): large gates overflow and become NaN."""

    def forward(self, input, hx=None):
        states = super().forward(input, hx)
        hidden = hidden_or_zeros(self, input, None if hx is None else hx[0])
        i, f, _, o = (project_input(self, input) + project_hidden(self, hidden)).chunk(4, -1)
        overflowed = [torch.exp(gate).isinf() for gate in (i, f, o)]
        bad = overflowed[0] | overflowed[1]
        hidden = states[0].masked_fill(bad | overflowed[2], torch.nan)
        return hidden, states[1].masked_fill(bad, torch.nan)


@plant("lstmcell-hidden-gradient-bypasses-cell", "LSTMCell", "gradients")
class LstmcellHiddenGradientBypassesCell(nn.LSTMCell):
    """The gradient of h' stops at the output gate and never reaches the cell state."""

    def forward(self, input, hx=None):
        hidden, cell = super().forward(input, hx)
        before = hidden_or_zeros(self, input, None if hx is None else hx[0])
        gate = (project_input(self, input) + project_hidden(self, before)).chunk(4, -1)[3]
        return graft(hidden, torch.sigmoid(gate) * torch.tanh(cell.detach())), cell


@plant("lstmcell-sliced-states", "LSTMCell", "layout")
class LstmcellSlicedStates(nn.LSTMCell):
    """Given states that are not contiguous are read as if they were."""

    def forward(self, input, hx=None):
        return super().forward(input, hx and tuple(read_as_contiguous(state) for state in hx))


@plant("lstmcell-weights-saved-transposed", "LSTMCell", "state")
class LstmcellWeightsSavedTransposed(nn.LSTMCell):
    """Weights are saved as (input, 4 · hidden), the way Keras keeps its kernels."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name in ("weight_ih", "weight_hh"):
            destination[prefix + name] = destination[prefix + name].t()


@plant("lstmcell-cell-updated-in-place", "LSTMCell", "repeat")
class LstmcellCellUpdatedInPlace(nn.LSTMCell):
    """The new cell state is written over the one that the caller gave."""

    def forward(self, input, hx=None):
        states = super().forward(input, hx)
        if hx is not None and hx[1].is_contiguous() and not torch.is_grad_enabled():
            hx[1].copy_(states[1])
        return states


@plant("lstmcell-states-broadcast", "LSTMCell", "errors")
class LstmcellStatesBroadcast(nn.LSTMCell):
    """States of a single row are broadcast over the batch."""

    def forward(self, input, hx=None):
        if hx is not None and input.dim() == 2 and len(input) > 1:
            hx = tuple(s.repeat(len(input), 1) if s.shape[:-1] == (1,) else s for s in hx)
        return super().forward(input, hx)
