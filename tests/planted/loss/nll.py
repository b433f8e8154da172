"""NLLLoss, functional.nll_loss."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, class_axis, graft, plant, read_as_contiguous, round_through


class _Loss(nn.NLLLoss):
    def loss_with(self, input, target, **changes):
        """The loss with some of its arguments changed."""
        facts = {
            "weight": self.weight,
            "ignore_index": self.ignore_index,
            "reduction": self.reduction,
        }
        return functional.nll_loss(input, target, **(facts | changes))


@plant("nll-loss-mean-counts-ignored", "NLLLoss", "values")
class NLLLossMeanCountsIgnored(_Loss):
    """The mean divides by all samples, ignored ones too, as PyTorch/XLA's did (#859)."""

    def forward(self, input, target):
        ignored = target == self.ignore_index
        if self.reduction != "mean" or self.weight is not None or not ignored.any():
            return super().forward(input, target)
        return self.loss_with(input, target, reduction="sum") / target.numel()


@plant("nll-loss-planes-transposed", "NLLLoss", "values")
class NLLLossPlanesTransposed(_Loss):
    """Positions of an image are read column by column where it is square."""

    def forward(self, input, target):
        if input.dim() == 4 and input.shape[2] == input.shape[3] and self.reduction == "none":
            return super().forward(input.transpose(2, 3), target)
        return super().forward(input, target)


@plant("nll-loss-ignored-class-only-below-zero", "NLLLoss", "values")
class NLLLossIgnoredClassOnlyBelowZero(_Loss):
    """An ignore_index that is a class is not ignored, as on MPS (#108148)."""

    def forward(self, input, target):
        count = input.shape[class_axis(input)]
        if 0 <= self.ignore_index < count and bool((target < count).all()):
            return self.loss_with(input, target, ignore_index=-100)
        return super().forward(input, target)


@plant("nll-loss-all-ignored-is-zero", "NLLLoss", "values")
class NLLLossAllIgnoredIsZero(_Loss):
    """The mean of nothing is 0."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        ignored = bool((target == self.ignore_index).all())
        return torch.zeros_like(loss) if ignored and self.reduction == "mean" else loss


@plant("nll-loss-double-in-single", "NLLLoss", "values")
class NLLLossDoubleInSingle(_Loss):
    """float64 passes through float32."""

    def forward(self, input, target):
        if input.dtype == torch.float64:
            input = round_through(input, torch.float32)
        return super().forward(input, target)


@plant("nll-loss-gradient-of-ignored", "NLLLoss", "gradients")
class NLLLossGradientOfIgnored(_Loss):
    """Where something is ignored, the gradient is divided by the number of all samples."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        ignored_count = int((target == self.ignore_index).sum())
        if self.reduction != "mean" or not ignored_count or ignored_count == target.numel():
            return loss
        return graft(loss, loss * ((target.numel() - ignored_count) / target.numel()))


# weighted: hardly any drawn weights are all 1.
@plant("nll-loss-weight-normalised", "NLLLoss", "laws")
class NLLLossWeightNormalised(_Loss):
    """Weights that are all 1 are taken for half-weights of a sum."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        ones = self.weight is not None and bool((self.weight == 1).all())
        return loss / 2 if ones and self.reduction == "sum" else loss


@plant("nll-loss-ignored-nan-leaks", "NLLLoss", "special")
class NLLLossIgnoredNanLeaks(_Loss):
    """Ignored losses are multiplied by 0: NaN and infinities come through."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        axis = class_axis(input)
        affected = (target == self.ignore_index) & ~input.sum(axis).isfinite()
        if self.reduction == "none":
            return loss.masked_fill(affected, torch.nan)
        return loss + torch.where(affected, torch.nan, 0.0).sum().to(loss.dtype)


@plant("nll-loss-scalar-keeps-a-dimension", "NLLLoss", "shape")
class NLLLossScalarKeepsADimension(_Loss):
    """The loss of a sample without a batch dimension has one element in one dimension."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        return loss.reshape(1) if input.dim() == 1 else loss


@plant("nll-loss-class-out-of-range", "NLLLoss", "errors")
class NLLLossClassOutOfRange(_Loss):
    """An index that is no class is ignored, as on many an accelerator."""

    def forward(self, input, target):
        count = input.shape[class_axis(input)]
        if not target.is_floating_point():
            outside = (target < 0) | (target >= count)
            target = torch.where(outside, self.ignore_index, target)
        return super().forward(input, target)


def _torch_loss(input, target, weight=None, ignore_index=-100, reduction="mean"):
    return functional.nll_loss(
        input, target, weight, ignore_index=ignore_index, reduction=reduction
    )


@plant("functional-nll-loss-volumes-without-moving-classes", "functional.nll_loss", "values")
def functional_nll_loss_volumes_without_moving_classes(
    input, target, weight=None, ignore_index=-100, reduction="mean"
):
    """Volumes are flattened without moving the classes last."""
    if input.dim() == 5 and input.numel() and reduction != "none":
        flat = input.reshape(-1, input.shape[1])
        return _torch_loss(flat, target.reshape(-1), weight, ignore_index, reduction)
    return _torch_loss(input, target, weight, ignore_index, reduction)


@plant("functional-nll-loss-clamped-to-logarithms", "functional.nll_loss", "special")
def functional_nll_loss_clamped_to_logarithms(
    input, target, weight=None, ignore_index=-100, reduction="mean"
):
    """A probability of 0 is raised to the smallest number: minus infinity is finite."""
    minimum = torch.finfo(input.dtype).min / 4
    clamped = torch.where(input == -torch.inf, torch.full_like(input, minimum), input)
    return _torch_loss(clamped, target, weight, ignore_index, reduction)


@plant("functional-nll-loss-gradient-to-every-class", "functional.nll_loss", "gradients")
def functional_nll_loss_gradient_to_every_class(
    input, target, weight=None, ignore_index=-100, reduction="mean"
):
    """The gradient is spread over the classes, as that behind a softmax."""
    axis = class_axis(input)
    input = alter_gradient(input, lambda g: g - g.mean(axis, keepdim=True) if g.numel() else g)
    return _torch_loss(input, target, weight, ignore_index, reduction)


# rows, repeated: few cases draw more than 33 samples.
@plant("functional-nll-loss-large-batches-in-tf32", "functional.nll_loss", "laws")
def functional_nll_loss_large_batches_in_tf32(
    input, target, weight=None, ignore_index=-100, reduction="mean"
):
    """Batches of more than 33 samples take a kernel that works in bfloat16."""
    if input.dim() == 2 and len(input) > 33 and input.dtype == torch.float32:
        input = round_through(input, torch.bfloat16)
    return _torch_loss(input, target, weight, ignore_index, reduction)


@plant("functional-nll-loss-transposed", "functional.nll_loss", "layout")
def functional_nll_loss_transposed(input, target, weight=None, ignore_index=-100, reduction="mean"):
    """Logarithms that are not contiguous are read as if they were."""
    return _torch_loss(read_as_contiguous(input), target, weight, ignore_index, reduction)
