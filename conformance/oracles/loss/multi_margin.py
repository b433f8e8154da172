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
from conformance.arithmetic.reductions import over, total
from conformance.arithmetic.rounded import Rounded, choose, traced
from conformance.arithmetic.smooth import softplus
from conformance.oracles.loss.hinge import hinge
from conformance.oracles.loss.reductions import reduced, settled, weighed

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
    own = gather(input, classes[..., np.newaxis], -1)
    beyond = hinge(constant(margin, input), -own, input)
    terms = settled(square(beyond), beyond) if p == 2 else beyond
    if weight is not None:
        factor = take(weight, classes)[..., np.newaxis]
        terms = settled(terms * factor, terms, factors=(factor,))
    others = np.arange(input.shape[-1]) != classes[..., np.newaxis]
    return _averaged(_open(_kept(terms, others)), input.shape[-1], reduction)


def multilabel_margin_loss(
    state: State, input: Rounded, target: Rounded, *, reduction: str = "mean"
) -> Rounded:
    """l = Σ_ij max(0, 1 − (x_{y_j} − x_i)) ÷ C, for i not among the y_j.

    The y_j are the targets before the first negative one.
    """
    there = np.cumprod(target.value >= 0, -1).astype(bool)
    most = int(there.sum(-1).max(initial=0))
    there = there[..., :most]
    labels = np.where(there, target.value[..., :most], 0).astype(np.int64)
    own = gather(input, labels, -1)[..., np.newaxis]
    beyond = hinge(constant(1.0, input), -own, input[..., np.newaxis, :])
    hits = labels[..., np.newaxis] == np.arange(input.shape[-1])
    labelled = (hits & there[..., np.newaxis]).any(-2)
    terms = _kept(beyond, there[..., np.newaxis] & ~labelled[..., np.newaxis, :])
    pairs = (*input.shape[:-1], most * input.shape[-1])
    flat = _open(terms.map(lambda array: array.reshape(pairs)))
    return _averaged(flat, input.shape[-1], reduction)


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
    terms = weighed(terms, weight)
    return _averaged(terms, input.shape[-1], reduction)


def _kept(terms: Rounded, mask: np.ndarray) -> Rounded:
    """The terms where the mask is True, else 0."""
    return choose(mask, terms, constant(0.0, terms))


def _open(terms: Rounded) -> Rounded:
    """Leave elements with NaN open."""
    return terms.with_error(np.where(np.isnan(terms.value), np.inf, terms.error))


def _averaged(terms: Rounded, classes: int, reduction: str) -> Rounded:
    """The sum of each sample's terms ÷ classes, reduced over the samples.

    The bound covers dividing each sample's sum and dividing the sum of all terms.

    Args:
        terms: a sample's terms along the last axis.
        classes: number of classes.
    """
    sums = stored(total(widened(terms), -1), terms.precision)
    apart = reduced(_certain(over(sums, classes), terms), reduction)
    if reduction == "none":
        return apart
    whole = over(stored(total(widened(terms)), terms.precision), classes)
    if reduction == "mean":
        whole = over(whole, sums.value.size)
    finite = np.isfinite(apart.value)
    return apart.with_error(np.where(finite, np.maximum(apart.error, whole.error), apart.error))


def _certain(found: Rounded, terms: Rounded) -> Rounded:
    """Set exact NaN and ∞ in sums of terms ≥ 0 that certainly contain NaN or ∞."""
    if np.isfinite(terms.value).all():
        return found
    exact = terms.error == 0
    lost = (np.isnan(terms.value) & exact).any(-1)
    endless = np.isposinf(terms.value).any(-1)
    clear = lost | (endless & (np.isfinite(terms.error) | exact).all(-1))
    value = np.where(lost, np.nan, np.where(endless, np.inf, found.value))
    error = np.where(clear, 0.0, np.where(np.isnan(found.error), np.inf, found.error))
    return traced(Rounded(value, error, found.precision), [found], lambda cotangent: [cotangent])
