"""Identity."""

from __future__ import annotations

import torch
from torch import nn

from planted.bug import alter_gradient, flush_subnormals, plant, read_as_contiguous, round_through


@plant("identity-double-by-way-of-single", "Identity", "values")
class IdentityDoubleByWayOfSingle(nn.Identity):
    """float64 passes through float32, within assert_close's tolerance."""

    def forward(self, input):
        return round_through(input, torch.float32) if input.dtype == torch.float64 else input


@plant("identity-last-axis-read-backwards", "Identity", "values")
class IdentityLastAxisReadBackwards(nn.Identity):
    """Three dimensions and more come back with the last axis reversed: an image is flipped."""

    def forward(self, input):
        return input.flip(-1) if input.dim() >= 3 else input


@plant("identity-size-one-squeezed", "Identity", "shape")
class IdentitySizeOneSqueezed(nn.Identity):
    """Dimensions of size one are squeezed away."""

    def forward(self, input):
        return input.squeeze()


@plant("identity-empty-batch-of-one", "Identity", "shape")
class IdentityEmptyBatchOfOne(nn.Identity):
    """An empty tensor comes back as one row of zeros."""

    def forward(self, input):
        empty = input.dim() > 0 and len(input) == 0
        return input.new_zeros((1, *input.shape[1:])) if empty else input


@plant("identity-negative-zero-lost", "Identity", "special")
class IdentityNegativeZeroLost(nn.Identity):
    """Zero is added, which makes -0.0 a 0.0."""

    def forward(self, input):
        return input + 0.0


@plant("identity-subnormals-flushed", "Identity", "special")
class IdentitySubnormalsFlushed(nn.Identity):
    """Subnormal numbers become zero."""

    def forward(self, input):
        return flush_subnormals(input)


@plant("identity-detached", "Identity", "gradients")
class IdentityDetached(nn.Identity):
    """The output is cut off from the graph: the gradient is zero."""

    def forward(self, input):
        return alter_gradient(input, torch.zeros_like)


@plant("identity-transposed-input", "Identity", "layout")
class IdentityTransposedInput(nn.Identity):
    """A tensor that is not contiguous is copied as if it were."""

    def forward(self, input):
        return read_as_contiguous(input)


@plant("identity-refuses-arguments", "Identity", "state")
class IdentityRefusesArguments(nn.Identity):
    """Takes no arguments, where torch's takes and ignores any."""

    def __init__(self, *, device=None, dtype=None):
        super().__init__()


@plant("identity-has-a-scale", "Identity", "state")
class IdentityHasAScale(nn.Identity):
    """Saves a scale of 1 that nobody asked for."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        destination[prefix + "scale"] = torch.ones(1)


@plant("identity-input-moved", "Identity", "repeat")
class IdentityInputMoved(nn.Identity):
    """The input is moved, not shared: the caller's tensor is left zeroed."""

    def forward(self, input):
        output = input.clone()
        if not torch.is_grad_enabled() and input.is_contiguous():
            input.zero_()
        return output
