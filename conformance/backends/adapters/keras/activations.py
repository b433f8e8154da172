"""Keras's elementwise functions and functions along an axis, from `keras.ops`.

Each function returns a new tensor, so nothing runs in place.
"""

from __future__ import annotations

from typing import Any

from conformance.backends.adapters.activations import LIBRARY_NAMES, NamedActivations
from conformance.backends.adapters.keras.parts import call_layer, keras
from conformance.backends.adapters.names import function_name, with_functions
from conformance.backends.adapters.shared import State
from conformance.backends.function import implements
from conformance.model.case import Call, Unsupported


class Activations(NamedActivations):
    """The part of Keras's adapter for activations, softmax and one-hot vectors."""

    namespace = keras.ops

    @implements("Tanhshrink", "functional.tanhshrink")
    def tanhshrink(self, state: State, x: Any) -> Any:
        """`keras.ops.tanh_shrink`."""
        return keras.ops.tanh_shrink(x)

    @implements("Mish", "functional.mish")
    def mish(self, state: State, x: Any) -> Any:
        """`keras.activations.mish`."""
        return keras.activations.mish(x)

    @implements("LeakyReLU", "functional.leaky_relu")
    def leaky_relu(self, state: State, x: Any, *, negative_slope: float = 0.01) -> Any:
        """`keras.ops.leaky_relu`, whose default slope differs from torch's."""
        return keras.ops.leaky_relu(x, negative_slope)

    @implements(*with_functions("Hardshrink", "Softshrink"))
    def shrink(self, state: State, x: Any, *, call: Call, lambd: float = 0.5) -> Any:
        """`keras.ops.hard_shrink` and `keras.ops.soft_shrink`."""
        return getattr(keras.ops, LIBRARY_NAMES[function_name(call.layer)])(x, lambd)

    @implements("Threshold", "functional.threshold")
    def threshold(self, state: State, x: Any, *, threshold: float, value: float) -> Any:
        """`keras.ops.threshold`."""
        return keras.ops.threshold(x, threshold, value)

    @implements("PReLU")
    def prelu(
        self, state: State, x: Any, *, call: Call, num_parameters: int = 1, init: float = 0.25
    ) -> Any:
        """`PReLU` with one slope, or one for each channel; `shared_axes` names the other axes."""
        if x.ndim < 2:
            raise Unsupported("an input without a batch")
        shared_axes = tuple(range(1 if num_parameters == 1 else 2, x.ndim))
        weights = []
        if state:
            weights = [state["weight"].reshape(-1, *(1,) * (x.ndim - 2))]
        if num_parameters != 1 and x.shape[1] != num_parameters:
            raise ValueError(f"num_parameters={num_parameters}: {x.shape[1]} channels")
        if not weights:
            shape = (num_parameters, *(1,) * (x.ndim - 2))
            weights = [keras.ops.full(shape, init, call.dtype)]
        return call_layer("PReLU", call.dtype, x, weights, shared_axes=shared_axes)
