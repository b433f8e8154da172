"""Keras's adapter with bugs."""

from __future__ import annotations

from typing import Any

from conformance.backends import implements
from conformance.backends.adapters.keras import Keras
from conformance.backends.adapters.keras.parts import keras

from . import around
from .bug import plant, plant_around

FAITHFUL = "conformance.backends.adapters.keras:backend"


@plant(FAITHFUL, "LeakyReLU")
class OwnSlope(Keras):
    """A slope that is left out is Keras's own, 0.2."""

    @implements("LeakyReLU")
    def leaky_relu_with_own_slope(self, state: Any, x: Any, *, negative_slope: float = 0.2) -> Any:
        """Another default."""
        return self.leaky_relu(state, x, negative_slope=negative_slope)


@plant(FAITHFUL, "ZeroPad2d")
class SidesExchanged(Keras):
    """torch's list is read from the first axis on."""

    @implements("ZeroPad2d")
    def zero_pad_with_swapped_sides(self, state: Any, x: Any, *, call: Any, padding: Any) -> Any:
        """Rows are padded as columns should be."""
        if not isinstance(padding, int):
            padding = (*padding[2:], *padding[:2])
        return self.zero_pad(state, x, call=call, padding=padding)


@plant(FAITHFUL, "GELU")
class AlwaysByTanh(Keras):
    """GELU is approximated where it should not be."""

    @implements("GELU")
    def gelu_by_tanh(self, state: Any, x: Any, *, approximate: str = "none") -> Any:
        """Keras's own default."""
        if approximate not in ("none", "tanh"):
            return self.gelu(state, x, approximate=approximate)
        return keras.ops.gelu(x)


@plant(FAITHFUL, "functional.l1_loss", "functional.mse_loss")
class WeightsNotDivided(Keras):
    """A mean with weights is divided by the number of elements, not by the sum of the weights."""

    @implements("functional.l1_loss", "functional.mse_loss")
    def loss_per_element(
        self, state: Any, input: Any, target: Any, weight: Any = None, *, call: Any,
        reduction: str = "mean",
    ) -> Any:  # fmt: skip
        """The mean of the weighted losses."""
        if weight is None or reduction != "mean":
            keywords = {"call": call, "reduction": reduction}
            return self.difference_loss(state, input, target, weight, **keywords)
        losses = self.difference_loss(state, input, target, weight, call=call, reduction="none")
        return keras.ops.mean(losses)


@plant(FAITHFUL, "CrossEntropyLoss", "functional.cross_entropy")
class IgnoredCounted(Keras):
    """The mean is over all samples, ignored ones too."""

    @implements("CrossEntropyLoss", "functional.cross_entropy", passes=("label_smoothing",))
    def cross_entropy_of_all(
        self, state: Any, input: Any, target: Any, *weight: Any, call: Any,
        ignore_index: int = -100, reduction: str = "mean", **arguments: Any,
    ) -> Any:  # fmt: skip
        """The mean of what `reduction="none"` gives."""
        arguments |= {"call": call, "ignore_index": ignore_index}
        if reduction != "mean" or not (target == ignore_index).any():
            return self.cross_entropy(
                state, input, target, *weight, reduction=reduction, **arguments
            )
        return keras.ops.mean(
            self.cross_entropy(state, input, target, *weight, reduction="none", **arguments)
        )


@plant(FAITHFUL, "functional.scaled_dot_product_attention")
class ScaleForgotten(Keras):
    """Scores are not divided by the root of the width where no scale is given."""

    @implements("functional.scaled_dot_product_attention", passes=("is_causal", "enable_gqa"))
    def attention_without_scale(
        self, state: Any, *inputs: Any, scale: float | None = None, **arguments: Any
    ) -> Any:
        """A scale of 1, like the layer `Attention`."""
        scale = 1.0 if scale is None else scale
        return self.scaled_dot_product_attention(state, *inputs, scale=scale, **arguments)


plant_around(
    __name__, Keras, FAITHFUL,
    {around.FirstAnswerKept: "AvgPool1d", around.GradientDoubled: "LayerNorm"},
)  # fmt: skip
