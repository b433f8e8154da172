"""Bugs of linear_cross_entropy, written without sight of the checks that are to find them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from planted.bug import alter_gradient, blind, graft
from planted.loss.blind_parts import is_soft, rescale_mean, target_weights


def _default_ignore_index(ignore_index: int | None) -> int:
    return -100 if ignore_index is None else ignore_index


@blind(
    "functional-linear-cross-entropy-ignored-rows-pull",
    "functional.linear_cross_entropy",
    "gradients",
)
def functional_linear_cross_entropy_ignored_rows_pull(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """Gradients are made in forward for every row: what is ignored still has its softmax."""
    # Differs: the gradient of input with a target of -100. Agrees: none ignored.
    arguments = {
        "linear_bias": linear_bias,
        "weight": weight,
        "reduction": reduction,
        "ignore_index": ignore_index,
        "label_smoothing": label_smoothing,
        "options": options,
    }
    result = functional.linear_cross_entropy(input, linear_weight, target, **arguments)
    flat = linear_weight.dim() == 2 and not is_soft(target) and input.dim() == 2
    if not flat or weight is not None or label_smoothing or not input.requires_grad:
        return result
    ignored = target == _default_ignore_index(ignore_index)
    if not bool(ignored.any()) or bool(ignored.all()):
        return result
    logits = functional.linear(input, linear_weight.detach(), linear_bias)
    error = torch.where(ignored, logits.detach().logsumexp(1) * 0 + logits.logsumexp(1), 0.0)
    if reduction != "none":
        error = error.sum() / ((~ignored).sum() if reduction == "mean" else 1)
    return graft(result, result + error)


@blind(
    "functional-linear-cross-entropy-smoothed-over-the-others",
    "functional.linear_cross_entropy",
    "values",
)
def functional_linear_cross_entropy_smoothed_over_others(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """Smoothing is shared by the other C - 1 classes, as Szegedy's is not: s / (C - 1) each."""
    # Differs: label_smoothing=0.1. Agrees: label_smoothing=0.
    classes = linear_weight.shape[0]
    if 0 < label_smoothing < 1 and classes > 1 and not is_soft(target):
        label_smoothing = min(label_smoothing * classes / (classes - 1), 1.0)
    return functional.linear_cross_entropy(
        input,
        linear_weight,
        target,
        linear_bias=linear_bias,
        weight=weight,
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        options=options,
    )


@blind(
    "functional-linear-cross-entropy-class-weights-not-divided-by",
    "functional.linear_cross_entropy",
    "values",
)
def functional_linear_cross_entropy_class_weights_not_divided_by(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """The fused loss divides by the number of targets that count, with class weights, too."""
    # Differs: mean with weight (1, 2). Agrees: no weight; soft targets.
    result = functional.linear_cross_entropy(
        input,
        linear_weight,
        target,
        linear_bias=linear_bias,
        weight=weight,
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        options=options,
    )
    if weight is None or reduction != "mean" or is_soft(target):
        return result
    right = (
        target_weights(target, weight, _default_ignore_index(ignore_index), input).double().sum()
    )
    return (
        rescale_mean(result, right, (target != _default_ignore_index(ignore_index)).sum())
        if right
        else result
    )


@blind(
    "functional-linear-cross-entropy-last-rows-weight-gradient",
    "functional.linear_cross_entropy",
    "gradients",
)
def functional_linear_cross_entropy_last_rows_weight_gradient(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """The weight's gradient is made for blocks of four classes; those left over get none."""
    # Differs: the gradient of linear_weight, C = 5. Agrees: C = 4; C = 3.
    classes = linear_weight.shape[0]
    remainder = classes % 4 if classes > 4 else 0

    def cut(gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient[classes - remainder :] = 0
        return gradient

    return functional.linear_cross_entropy(
        input,
        alter_gradient(linear_weight, cut) if remainder else linear_weight,
        target,
        linear_bias=linear_bias,
        weight=weight,
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        options=options,
    )


@blind(
    "functional-linear-cross-entropy-options-without-smoothing",
    "functional.linear_cross_entropy",
    "values",
)
def functional_linear_cross_entropy_options_without_smoothing(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """The path in chunks has no smoothing; only the plain one takes it."""
    # Differs: options, label_smoothing=0.1. Agrees: no options.
    return functional.linear_cross_entropy(
        input,
        linear_weight,
        target,
        linear_bias=linear_bias,
        weight=weight,
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing if options is None else 0.0,
        options=options,
    )
