"""Functions that measure gradients and clip them."""

from __future__ import annotations

import torch
from torch.nn import utils

from planted.bug import plant, read_as_contiguous

_CLIP_NORM, _CLIP_VALUE = utils.clip_grad_norm_, utils.clip_grad_value_
_CLIP_WITH_NORM, _TOTAL_NORM = utils.clip_grads_with_norm_, utils.get_total_norm


def _gradients(parameters):
    return [p.grad for p in parameters if p.grad is not None]


@plant("clip-grad-norm-each-alone", "utils.clip_grad_norm_", "values")
def clip_grad_norm_each_alone(
    parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None
):
    """Each gradient is clipped by its own norm."""
    parameters = list(parameters)
    total = _TOTAL_NORM(_gradients(parameters), norm_type, error_if_nonfinite, foreach)
    for p in parameters:
        _CLIP_NORM([p], max_norm, norm_type, False, foreach)
    return total


@plant("clip-grad-norm-no-epsilon", "utils.clip_grad_norm_", "values")
def clip_grad_norm_no_epsilon(
    parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None
):
    """Nothing is added to the norm: that of zeros divides by 0."""
    grads = _gradients(parameters)
    total = _TOTAL_NORM(grads, norm_type, error_if_nonfinite, foreach)
    factor = torch.clamp(float(max_norm) / total, max=1.0)
    for grad in grads:
        grad.mul_(factor)
    return total


@plant("clip-grad-norm-enlarges", "utils.clip_grad_norm_", "values")
def clip_grad_norm_enlarges(
    parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None
):
    """Gradients below the largest norm are enlarged to it."""
    grads = _gradients(parameters)
    total = _TOTAL_NORM(grads, norm_type, error_if_nonfinite, foreach)
    factor = float(max_norm) / (total + 1e-6)
    for grad in grads:
        grad.mul_(factor)
    return total


@plant("clip-grad-norm-after-the-clipping", "utils.clip_grad_norm_", "values")
def clip_grad_norm_after_the_clipping(
    parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None
):
    """The norm that is returned is the one after the clipping."""
    parameters = list(parameters)
    _CLIP_NORM(parameters, max_norm, norm_type, error_if_nonfinite, foreach)
    return _TOTAL_NORM(_gradients(parameters), norm_type)


@plant("clip-grad-norm-of-one-element", "utils.clip_grad_norm_", "shape")
def clip_grad_norm_of_one_element(
    parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None
):
    """The norm has a dimension of one element."""
    return _CLIP_NORM(parameters, max_norm, norm_type, error_if_nonfinite, foreach)[None]


@plant("clip-grad-norm-nan-skipped", "utils.clip_grad_norm_", "special")
def clip_grad_norm_nan_skipped(
    parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None
):
    """A norm that is not finite clips nothing."""
    parameters = list(parameters)
    total = _TOTAL_NORM(_gradients(parameters), norm_type, error_if_nonfinite, foreach)
    if total.isfinite():
        _CLIP_WITH_NORM(parameters, max_norm, total, foreach)
    return total


@plant("clip-grad-norm-infinite-unseen", "utils.clip_grad_norm_", "errors")
def clip_grad_norm_infinite_unseen(
    parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None
):
    """error_if_nonfinite sees NaN only."""
    parameters = list(parameters)
    total = _TOTAL_NORM(_gradients(parameters), norm_type, False, foreach)
    if error_if_nonfinite and total.isnan():
        raise RuntimeError("the total norm is NaN")
    _CLIP_WITH_NORM(parameters, max_norm, total, foreach)
    return total


@plant("clip-grad-norm-strided-memory", "utils.clip_grad_norm_", "layout")
def clip_grad_norm_strided_memory(
    parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None
):
    """The norm of a gradient that is not contiguous is that of its memory."""
    parameters = list(parameters)
    total = _TOTAL_NORM([read_as_contiguous(x) for x in _gradients(parameters)], norm_type,
                   error_if_nonfinite, foreach)  # fmt: skip
    _CLIP_WITH_NORM(parameters, max_norm, total, foreach)
    return total


@plant("clip-grad-value-above-only", "utils.clip_grad_value_", "values")
def clip_grad_value_above_only(parameters, clip_value, foreach=None):
    """What is below −clip_value stays."""
    for grad in _gradients(parameters):
        grad.clamp_(max=float(clip_value))


@plant("clip-grad-value-after-a-gap", "utils.clip_grad_value_", "values")
def clip_grad_value_after_a_gap(parameters, clip_value, foreach=None):
    """Behind a parameter without a gradient nothing is clipped."""
    limit = float(clip_value)
    for p in parameters:
        if p.grad is None:
            return
        p.grad.clamp_(-limit, limit)


@plant("clip-grad-value-new-tensors", "utils.clip_grad_value_", "values")
def clip_grad_value_new_tensors(parameters, clip_value, foreach=None):
    """The gradients are replaced by others, and are not modified in place."""
    limit = float(clip_value)
    for p in parameters:
        if p.grad is not None:
            p.grad = p.grad.clamp(-limit, limit)


@plant("clip-grad-value-nan-clipped", "utils.clip_grad_value_", "special")
def clip_grad_value_nan_clipped(parameters, clip_value, foreach=None):
    """NaN becomes the clip value, as where numbers are compared the other way round."""
    parameters = list(parameters)
    _CLIP_VALUE(parameters, clip_value, foreach)
    for grad in _gradients(parameters):
        grad.copy_(torch.where(grad.isnan(), float(clip_value), grad))


@plant("clip-grad-value-words", "utils.clip_grad_value_", "errors")
def clip_grad_value_words(parameters, clip_value, foreach=None):
    """What is no number clips nothing."""
    if isinstance(clip_value, (int, float)):
        _CLIP_VALUE(parameters, clip_value, foreach)


@plant("clip-grad-value-tails", "utils.clip_grad_value_", "laws")
def clip_grad_value_tails(parameters, clip_value, foreach=None):
    """Of a gradient of 18 to 66 elements in one dimension the last is left out."""
    limit = float(clip_value)
    for grad in _gradients(parameters):
        tail = grad.dim() == 1 and 17 < len(grad) < 33
        (grad[:-1] if tail else grad).clamp_(-limit, limit)


@plant("clip-grads-with-norm-first-only", "utils.clip_grads_with_norm_", "values")
def clip_grads_with_norm_first_only(parameters, max_norm, total_norm, foreach=None):
    """Of more than three gradients the last is left as it is."""
    parameters = list(parameters)
    _CLIP_WITH_NORM(
        parameters[:-1] if len(parameters) > 3 else parameters, max_norm, total_norm, foreach
    )


@plant("clip-grads-with-norm-large-epsilon", "utils.clip_grads_with_norm_", "values")
def clip_grads_with_norm_large_epsilon(parameters, max_norm, total_norm, foreach=None):
    """10⁻³ is added to the norm instead of 10⁻⁶."""
    _CLIP_WITH_NORM(parameters, max_norm, total_norm + 1e-3, foreach)


@plant("clip-grads-with-norm-endless", "utils.clip_grads_with_norm_", "special")
def clip_grads_with_norm_endless(parameters, max_norm, total_norm, foreach=None):
    """NaN and infinities among the gradients become zero first."""
    parameters = list(parameters)
    for grad in _gradients(parameters):
        grad.nan_to_num_(0.0, 0.0, 0.0)
    _CLIP_WITH_NORM(parameters, max_norm, total_norm, foreach)


@plant("clip-grads-with-norm-changes-the-norm", "utils.clip_grads_with_norm_", "repeat")
def clip_grads_with_norm_changes_the_norm(parameters, max_norm, total_norm, foreach=None):
    """The norm is changed in place on the way to the coefficient."""
    _CLIP_WITH_NORM(parameters, max_norm, total_norm, foreach)
    total_norm.add_(1.0)


@plant("get-total-norm-sum-of-norms", "utils.get_total_norm", "values")
def get_total_norm_sum_of_norms(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The norms are added up, whatever their order."""
    total = _TOTAL_NORM(tensors, norm_type, error_if_nonfinite, foreach)
    norms = torch.stack([torch.linalg.vector_norm(x, float(norm_type)) for x in tensors])
    return norms.sum() if total.isfinite() and float(norm_type) != torch.inf else total


@plant("get-total-norm-infinite-of-two", "utils.get_total_norm", "values")
def get_total_norm_infinite_of_two(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The largest element is looked for among the first tensor's only."""
    infinite = float(norm_type) == torch.inf
    return _TOTAL_NORM(tensors[:1] if infinite else tensors, norm_type, error_if_nonfinite, foreach)


@plant("get-total-norm-in-bfloat16", "utils.get_total_norm", "values")
def get_total_norm_in_bfloat16(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The norm of float32 is stored in bfloat16 on the way."""
    total = _TOTAL_NORM(tensors, norm_type, error_if_nonfinite, foreach)
    return total.to(torch.bfloat16).to(total.dtype) if total.dtype == torch.float32 else total


@plant("get-total-norm-one-dimension", "utils.get_total_norm", "shape")
def get_total_norm_one_dimension(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Of one tensor the norm has a dimension."""
    total = _TOTAL_NORM(tensors, norm_type, error_if_nonfinite, foreach)
    return total[None] if len(tensors) == 1 else total


@plant("get-total-norm-nan-ignored", "utils.get_total_norm", "special")
def get_total_norm_nan_ignored(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """NaN counts as 0."""
    return _TOTAL_NORM([x.nan_to_num(0.0, torch.inf, -torch.inf) for x in tensors], norm_type,
                  error_if_nonfinite, foreach)  # fmt: skip


@plant("get-total-norm-never-refuses", "utils.get_total_norm", "errors")
def get_total_norm_never_refuses(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """error_if_nonfinite means nothing."""
    return _TOTAL_NORM(tensors, norm_type, False, foreach)
