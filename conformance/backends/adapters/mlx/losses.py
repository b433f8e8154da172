"""Losses of `mlx.nn.losses` that have torch's definition.

kl_div_loss takes logarithms only, and sums over an axis, so the adapter adds one of length 1. The
others differ from torch: the triplet loss adds eps at another place, and hinge_loss is another
loss. MLX has no class weights and no ignored classes.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from conformance.backends.adapters.shared import State, require_supported
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported

_NAMES = {
    "L1Loss": "l1_loss", "MSELoss": "mse_loss", "SmoothL1Loss": "smooth_l1_loss",
    "HuberLoss": "huber_loss", "MarginRankingLoss": "margin_ranking_loss",
}  # fmt: skip


class Losses(FunctionBackend):
    """The part of MLX's adapter for losses."""

    @implements(
        *_NAMES, *(f"functional.{name}" for name in _NAMES.values()),
        passes=("beta", "delta", "margin"),
    )  # fmt: skip
    def loss(
        self, state: State, *inputs: Any, call: Call, reduction: str = "mean", **arguments: Any
    ) -> Any:
        """`nn.losses.l1_loss` and so on, of inputs of one shape."""
        name = _NAMES.get(call.layer, call.layer.removeprefix("functional."))
        arrays = [x for x in inputs if x is not None]
        if len(arrays) > 2 and name != "margin_ranking_loss":
            raise Unsupported("weight")
        _require_one_shape(arrays)
        return getattr(nn.losses, name)(*arrays, reduction=reduction, **arguments)

    @implements("GaussianNLLLoss", "functional.gaussian_nll_loss", passes=("full", "eps"))
    def gaussian_nll_loss(
        self, state: State, input: Any, target: Any, var: Any, *, reduction: str = "mean",
        **arguments: Any,
    ) -> Any:  # fmt: skip
        """`nn.losses.gaussian_nll_loss` with a variance for each element."""
        if isinstance(var, (int, float)):
            raise Unsupported("var is a number")
        _require_one_shape([input, target, var])
        return nn.losses.gaussian_nll_loss(input, target, var, reduction=reduction, **arguments)

    @implements("KLDivLoss", "functional.kl_div")
    def kl_div_loss(
        self, state: State, input: Any, target: Any, *, reduction: str = "mean",
        log_target: bool = False,
    ) -> Any:  # fmt: skip
        """`nn.losses.kl_div_loss`; a mean over sums of samples is torch's "batchmean"."""
        require_supported(log_target=(log_target, True))
        _require_one_shape([input, target])
        if reduction != "batchmean":
            input, target = input[..., None], target[..., None]
        elif input.ndim == 0 or not input.size:
            raise Unsupported("reduction='batchmean' of no samples")
        else:
            reduction = "mean"
            input, target = (x.reshape(x.shape[0], -1) for x in (input, target))
        return nn.losses.kl_div_loss(input, target, axis=-1, reduction=reduction)

    @implements("BCELoss", "functional.binary_cross_entropy")
    def binary_cross_entropy(
        self, state: State, input: Any, target: Any, weight: Any = None, *, reduction: str = "mean"
    ) -> Any:
        """`nn.losses.binary_cross_entropy` of probabilities."""
        return _binary_loss(state, input, target, weight, reduction, with_logits=False)

    @implements("BCEWithLogitsLoss", "functional.binary_cross_entropy_with_logits")
    def binary_cross_entropy_with_logits(
        self, state: State, input: Any, target: Any, weight: Any = None, pos_weight: Any = None, *,
        reduction: str = "mean",
    ) -> Any:  # fmt: skip
        """`nn.losses.binary_cross_entropy` of logits, which is its default."""
        if state.get("pos_weight", pos_weight) is not None:
            raise Unsupported("pos_weight")
        return _binary_loss(state, input, target, weight, reduction, with_logits=True)

    @implements("NLLLoss", "functional.nll_loss")
    def nll_loss(
        self, state: State, input: Any, target: Any, weight: Any = None, *,
        ignore_index: int = -100, reduction: str = "mean",
    ) -> Any:  # fmt: skip
        """`nn.losses.nll_loss`, with torch's class axis as its argument."""
        _decline_class_options(state, weight, ignore_index, target)
        return nn.losses.nll_loss(input, target, axis=_class_axis(input), reduction=reduction)

    @implements("CrossEntropyLoss", "functional.cross_entropy")
    def cross_entropy(
        self, state: State, input: Any, target: Any, weight: Any = None, *,
        ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0,
    ) -> Any:  # fmt: skip
        """`nn.losses.cross_entropy` without weights: MLX's are of samples, torch's of classes."""
        _decline_class_options(state, weight, ignore_index, target)
        if label_smoothing == 1:
            raise Unsupported("label_smoothing=1.0")  # documented: below 1
        if target.ndim == input.ndim:
            raise Unsupported("a target of probabilities")  # MLX assumes that their sum is 1
        arguments = {"label_smoothing": label_smoothing, "reduction": reduction}
        return nn.losses.cross_entropy(input, target, axis=_class_axis(input), **arguments)


def _class_axis(x: Any) -> int:
    """The axis of classes in torch."""
    return 0 if x.ndim == 1 else 1


def _require_one_shape(arrays: list[Any]) -> None:
    """Require inputs of one shape: torch broadcasts some with a warning, MLX documents none."""
    if len({tuple(x.shape) for x in arrays}) > 1:
        raise Unsupported("inputs of several shapes")


def _decline_class_options(state: State, weight: Any, ignore_index: int, target: Any) -> None:
    """Decline class weights and ignored targets, for which MLX has no arguments."""
    if state.get("weight", weight) is not None:
        raise Unsupported("weight")
    require_supported(ignore_index=(ignore_index, -100))
    if target.dtype == mx.int64 and mx.any(target == ignore_index).item():
        raise Unsupported("a target that is ignored")


def _binary_loss(
    state: State, x: Any, target: Any, weight: Any, reduction: str, *, with_logits: bool
) -> Any:
    """Call the loss; decline weights of another shape than the loss, which MLX does not have."""
    weight = state.get("weight", weight)
    if weight is not None and weight.shape != x.shape:
        raise Unsupported("weight of another shape")
    return nn.losses.binary_cross_entropy(
        x, target, weight, with_logits=with_logits, reduction=reduction
    )
