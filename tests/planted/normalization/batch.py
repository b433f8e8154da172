"""BatchNorm1d, BatchNorm3d, LazyBatchNorm1d to LazyBatchNorm3d."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous


def _axes(input):
    return (0, *range(2, input.dim()))


def _broadcast_channels(x, input):
    return x.reshape(-1, *(1 for _ in input.shape[2:]))


def _apply_affine(module, y):
    """The weight and the bias of a module, applied."""
    y = y if module.weight is None else y * _broadcast_channels(module.weight, y)
    return y if module.bias is None else y + _broadcast_channels(module.bias, y)


def _uses_batch_statistics(module, input):
    """Whether the batch's own statistics are taken, and there are any."""
    return (module.training or module.running_mean is None) and input.numel() > 0


@plant("batchnorm1d-statistics-of-each-position", "BatchNorm1d", "values")
class BatchNorm1dStatisticsOfEachPosition(nn.BatchNorm1d):
    """Of (N, C, L) each position has a mean and a variance of its own, over the samples."""

    def forward(self, input):
        output = super().forward(input)
        if not _uses_batch_statistics(self, input) or input.dim() < 3 or len(input) < 2:
            return output
        variance, mean = torch.var_mean(input, 0, correction=0, keepdim=True)
        return _apply_affine(self, (input - mean) / (variance + self.eps).sqrt())


@plant("batchnorm1d-eps-outside-the-root", "BatchNorm1d", "values")
class BatchNorm1dEpsOutsideTheRoot(nn.BatchNorm1d):
    """ε is added to the standard deviation."""

    def forward(self, input):
        output = super().forward(input)
        if not _uses_batch_statistics(self, input):
            return output
        variance, mean = torch.var_mean(input, _axes(input), correction=0, keepdim=True)
        return _apply_affine(self, (input - mean) / (variance.sqrt() + self.eps))


@plant("batchnorm1d-cumulative-average-is-the-default-momentum", "BatchNorm1d", "values")
class BatchNorm1dCumulativeAverageIsTheDefaultMomentum(nn.BatchNorm1d):
    """momentum=None is 0.1."""

    def forward(self, input):
        momentum = self.momentum
        self.momentum = 0.1 if momentum is None else momentum
        try:
            return super().forward(input)
        finally:
            self.momentum = momentum


@plant("batchnorm1d-statistics-of-samples-not-of-numbers", "BatchNorm1d", "values")
class BatchNorm1dStatisticsOfSamplesNotOfNumbers(nn.BatchNorm1d):
    """The running variance is made unbiased by N/(N − 1), L or no L."""

    def forward(self, input):
        count, batch = input.numel() // input.shape[1], len(input)
        tracked = self.training and self.running_var is not None and count and batch > 1
        if not tracked or input.dim() < 3 or self.momentum is None:
            return super().forward(input)
        decayed = self.running_var.clone() * (1 - self.momentum)
        output = super().forward(input)
        factor = (count - 1) / count * batch / (batch - 1)
        with torch.no_grad():
            self.running_var.copy_(decayed + (self.running_var - decayed) * factor)
        return output


@plant("batchnorm1d-variance-not-differentiated", "BatchNorm1d", "gradients")
class BatchNorm1dVarianceNotDifferentiated(nn.BatchNorm1d):
    """The variance is taken for a constant in the backward pass."""

    def forward(self, input):
        output = super().forward(input)
        if not _uses_batch_statistics(self, input):
            return output
        axes = _axes(input)
        variance = input.detach().var(axes, correction=0, keepdim=True)
        centred = input - input.mean(axes, keepdim=True)
        return graft(output, _apply_affine(self, centred / (variance + self.eps).sqrt()))


@plant("batchnorm1d-count-starts-at-one", "BatchNorm1d", "state")
class BatchNorm1dCountStartsAtOne(nn.BatchNorm1d):
    """The number of batches is 1 before the first."""

    def reset_running_stats(self):
        super().reset_running_stats()
        if self.track_running_stats:
            self.num_batches_tracked.fill_(1)


@plant("batchnorm1d-any-rank", "BatchNorm1d", "errors")
class BatchNorm1dAnyRank(nn.BatchNorm1d):
    """The rank of the input is not looked at."""

    def _check_input_dim(self, input):
        pass


@plant("batchnorm1d-long-batches-in-parts", "BatchNorm1d", "laws")
class BatchNorm1dLongBatchesInParts(nn.BatchNorm1d):
    """Beyond 40 channels those of the first block are taken again."""

    def forward(self, input):
        output = super().forward(input)
        if input.shape[1] <= 40:
            return output
        wrong = output.clone()
        wrong[:, 40:] = output[:, : input.shape[1] - 40]
        return graft(wrong, output)


@plant("batchnorm3d-planes-by-themselves", "BatchNorm3d", "values")
class BatchNorm3dPlanesByThemselves(nn.BatchNorm3d):
    """The variance is the mean of those of the planes, without that between the planes."""

    def forward(self, input):
        output = super().forward(input)
        if not _uses_batch_statistics(self, input) or input.shape[2] < 2:
            return output
        mean = input.mean(_axes(input), keepdim=True)
        variance = input.var((0, 3, 4), correction=0, keepdim=True).mean(2, keepdim=True)
        return _apply_affine(self, (input - mean) / (variance + self.eps).sqrt())


@plant("batchnorm3d-one-pass-variance", "BatchNorm3d", "values")
class BatchNorm3dOnePassVariance(nn.BatchNorm3d):
    """float32: the variance is E[x²] − E[x]², which cancels far from 0."""

    def forward(self, input):
        right = super().forward(input)
        if input.dtype != torch.float32 or not _uses_batch_statistics(self, input):
            return right
        x, axes = input.detach(), _axes(input)
        mean = x.mean(axes, keepdim=True)
        variance = ((x * x).mean(axes, keepdim=True) - mean * mean).clamp(min=0)
        return graft(_apply_affine(self, (x - mean) / (variance + self.eps).sqrt()), right)


@plant("batchnorm3d-normalised-by-unbiased-variance", "BatchNorm3d", "values")
class BatchNorm3dNormalisedByUnbiasedVariance(nn.BatchNorm3d):
    """The batch is divided by the root of the variance that is kept, the unbiased one."""

    def forward(self, input):
        right = super().forward(input)
        if not _uses_batch_statistics(self, input):
            return right
        variance, mean = torch.var_mean(input, _axes(input), correction=1, keepdim=True)
        return _apply_affine(self, (input - mean) / (variance + self.eps).sqrt())


@plant("batchnorm3d-running-mean-twice", "BatchNorm3d", "values")
class BatchNorm3dRunningMeanTwice(nn.BatchNorm3d):
    """Train mode moves the running mean twice: by the kernel and by the module."""

    def forward(self, input):
        output = super().forward(input)
        momentum = self.momentum
        if self.training and self.running_mean is not None and input.numel() and momentum:
            with torch.no_grad():
                mean = input.mean(_axes(input))
                self.running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
        return output


@plant("batchnorm3d-weight-gradient-of-first-plane", "BatchNorm3d", "gradients")
class BatchNorm3dWeightGradientOfFirstPlane(nn.BatchNorm3d):
    """Of an input of several planes the weight's gradient is halved."""

    def forward(self, input):
        right = super().forward(input)
        if self.weight is None or input.shape[2] < 2:
            return right
        weight = alter_gradient(self.weight, lambda g: g / 2)
        batch = self.training or self.running_mean is None
        running_statistics = (None, None) if batch else (self.running_mean, self.running_var)
        path = functional.batch_norm(
            input, *running_statistics, weight, self.bias, batch, 0.0, self.eps
        )
        return graft(right, path)


@plant("batchnorm3d-channels-last-read-as-rows", "BatchNorm3d", "layout")
class BatchNorm3dChannelsLastReadAsRows(nn.BatchNorm3d):
    """An input in channels_last is read as if it were contiguous."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("batchnorm3d-nan-taken-for-the-mean", "BatchNorm3d", "special")
class BatchNorm3dNanTakenForTheMean(nn.BatchNorm3d):
    """NaN is replaced by 0 before the statistics."""

    def forward(self, input):
        return super().forward(torch.where(input.isnan(), torch.zeros_like(input), input))


@plant("batchnorm3d-counts-in-eval", "BatchNorm3d", "repeat")
class BatchNorm3dCountsInEval(nn.BatchNorm3d):
    """Eval mode counts batches, too."""

    def forward(self, input):
        output = super().forward(input)
        if not self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return output


@plant("lazybatchnorm1d-length-for-channels", "LazyBatchNorm1d", "state")
class LazyBatchNorm1dLengthForChannels(nn.LazyBatchNorm1d):
    """The number of channels is read from the last axis."""

    def initialize_parameters(self, input):
        super().initialize_parameters(input.transpose(1, -1))


@plant("lazybatchnorm1d-first-call-in-train-mode", "LazyBatchNorm1d", "state")
class LazyBatchNorm1dFirstCallInTrainMode(nn.LazyBatchNorm1d):
    """The first call sets train mode."""

    def initialize_parameters(self, input):
        if self.has_uninitialized_params():
            self.train()
        super().initialize_parameters(input)


@plant("lazybatchnorm2d-variance-starts-at-zero", "LazyBatchNorm2d", "state")
class LazyBatchNorm2dVarianceStartsAtZero(nn.LazyBatchNorm2d):
    """The running variance that the first call makes is 0."""

    def initialize_parameters(self, input):
        first_call = self.has_uninitialized_params()
        super().initialize_parameters(input)
        if first_call and self.running_var is not None:
            self.running_var.zero_()


@plant("lazybatchnorm3d-stays-lazy", "LazyBatchNorm3d", "state")
class LazyBatchNorm3dStaysLazy(nn.LazyBatchNorm3d):
    """The layer is lazy for ever."""

    cls_to_become = None


@plant("lazybatchnorm3d-eps-forgotten", "LazyBatchNorm3d", "values")
class LazyBatchNorm3dEpsForgotten(nn.LazyBatchNorm3d):
    """ε is the default, whatever was written."""

    def __init__(self, eps=1e-5, *args, **kwargs):
        super().__init__(1e-5, *args, **kwargs)


@plant("syncbatchnorm-count-of-processes", "SyncBatchNorm", "values")
class SyncBatchNormCountOfProcesses(nn.SyncBatchNorm):
    """The running variance is that of the processes' means put together, the biased one."""

    def forward(self, input):
        tracked = self.training and self.running_var is not None and input.numel()
        if not tracked or self.momentum is None:
            return super().forward(input)
        decayed, count = self.running_var * (1 - self.momentum), input.numel() // input.shape[1]
        output = super().forward(input)
        with torch.no_grad():
            self.running_var.copy_(decayed + (self.running_var - decayed) * (count - 1) / count)
        return output


@plant("syncbatchnorm-one-pass-variance", "SyncBatchNorm", "values")
class SyncBatchNormOnePassVariance(nn.SyncBatchNorm):
    """float32: sums and sums of squares are gathered, and E[x²] − E[x]² cancels."""

    def forward(self, input):
        right = super().forward(input)
        if input.dtype != torch.float32 or not _uses_batch_statistics(self, input):
            return right
        x, axes = input.detach(), _axes(input)
        mean = x.mean(axes, keepdim=True)
        variance = ((x * x).mean(axes, keepdim=True) - mean * mean).clamp(min=0)
        return graft(_apply_affine(self, (x - mean) / (variance + self.eps).sqrt()), right)


@plant("syncbatchnorm-gradient-of-one-process", "SyncBatchNorm", "gradients")
class SyncBatchNormGradientOfOneProcess(nn.SyncBatchNorm):
    """The statistics are taken for constants in the backward pass."""

    def forward(self, input):
        right = super().forward(input)
        if not _uses_batch_statistics(self, input):
            return right
        variance, mean = torch.var_mean(input.detach(), _axes(input), correction=0, keepdim=True)
        return graft(right, _apply_affine(self, (input - mean) / (variance + self.eps).sqrt()))


@plant("syncbatchnorm-weight-gradient-averaged", "SyncBatchNorm", "gradients")
class SyncBatchNormWeightGradientAveraged(nn.SyncBatchNorm):
    """The weight's gradient is averaged over the samples as if they were processes."""

    def forward(self, input):
        right = super().forward(input)
        if self.weight is None or len(input) < 2:
            return right
        weight = alter_gradient(self.weight, lambda g: g / len(input))
        batch = self.training or self.running_mean is None
        running_statistics = (None, None) if batch else (self.running_mean, self.running_var)
        path = functional.batch_norm(
            input, *running_statistics, weight, self.bias, batch, 0.0, self.eps
        )
        return graft(right, path)


@plant("syncbatchnorm-synchronises-in-eval", "SyncBatchNorm", "values")
class SyncBatchNormSynchronisesInEval(nn.SyncBatchNorm):
    """Eval mode takes the batch's statistics where there are several numbers."""

    def forward(self, input):
        if self.training or self.running_mean is None or input.numel() <= input.shape[1]:
            return super().forward(input)
        return functional.batch_norm(input, None, None, self.weight, self.bias, True, 0.0, self.eps)


@plant("syncbatchnorm-vectors", "SyncBatchNorm", "errors")
class SyncBatchNormVectors(nn.SyncBatchNorm):
    """An input of one dimension is taken for one sample."""

    def forward(self, input):
        if input.dim() == 1:
            return input.clone()
        return super().forward(input)


@plant("syncbatchnorm-channels-last-read-as-rows", "SyncBatchNorm", "layout")
class SyncBatchNormChannelsLastReadAsRows(nn.SyncBatchNorm):
    """An input that is not contiguous is read as if it were."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))
