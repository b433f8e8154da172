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


plant_around(
    __name__, Keras, FAITHFUL,
    {around.FirstAnswerKept: "AvgPool1d", around.GradientDoubled: "LayerNorm"},
)  # fmt: skip
