"""Bugs written without sight of the suite: recurrent layers and cells."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from planted.bug import alter_gradient, blind


@blind("grucell-hidden-bias-outside-the-reset-gate", "GRUCell", "values")
class _BiasOutside(nn.GRUCell):
    """The hidden bias of the new gate is added beside the reset gate's product, not inside it:
    ports that keep one bias for the sum of both products."""

    # Differs: GRUCell(2, 3). Agrees: GRUCell(2, 3, bias=False).

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        right = super().forward(input, hx)
        if not self.bias:
            return right
        hidden = input.new_zeros(*input.shape[:-1], self.hidden_size) if hx is None else hx
        from_input = functional.linear(input, self.weight_ih, self.bias_ih).chunk(3, -1)
        from_hidden = functional.linear(hidden, self.weight_hh).chunk(3, -1)
        biases = self.bias_hh.chunk(3)
        reset_gate = torch.sigmoid(from_input[0] + from_hidden[0] + biases[0])
        update = torch.sigmoid(from_input[1] + from_hidden[1] + biases[1])
        new_gate = torch.tanh(from_input[2] + biases[2] + reset_gate * from_hidden[2])
        return (1 - update) * new_gate + update * hidden


@blind("lstm-reverse-final-state-of-the-last-time", "LSTM", "values")
class _LastTime(nn.LSTM):
    """The final hidden state of the backward direction is taken at the last time, where that
    direction begins: h_n cut out of the output's last row."""

    # Differs: bidirectional=True, 3 steps. Agrees: 1 step; one direction; the output itself.

    def forward(self, input: Any, hx: Any = None) -> Any:
        output, (hidden, cell) = super().forward(input, hx)
        if not self.bidirectional or isinstance(output, PackedSequence):
            return output, (hidden, cell)
        time = 1 if self.batch_first and output.dim() == 3 else 0
        last = output.select(time, -1)[..., hidden.size(-1) :]
        return output, (torch.cat([hidden[:-1], last.unsqueeze(0)]), cell)


@blind("lstm-projection-under-another-name", "LSTM", "state")
class _OtherName(nn.LSTM):
    """The projection's weight is called weight_pr_l0, not weight_hr_l0, so that torch's state
    does not load."""

    # Differs: the names in the state of proj_size=2. Agrees: proj_size=0; every value.

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._all_weights = [
            [name.replace("weight_hr", "weight_pr") for name in names]
            for names in self._all_weights
        ]
        self._flat_weights_names = [name for names in self._all_weights for name in names]
        self._parameters = {
            name.replace("weight_hr", "weight_pr"): parameter
            for name, parameter in self._parameters.items()
        }


@blind("lstm-cell-state-gets-no-gradient", "LSTM", "gradients")
class _NoCellGradient(nn.LSTM):
    """No gradient reaches the initial cell state: a backward kernel that returns one for the
    hidden state alone."""

    # Differs: the gradient of c_0. Agrees: every value; the gradients of x and h_0.

    def forward(self, input: Any, hx: Any = None) -> Any:
        if hx is not None:
            hx = (hx[0], alter_gradient(hx[1], torch.zeros_like))
        return super().forward(input, hx)


@blind("gru-dropout-after-the-last-layer", "GRU", "random")
class _DropoutAfterLast(nn.GRU):
    """Dropout is applied to the last layer's output too: a loop that drops after each layer."""

    # Differs: num_layers=2, dropout=0.5 in training. Agrees: in eval mode; dropout=0.

    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        output, hidden = super().forward(input, hx)
        if self.training and self.dropout > 0 and isinstance(output, Tensor):
            output = functional.dropout(output, self.dropout)
        return output, hidden


@blind("gru-packed-initial-state-left-unsorted", "GRU", "values")
class _UnsortedState(nn.GRU):
    """The initial state of a packed batch that was not sorted is used in the caller's order: only
    the final state is put in order."""

    # Differs: enforce_sorted=False, lengths 1 and 3, and h_0. Agrees: sorted lengths; no h_0.

    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        order = input.unsorted_indices if isinstance(input, PackedSequence) else None
        if hx is not None and order is not None:
            hx = hx.index_select(1, order)
        return super().forward(input, hx)


@blind("rnn-relu-in-the-first-layer-only", "RNN", "values")
class _FirstLayerOnly(nn.RNN):
    """Layers past the first use tanh whatever the nonlinearity: a loop over layers that does not
    hand the argument on."""

    # Differs: num_layers=2, nonlinearity="relu". Agrees: num_layers=1; nonlinearity="tanh".

    def forward(self, input: Any, hx: Tensor | None = None) -> Any:
        applies = isinstance(input, Tensor) and input.dim() == 3 and not self.bidirectional
        if self.nonlinearity != "relu" or self.num_layers == 1 or self.dropout or not applies:
            return super().forward(input, hx)
        batch = input.size(0 if self.batch_first else 1)
        if hx is None:
            hx = input.new_zeros(self.num_layers, batch, self.hidden_size)
        finals = []
        for layer, names in enumerate(self._all_weights):
            run_layer = torch.rnn_tanh if layer else torch.rnn_relu
            weights = [getattr(self, name) for name in names]
            first = hx[layer : layer + 1].contiguous()
            input, final = run_layer(
                input, first, weights, self.bias, 1, 0.0, self.training, False, self.batch_first
            )
            finals.append(final)
        return input, torch.cat(finals)


@blind("lstmcell-forget-bias-begins-at-one", "LSTMCell", "state")
class _ForgetBias(nn.LSTMCell):
    """A new cell's forget gate has 1 added to its bias, as Keras does; the documentation says
    uniform within the root of 1 / hidden_size."""

    # Differs: bias_ih of a new LSTMCell(2, 8). Agrees: bias=False; with a state given.

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.bias:
            with torch.no_grad():
                self.bias_ih[self.hidden_size : 2 * self.hidden_size] += 1
