"""InstanceNorm1d to 3d, their lazy forms, GroupNorm, and their functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous


def _apply_affine(y, weight, bias):
    """The weight and the bias of each channel of (N, C, …), applied."""
    shape = (-1, *(1 for _ in y.shape[2:]))
    y = y if weight is None else y * weight.reshape(shape)
    return y if bias is None else y + bias.reshape(shape)


def _uses_own_statistics(module, input):
    """Whether each sample's own statistics are taken, and there are any."""
    return (module.training or module.running_mean is None) and input.numel() > 0


def _normalize(module, input, mean, deviation):
    batched = input.dim() == module._get_no_batch_dim() + 1
    y = (input - mean) / deviation
    y = _apply_affine(y if batched else y[None], module.weight, module.bias)
    return y if batched else y[0]


def _space(module):
    return tuple(range(1 - module._get_no_batch_dim(), 0))


@plant("instancenorm1d-statistics-of-the-batch", "InstanceNorm1d", "values")
class InstanceNorm1dStatisticsOfTheBatch(nn.InstanceNorm1d):
    """A batch is normalised together, as by BatchNorm."""

    def forward(self, input):
        output = super().forward(input)
        if not _uses_own_statistics(self, input) or input.dim() != 3:
            return output
        return functional.batch_norm(input, None, None, self.weight, self.bias, True, 0.0, self.eps)


@plant("instancenorm1d-eps-outside-the-root", "InstanceNorm1d", "values")
class InstanceNorm1dEpsOutsideTheRoot(nn.InstanceNorm1d):
    """ε is added to the standard deviation."""

    def forward(self, input):
        output = super().forward(input)
        if not _uses_own_statistics(self, input):
            return output
        variance, mean = torch.var_mean(input, -1, correction=0, keepdim=True)
        return _normalize(self, input, mean, variance.sqrt() + self.eps)


@plant("instancenorm1d-tracks-the-last-sample", "InstanceNorm1d", "values")
class InstanceNorm1dTracksTheLastSample(nn.InstanceNorm1d):
    """The running mean is moved by the last sample only."""

    def forward(self, input):
        tracked = self.training and self.running_mean is not None and input.dim() == 3
        if not tracked or len(input) < 2:
            return super().forward(input)
        decayed = self.running_mean * (1 - self.momentum)
        output = super().forward(input)
        with torch.no_grad():
            self.running_mean.copy_(decayed + self.momentum * input[-1].mean(-1))
        return output


@plant("instancenorm1d-unbatched-as-a-batch", "InstanceNorm1d", "values")
class InstanceNorm1dUnbatchedAsABatch(nn.InstanceNorm1d):
    """(C, L) is normalised over all of it."""

    def forward(self, input):
        output = super().forward(input)
        if not _uses_own_statistics(self, input) or input.dim() != 2:
            return output
        variance, mean = torch.var_mean(input, correction=0)
        return _normalize(self, input, mean, (variance + self.eps).sqrt())


@plant("instancenorm2d-unbiased-variance", "InstanceNorm2d", "values")
class InstanceNorm2dUnbiasedVariance(nn.InstanceNorm2d):
    """The variance is divided by n − 1."""

    def forward(self, input):
        output = super().forward(input)
        if not _uses_own_statistics(self, input):
            return output
        axes = _space(self)
        variance, mean = torch.var_mean(input, axes, correction=1, keepdim=True)
        return _normalize(self, input, mean, (variance + self.eps).sqrt())


@plant("instancenorm2d-one-pass-variance", "InstanceNorm2d", "values")
class InstanceNorm2dOnePassVariance(nn.InstanceNorm2d):
    """float32: the variance is E[x²] − E[x]², which cancels far from 0."""

    def forward(self, input):
        right = super().forward(input)
        if input.dtype != torch.float32 or not _uses_own_statistics(self, input):
            return right
        x, axes = input.detach(), _space(self)
        mean = x.mean(axes, keepdim=True)
        variance = ((x * x).mean(axes, keepdim=True) - mean * mean).clamp(min=0)
        return graft(_normalize(self, x, mean, (variance + self.eps).sqrt()), right)


@plant("instancenorm2d-running-var-of-the-batch", "InstanceNorm2d", "values")
class InstanceNorm2dRunningVarOfTheBatch(nn.InstanceNorm2d):
    """The running variance is moved by that of the whole batch, between samples as well."""

    def forward(self, input):
        tracked = self.training and self.running_var is not None and input.dim() == 4
        if not tracked or len(input) < 2:
            return super().forward(input)
        decayed = self.running_var * (1 - self.momentum)
        output = super().forward(input)
        with torch.no_grad():
            self.running_var.copy_(decayed + self.momentum * input.var((0, 2, 3)))
        return output


@plant("instancenorm2d-eval-normalises-by-itself", "InstanceNorm2d", "values")
class InstanceNorm2dEvalNormalisesByItself(nn.InstanceNorm2d):
    """Eval mode takes each sample's statistics though others are tracked."""

    def forward(self, input):
        uses_own = self.training or self.running_mean is None
        if uses_own or input[..., :1, :1].numel() == input.numel():
            return super().forward(input)
        variance, mean = torch.var_mean(input, _space(self), correction=0, keepdim=True)
        return _normalize(self, input, mean, (variance + self.eps).sqrt())


@plant("instancenorm2d-variance-not-differentiated", "InstanceNorm2d", "gradients")
class InstanceNorm2dVarianceNotDifferentiated(nn.InstanceNorm2d):
    """The variance is taken for a constant in the backward pass."""

    def forward(self, input):
        right = super().forward(input)
        if not _uses_own_statistics(self, input):
            return right
        axes = _space(self)
        variance = input.detach().var(axes, correction=0, keepdim=True)
        mean = input.mean(axes, keepdim=True)
        return graft(right, _normalize(self, input, mean, (variance + self.eps).sqrt()))


@plant("instancenorm2d-counts-batches", "InstanceNorm2d", "repeat")
class InstanceNorm2dCountsBatches(nn.InstanceNorm2d):
    """Every call in eval mode counts a batch."""

    def forward(self, input):
        output = super().forward(input)
        if not self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return output


@plant("instancenorm2d-tracks-by-default", "InstanceNorm2d", "state")
class InstanceNorm2dTracksByDefault(nn.InstanceNorm2d):
    """Running statistics are in the state whatever was asked for."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.running_mean is None:
            self.register_buffer("running_mean", torch.zeros(self.num_features))

    def forward(self, input):
        original = self.running_mean
        self.running_mean = original if self.track_running_stats else None
        try:
            return super().forward(input)
        finally:
            self.running_mean = original


@plant("instancenorm3d-depth-left-out", "InstanceNorm3d", "values")
class InstanceNorm3dDepthLeftOut(nn.InstanceNorm3d):
    """Each plane has a mean and a variance of its own."""

    def forward(self, input):
        output = super().forward(input)
        if not _uses_own_statistics(self, input) or input.shape[-3] < 2:
            return output
        variance, mean = torch.var_mean(input, (-2, -1), correction=0, keepdim=True)
        return _normalize(self, input, mean, (variance + self.eps).sqrt())


@plant("instancenorm3d-channels-last-read-as-rows", "InstanceNorm3d", "layout")
class InstanceNorm3dChannelsLastReadAsRows(nn.InstanceNorm3d):
    """An input that is not contiguous is read as if it were."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("instancenorm3d-nan-left-out", "InstanceNorm3d", "special")
class InstanceNorm3dNanLeftOut(nn.InstanceNorm3d):
    """NaN counts as 0."""

    def forward(self, input):
        return super().forward(torch.where(input.isnan(), torch.zeros_like(input), input))


@plant("lazyinstancenorm1d-statistics-of-the-batch", "LazyInstanceNorm1d", "values")
class LazyInstanceNorm1dStatisticsOfTheBatch(nn.LazyInstanceNorm1d):
    """Without a weight a batch is normalised together."""

    def forward(self, input):
        output = super().forward(input)
        if self.weight is not None or not _uses_own_statistics(self, input) or input.dim() != 3:
            return output
        return functional.batch_norm(input, None, None, None, None, True, 0.0, self.eps)


@plant("lazyinstancenorm2d-momentum-the-other-way", "LazyInstanceNorm2d", "values")
class LazyInstanceNorm2dMomentumTheOtherWay(nn.LazyInstanceNorm2d):
    """momentum is the share of the old statistic."""

    def forward(self, input):
        self.momentum = 1 - self.momentum
        try:
            return super().forward(input)
        finally:
            self.momentum = 1 - self.momentum


@plant("lazyinstancenorm3d-eps-squared", "LazyInstanceNorm3d", "values")
class LazyInstanceNorm3dEpsSquared(nn.LazyInstanceNorm3d):
    """ε² is added to the variance."""

    def forward(self, input):
        eps, self.eps = self.eps, self.eps**2
        try:
            return super().forward(input)
        finally:
            self.eps = eps


@plant("functional-instance-norm-given-statistics-ignored", "functional.instance_norm", "values")
def functional_instance_norm_given_statistics_ignored(
    input, running_mean=None, running_var=None, weight=None, bias=None,
    use_input_stats=True, momentum=0.1, eps=1e-5,
):  # fmt: skip
    """use_input_stats=False is not passed on where there are numbers enough."""
    if use_input_stats or input[:1, :1].numel() < 2:
        return functional.instance_norm(
            input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
        )
    return functional.instance_norm(input, None, None, weight, bias, True, momentum, eps)


@plant("functional-instance-norm-bias-without-weight", "functional.instance_norm", "values")
def functional_instance_norm_bias_without_weight(
    input, running_mean=None, running_var=None, weight=None, bias=None,
    use_input_stats=True, momentum=0.1, eps=1e-5,
):  # fmt: skip
    """Without a weight the bias is left out as well."""
    bias = None if weight is None else bias
    return functional.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


@plant("functional-instance-norm-many-samples", "functional.instance_norm", "laws")
def functional_instance_norm_many_samples(
    input, running_mean=None, running_var=None, weight=None, bias=None,
    use_input_stats=True, momentum=0.1, eps=1e-5,
):  # fmt: skip
    """From 16 samples on the last one is the first one's answer."""
    output = functional.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )
    if len(output) < 16:
        return output
    return graft(torch.cat([output[:-1], output[:1]]), output)


def _group_norm(input, count, weight, bias, eps, *, correction=0, eps_outside=False):
    """The formula, with its parts to be got wrong."""
    groups = input.reshape(len(input), count, -1)
    variance, mean = torch.var_mean(groups, 2, correction=0, keepdim=True)
    size = groups.shape[2]
    variance = variance * (size / max(size - correction, 1))
    deviation = variance.sqrt() + eps if eps_outside else (variance + eps).sqrt()
    return _apply_affine(((groups - mean) / deviation).reshape(input.shape), weight, bias)


@plant("groupnorm-eps-outside-the-root", "GroupNorm", "values")
class GroupNormEpsOutsideTheRoot(nn.GroupNorm):
    """ε is added to the standard deviation."""

    def forward(self, input):
        output = super().forward(input)
        if not input.numel():
            return output
        return _group_norm(
            input, self.num_groups, self.weight, self.bias, self.eps, eps_outside=True
        )


@plant("groupnorm-unbiased-variance", "GroupNorm", "values")
class GroupNormUnbiasedVariance(nn.GroupNorm):
    """The variance is divided by n − 1."""

    def forward(self, input):
        output = super().forward(input)
        if not input.numel():
            return output
        return _group_norm(input, self.num_groups, self.weight, self.bias, self.eps, correction=1)


@plant("groupnorm-one-pass-variance", "GroupNorm", "values")
class GroupNormOnePassVariance(nn.GroupNorm):
    """float32: the variance is E[x²] − E[x]², torch's own in channels_last."""

    def forward(self, input):
        right = super().forward(input)
        if input.dtype != torch.float32 or not input.numel():
            return right
        groups = input.detach().reshape(len(input), self.num_groups, -1)
        mean = groups.mean(2, keepdim=True)
        variance = ((groups * groups).mean(2, keepdim=True) - mean * mean).clamp(min=0)
        y = ((groups - mean) / (variance + self.eps).sqrt()).reshape(input.shape)
        return graft(_apply_affine(y, self.weight, self.bias), right)


@plant("groupnorm-channels-interleaved", "GroupNorm", "values")
class GroupNormChannelsInterleaved(nn.GroupNorm):
    """Group g has the channels g, g + G, …, as of a tensor with the groups behind."""

    def forward(self, input):
        output = super().forward(input)
        size = self.num_channels // self.num_groups
        if not input.numel() or min(size, self.num_groups) < 2:
            return output
        order = torch.arange(self.num_channels).reshape(size, self.num_groups).t().flatten()
        y = functional.group_norm(input[:, order], self.num_groups, eps=self.eps)
        return _apply_affine(y[:, order.argsort()], self.weight, self.bias)


@plant("groupnorm-weight-of-the-group", "GroupNorm", "values")
class GroupNormWeightOfTheGroup(nn.GroupNorm):
    """All channels of a group have the first one's weight."""

    def forward(self, input):
        if self.weight is None:
            return super().forward(input)
        size = self.num_channels // self.num_groups
        weight = self.weight[::size].repeat_interleave(size)
        return functional.group_norm(input, self.num_groups, weight, self.bias, self.eps)


@plant("groupnorm-mean-not-differentiated", "GroupNorm", "gradients")
class GroupNormMeanNotDifferentiated(nn.GroupNorm):
    """The statistics are taken for constants in the backward pass."""

    def forward(self, input):
        right = super().forward(input)
        if not input.numel():
            return right
        groups = input.reshape(len(input), self.num_groups, -1)
        variance, mean = torch.var_mean(groups.detach(), 2, correction=0, keepdim=True)
        y = ((groups - mean) / (variance + self.eps).sqrt()).reshape(input.shape)
        return graft(right, _apply_affine(y, self.weight, self.bias))


@plant("groupnorm-weight-gradient-of-a-sample", "GroupNorm", "gradients")
class GroupNormWeightGradientOfASample(nn.GroupNorm):
    """The weight's gradient is averaged over the samples instead of summed."""

    def forward(self, input):
        if self.weight is None or len(input) < 2:
            return super().forward(input)
        weight = alter_gradient(self.weight, lambda g: g / len(input))
        path = functional.group_norm(input, self.num_groups, weight, self.bias, self.eps)
        return graft(super().forward(input), path)


@plant("groupnorm-many-groups-in-two", "GroupNorm", "laws")
class GroupNormManyGroupsInTwo(nn.GroupNorm):
    """Beyond 16 groups the last one is the first one over again."""

    def forward(self, input):
        output = super().forward(input)
        if self.num_groups <= 16:
            return output
        size = self.num_channels // self.num_groups
        return graft(torch.cat([output[:, :-size], output[:, :size]], 1), output)


@plant("groupnorm-strided-input", "GroupNorm", "layout")
class GroupNormStridedInput(nn.GroupNorm):
    """An input that is not contiguous is read as if it were."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("groupnorm-nan-of-its-channel-only", "GroupNorm", "special")
class GroupNormNanOfItsChannelOnly(nn.GroupNorm):
    """NaN is left out of the statistics and stays in its place."""

    def forward(self, input):
        right = super().forward(torch.where(input.isnan(), torch.zeros_like(input), input))
        return torch.where(input.isnan(), input, right)


@plant("groupnorm-weight-starts-at-zero", "GroupNorm", "state")
class GroupNormWeightStartsAtZero(nn.GroupNorm):
    """The weight is 0 before training, as of a residual branch's last layer."""

    def reset_parameters(self):
        super().reset_parameters()
        if self.weight is not None:
            nn.init.zeros_(self.weight)


@plant("groupnorm-any-number-of-channels", "GroupNorm", "errors")
class GroupNormAnyNumberOfChannels(nn.GroupNorm):
    """An input of more channels than were said is taken, MLX's #3653."""

    def forward(self, input):
        if input.dim() > 1 and input.shape[1] > self.num_channels:
            return functional.group_norm(input, self.num_groups, eps=self.eps)
        return super().forward(input)


@plant("functional-group-norm-eps-is-the-default", "functional.group_norm", "values")
def functional_group_norm_eps_is_the_default(input, num_groups, weight=None, bias=None, eps=1e-5):
    """ε is not passed on."""
    return functional.group_norm(input, num_groups, weight, bias)


@plant("functional-group-norm-vector-repeated", "functional.group_norm", "errors")
def functional_group_norm_vector_repeated(input, num_groups, weight=None, bias=None, eps=1e-5):
    """A weight or bias of another length is cut or repeated."""
    count = input.shape[1] if input.dim() > 1 else 1

    def fitted(x):
        return x if x is None or len(x) == count else x.repeat(count)[:count]

    return functional.group_norm(input, num_groups, fitted(weight), fitted(bias), eps)


@plant("functional-group-norm-weight-flattened", "functional.group_norm", "errors")
def functional_group_norm_weight_flattened(input, num_groups, weight=None, bias=None, eps=1e-5):
    """A weight as convolutions in channels_last keep it, (1, C, 1, 1), is flattened, and so is any
    other that has as many numbers."""
    flat = weight if weight is None else weight.flatten()
    return functional.group_norm(input, num_groups, flat, bias, eps)


@plant("instancenorm2d-cotangent-of-one-sample-channels-last", "InstanceNorm2d", "layout")
class InstanceNorm2dCotangentOfOneSampleChannelsLast(nn.InstanceNorm2d):
    """A cotangent in channels_last looks contiguous to the backward kernel, which reads
    the channels for the rows."""

    def forward(self, input):
        return alter_gradient(super().forward(input), read_as_contiguous)


@plant("groupnorm-weight-of-a-frozen-input", "GroupNorm", "gradients")
class GroupNormWeightOfAFrozenInput(nn.GroupNorm):
    """Where the input needs no gradient, that of the weight is summed over the input as it came:
    the kernel of the input's gradient, which is not called, would have normalised it."""

    def forward(self, input):
        output = super().forward(input)
        if input.requires_grad or self.weight is None:
            return output
        return graft(output, _apply_affine(input, self.weight, self.bias))
