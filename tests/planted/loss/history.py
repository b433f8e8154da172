"""CrossEntropyLoss, functional.cross_entropy."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, class_axis, graft, plant, read_as_contiguous, round_through


def _has_class_indices(target):
    return not target.is_floating_point()


class _Loss(nn.CrossEntropyLoss):
    def loss_with(self, input, target, **changes):
        """The loss with some of its arguments changed."""
        facts = {
            "weight": self.weight,
            "ignore_index": self.ignore_index,
            "reduction": self.reduction,
            "label_smoothing": self.label_smoothing,
        }
        return functional.cross_entropy(input, target, **(facts | changes))


@plant("cross-entropy-loss-mean-counts-ignored", "CrossEntropyLoss", "values")
class CrossEntropyLossMeanCountsIgnored(_Loss):
    """The mean divides by all samples, ignored ones too, as PyTorch/XLA's nll_loss did (#859)."""

    def forward(self, input, target):
        if (
            self.reduction != "mean"
            or not _has_class_indices(target)
            or not (target == self.ignore_index).any()
        ):
            return super().forward(input, target)
        total = self.loss_with(input, target, reduction="sum")
        return total / (target.numel() if self.weight is None else self.weight.sum())


@plant("cross-entropy-loss-all-ignored-is-zero", "CrossEntropyLoss", "values")
class CrossEntropyLossAllIgnoredIsZero(_Loss):
    """The mean of nothing is 0: the count is at least 1, as many a port has it."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        ignored = _has_class_indices(target) and bool((target == self.ignore_index).all())
        return torch.zeros_like(loss) if ignored and self.reduction == "mean" else loss


@plant("cross-entropy-loss-smooths-unweighted", "CrossEntropyLoss", "values")
class CrossEntropyLossSmoothsUnweighted(_Loss):
    """Label smoothing leaves the class weights out of its uniform part."""

    def forward(self, input, target):
        right = super().forward(input, target)
        if self.weight is None or not self.label_smoothing or not _has_class_indices(target):
            return right
        plain = self.loss_with(input, target, label_smoothing=0.0)
        even = self.loss_with(input, target, label_smoothing=1.0, weight=None)
        return plain * (1 - self.label_smoothing) + even * self.label_smoothing


@plant("cross-entropy-loss-without-maximum", "CrossEntropyLoss", "values")
class CrossEntropyLossWithoutMaximum(_Loss):
    """The softmax is taken without subtracting the maximum: logits beyond 88 overflow."""

    def forward(self, input, target):
        axis = class_axis(input)
        overflow = input.exp().isinf().any() and input.isfinite().all()
        log_probs = input - input.exp().sum(axis, keepdim=True).log()
        return super().forward(log_probs, target) if overflow else super().forward(input, target)


# one-hot: hardly any drawn probabilities are 0 and 1 throughout.
@plant("cross-entropy-loss-probabilities-normalised", "CrossEntropyLoss", "laws")
class CrossEntropyLossProbabilitiesNormalised(_Loss):
    """A one-hot target is taken for smoothed labels: 1e-3 of it goes to the other classes."""

    def forward(self, input, target):
        hot = not _has_class_indices(target) and bool(((target == 0) | (target == 1)).all())
        return self.loss_with(input, target, **({"label_smoothing": 1e-3} if hot else {}))


@plant("cross-entropy-loss-positions-not-counted", "CrossEntropyLoss", "values")
class CrossEntropyLossPositionsNotCounted(_Loss):
    """The mean over probabilities divides by the batch, not by its positions."""

    def forward(self, input, target):
        if (
            _has_class_indices(target)
            or self.reduction != "mean"
            or input.dim() < 3
            or not len(input)
        ):
            return super().forward(input, target)
        return self.loss_with(input, target, reduction="sum") / len(input)


@plant("cross-entropy-loss-double-logits-in-single", "CrossEntropyLoss", "values")
class CrossEntropyLossDoubleLogitsInSingle(_Loss):
    """float64 logits pass through float32, within assert_close's tolerance."""

    def forward(self, input, target):
        if input.dtype == torch.float64:
            input = round_through(input, torch.float32)
        return super().forward(input, target)


@plant("cross-entropy-loss-unreduced-keeps-classes", "CrossEntropyLoss", "shape")
class CrossEntropyLossUnreducedKeepsClasses(_Loss):
    """Losses of single samples keep the axis of classes, with one of them."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        return loss.unsqueeze(1) if self.reduction == "none" and loss.dim() else loss


@plant("cross-entropy-loss-ignored-have-gradients", "CrossEntropyLoss", "gradients")
class CrossEntropyLossIgnoredHaveGradients(_Loss):
    """The gradient is softmax less target everywhere: ignored samples are pulled to no class."""

    def forward(self, input, target):
        right = super().forward(input, target)
        if not _has_class_indices(target) or not (target == self.ignore_index).any():
            return right
        axis = class_axis(input)
        ignored = (target == self.ignore_index).unsqueeze(axis)
        leak = (input.softmax(axis) * ignored).detach()
        return graft(right, right + (input * leak).sum() / input.numel())


@plant("cross-entropy-loss-gradient-unweighted", "CrossEntropyLoss", "gradients")
class CrossEntropyLossGradientUnweighted(_Loss):
    """The gradient forgets the class weights."""

    def forward(self, input, target):
        right = super().forward(input, target)
        if self.weight is None:
            return right
        return graft(right, self.loss_with(input, target, weight=None))


@plant("cross-entropy-loss-ignored-nan-leaks", "CrossEntropyLoss", "special")
class CrossEntropyLossIgnoredNanLeaks(_Loss):
    """Ignored losses are multiplied by 0 instead of left out: NaN and infinities come through."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        if not _has_class_indices(target) or input.isfinite().all() or not input.numel():
            return loss
        axis = class_axis(input)
        ignored = target == self.ignore_index
        affected = ignored & ~input.sum(axis).isfinite()
        return (
            loss + torch.where(affected, torch.nan, 0.0).sum()
            if self.reduction != "none"
            else (loss.masked_fill(affected, torch.nan))
        )


@plant("cross-entropy-loss-transposed-logits", "CrossEntropyLoss", "layout")
class CrossEntropyLossTransposedLogits(_Loss):
    """Logits that are not contiguous are read as if they were."""

    def forward(self, input, target):
        return super().forward(read_as_contiguous(input), target)


@plant("cross-entropy-loss-weight-not-saved", "CrossEntropyLoss", "state")
class CrossEntropyLossWeightNotSaved(_Loss):
    """The weight that is saved adds up to 1."""

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.weight is not None:
            destination[prefix + "weight"] = self.weight / self.weight.sum()


@plant("cross-entropy-loss-weight-normalised-in-place", "CrossEntropyLoss", "repeat")
class CrossEntropyLossWeightNormalisedInPlace(_Loss):
    """Each call adds one part in a thousand to the weight."""

    def forward(self, input, target):
        loss = super().forward(input, target)
        if self.weight is not None and self.weight.is_contiguous():
            self.weight.mul_(1 + 2.0**-7)
        return loss


@plant("cross-entropy-loss-class-out-of-range", "CrossEntropyLoss", "errors")
class CrossEntropyLossClassOutOfRange(_Loss):
    """An index that is no class is ignored, as on many an accelerator."""

    def forward(self, input, target):
        if _has_class_indices(target):
            count = input.shape[class_axis(input)]
            outside = (target < 0) | (target >= count)
            target = torch.where(outside, self.ignore_index, target)
        return super().forward(input, target)


def _torch_loss(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    return functional.cross_entropy(
        input,
        target,
        weight,
        ignore_index=ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


@plant("functional-cross-entropy-ignore-index", "functional.cross_entropy", "values")
def functional_cross_entropy_ignore_index(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """An ignore_index that is a class is not ignored, as on MPS (#108148)."""
    options = reduction, label_smoothing
    if ignore_index >= 0 and _has_class_indices(target) and (target < input.shape[-1]).all():
        count = input.shape[class_axis(input)]
        if ignore_index < count:
            return _torch_loss(input, target, weight, -100, *options)
    return _torch_loss(input, target, weight, ignore_index, *options)


@plant("functional-cross-entropy-square-images", "functional.cross_entropy", "values")
def functional_cross_entropy_square_images(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """Positions are flattened without moving the classes last."""
    options = weight, ignore_index, reduction, label_smoothing
    if input.dim() < 3 or reduction == "none" or not _has_class_indices(target):
        return _torch_loss(input, target, *options)
    return _torch_loss(input.reshape(-1, input.shape[1]), target.reshape(-1), *options)


@plant("functional-cross-entropy-smoothing-of-others", "functional.cross_entropy", "values")
def functional_cross_entropy_smoothing_of_others(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """Smoothing goes to the other classes only, ε/(C − 1) to each."""
    count = input.shape[class_axis(input)]
    if label_smoothing and count > 1 and _has_class_indices(target):
        label_smoothing = min(label_smoothing * count / (count - 1), 1.0)
    return _torch_loss(input, target, weight, ignore_index, reduction, label_smoothing)


@plant("functional-cross-entropy-empty-mean-is-zero", "functional.cross_entropy", "values")
def functional_cross_entropy_empty_mean_is_zero(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """The mean of an empty batch is 0."""
    loss = _torch_loss(input, target, weight, ignore_index, reduction, label_smoothing)
    return torch.zeros_like(loss) if not input.numel() and reduction == "mean" else loss


@plant("functional-cross-entropy-unbatched-of-one", "functional.cross_entropy", "shape")
def functional_cross_entropy_unbatched_of_one(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """A sample without a batch dimension gives a batch of one loss."""
    loss = _torch_loss(input, target, weight, ignore_index, reduction, label_smoothing)
    return loss.unsqueeze(0) if input.dim() == 1 and reduction == "none" else loss


@plant("functional-cross-entropy-sum-has-mean-gradient", "functional.cross_entropy", "gradients")
def functional_cross_entropy_sum_has_mean_gradient(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """The sum's gradient is divided by the batch."""
    if reduction == "sum" and input.dim() > 1 and len(input) > 1:
        input = alter_gradient(input, lambda g: g / len(g))
    return _torch_loss(input, target, weight, ignore_index, reduction, label_smoothing)


@plant("functional-cross-entropy-target-is-constant", "functional.cross_entropy", "gradients")
def functional_cross_entropy_target_is_constant(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """Probabilities have no gradient."""
    if target.requires_grad:
        target = alter_gradient(target, torch.zeros_like)
    return _torch_loss(input, target, weight, ignore_index, reduction, label_smoothing)


# rows, repeated: few cases draw more than 33 samples.
@plant("functional-cross-entropy-large-batches-in-tf32", "functional.cross_entropy", "laws")
def functional_cross_entropy_large_batches_in_tf32(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """Batches of 32 and more samples take a kernel that works in bfloat16."""
    if input.dim() == 2 and len(input) > 33 and input.dtype == torch.float32:
        input = round_through(input, torch.bfloat16)
    return _torch_loss(input, target, weight, ignore_index, reduction, label_smoothing)


@plant("functional-cross-entropy-transposed-target", "functional.cross_entropy", "layout")
def functional_cross_entropy_transposed_target(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """Probabilities that are not contiguous are read as if they were."""
    if target.is_floating_point():
        target = read_as_contiguous(target)
    return _torch_loss(input, target, weight, ignore_index, reduction, label_smoothing)


@plant("functional-cross-entropy-minus-infinity", "functional.cross_entropy", "special")
def functional_cross_entropy_minus_infinity(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """A logit of minus infinity is cut to the smallest number, and so is its loss (#94043)."""
    minimum = torch.finfo(input.dtype).min
    clamped = torch.where(input == -torch.inf, torch.full_like(input, minimum / 2), input)
    return _torch_loss(clamped, target, weight, ignore_index, reduction, label_smoothing)


@plant("functional-cross-entropy-logits-in-place", "functional.cross_entropy", "repeat")
def functional_cross_entropy_logits_in_place(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """The maximum is subtracted in the caller's logits."""
    loss = _torch_loss(input, target, weight, ignore_index, reduction, label_smoothing)
    if input.numel() and input.is_contiguous() and not torch.is_grad_enabled():
        input.sub_(input.amax(class_axis(input), keepdim=True))
    return loss


@plant("functional-cross-entropy-smoothing-clamped", "functional.cross_entropy", "errors")
def functional_cross_entropy_smoothing_clamped(
    input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0
):
    """A label_smoothing beyond 1 is taken as 1."""
    return _torch_loss(input, target, weight, ignore_index, reduction, min(label_smoothing, 1.0))
