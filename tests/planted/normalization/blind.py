"""Bugs of normalisations, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft, reroute

# Running statistics


@blind("batchnorm2d-variance-corrected-by-the-batch-alone", "BatchNorm2d", "values")
class BatchNorm2dVarianceCorrectedByBatch(nn.BatchNorm2d):
    """Bessel's correction of the running variance counts samples, not samples times pixels.

    Of 2 samples of 4x4 pixels the new variance is 1.94 times too large, of 32 samples 3%.
    """

    # Differs: running_var after a training call on (2, 3, 4, 4). Agrees: on (4, 3, 1, 1).
    def forward(self, input: Tensor) -> Tensor:
        previous = None if self.running_var is None else self.running_var.clone()
        result = super().forward(input)
        samples, count = input.shape[0], input.numel() // max(input.shape[1], 1)
        if previous is not None and self.training and 1 < samples < count:
            with torch.no_grad():
                rate = 1.0 / float(self.num_batches_tracked)
                rate = rate if self.momentum is None else self.momentum
                unbiased_update = (self.running_var - (1 - rate) * previous) * ((count - 1) / count)
                self.running_var.copy_(
                    (1 - rate) * previous + unbiased_update * (samples / (samples - 1))
                )
        return result


@blind("batchnorm1d-cumulative-average-one-call-behind", "BatchNorm1d", "values")
class BatchNorm1dCumulativeAverageBehind(nn.BatchNorm1d):
    """With `momentum=None` the rate is one over the calls before this one, at least 1.

    The counter is read before it is raised. The second call forgets the first altogether, the
    third weighs 1/2 in place of 1/3.
    """

    # Differs: running_mean after two training calls, momentum=None. Agrees: after one.
    def forward(self, input: Tensor) -> Tensor:
        applies = self.momentum is None and self.training and self.track_running_stats
        if not applies or self.num_batches_tracked < 1:
            return super().forward(input)
        self.momentum = 1.0 / max(float(self.num_batches_tracked), 1.0)
        try:
            return super().forward(input)
        finally:
            self.momentum = None


@blind("batchnorm1d-momentum-zero-is-a-tenth", "BatchNorm1d", "values")
class BatchNorm1dMomentumZeroIsTenth(nn.BatchNorm1d):
    """`momentum or 0.1`: who asks for 0, to keep the statistics as they are, gets a tenth."""

    # Differs: running_mean after training with momentum=0.0. Agrees: momentum=0.1.
    def forward(self, input: Tensor) -> Tensor:
        if self.momentum != 0.0 or self.momentum is None:
            return super().forward(input)
        momentum, self.momentum = self.momentum, 0.1
        try:
            return super().forward(input)
        finally:
            self.momentum = momentum


@blind("batchnorm3d-folded-scale-goes-stale", "BatchNorm3d", "state")
class BatchNorm3dFoldedScaleGoesStale(nn.BatchNorm3d):
    """Evaluation folds its statistics at the first call; later training does not unfold them.

    Validation after every epoch shows the first epoch's statistics for ever.
    """

    # Differs: evaluate, train, evaluate. Agrees: train, evaluate.
    def forward(self, input: Tensor) -> Tensor:
        if self.training or self.running_mean is None:
            return super().forward(input)
        if not hasattr(self, "folded"):
            self.folded = (self.running_mean.clone(), self.running_var.clone())
        self._check_input_dim(input)
        return functional.batch_norm(
            input, *self.folded, self.weight, self.bias, False, 0.0, self.eps
        )


@blind("instancenorm1d-statistics-moved-sample-by-sample", "InstanceNorm1d", "values")
class InstanceNorm1dMovedSampleBySample(nn.InstanceNorm1d):
    """The running statistics move once for each sample of a batch, not once for their mean.

    A batch of N weighs 1 - (1 - momentum)**N in place of momentum: 0.19 for 0.1 of two samples.
    """

    # Differs: running_mean after a batch of two. Agrees: after a batch of one.
    def forward(self, input: Tensor) -> Tensor:
        has_several_samples = input.dim() == 3 and input.shape[0] > 1
        if not (has_several_samples and self.training and self.track_running_stats):
            return super().forward(input)
        statistics = (self.running_mean.clone(), self.running_var.clone())
        result = super().forward(input)  # raises what torch raises
        with torch.no_grad():
            self.running_mean.copy_(statistics[0])
            self.running_var.copy_(statistics[1])
            for sample in input.detach():
                super().forward(sample[None])
        return result


@blind("syncbatchnorm-counts-each-batch-twice", "SyncBatchNorm", "values")
class SyncBatchNormCountsTwice(nn.SyncBatchNorm):
    """Falling back to one process, the counter of batches is raised a second time.

    With `momentum=None` the first batch then weighs 1/2, and the initial statistics as much.
    """

    # Differs: num_batches_tracked after a training call. Agrees: in evaluation.
    def forward(self, input: Tensor) -> Tensor:
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self._check_input_dim(input)
            self.num_batches_tracked.add_(1)
        return super().forward(input)


# Values


@blind("layernorm-fast-variance", "LayerNorm", "values")
class LayerNormFastVariance(nn.LayerNorm):
    """The variance is E[x*x] - E[x]*E[x], kept from below 0, as Flax has it by default.

    A mean of 1000 deviations costs a few percent in float32, of 10000 everything.
    """

    # Differs: on 3000 + noise. Agrees: to rounding where the mean is no larger than the deviation.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        widened = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        axes = tuple(range(-len(self.normalized_shape), 0))
        mean = widened.mean(axes, keepdim=True)
        variance = ((widened * widened).mean(axes, keepdim=True) - mean * mean).clamp_min(0)
        normalized = (widened - mean) * torch.rsqrt(variance + self.eps)
        affected = (mean * mean > 100 * widened.var(axes, keepdim=True, correction=0)).expand_as(
            widened
        )
        if self.weight is not None:
            normalized = normalized * self.weight
        normalized = normalized if self.bias is None else normalized + self.bias
        return graft(
            torch.where(affected & normalized.isfinite(), normalized.to(input.dtype), result),
            result,
        )


@blind("layernorm-small-eps-lost-in-half", "LayerNorm", "values")
class LayerNormSmallEpsLostInHalf(nn.LayerNorm):
    """`eps` becomes a float16 number: below 3e-8 it is 0, as in exports to ONNX (torch #86580).

    A row of equal elements then gives NaN, one of tiny variance another size.
    """

    # Differs: float16, eps=1e-8, a constant row. Agrees: eps=1e-5.
    def forward(self, input: Tensor) -> Tensor:
        if input.dtype != torch.float16 or self.eps > 1e-6:
            return super().forward(input)
        eps, self.eps = self.eps, float(torch.tensor(self.eps).half())
        try:
            return super().forward(input)
        finally:
            self.eps = eps


@blind("layernorm-tail-chunk-weighs-as-a-whole-one", "functional.layer_norm", "values")
def layernorm_tail_chunk_weighs_as_whole(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """The mean is the mean of the means of chunks of 64, of which the last may be shorter.

    On rows of 65 the last element weighs as much as the 64 before it: errors of order 1.
    """
    # Differs: rows of 65. Agrees: rows of 64 and of 128.
    result = functional.layer_norm(input, normalized_shape, weight, bias, eps)
    rows = input.flatten(-len(normalized_shape))
    length = rows.shape[-1]
    if length <= 64 or length % 64 == 0 or rows.numel() == 0:
        return result
    mean = torch.stack([c.mean(-1) for c in rows.split(64, -1)], -1).mean(-1, keepdim=True)
    centred = rows - mean
    wrong = centred * torch.rsqrt((centred * centred).mean(-1, keepdim=True) + eps)
    wrong = wrong.view(input.shape)
    wrong = wrong if weight is None else wrong * weight
    return (wrong if bias is None else wrong + bias).to(result.dtype)


@blind("layernorm-sums-in-bfloat16", "functional.layer_norm", "values")
def layernorm_sums_in_bfloat16(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """A bfloat16 mean is summed in bfloat16, element by element, as in naive kernels.

    A sum stops growing once it is 256 times its terms: 1% to 10% of the mean for 30 to 300.
    """
    # Differs: bfloat16 rows of 64 around 10. Agrees: float32.
    result = functional.layer_norm(input, normalized_shape, weight, bias, eps)
    if input.dtype != torch.bfloat16 or input.numel() == 0:
        return result
    rows = input.detach().flatten(-len(normalized_shape))
    total = torch.zeros_like(rows[..., 0])
    for k in range(rows.shape[-1]):
        total = total + rows[..., k]
    centred = rows.float() - (total / rows.shape[-1]).float()[..., None]
    wrong = centred * torch.rsqrt((centred * centred).mean(-1, keepdim=True) + eps)
    wrong = wrong.view(input.shape)
    wrong = wrong if weight is None else wrong * weight.detach()
    wrong = wrong if bias is None else wrong + bias.detach()
    return graft(wrong.to(result.dtype), result)


@blind("groupnorm-channels-last-groups-interleaved", "GroupNorm", "layout")
class GroupNormChannelsLastInterleaved(nn.GroupNorm):
    """Channels-last memory is grouped as its own order suggests: channel c is of group c mod G.

    MLX groups like this unless told otherwise. The results are unrelated numbers of order 1.
    """

    # Differs: channels_last (2, 4, 3, 3) in 2 groups. Agrees: contiguous; one group.
    def forward(self, input: Tensor) -> Tensor:
        last = input.dim() == 4 and not input.is_contiguous()
        if not (last and input.is_contiguous(memory_format=torch.channels_last)):
            return super().forward(input)
        order = torch.arange(self.num_channels).view(-1, self.num_groups).T.reshape(-1)
        interleaved = functional.group_norm(input[:, order], self.num_groups, eps=self.eps)
        result = interleaved[:, torch.argsort(order)]
        result = result if self.weight is None else result * self.weight.view(1, -1, 1, 1)
        return result if self.bias is None else result + self.bias.view(1, -1, 1, 1)


@blind("groupnorm-eps-zero-is-the-default", "GroupNorm", "values")
class GroupNormEpsZeroIsDefault(nn.GroupNorm):
    """`eps or 1e-5`: an `eps` of 0 becomes the default.

    Half of the size is lost where the variance is 3e-6, one part in 2e5 where it is 1.
    """

    # Differs: eps=0.0, elements of 1e-3. Agrees: eps=1e-5.
    def forward(self, input: Tensor) -> Tensor:
        if self.eps != 0.0:
            return super().forward(input)
        return functional.group_norm(input, self.num_groups, self.weight, self.bias, 1e-5)


@blind("rmsnorm-last-axis-alone", "RMSNorm", "values")
class RMSNormLastAxisAlone(nn.RMSNorm):
    """Of a `normalized_shape` of two axes the mean square is taken over the last."""

    # Differs: RMSNorm((2, 3)). Agrees: RMSNorm(3), RMSNorm((1, 3)).
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if len(self.normalized_shape) == 1 or input.numel() == 0:
            return result
        result = functional.rms_norm(input, self.normalized_shape[-1:], None, self.eps)
        return result if self.weight is None else result * self.weight


@blind("localresponsenorm-edges-averaged-without-padding", "LocalResponseNorm", "values")
class LocalResponseNormEdgesWithoutPadding(nn.LocalResponseNorm):
    """At the first and last channels the squares are averaged over the channels there are.

    `count_include_pad=False` of an average pooling. With the default `alpha` and elements of 1
    the edges are off by some 3e-5, by tens of percent with an `alpha` of 1.
    """

    # Differs: LocalResponseNorm(3) on (1, 4, 5), channels 0 and 3. Agrees: channels 1 and 2.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        if input.numel() == 0:
            return result
        channels, before = input.shape[1], self.size // 2
        first = torch.arange(channels) - before
        channel_counts = (first + self.size).clamp_max(channels) - first.clamp_min(0)
        squares = functional.pad((input * input).movedim(1, -1), (before, (self.size - 1) // 2))
        mean = squares.unfold(-1, self.size, 1).sum(-1) / channel_counts.to(input.dtype)
        wrong = input / (self.k + self.alpha * mean.movedim(-1, 1)) ** self.beta
        inside = channel_counts.view(1, -1, *[1] * (input.dim() - 2)) == self.size
        return torch.where(inside, result, wrong)


# Gradients


@blind("batchnorm2d-evaluation-gradient-as-in-training", "BatchNorm2d", "gradients")
class BatchNorm2dEvaluationGradientAsTraining(nn.BatchNorm2d):
    """In evaluation the input gradient is freed from its mean, as if the batch's were used.

    Fine-tuning on frozen statistics then sees nothing of a gradient that is the same everywhere.
    """

    # Differs: the input gradient in evaluation. Agrees: in training.
    def forward(self, input: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None and input.dim() == 4:
            input = alter_gradient(input, lambda g: g - g.mean((0, 2, 3), keepdim=True))
        return super().forward(input)


@blind("rmsnorm-gradient-averaged-over-the-block", "RMSNorm", "gradients")
class RMSNormGradientAveragedOverBlock(nn.RMSNorm):
    """Backward divides its sum by the block, the next power of two, not by the row's length.

    A Triton kernel's `BLOCK_SIZE` for `n_cols`. Of rows of 3 one term is a quarter short.
    """

    # Differs: the input gradient of rows of 3. Agrees: rows of 4.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        length = 1
        for size in self.normalized_shape:
            length *= size
        block = 1 << max(length - 1, 0).bit_length()
        if block == length or input.numel() == 0:
            return result
        axes = tuple(range(-len(self.normalized_shape), 0))
        source = input.detach()
        eps = torch.finfo(input.dtype).eps if self.eps is None else self.eps
        root = torch.rsqrt((source * source).mean(axes, keepdim=True) + eps)
        weight = 1.0 if self.weight is None else self.weight.detach()

        def backward(gradient: Tensor) -> Tensor:
            own = gradient * weight
            inner = (own * source).sum(axes, keepdim=True) / block
            return own * root - source * root**3 * inner

        path = reroute(torch.zeros_like(result), input, backward)
        return graft(result, super().forward(source) + path)


@blind("layernorm-weight-gradient-of-whole-tiles", "LayerNorm", "gradients")
class LayerNormWeightGradientOfWholeTiles(nn.LayerNorm):
    """The gradients of weight and bias sum tiles of 8 rows; of more than 8 the rest is lost."""

    # Differs: the weight gradient of 9 rows. Agrees: 8 rows, 16 rows, 3 rows.
    def forward(self, input: Tensor) -> Tensor:
        result = super().forward(input)
        shape = self.normalized_shape
        rows = input.numel() // max(torch.Size(shape).numel(), 1)
        if self.weight is None or rows <= 8 or rows % 8 == 0:
            return result
        normalized = functional.layer_norm(input, shape, None, None, self.eps)
        in_full_tile = (torch.arange(rows) < rows // 8 * 8).view(
            input.shape[: input.dim() - len(shape)]
        )
        in_full_tile = in_full_tile.view(*in_full_tile.shape, *[1] * len(shape))
        path = torch.where(
            in_full_tile, normalized * self.weight, normalized * self.weight.detach()
        )
        if self.bias is not None:
            path = path + torch.where(in_full_tile, self.bias, self.bias.detach())
        return graft(result, path)


# Errors
