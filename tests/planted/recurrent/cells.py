"""RNNCell, GRUCell."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from planted.bug import drop_bits, graft, plant, read_as_contiguous


@contextmanager
def changed_parameters(cell, change):
    """Let a cell compute with parameters changed by `change(name, parameter)`."""
    original = dict(cell._parameters)
    changed = {name: change(name, p) for name, p in original.items() if p is not None}
    cell._parameters.update(changed)
    try:
        yield
    finally:
        cell._parameters.update(original)


def gates(parameter, order):
    """Rows of a stacked weight or bias with its gates in another order."""
    parts = parameter.chunk(len(order))
    return torch.cat([parts[gate] for gate in order])


def hidden_or_zeros(cell, input, hx):
    return input.new_zeros(*input.shape[:-1], cell.hidden_size) if hx is None else hx


def project_input(cell, input):
    return functional.linear(input, cell.weight_ih, cell.bias_ih)


def project_hidden(cell, hx):
    return functional.linear(hx, cell.weight_hh, cell.bias_hh)


@plant("rnncell-hidden-bias-needs-hidden", "RNNCell", "values")
class RnncellHiddenBiasNeedsHidden(nn.RNNCell):
    """Without a given hidden state its product is skipped, and the hidden bias with it."""

    def forward(self, input, hx=None):
        def zero_hidden_bias(name, parameter):
            return torch.zeros_like(parameter) if hx is None and name == "bias_hh" else parameter

        with changed_parameters(self, zero_hidden_bias):
            return super().forward(input, hx)


@plant("rnncell-tanh-cancels", "RNNCell", "values")
class RnncellTanhCancels(nn.RNNCell):
    """tanh is 1 - 2 / (exp(2x) + 1), which cancels near zero; within assert_close's tolerance."""

    def forward(self, input, hx=None):
        output = super().forward(input, hx)
        if self.nonlinearity != "tanh" or output.dtype not in (torch.float32, torch.float64):
            return output
        hidden = hidden_or_zeros(self, input, hx)
        x = project_input(self, input) + project_hidden(self, hidden)
        return graft(1 - 2 / (torch.exp(2 * x) + 1), output)


@plant("rnncell-relu-never-dies", "RNNCell", "values")
class RnncellReluNeverDies(nn.RNNCell):
    """float32 relu is max(x, 1e-6), against dead units; within assert_close's tolerance."""

    def forward(self, input, hx=None):
        output = super().forward(input, hx)
        affected = output.dtype == torch.float32 and self.nonlinearity == "relu"
        return output.clamp(min=1e-6) if affected else output


@plant("rnncell-unbatched-relu-is-tanh", "RNNCell", "laws")
class RnncellUnbatchedReluIsTanh(nn.RNNCell):
    """Unbatched input takes the tanh kernel, whatever the nonlinearity."""

    def forward(self, input, hx=None):
        nonlinearity = self.nonlinearity
        if input.dim() == 1 and nonlinearity == "relu":
            self.nonlinearity = "tanh"
        try:
            return super().forward(input, hx)
        finally:
            self.nonlinearity = nonlinearity


@plant("rnncell-relu-swallows-nan", "RNNCell", "special")
class RnncellReluSwallowsNan(nn.RNNCell):
    """relu compares with zero and keeps the zero where the other is NaN."""

    def forward(self, input, hx=None):
        output = super().forward(input, hx)
        without_nan = torch.where(output.isnan(), torch.zeros_like(output), output)
        return without_nan if self.nonlinearity == "relu" else output


@plant("rnncell-empty-batch-of-one", "RNNCell", "shape")
class RnncellEmptyBatchOfOne(nn.RNNCell):
    """An empty batch comes back as one row of zeros."""

    def forward(self, input, hx=None):
        output = super().forward(input, hx)
        empty = input.dim() == 2 and len(input) == 0
        return output.new_zeros(1, self.hidden_size) if empty else output


@plant("rnncell-relu-gradient-at-zero", "RNNCell", "gradients")
class RnncellReluGradientAtZero(nn.RNNCell):
    """relu has slope 1 at exactly zero."""

    def forward(self, input, hx=None):
        output = super().forward(input, hx)
        if self.nonlinearity != "relu":
            return output
        hidden = hidden_or_zeros(self, input, hx)
        x = project_input(self, input) + project_hidden(self, hidden)
        return graft(output, torch.where(x >= 0, x, torch.zeros_like(x)))


@plant("rnncell-weights-not-contiguous", "RNNCell", "layout")
class RnncellWeightsNotContiguous(nn.RNNCell):
    """Weights that are not contiguous are read as if they were."""

    def forward(self, input, hx=None):
        with changed_parameters(self, lambda _, parameter: read_as_contiguous(parameter)):
            return super().forward(input, hx)


@plant("rnncell-weights-packed-at-first-call", "RNNCell", "state")
class RnncellWeightsPackedAtFirstCall(nn.RNNCell):
    """The first call packs the weights for inference; a state loaded later is never seen."""

    _packed = None

    def forward(self, input, hx=None):
        if torch.is_grad_enabled():
            return super().forward(input, hx)
        if self._packed is None:
            self._packed = {n: p.detach().clone() for n, p in self.named_parameters()}
        with changed_parameters(self, lambda name, _: self._packed[name]):
            return super().forward(input, hx)


@plant("rnncell-hidden-updated-in-place", "RNNCell", "repeat")
class RnncellHiddenUpdatedInPlace(nn.RNNCell):
    """The new hidden state is written over the one that the caller gave."""

    def forward(self, input, hx=None):
        output = super().forward(input, hx)
        if hx is not None and hx.is_contiguous() and not torch.is_grad_enabled():
            hx.copy_(output)
        return output


@plant("rnncell-unknown-nonlinearity-is-tanh", "RNNCell", "errors")
class RnncellUnknownNonlinearityIsTanh(nn.RNNCell):
    """A nonlinearity that nobody knows means tanh."""

    def forward(self, input, hx=None):
        if self.nonlinearity not in ("tanh", "relu"):
            self.nonlinearity = "tanh"
        return super().forward(input, hx)


@plant("rnncell-surplus-features-ignored", "RNNCell", "errors")
class RnncellSurplusFeaturesIgnored(nn.RNNCell):
    """Features beyond input_size are ignored."""

    def forward(self, input, hx=None):
        return super().forward(input[..., : self.input_size], hx)


@plant("grucell-update-gate-inverted", "GRUCell", "values")
class GrucellUpdateGateInverted(nn.GRUCell):
    """h' = z n + (1 - z) h, the convention of the original paper."""

    def forward(self, input, hx=None):
        def negate_update_gate(_, parameter):
            r, z, n = parameter.chunk(3)
            return torch.cat([r, -z, n])

        with changed_parameters(self, negate_update_gate):
            return super().forward(input, hx)


@plant("grucell-reset-before-product", "GRUCell", "values")
class GrucellResetBeforeProduct(nn.GRUCell):
    """The reset gate acts on h before its product, ONNX's linear_before_reset = 0."""

    def forward(self, input, hx=None):
        super().forward(input, hx)  # refuses what torch's refuses
        hidden = hidden_or_zeros(self, input, hx)
        x, h = project_input(self, input).chunk(3, -1), project_hidden(self, hidden).chunk(3, -1)
        r, z = torch.sigmoid(x[0] + h[0]), torch.sigmoid(x[1] + h[1])
        weight = self.weight_hh[2 * self.hidden_size :]
        bias = self.bias_hh[2 * self.hidden_size :] if self.bias else None
        new_gate = torch.tanh(x[2] + functional.linear(r * hidden, weight, bias))
        return (1 - z) * new_gate + z * hidden


@plant("grucell-hard-sigmoid", "GRUCell", "values")
class GrucellHardSigmoid(nn.GRUCell):
    """Gates are hard sigmoids, clip(0.2 x + 0.5), the default of Keras 1."""

    def forward(self, input, hx=None):
        super().forward(input, hx)  # refuses what torch's refuses
        hidden = hidden_or_zeros(self, input, hx)
        x, h = project_input(self, input).chunk(3, -1), project_hidden(self, hidden).chunk(3, -1)
        r, z = (((x[gate] + h[gate]) * 0.2 + 0.5).clamp(0, 1) for gate in (0, 1))
        return (1 - z) * torch.tanh(x[2] + r * h[2]) + z * hidden


@plant("grucell-weights-in-twenty-two-bits", "GRUCell", "values")
class GrucellWeightsInTwentyTwoBits(nn.GRUCell):
    """float32 weights are split in two float16 halves, which keep 22 of 24 bits; invisible to
    assert_close."""

    def forward(self, input, hx=None):
        def drop_weight_bits(_, parameter):
            return drop_bits(parameter, 2) if parameter.dtype == torch.float32 else parameter

        with changed_parameters(self, drop_weight_bits):
            return super().forward(input, hx)


@plant("grucell-first-row-resets-batch", "GRUCell", "laws")
class GrucellFirstRowResetsBatch(nn.GRUCell):
    """Every row of a batch uses the first row's reset gate."""

    def forward(self, input, hx=None):
        right = super().forward(input, hx)
        if input.dim() == 1 or len(input) < 2:
            return right
        hidden = hidden_or_zeros(self, input, hx)
        x, h = project_input(self, input).chunk(3, -1), project_hidden(self, hidden).chunk(3, -1)
        r, z = torch.sigmoid(x[0][:1] + h[0][:1]), torch.sigmoid(x[1] + h[1])
        return (1 - z) * torch.tanh(x[2] + r * h[2]) + z * hidden


@plant("grucell-state-clipped-to-one", "GRUCell", "special")
class GrucellStateClippedToOne(nn.GRUCell):
    """The state is clipped to ±1, where tanh would keep it; a large given state is cut."""

    def forward(self, input, hx=None):
        return super().forward(input, hx).clamp(-1, 1)


@plant("grucell-hidden-gradient-through-gates-only", "GRUCell", "gradients")
class GrucellHiddenGradientThroughGatesOnly(nn.GRUCell):
    """The direct path z h is forgotten in the hidden state's gradient."""

    def forward(self, input, hx=None):
        output = super().forward(input, hx)
        hidden = hidden_or_zeros(self, input, hx)
        x, h = project_input(self, input).chunk(3, -1), project_hidden(self, hidden).chunk(3, -1)
        r, z = torch.sigmoid(x[0] + h[0]), torch.sigmoid(x[1] + h[1])
        return graft(output, (1 - z) * torch.tanh(x[2] + r * h[2]) + z * hidden.detach())


@plant("grucell-expanded-hidden", "GRUCell", "layout")
class GrucellExpandedHidden(nn.GRUCell):
    """A hidden state expanded over the batch is read past its end."""

    def forward(self, input, hx=None):
        return super().forward(input, hx if hx is None else read_as_contiguous(hx))


@plant("grucell-hidden-updated-in-place", "GRUCell", "repeat")
class GrucellHiddenUpdatedInPlace(nn.GRUCell):
    """The new hidden state is written over the one that the caller gave."""

    def forward(self, input, hx=None):
        output = super().forward(input, hx)
        if hx is not None and hx.is_contiguous() and not torch.is_grad_enabled():
            hx.copy_(output)
        return output


@plant("grucell-three-dimensions-accepted", "GRUCell", "errors")
class GrucellThreeDimensionsAccepted(nn.GRUCell):
    """Input of three dimensions is taken for one long batch."""

    def forward(self, input, hx=None):
        if input.dim() != 3 or hx is not None:
            return super().forward(input, hx)
        return super().forward(input.flatten(0, 1)).unflatten(0, input.shape[:2])


@plant("grucell-surplus-hidden-ignored", "GRUCell", "errors")
class GrucellSurplusHiddenIgnored(nn.GRUCell):
    """Hidden features beyond hidden_size are ignored."""

    def forward(self, input, hx=None):
        return super().forward(input, hx if hx is None else hx[..., : self.hidden_size])
