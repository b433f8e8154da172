"""Losses over classes by margins: MultiMarginLoss, MultiLabelMarginLoss, MultiLabelSoftMarginLoss.

Modules and functions. An implementation that tests x > 0 drops NaN, one that computes max(0, x)
keeps it: the first two losses leave NaN open.

Sources: the pages torch.nn.MultiMarginLoss, MultiLabelMarginLoss and MultiLabelSoftMarginLoss of
the PyTorch documentation, and those of the functions in torch.nn.functional.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from conformance.arithmetic.choices import gather, take
from conformance.arithmetic.elementary import constant, square
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.reductions import divide_by_count, total
from conformance.arithmetic.rounded import Rounded, choose, with_pullback
from conformance.arithmetic.smooth import softplus
from conformance.oracles.loss.hinge import hinge
from conformance.oracles.loss.reductions import reduce_losses, weight_losses, with_special_values

State = Mapping[str, Rounded]


def multi_margin_loss(
    state: State,
    input: Rounded,
    target: Rounded,
    weight: Rounded | None = None,
    *,
    p: int = 1,
    margin: float = 1.0,
    reduction: str = "mean",
) -> Rounded:
    """l = Σ_{i ≠ y} w_y·max(0, margin − x_y + x_i)^p ÷ C; the module's weight is in its state."""
    weight = state.get("weight", weight)
    classes = target.value.astype(np.int64)
    target_scores = gather(input, classes[..., np.newaxis], -1)
    violations = hinge(constant(margin, input), -target_scores, input)
    terms = with_special_values(square(violations), violations) if p == 2 else violations
    if weight is not None:
        factor = take(weight, classes)[..., np.newaxis]
        terms = with_special_values(terms * factor, terms, factors=(factor,))
    is_other_class = np.arange(input.shape[-1]) != classes[..., np.newaxis]
    return _mean_over_classes(
        _leave_nan_open(_mask_terms(terms, is_other_class)), input.shape[-1], reduction
    )


def multilabel_margin_loss(
    state: State, input: Rounded, target: Rounded, *, reduction: str = "mean"
) -> Rounded:
    """l = Σ_ij max(0, 1 − (x_{y_j} − x_i)) ÷ C, for i not among the y_j.

    The y_j are the targets before the first negative one.
    """
    is_label = np.cumprod(target.value >= 0, -1).astype(bool)
    max_labels = int(is_label.sum(-1).max(initial=0))
    is_label = is_label[..., :max_labels]
    labels = np.where(is_label, target.value[..., :max_labels], 0).astype(np.int64)
    label_scores = gather(input, labels, -1)[..., np.newaxis]
    violations = hinge(constant(1.0, input), -label_scores, input[..., np.newaxis, :])
    matches = labels[..., np.newaxis] == np.arange(input.shape[-1])
    has_label = (matches & is_label[..., np.newaxis]).any(-2)
    terms = _mask_terms(violations, is_label[..., np.newaxis] & ~has_label[..., np.newaxis, :])
    pairs = (*input.shape[:-1], max_labels * input.shape[-1])
    flat = _leave_nan_open(terms.map(lambda array: array.reshape(pairs)))
    return _mean_over_classes(flat, input.shape[-1], reduction)


def multilabel_soft_margin_loss(
    state: State,
    input: Rounded,
    target: Rounded,
    weight: Rounded | None = None,
    *,
    reduction: str = "mean",
) -> Rounded:
    """l = −Σ_i w_i·(y_i·log σ(x_i) + (1 − y_i)·log σ(−x_i)) ÷ C.

    The module's weight is in its state. The term that is multiplied by 0 may be infinite.
    """
    weight = state.get("weight", weight)
    x = widened(choose(target.value == 1, -input, input))
    terms = stored(softplus(x), input.precision)
    terms = terms.with_error(np.where(np.isneginf(x.value), np.inf, terms.error))
    terms = weight_losses(terms, weight)
    return _mean_over_classes(terms, input.shape[-1], reduction)


def _mask_terms(terms: Rounded, mask: np.ndarray) -> Rounded:
    """The terms where the mask is True, else 0."""
    return choose(mask, terms, constant(0.0, terms))


def _leave_nan_open(terms: Rounded) -> Rounded:
    """Leave elements with NaN open."""
    return terms.with_error(np.where(np.isnan(terms.value), np.inf, terms.error))


def _mean_over_classes(terms: Rounded, classes: int, reduction: str) -> Rounded:
    """The sum of each sample's terms ÷ classes, reduced over the samples.

    The bound covers dividing each sample's sum and dividing the sum of all terms.

    Args:
        terms: a sample's terms along the last axis.
        classes: number of classes.
    """
    sums = stored(total(widened(terms), -1), terms.precision)
    by_sample = reduce_losses(
        _with_special_values(divide_by_count(sums, classes), terms), reduction
    )
    if reduction == "none":
        return by_sample
    at_once = divide_by_count(stored(total(widened(terms)), terms.precision), classes)
    if reduction == "mean":
        at_once = divide_by_count(at_once, sums.value.size)
    finite = np.isfinite(by_sample.value)
    return by_sample.with_error(
        np.where(finite, np.maximum(by_sample.error, at_once.error), by_sample.error)
    )


def _with_special_values(losses: Rounded, terms: Rounded) -> Rounded:
    """Set exact NaN and ∞ in sums of terms ≥ 0 that certainly contain NaN or ∞."""
    if np.isfinite(terms.value).all():
        return losses
    exact = terms.error == 0
    gives_nan = (np.isnan(terms.value) & exact).any(-1)
    gives_infinity = np.isposinf(terms.value).any(-1)
    certain = gives_nan | (gives_infinity & (np.isfinite(terms.error) | exact).all(-1))
    value = np.where(gives_nan, np.nan, np.where(gives_infinity, np.inf, losses.value))
    error = np.where(certain, 0.0, np.where(np.isnan(losses.error), np.inf, losses.error))
    return with_pullback(
        Rounded(value, error, losses.precision), [losses], lambda cotangent: [cotangent]
    )
