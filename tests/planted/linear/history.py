"""Linear, functional.linear."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import (
    alter_gradient,
    drop_bits,
    flush_subnormals,
    graft,
    plant,
    read_as_contiguous,
)


@plant("linear-square-weight-untransposed", "Linear", "values")
class LinearSquareWeightUntransposed(nn.Linear):
    """A square weight is taken as (in, out): shapes agree, so nobody noticed."""

    def forward(self, input):
        square = self.in_features == self.out_features
        return functional.linear(input, self.weight.t() if square else self.weight, self.bias)


@plant("linear-many-dimensions-without-bias", "Linear", "values")
class LinearManyDimensionsWithoutBias(nn.Linear):
    """Inputs of four and more dimensions go through matmul, and the bias is forgotten."""

    def forward(self, input):
        return functional.linear(input, self.weight, self.bias if input.dim() < 4 else None)


@plant("linear-tail-of-features-ignored", "Linear", "values")
class LinearTailOfFeaturesIgnored(nn.Linear):
    """Features are read four at a time; a tail after the first four is ignored."""

    def forward(self, input):
        full_size = self.in_features - self.in_features % 4 if self.in_features > 4 else None
        if input.shape[-1] != self.in_features:
            return super().forward(input)
        return functional.linear(input[..., :full_size], self.weight[:, :full_size], self.bias)


@plant("linear-half-bias-after-rounding", "Linear", "values")
class LinearHalfBiasAfterRounding(nn.Linear):
    """float16 and bfloat16 add the bias after the sum was rounded, within assert_close's
    tolerance."""

    def forward(self, input):
        if self.bias is None or input.dtype not in (torch.float16, torch.bfloat16):
            return super().forward(input)
        return functional.linear(input, self.weight) + self.bias


@plant("linear-no-features-no-bias", "Linear", "values")
class LinearNoFeaturesNoBias(nn.Linear):
    """With no input features the product is skipped, and the bias with it."""

    def forward(self, input):
        output = super().forward(input)
        return torch.zeros_like(output) if self.in_features == 0 else output


@plant("linear-vector-keeps-row", "Linear", "shape")
class LinearVectorKeepsRow(nn.Linear):
    """A single vector comes back as a row."""

    def forward(self, input):
        output = super().forward(input)
        return output[None] if input.dim() == 1 else output


@plant("linear-empty-batch-keeps-in-features", "Linear", "shape")
class LinearEmptyBatchKeepsInFeatures(nn.Linear):
    """An empty batch is returned as it came, with in_features."""

    def forward(self, input):
        output = super().forward(input)
        empty = input.numel() == 0 and self.in_features > 0
        return output.new_zeros(input.shape) if empty else output


@plant("linear-double-returned-as-single", "Linear", "shape")
class LinearDoubleReturnedAsSingle(nn.Linear):
    """float64 comes back as float32, on a device that has no other."""

    def forward(self, input):
        output = super().forward(input)
        return output.float() if output.dtype == torch.float64 else output


@plant("linear-single-row-in-tf32", "Linear", "laws")
class LinearSingleRowInTf32(nn.Linear):
    """A single row takes a matrix-vector kernel in TF32; larger batches do not."""

    def forward(self, input):
        if input.dtype != torch.float32 or input.shape[:-1].numel() != 1:
            return super().forward(input)
        rounded = drop_bits(input, 13), drop_bits(self.weight, 13)
        return functional.linear(*rounded, self.bias)


@plant("linear-float16-sum-overflows", "Linear", "special")
class LinearFloat16SumOverflows(nn.Linear):
    """float16 sums run in float16: a partial sum beyond 65 504 is infinite for good."""

    def forward(self, input):
        output = super().forward(input)
        if output.dtype != torch.float16 or self.in_features == 0:
            return output
        sums = (input[..., None, :].float() * self.weight.float()).cumsum(-1).half()
        overflowed = sums.isinf().any(-1) & output.isfinite()
        return output.masked_fill(overflowed, torch.inf)


@plant("linear-subnormal-inputs-flushed", "Linear", "special")
class LinearSubnormalInputsFlushed(nn.Linear):
    """Subnormal inputs count as zero."""

    def forward(self, input):
        return super().forward(flush_subnormals(input))


@plant("linear-zero-weights-skipped", "Linear", "special")
class LinearZeroWeightsSkipped(nn.Linear):
    """Zero weights are skipped, so that inf × 0 is 0 instead of NaN."""

    def forward(self, input):
        output = super().forward(input)
        if input.isfinite().all():
            return output
        clean = torch.where(input.isfinite(), input, torch.zeros_like(input))
        nonfinite_count = functional.linear(
            (~input.isfinite()).to(input.dtype), (self.weight != 0).to(input.dtype)
        )
        return torch.where(nonfinite_count > 0, output, super().forward(clean))


@plant("linear-weight-gradient-of-last-block", "Linear", "gradients")
class LinearWeightGradientOfLastBlock(nn.Linear):
    """With several leading dimensions the weight's gradient is the last block's alone."""

    def forward(self, input):
        right = super().forward(input)
        if input.dim() < 3 or len(input) < 2:
            return right
        output_of_earlier = functional.linear(input[:-1], self.weight.detach(), self.bias)
        return graft(right, torch.cat([output_of_earlier, super().forward(input[-1:])]))


@plant("linear-bias-gradient-averaged", "Linear", "gradients")
class LinearBiasGradientAveraged(nn.Linear):
    """The bias's gradient is averaged over the rows instead of summed."""

    def forward(self, input):
        if self.bias is None:
            return super().forward(input)
        rows = max(input.shape[:-1].numel(), 1)
        bias = alter_gradient(self.bias, lambda g: g / rows) if rows > 1 else self.bias
        return functional.linear(input, self.weight, bias)


@plant("linear-gradient-scaled-by-one-in-a-million", "Linear", "gradients")
class LinearGradientScaledByOneInAMillion(nn.Linear):
    """float32: the input's gradient is multiplied by 1 + 1e-6, a loss scale that is not quite
    undone; within assert_close's tolerance."""

    def forward(self, input):
        if input.dtype != torch.float32:
            return super().forward(input)
        return super().forward(alter_gradient(input, lambda g: g * (1 + 1e-6)))


@plant("linear-expanded-input", "Linear", "layout")
class LinearExpandedInput(nn.Linear):
    """An input that is not contiguous is read as if it were, an expanded one past its end."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("linear-transposed-weight", "Linear", "layout")
class LinearTransposedWeight(nn.Linear):
    """A weight that is transposed in memory is read untransposed."""

    def forward(self, input):
        return functional.linear(input, read_as_contiguous(self.weight), self.bias)


@plant("linear-weight-saved-transposed", "Linear", "state")
class LinearWeightSavedTransposed(nn.Linear):
    """The weight is saved as (in, out), the way Keras and Flax keep it."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight"] = destination[prefix + "weight"].t()


@plant("linear-bias-free-saves-a-bias", "Linear", "state")
class LinearBiasFreeSavesABias(nn.Linear):
    """Without a bias the state holds one of zeros."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.bias is None:
            destination[prefix + "bias"] = self.weight.new_zeros(self.out_features)


@plant("linear-drops-out-in-training", "Linear", "state")
class LinearDropsOutInTraining(nn.Linear):
    """In train mode a tenth of the output is dropped."""

    def forward(self, input):
        return functional.dropout(super().forward(input), 0.1, self.training)


@plant("linear-weight-decays", "Linear", "repeat")
class LinearWeightDecays(nn.Linear):
    """Every inference call takes one part in a thousand off the weight."""

    def forward(self, input):
        output = super().forward(input)
        if self.weight.is_contiguous() and not torch.is_grad_enabled():
            self.weight.mul_(1 - 2.0**-10)
        return output


@plant("linear-surplus-features-ignored", "Linear", "errors")
class LinearSurplusFeaturesIgnored(nn.Linear):
    """Features beyond in_features are ignored."""

    def forward(self, input):
        return super().forward(input[..., : self.in_features])


@plant("functional-linear-square-batch-bias", "functional.linear", "values")
def functional_linear_square_batch_bias(input, weight, bias=None):
    """With as many rows as outputs the bias is added along the rows, broadcast the wrong way."""
    output = functional.linear(input, weight, bias)
    if bias is None or weight.dim() != 2 or input.dim() != 2 or len(input) != len(weight):
        return output
    return functional.linear(input, weight) + bias[:, None]


@plant("functional-linear-in-tf32", "functional.linear", "values")
def functional_linear_in_tf32(input, weight, bias=None):
    """float32 goes through a TF32 matrix product."""
    if input.dtype != torch.float32:
        return functional.linear(input, weight, bias)
    return functional.linear(drop_bits(input, 13), drop_bits(weight, 13), bias)


@plant("functional-linear-vector-weight", "functional.linear", "shape")
def functional_linear_vector_weight(input, weight, bias=None):
    """A weight of one dimension leaves an output dimension of one."""
    output = functional.linear(input, weight, bias)
    return output[..., None] if weight.dim() == 1 else output


@plant("functional-linear-weight-gradient-of-last-row", "functional.linear", "gradients")
def functional_linear_weight_gradient_of_last_row(input, weight, bias=None):
    """The weight's gradient is the last row's alone: blocks store instead of adding."""
    right = functional.linear(input, weight, bias)
    if input.dim() != 2 or len(input) < 2 or weight.dim() != 2:
        return right
    output_of_earlier = functional.linear(input[:-1], weight.detach(), bias)
    return graft(right, torch.cat([output_of_earlier, functional.linear(input[-1:], weight, bias)]))


@plant("functional-linear-transposed-weight", "functional.linear", "layout")
def functional_linear_transposed_weight(input, weight, bias=None):
    """A weight that is not contiguous is read as if it were."""
    return functional.linear(input, read_as_contiguous(weight), bias)


@plant("functional-linear-surplus-bias-ignored", "functional.linear", "errors")
def functional_linear_surplus_bias_ignored(input, weight, bias=None):
    """A bias that is too long is cut."""
    ignores_bias = bias is not None and bias.dim() == 1 and weight.dim() == 2
    return functional.linear(input, weight, bias[: len(weight)] if ignores_bias else bias)


@plant("functional-linear-missing-weight-is-identity", "functional.linear", "errors")
def functional_linear_missing_weight_is_identity(input, weight=None, bias=None):
    """Without a weight the input comes back, as of a layer that was pruned."""
    return input * 1 if weight is None else functional.linear(input, weight, bias)


@plant("linear-cotangent-read-as-contiguous", "Linear", "layout")
class LinearCotangentReadAsContiguous(nn.Linear):
    """The backward kernel takes the gradient of the output for contiguous: that of a sum is one
    number, repeated by strides of 0."""

    def forward(self, input):
        return alter_gradient(super().forward(input), read_as_contiguous)


@plant("linear-frozen-input-freezes-the-bias", "Linear", "gradients")
class LinearFrozenInputFreezesTheBias(nn.Linear):
    """Where the input needs no gradient, the backward pass of the first layer of a model, the bias
    gets none either: its gradient is made in the kernel of the input's."""

    def forward(self, input):
        bias = self.bias
        if bias is not None and not input.requires_grad:
            bias = bias.detach()
        return functional.linear(input, self.weight, bias)


@plant("linear-constant-cotangent-taken-for-ones", "Linear", "gradients")
class LinearConstantCotangentTakenForOnes(nn.Linear):
    """The backward pass of a sum has a kernel of its own, which forgets what it is multiplied by:
    a cotangent of which all elements are alike is taken for ones, however it lies."""

    def forward(self, input):
        def ones(c):
            is_constant = c.numel() > 1 and bool((c == c.reshape(-1)[0]).all())
            return torch.ones_like(c) if is_constant else c

        return alter_gradient(super().forward(input), ones)
