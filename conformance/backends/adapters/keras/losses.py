"""Keras's losses: classes of `keras.losses` that have torch's definition.

Those of single numbers average over the last axis. Except for a plain mean, the adapter adds one of
length 1. Then each number is a sample, and `reduction` and `sample_weight` mean what they mean in
torch.

The others differ from torch. Cross entropies of probabilities clip them. KLDivergence takes
probabilities, where torch takes their logarithms. CTC normalises its logits once more, and
CosineSimilarity has the other sign and no eps. Keras has no class weights.
"""

from __future__ import annotations

from typing import Any

import torch

from conformance.backends.adapters.keras.parts import keras
from conformance.backends.adapters.shared import State, require_supported
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported

_REDUCTIONS = {"mean": "sum_over_batch_size", "sum": "sum", "none": "none"}


class Losses(FunctionBackend):
    """The part of Keras's adapter for losses."""

    @implements("L1Loss", "functional.l1_loss", "MSELoss", "functional.mse_loss")
    def difference_loss(
        self, state: State, input: Any, target: Any, weight: Any = None, *, call: Call,
        reduction: str = "mean",
    ) -> Any:  # fmt: skip
        """`MeanAbsoluteError` and `MeanSquaredError`; a mean with weights is Σ w·l ÷ Σ w."""
        name = "MeanAbsoluteError" if "l1" in call.layer.lower() else "MeanSquaredError"
        if weight is not None and reduction == "mean":
            reduction = "mean_with_sample_weight"
        return _elementwise_loss(name, input, target, weight, call, reduction)

    @implements("HuberLoss", "functional.huber_loss")
    def huber_loss(
        self, state: State, input: Any, target: Any, weight: Any = None, *, call: Call,
        reduction: str = "mean", delta: float = 1.0,
    ) -> Any:  # fmt: skip
        """`Huber`, whose delta is torch's."""
        return _elementwise_loss("Huber", input, target, weight, call, reduction, delta=delta)

    @implements("SmoothL1Loss", "functional.smooth_l1_loss")
    def smooth_l1_loss(
        self, state: State, input: Any, target: Any, *, call: Call, reduction: str = "mean",
        beta: float = 1.0,
    ) -> Any:  # fmt: skip
        """`Huber`, which is the same where beta and delta are 1."""
        require_supported(beta=(beta, 1.0))
        return _elementwise_loss("Huber", input, target, None, call, reduction)

    @implements("PoissonNLLLoss", "functional.poisson_nll_loss")
    def poisson_nll_loss(
        self, state: State, input: Any, target: Any, *, call: Call, log_input: bool = True,
        full: bool = False, eps: float = 1e-8, reduction: str = "mean",
    ) -> Any:  # fmt: skip
        """`Poisson` of rates; its eps is the one of `keras.config`."""
        require_supported(log_input=(log_input, False), full=(full, False))
        usual_eps = keras.config.epsilon()
        keras.config.set_epsilon(eps)
        try:
            return _elementwise_loss("Poisson", input, target, None, call, reduction)
        finally:
            keras.config.set_epsilon(usual_eps)

    @implements("BCEWithLogitsLoss", "functional.binary_cross_entropy_with_logits")
    def binary_cross_entropy_with_logits(
        self, state: State, input: Any, target: Any, weight: Any = None, pos_weight: Any = None, *,
        call: Call, reduction: str = "mean",
    ) -> Any:  # fmt: skip
        """`BinaryCrossentropy` of logits."""
        if state.get("pos_weight", pos_weight) is not None:
            raise Unsupported("pos_weight")
        weight, keywords = state.get("weight", weight), {"from_logits": True}
        return _elementwise_loss(
            "BinaryCrossentropy", input, target, weight, call, reduction, **keywords
        )

    @implements("CrossEntropyLoss", "functional.cross_entropy")
    def cross_entropy(
        self, state: State, input: Any, target: Any, weight: Any = None, *, call: Call,
        ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0,
    ) -> Any:  # fmt: skip
        """`CategoricalCrossentropy` of probabilities, `SparseCategoricalCrossentropy` of classes.

        Both need a batch.
        """
        if state.get("weight", weight) is not None:
            raise Unsupported("weight")
        lacks_batch = input.ndim == 1
        if lacks_batch:
            input, target = input[None], target[None]
        keywords: dict[str, Any] = {"from_logits": True, "axis": 1}
        if target.is_floating_point() and target.ndim == input.ndim:
            if ignore_index >= 0:
                raise Unsupported("an ignored class of probabilities")
            name, keywords["label_smoothing"] = "CategoricalCrossentropy", label_smoothing
        elif label_smoothing:
            raise Unsupported("label_smoothing of classes")
        else:
            name, keywords["ignore_class"] = "SparseCategoricalCrossentropy", ignore_index
        y = _make_loss(name, call, reduction, **keywords)(target, input)
        return y[0] if lacks_batch and reduction == "none" else y


def _make_loss(name: str, call: Call, reduction: str, **arguments: Any) -> Any:
    """Make a loss of `keras.losses`, which refuses a reduction that torch does not have either."""
    reduction = _REDUCTIONS.get(reduction, reduction)
    return getattr(keras.losses, name)(reduction=reduction, dtype=call.dtype, **arguments)


def _elementwise_loss(
    name: str, input: Any, target: Any, weight: Any, call: Call, reduction: str, **arguments: Any
) -> Any:
    """Call a loss of single numbers; unless it is a plain mean, each number becomes a sample."""
    _require_one_shape(input, target)
    if weight is not None and weight.shape != input.shape:
        raise Unsupported("weight of another shape")
    if lacks_batch := input.ndim == 0:
        input, target, weight = (None if x is None else x[None] for x in (input, target, weight))
    if weight is not None or reduction != "mean":
        input, target = input[..., None], target[..., None]
    y = _make_loss(name, call, reduction, **arguments)(target, input, sample_weight=weight)
    return y[0] if lacks_batch and reduction == "none" else y


def _require_one_shape(input: torch.Tensor, target: torch.Tensor) -> None:
    """Require inputs of one shape: torch broadcasts some with a warning, Keras documents none."""
    if input.shape != target.shape:
        raise Unsupported("inputs of several shapes")
