"""Bugs written without sight of the suite: normalization."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft


@blind("batchnorm2d-cumulative-average-counts-one-too-many", "BatchNorm2d", "values")
class _OneTooMany(nn.BatchNorm2d):
    """With momentum=None the n-th batch weighs 1 / (n + 1): the counter is taken for an index
    that starts at zero."""

    # Differs: the running mean for momentum=None. Agrees: momentum=0.1; in eval mode.

    def forward(self, input: Tensor) -> Tensor:
        if self.momentum is not None or not self.training or self.num_batches_tracked is None:
            return super().forward(input)
        self._check_input_dim(input)
        self.num_batches_tracked.add_(1)
        rate = 1.0 / (float(self.num_batches_tracked) + 1)
        mean, variance = self.running_mean, self.running_var
        return functional.batch_norm(
            input, mean, variance, self.weight, self.bias, True, rate, self.eps
        )


@blind("batchnorm1d-running-variance-corrected-by-batch-alone", "BatchNorm1d", "values")
class _BatchAlone(nn.BatchNorm1d):
    """The running variance of a sequence is corrected by N / (N - 1), not N L / (N L - 1): a
    correction written for (N, C) and kept for (N, C, L)."""

    # Differs: the running variance after (3, 2, 4). Agrees: after (3, 2); the output.

    def forward(self, input: Tensor) -> Tensor:
        before = None if self.running_var is None else self.running_var.clone()
        result = super().forward(input)
        applies = self.training and before is not None and self.momentum is not None
        if applies and input.dim() == 3 and input.size(0) > 1:
            batch = input.size(0)
            with torch.no_grad():
                biased = input.detach().to(before.dtype).var((0, 2), unbiased=False)
                now = before * (1 - self.momentum)
                self.running_var.data.copy_(now + self.momentum * biased * batch / (batch - 1))
        return result


@blind("functional-batch-norm-eval-gradient-of-training", "functional.batch_norm", "gradients")
def _training_gradient(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """With running statistics the input's gradient is that of training, where the statistics
    depend on the input: one backward kernel for both modes."""
    # Differs: the input's gradient with training=False. Agrees: training=True; every value.
    has_statistics = running_mean is not None and running_var is not None
    if not training and has_statistics and input.dim() > 1 and input.numel():
        shape = [1, -1] + [1] * (input.dim() - 2)
        axes = [axis for axis in range(input.dim()) if axis != 1]
        scale = torch.rsqrt(running_var.detach() + eps).view(shape).to(input.dtype)
        normal = (input.detach() - running_mean.detach().view(shape).to(input.dtype)) * scale

        def centred(gradient: Tensor) -> Tensor:
            projection = (gradient * normal).mean(axes, keepdim=True)
            return gradient - gradient.mean(axes, keepdim=True) - normal * projection

        input = alter_gradient(input, centred)
    return functional.batch_norm(
        input, running_mean, running_var, weight, bias, training, momentum, eps
    )


@blind("groupnorm-without-positions-takes-all-channels", "GroupNorm", "values")
class _AllChannels(nn.GroupNorm):
    """An input of (N, C) is normalised over all channels at once: the shortcut for one group is
    taken wherever no positions follow."""

    # Differs: GroupNorm(2, 4) on (3, 4). Agrees: GroupNorm(1, 4) on (3, 4); (3, 4, 5).

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() == 2:
            return functional.group_norm(input, 1, self.weight, self.bias, self.eps)
        return super().forward(input)


@blind("layernorm-variance-counts-lanes-past-the-row", "LayerNorm", "values")
class _LanesPastTheRow(nn.LayerNorm):
    """Rows are loaded into a block of a power of two, and its lanes past the row, read as zeros,
    are not masked again after the mean is taken off: a well known slip in Triton kernels."""

    # Differs: LayerNorm(5) on a row whose mean is not 0. Agrees: LayerNorm(4); LayerNorm(1).

    def forward(self, input: Tensor) -> Tensor:
        size = self.normalized_shape[-1]
        block = 1 << max(size - 1, 0).bit_length()
        if len(self.normalized_shape) != 1 or block == size or size == 0:
            return super().forward(input)
        compute_dtype = torch.promote_types(input.dtype, torch.float32)
        row = input.to(compute_dtype)
        mean = row.mean(-1, keepdim=True)
        centred = row - mean
        total = centred.square().sum(-1, keepdim=True) + (block - size) * mean.square()
        result = centred * torch.rsqrt(total / size + self.eps)
        if self.weight is not None:
            result = result * self.weight.to(compute_dtype)
        if self.bias is not None:
            result = result + self.bias.to(compute_dtype)
        return result.to(input.dtype)


@blind("layernorm-without-bias-forgets-weight", "LayerNorm", "values")
class _NeitherOfThem(nn.LayerNorm):
    """With bias=False the weight is not applied either: ports of models that had both or none."""

    # Differs: bias=False and a weight that is not 1. Agrees: bias=True; a new layer.

    def forward(self, input: Tensor) -> Tensor:
        weight = None if self.bias is None else self.weight
        return functional.layer_norm(input, self.normalized_shape, weight, self.bias, self.eps)


@blind("rmsnorm-default-epsilon-of-language-models", "RMSNorm", "values")
class _FixedEpsilon(nn.RMSNorm):
    """Without eps it adds 1e-6, as ports of language models do, not the dtype's epsilon."""

    # Differs: RMSNorm(4) on numbers of 1e-4. Agrees: RMSNorm(4, eps=1e-5).

    def forward(self, input: Tensor) -> Tensor:
        eps = 1e-6 if self.eps is None else self.eps
        return functional.rms_norm(input, self.normalized_shape, self.weight, eps)


@blind("functional-rms-norm-root-held-constant", "functional.rms_norm", "gradients")
def _constant_root(
    input: Tensor,
    normalized_shape: list[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """The input's gradient takes the root mean square for a constant: a backward that lacks its
    second term."""
    # Differs: the gradient of x. Agrees: every value; the gradient of the weight.
    value = functional.rms_norm(input, normalized_shape, weight, eps)
    eps_value = torch.finfo(input.dtype).eps if eps is None else eps
    axes = tuple(range(-len(normalized_shape), 0))
    root = torch.rsqrt(input.detach().square().mean(axes, keepdim=True) + eps_value)
    path = input * root
    return graft(value, path if weight is None else path * weight)


@blind("instancenorm2d-running-statistics-of-the-first-sample", "InstanceNorm2d", "values")
class _FirstSample(nn.InstanceNorm2d):
    """Running statistics are updated from the first sample of a batch, not the mean over all: a
    loop over samples that updates once."""

    # Differs: the running mean after a batch of 2. Agrees: after a batch of 1; the output.

    def forward(self, input: Tensor) -> Tensor:
        tracks = self.training and self.running_mean is not None and input.dim() == 4
        if not tracks or input.size(0) < 2:
            return super().forward(input)
        mean, variance = self.running_mean.clone(), self.running_var.clone()
        result = super().forward(input)
        with torch.no_grad():
            self.running_mean.copy_(mean)
            self.running_var.copy_(variance)
            momentum = self.momentum or 0.0
            first = input[:1].detach()
            functional.instance_norm(
                first, self.running_mean, self.running_var, None, None, True, momentum, self.eps
            )
        return result


@blind("localresponsenorm-edges-average-over-fewer", "LocalResponseNorm", "values")
class _FewerAtEdges(nn.LocalResponseNorm):
    """At the first and last channels the sum is divided by the channels there are, not by size: a
    mean over a clipped window."""

    # Differs: size=3 on 3 channels. Agrees: size=1.

    def forward(self, input: Tensor) -> Tensor:
        right = super().forward(input)
        if self.size == 1 or not input.numel():
            return right
        channels, half = input.size(1), self.size // 2
        squares = input.square()
        means = []
        for channel in range(channels):
            start, end = channel - half, channel - half + self.size
            means.append(squares[:, max(start, 0) : min(end, channels)].mean(1))
        divisor = torch.stack(means, 1) * self.alpha + self.k
        return input / divisor.pow(self.beta)
