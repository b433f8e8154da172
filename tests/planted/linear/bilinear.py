"""Bilinear, functional.bilinear."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import exchange_gradients, graft, plant, read_as_contiguous, round_through


@plant("bilinear-square-inputs-exchanged", "Bilinear", "values")
class BilinearSquareInputsExchanged(nn.Bilinear):
    """Inputs with equal sizes are taken in each other's place."""

    def forward(self, input1, input2):
        if self.in1_features != self.in2_features:
            return super().forward(input1, input2)
        return super().forward(input2, input1)


@plant("bilinear-leading-dimensions-crossed", "Bilinear", "values")
class BilinearLeadingDimensionsCrossed(nn.Bilinear):
    """With two leading dimensions, the second input's are flattened column by column."""

    def forward(self, input1, input2):
        if input2.dim() != 3:
            return super().forward(input1, input2)
        return super().forward(input1, input2.transpose(0, 1).reshape(input2.shape))


@plant("bilinear-double-by-way-of-single", "Bilinear", "values")
class BilinearDoubleByWayOfSingle(nn.Bilinear):
    """A float64 weight is uploaded as float32, within assert_close's tolerance."""

    def forward(self, input1, input2):
        if self.weight.dtype != torch.float64:
            return super().forward(input1, input2)
        return functional.bilinear(
            input1, input2, round_through(self.weight, torch.float32), self.bias
        )


@plant("bilinear-vector-keeps-row", "Bilinear", "shape")
class BilinearVectorKeepsRow(nn.Bilinear):
    """Single vectors come back as a row."""

    def forward(self, input1, input2):
        output = super().forward(input1, input2)
        return output[None] if input1.dim() == 1 else output


@plant("bilinear-input-gradients-exchanged", "Bilinear", "gradients")
class BilinearInputGradientsExchanged(nn.Bilinear):
    """Where sizes are equal, each input gets the other's gradient."""

    def forward(self, input1, input2):
        if input1.shape != input2.shape:
            return super().forward(input1, input2)
        return super().forward(*exchange_gradients(input1, input2))


@plant("bilinear-expanded-second-input", "Bilinear", "layout")
class BilinearExpandedSecondInput(nn.Bilinear):
    """A second input that is not contiguous is read as if it were."""

    def forward(self, input1, input2):
        return super().forward(input1, read_as_contiguous(input2))


@plant("bilinear-zero-input-skipped", "Bilinear", "special")
class BilinearZeroInputSkipped(nn.Bilinear):
    """Rows in which the first input is zero are skipped: 0 × NaN is 0."""

    def forward(self, input1, input2):
        output = super().forward(input1, input2)
        all_zero = (input1 == 0).all(-1, keepdim=True)
        safe_input = torch.where(all_zero, torch.zeros_like(input2), input2)
        return graft(super().forward(input1, safe_input), output)


@plant("bilinear-weight-packed-at-first-call", "Bilinear", "state")
class BilinearWeightPackedAtFirstCall(nn.Bilinear):
    """The first call packs the weight for inference; a state loaded later is never seen."""

    _packed = None

    def forward(self, input1, input2):
        if torch.is_grad_enabled():
            return super().forward(input1, input2)
        if self._packed is None:
            self._packed = self.weight.detach().clone()
        return functional.bilinear(input1, input2, self._packed, self.bias)


@plant("bilinear-leading-dimensions-broadcast", "Bilinear", "errors")
class BilinearLeadingDimensionsBroadcast(nn.Bilinear):
    """Leading dimensions that differ are broadcast."""

    def forward(self, input1, input2):
        if input1.dim() < 2 or input1.dim() != input2.dim():
            return super().forward(input1, input2)
        shape = torch.broadcast_shapes(input1.shape[:-1], input2.shape[:-1])
        return super().forward(input1.expand(*shape, -1), input2.expand(*shape, -1))


@plant("functional-bilinear-bias-per-product", "functional.bilinear", "values")
def functional_bilinear_bias_per_product(input1, input2, weight, bias=None):
    """The bias enters before the second product: it is added with every element of input2."""
    output = functional.bilinear(input1, input2, weight)
    return output if bias is None else output + bias * input2.sum(-1, keepdim=True)


@plant("functional-bilinear-single-output-squeezed", "functional.bilinear", "shape")
def functional_bilinear_single_output_squeezed(input1, input2, weight, bias=None):
    """A single output feature is squeezed away."""
    output = functional.bilinear(input1, input2, weight, bias)
    return output.squeeze(-1)


@plant("functional-bilinear-second-gradient-of-last", "functional.bilinear", "gradients")
def functional_bilinear_second_gradient_of_last(input1, input2, weight, bias=None):
    """The second input's gradient is the last output's alone."""
    right = functional.bilinear(input1, input2, weight, bias)
    if len(weight) < 2:
        return right
    output_of_earlier = functional.bilinear(
        input1, input2.detach(), weight[:-1], bias if bias is None else bias[:-1]
    )
    output_of_last = functional.bilinear(
        input1, input2, weight[-1:], bias if bias is None else bias[-1:]
    )
    return graft(right, torch.cat([output_of_earlier, output_of_last], -1))


@plant("functional-bilinear-first-input-written", "functional.bilinear", "repeat")
def functional_bilinear_first_input_written(input1, input2, weight, bias=None):
    """Where shapes agree the output lands in the first input's buffer too."""
    output = functional.bilinear(input1, input2, weight, bias)
    can_overwrite = input1.is_contiguous() and not torch.is_grad_enabled()
    if can_overwrite and output.shape == input1.shape:
        input1.copy_(output)
    return output
