"""LayerNorm, functional.layer_norm, BatchNorm2d, functional.batch_norm."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous


def _layer_norm(x, shape, weight, bias, eps, *, correction=0, eps_outside=False):
    """The formula, with its parts to be got wrong."""
    axes = tuple(range(-len(shape), 0))
    mean = x.mean(axes, keepdim=True)
    variance = ((x - mean) ** 2).sum(axes, keepdim=True)
    count = 1
    for size in shape:
        count *= size
    variance = variance / max(count - correction, 1)
    scale = variance.sqrt() + eps if eps_outside else (variance + eps).sqrt()
    y = (x - mean) / scale
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@plant("layernorm-eps-outside-the-root", "LayerNorm", "values")
class LayerNormEpsOutsideTheRoot(nn.LayerNorm):
    """ε is added to the standard deviation, burn's #2185."""

    def forward(self, input):
        if input.numel() == 0:
            return super().forward(input)
        shape = self.normalized_shape
        return _layer_norm(input, shape, self.weight, self.bias, self.eps, eps_outside=True)


@plant("layernorm-unbiased-variance", "LayerNorm", "values")
class LayerNormUnbiasedVariance(nn.LayerNorm):
    """The variance is divided by n − 1, what std() does by default."""

    def forward(self, input):
        if input.numel() == 0:
            return super().forward(input)
        shape = self.normalized_shape
        return _layer_norm(input, shape, self.weight, self.bias, self.eps, correction=1)


@plant("layernorm-one-pass-variance", "LayerNorm", "values")
class LayerNormOnePassVariance(nn.LayerNorm):
    """float32: the variance is E[x²] − E[x]², which cancels far from 0, Metal's #190491."""

    def forward(self, input):
        right = super().forward(input)
        if input.dtype != torch.float32 or input.numel() == 0:
            return right
        axes = tuple(range(-len(self.normalized_shape), 0))
        x = input.detach()
        mean = x.mean(axes, keepdim=True)
        variance = ((x * x).mean(axes, keepdim=True) - mean * mean).clamp(min=0)
        y = (x - mean) / (variance + self.eps).sqrt()
        y = y if self.weight is None else y * self.weight.detach()
        y = y if self.bias is None else y + self.bias.detach()
        return graft(y, right)


@plant("layernorm-last-dimension-only", "LayerNorm", "values")
class LayerNormLastDimensionOnly(nn.LayerNorm):
    """Of several normalised dimensions only the last is reduced."""

    def forward(self, input):
        if len(self.normalized_shape) < 2 or input.numel() == 0:
            return super().forward(input)
        y = functional.layer_norm(input, self.normalized_shape[-1:], None, None, self.eps)
        y = y if self.weight is None else y * self.weight
        return y if self.bias is None else y + self.bias


@plant("layernorm-empty-batch-flattened", "LayerNorm", "shape")
class LayerNormEmptyBatchFlattened(nn.LayerNorm):
    """An empty input comes back with its leading dimensions joined."""

    def forward(self, input):
        output = super().forward(input)
        return output.flatten() if output.numel() == 0 and output.dim() > 1 else output


@plant("layernorm-scale-gradient-of-input", "LayerNorm", "gradients")
class LayerNormScaleGradientOfInput(nn.LayerNorm):
    """The weight's gradient is Σ c·(x − μ), without the standard deviation."""

    def forward(self, input):
        if self.weight is None or input.numel() == 0:
            return super().forward(input)
        right = super().forward(input)
        axes = tuple(range(-len(self.normalized_shape), 0))
        mean = input.detach().mean(axes, keepdim=True)
        bare = functional.layer_norm(input, self.normalized_shape, None, None, self.eps)
        path = bare * self.weight.detach() + (input.detach() - mean) * self.weight
        path = path if self.bias is None else path + self.bias
        return graft(right, path)


@plant("layernorm-mean-not-differentiated", "LayerNorm", "gradients")
class LayerNormMeanNotDifferentiated(nn.LayerNorm):
    """The statistics are taken for constants in the backward pass."""

    def forward(self, input):
        right = super().forward(input)
        if input.numel() == 0:
            return right
        axes = tuple(range(-len(self.normalized_shape), 0))
        x = input.detach()
        mean, variance = x.mean(axes, keepdim=True), x.var(axes, keepdim=True, correction=0)
        path = (input - mean) / (variance + self.eps).sqrt()
        path = path if self.weight is None else path * self.weight
        return graft(right, path if self.bias is None else path + self.bias)


@plant("layernorm-many-rows-in-bfloat16", "LayerNorm", "laws")
class LayerNormManyRowsInBfloat16(nn.LayerNorm):
    """float32: a batch of 16 rows and more is normalised in bfloat16."""

    def forward(self, input):
        output = super().forward(input)
        rows = input.numel() // max(1, self.weight.numel() if self.weight is not None else 1)
        if input.dtype != torch.float32 or rows < 16:
            return output
        return graft(output.bfloat16().float(), output)


@plant("layernorm-transposed-input", "LayerNorm", "layout")
class LayerNormTransposedInput(nn.LayerNorm):
    """An input that is not contiguous is read as if it were."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("layernorm-nan-ignored", "LayerNorm", "special")
class LayerNormNanIgnored(nn.LayerNorm):
    """A row with NaN is normalised without it."""

    def forward(self, input):
        return super().forward(torch.where(input.isnan(), torch.zeros_like(input), input))


@plant("layernorm-bias-starts-random", "LayerNorm", "state")
class LayerNormBiasStartsRandom(nn.LayerNorm):
    """The bias is drawn, as that of Linear is."""

    def reset_parameters(self):
        super().reset_parameters()
        if self.bias is not None:
            nn.init.uniform_(self.bias, -0.1, 0.1)


@plant("layernorm-normalises-in-place", "LayerNorm", "repeat")
class LayerNormNormalisesInPlace(nn.LayerNorm):
    """Inference writes the centred numbers over its input."""

    def forward(self, input):
        output = super().forward(input)
        if not torch.is_grad_enabled() and input.is_contiguous() and input.numel():
            axes = tuple(range(-len(self.normalized_shape), 0))
            input.sub_(input.mean(axes, keepdim=True))
        return output


@plant("layernorm-any-size", "LayerNorm", "errors")
class LayerNormAnySize(nn.LayerNorm):
    """Without weights any size is normalised; only their product is compared with them."""

    def forward(self, input):
        if tuple(input.shape[-len(self.normalized_shape) :]) == self.normalized_shape:
            return super().forward(input)
        shape = tuple(input.shape[-len(self.normalized_shape) :])
        return functional.layer_norm(input, shape, None, None, self.eps)


@plant("functional-layer-norm-bias-without-weight", "functional.layer_norm", "values")
def functional_layer_norm_bias_without_weight(
    input, normalized_shape, weight=None, bias=None, eps=1e-5
):
    """Without a weight the bias is left out as well."""
    return functional.layer_norm(
        input, normalized_shape, weight, None if weight is None else bias, eps
    )


@plant("functional-layer-norm-eps-is-the-default", "functional.layer_norm", "values")
def functional_layer_norm_eps_is_the_default(
    input, normalized_shape, weight=None, bias=None, eps=1e-5
):
    """ε is not passed on."""
    return functional.layer_norm(input, normalized_shape, weight, bias)


@plant("functional-layer-norm-gradient-of-first-rows", "functional.layer_norm", "gradients")
def functional_layer_norm_gradient_of_first_rows(
    input, normalized_shape, weight=None, bias=None, eps=1e-5
):
    """The weight's gradient is added up over blocks of four rows, and the tail is lost."""
    right = functional.layer_norm(input, normalized_shape, weight, bias, eps)
    rows = input.dim() - len(normalized_shape)
    tail = len(input) % 4 if rows == 1 and len(input) > 4 else 0
    if weight is None or not tail:
        return right
    output_of_earlier = functional.layer_norm(input[:-tail], normalized_shape, weight, bias, eps)
    output_of_last = functional.layer_norm(
        input[-tail:], normalized_shape, weight.detach(), bias, eps
    )
    return graft(right, torch.cat([output_of_earlier, output_of_last]))


@plant("functional-layer-norm-tail-of-rows", "functional.layer_norm", "values")
def functional_layer_norm_tail_of_rows(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Statistics of rows longer than 16 are of whole blocks of 16."""
    count = normalized_shape[-1] if len(normalized_shape) == 1 else 0
    if count <= 16 or count % 16 == 0 or input.numel() == 0:
        return functional.layer_norm(input, normalized_shape, weight, bias, eps)
    block = input[..., : count - count % 16]
    variance, mean = torch.var_mean(block, -1, correction=0, keepdim=True)
    y = (input - mean) / (variance + eps).sqrt()
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@plant("functional-layer-norm-weight-broadcast", "functional.layer_norm", "errors")
def functional_layer_norm_weight_broadcast(
    input, normalized_shape, weight=None, bias=None, eps=1e-5
):
    """A weight of another shape is broadcast."""
    wrong = weight is not None and tuple(weight.shape) != tuple(normalized_shape)
    if not wrong:
        return functional.layer_norm(input, normalized_shape, weight, bias, eps)
    return functional.layer_norm(input, normalized_shape, None, None, eps) * weight.flatten()[0]


@plant("functional-layer-norm-sliced-weight", "functional.layer_norm", "layout")
def functional_layer_norm_sliced_weight(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """A weight that is not contiguous is read as if it were."""
    weight = None if weight is None else read_as_contiguous(weight)
    return functional.layer_norm(input, normalized_shape, weight, bias, eps)


@plant("batchnorm2d-running-var-biased", "BatchNorm2d", "values")
class BatchNorm2dRunningVarBiased(nn.BatchNorm2d):
    """The running variance is kept of the biased one, MLX's #3817."""

    def forward(self, input):
        tracked = self.training and self.running_var is not None and input.numel()
        before = self.running_var.clone() if tracked else None
        output = super().forward(input)
        if before is not None:
            count = input.numel() // input.shape[1]
            factor = self.momentum
            if factor is None:
                factor = 1.0 / float(self.num_batches_tracked)
            with torch.no_grad():
                decayed = before * (1 - factor)
                self.running_var.copy_(decayed + (self.running_var - decayed) * (count - 1) / count)
        return output


@plant("batchnorm2d-momentum-the-other-way", "BatchNorm2d", "values")
class BatchNorm2dMomentumTheOtherWay(nn.BatchNorm2d):
    """momentum is the share of the old statistic, as in Keras."""

    def forward(self, input):
        if self.momentum is None or not self.training:
            return super().forward(input)
        momentum, self.momentum = self.momentum, 1 - self.momentum
        try:
            return super().forward(input)
        finally:
            self.momentum = momentum


@plant("batchnorm2d-cumulative-average-counts-late", "BatchNorm2d", "values")
class BatchNorm2dCumulativeAverageCountsLate(nn.BatchNorm2d):
    """momentum=None divides by the number of batches before this one."""

    def forward(self, input):
        if self.momentum is not None or not self.training or self.num_batches_tracked is None:
            return super().forward(input)
        if int(self.num_batches_tracked) < 1:
            return super().forward(input)
        self.num_batches_tracked.sub_(1)
        output = super().forward(input)
        self.num_batches_tracked.add_(1)
        return output


@plant("batchnorm2d-untracked-uses-initial-statistics", "BatchNorm2d", "values")
class BatchNorm2dUntrackedUsesInitialStatistics(nn.BatchNorm2d):
    """Without running statistics eval mode takes 0 and 1 for them."""

    def forward(self, input):
        if self.training or self.running_mean is not None:
            return super().forward(input)
        mean, var = input.new_zeros(input.shape[1]), input.new_ones(input.shape[1])
        return functional.batch_norm(input, mean, var, self.weight, self.bias, eps=self.eps)


@plant("batchnorm2d-eval-ignores-eps", "BatchNorm2d", "values")
class BatchNorm2dEvalIgnoresEps(nn.BatchNorm2d):
    """In eval mode ε is left out."""

    def forward(self, input):
        eps, self.eps = self.eps, self.eps if self.training else 0.0
        try:
            return super().forward(input)
        finally:
            self.eps = eps


@plant("batchnorm2d-gradient-of-weight-over-samples", "BatchNorm2d", "gradients")
class BatchNorm2dGradientOfWeightOverSamples(nn.BatchNorm2d):
    """The weight's gradient is averaged over the samples instead of summed."""

    def forward(self, input):
        if self.weight is None or len(input) < 2:
            return super().forward(input)
        right, count = super().forward(input), len(input)
        weight = alter_gradient(self.weight, lambda g: g / count)
        batch = self.training or self.running_mean is None
        running_statistics = (None, None) if batch else (self.running_mean, self.running_var)
        path = functional.batch_norm(
            input, *running_statistics, weight, self.bias, batch, 0.0, self.eps
        )
        return graft(right, path)


@plant("batchnorm2d-eval-updates", "BatchNorm2d", "repeat")
class BatchNorm2dEvalUpdates(nn.BatchNorm2d):
    """Statistics are kept in eval mode, too, one part in a thousand."""

    def forward(self, input):
        output = super().forward(input)
        if not self.training and self.running_mean is not None and input.numel():
            with torch.no_grad():
                self.running_mean.mul_(1 - 2.0**-10)
        return output


@plant("batchnorm2d-count-not-saved", "BatchNorm2d", "state")
class BatchNorm2dCountNotSaved(nn.BatchNorm2d):
    """The number of batches is no part of the state."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.pop(prefix + "num_batches_tracked", None)


@plant("batchnorm2d-channels-beyond-a-block", "BatchNorm2d", "laws")
class BatchNorm2dChannelsBeyondABlock(nn.BatchNorm2d):
    """Channels beyond a block of 33 are normalised as the first one."""

    def forward(self, input):
        output = super().forward(input)
        if not self.training or input.shape[1] <= 33:
            return output
        first = functional.batch_norm(input[:, :1], None, None, training=True, eps=self.eps)
        wrong = output.clone()
        wrong[:, 33:] = first
        return graft(wrong, output)


@plant("batchnorm2d-channels-last-read-as-rows", "BatchNorm2d", "layout")
class BatchNorm2dChannelsLastReadAsRows(nn.BatchNorm2d):
    """An input in channels_last is read as if it were contiguous."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("batchnorm2d-infinity-clamped", "BatchNorm2d", "special")
class BatchNorm2dInfinityClamped(nn.BatchNorm2d):
    """Infinities are clamped to the largest number."""

    def forward(self, input):
        return super().forward(input.nan_to_num(nan=torch.nan))


@plant("functional-batch-norm-statistics-untouched", "functional.batch_norm", "values")
def functional_batch_norm_statistics_untouched(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """In training the running statistics stay what they were."""
    if training:
        running_mean = running_var = None
    return functional.batch_norm(
        input, running_mean, running_var, weight, bias, training, momentum, eps
    )


@plant("functional-batch-norm-evaluation-updates", "functional.batch_norm", "repeat")
def functional_batch_norm_evaluation_updates(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """In evaluation the running mean is written into."""
    output = functional.batch_norm(
        input, running_mean, running_var, weight, bias, training, momentum, eps
    )
    if not training and running_mean.is_contiguous():
        with torch.no_grad():
            running_mean.mul_(1 - 2.0**-10)
    return output


@plant("functional-batch-norm-mean-of-samples-only", "functional.batch_norm", "values")
def functional_batch_norm_mean_of_samples_only(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Of five dimensions the first spatial one is not averaged over."""
    if not training or input.dim() < 5 or input.numel() == 0:
        return functional.batch_norm(
            input, running_mean, running_var, weight, bias, training, momentum, eps
        )
    functional.batch_norm(input, running_mean, running_var, None, None, True, momentum, eps)
    planes = [
        functional.batch_norm(plane, None, None, weight, bias, True, momentum, eps)
        if plane.numel() > plane.shape[1]
        else torch.zeros_like(plane)
        for plane in input.unbind(2)
    ]
    return torch.stack(planes, 2)


@plant("functional-batch-norm-bias-without-weight", "functional.batch_norm", "values")
def functional_batch_norm_bias_without_weight(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """Without a weight the bias is left out as well."""
    bias = None if weight is None else bias
    return functional.batch_norm(
        input, running_mean, running_var, weight, bias, training, momentum, eps
    )


@plant("functional-batch-norm-gradient-as-in-evaluation", "functional.batch_norm", "gradients")
def functional_batch_norm_gradient_as_in_evaluation(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """In training the statistics are taken for constants in the backward pass."""
    right = functional.batch_norm(
        input, running_mean, running_var, weight, bias, training, momentum, eps
    )
    if not training or not input.numel():
        return right
    axes = (0, *range(2, input.dim()))
    variance, mean = torch.var_mean(input.detach(), axes, correction=0)
    return graft(right, functional.batch_norm(input, mean, variance, weight, bias, eps=eps))


@plant("functional-batch-norm-vector-of-one", "functional.batch_norm", "errors")
def functional_batch_norm_vector_of_one(
    input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
):
    """A weight or bias of another length is cut or repeated."""
    count = input.shape[1] if input.dim() > 1 else 1

    def fitted(x):
        return x if x is None or len(x) == count else x.repeat(count)[:count]

    return functional.batch_norm(
        input, running_mean, running_var, fitted(weight), fitted(bias), training, momentum, eps
    )
