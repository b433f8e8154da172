"""Keras's functions of single numbers and along an axis: those of `keras.ops`.

A function of Keras returns a new tensor: nothing is done in place.
"""

from __future__ import annotations

from typing import Any

from conformance.backends.adapters.keras.parts import State, called, keras, only
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported, bare_name

_OPS = {
    "hardsigmoid": "hard_sigmoid", "hardswish": "hard_silu", "logsigmoid": "log_sigmoid",
    "tanhshrink": "tanh_shrink", "hardshrink": "hard_shrink", "softshrink": "soft_shrink",
    "leakyrelu": "leaky_relu", "leaky_relu": "leaky_relu",
}  # fmt: skip


class Activations(FunctionBackend):
    """The part of Keras's adapter for activations, softmax and one-hot vectors."""

    @implements(
        "ReLU", "ReLU6", "Hardsigmoid", "Hardswish", "SELU", "SiLU", "Sigmoid", "Tanh",
        "LogSigmoid", "Softsign", "Tanhshrink",
        "functional.relu", "functional.relu6", "functional.hardsigmoid", "functional.hardswish",
        "functional.selu", "functional.silu", "functional.sigmoid", "functional.tanh",
        "functional.logsigmoid", "functional.softsign", "functional.tanhshrink",
    )  # fmt: skip
    def activation(self, state: State, x: Any, *, call: Call, inplace: bool = False) -> Any:
        """`keras.ops.relu` and so on."""
        only(inplace=(inplace, False))
        name = bare_name(call.layer).lower()
        return getattr(keras.ops, _OPS.get(name, name))(x)

    @implements("Mish", "functional.mish")
    def mish(self, state: State, x: Any, *, inplace: bool = False) -> Any:
        """`keras.activations.mish`."""
        only(inplace=(inplace, False))
        return keras.activations.mish(x)

    @implements("ELU", "CELU", "functional.elu", "functional.celu", passes=("alpha",))
    def exponential(
        self, state: State, x: Any, *, call: Call, inplace: bool = False, **given: Any
    ) -> Any:
        """`keras.ops.elu` and `keras.ops.celu`."""
        only(inplace=(inplace, False))
        return getattr(keras.ops, bare_name(call.layer).lower())(x, **given)

    @implements("LeakyReLU", "functional.leaky_relu")
    def leaky_relu(
        self, state: State, x: Any, *, negative_slope: float = 0.01, inplace: bool = False
    ) -> Any:
        """`keras.ops.leaky_relu`, whose own slope is another."""
        only(inplace=(inplace, False))
        return keras.ops.leaky_relu(x, negative_slope)

    @implements("Hardshrink", "Softshrink", "functional.hardshrink", "functional.softshrink")
    def shrink(self, state: State, x: Any, *, call: Call, lambd: float = 0.5) -> Any:
        """`keras.ops.hard_shrink` and `keras.ops.soft_shrink`."""
        return getattr(keras.ops, _OPS[bare_name(call.layer).lower()])(x, lambd)

    @implements("Threshold", "functional.threshold")
    def threshold(
        self, state: State, x: Any, *, threshold: float, value: float, inplace: bool = False
    ) -> Any:
        """`keras.ops.threshold`."""
        only(inplace=(inplace, False))
        return keras.ops.threshold(x, threshold, value)

    @implements("Hardtanh", "functional.hardtanh")
    def hardtanh(
        self, state: State, x: Any, *, min_val: float = -1.0, max_val: float = 1.0,
        inplace: bool = False,
    ) -> Any:  # fmt: skip
        """`keras.ops.hard_tanh`, which ends at −1 and 1."""
        only(min_val=(min_val, -1), max_val=(max_val, 1), inplace=(inplace, False))
        return keras.ops.hard_tanh(x)

    @implements("GELU", "functional.gelu")
    def gelu(self, state: State, x: Any, *, approximate: str = "none") -> Any:
        """`keras.ops.gelu`."""
        if approximate not in ("none", "tanh"):
            raise ValueError(f"approximate={approximate!r}")
        return keras.ops.gelu(x, approximate=approximate == "tanh")

    @implements("Softplus", "functional.softplus")
    def softplus(self, state: State, x: Any, *, beta: float = 1.0, threshold: float = 20.0) -> Any:
        """`keras.ops.softplus`, which has no arguments and no threshold."""
        only(beta=(beta, 1), threshold=(threshold, 20))
        return keras.ops.softplus(x)

    @implements("GLU", "functional.glu")
    def glu(self, state: State, x: Any, *, dim: int = -1) -> Any:
        """`keras.ops.glu`."""
        return keras.ops.glu(x, axis=dim)

    @implements("Softmax", "LogSoftmax", "functional.softmax", "functional.log_softmax")
    def softmax(
        self, state: State, x: Any, *, call: Call, dim: int | None = None, dtype: Any = None
    ) -> Any:
        """`keras.ops.softmax` and `keras.ops.log_softmax` along one axis."""
        only(dtype=(dtype, None))
        if dim is None:
            raise Unsupported("dim=None")
        logarithm = "log" in call.layer.lower()
        return (keras.ops.log_softmax if logarithm else keras.ops.softmax)(x, axis=dim)

    @implements("functional.one_hot")
    def one_hot(self, state: State, tensor: Any, *, num_classes: int = -1) -> Any:
        """`keras.ops.one_hot` of as many classes as are said, of integers."""
        if num_classes == -1:
            raise Unsupported("num_classes=-1")
        return keras.ops.one_hot(tensor, num_classes, dtype="int64")

    @implements("PReLU")
    def prelu(
        self, state: State, x: Any, *, call: Call, num_parameters: int = 1, init: float = 0.25
    ) -> Any:
        """`PReLU`, a slope for each channel, or one: the axes that share it are named."""
        if x.ndim < 2:
            raise Unsupported("an input without a batch")
        shared = tuple(range(1 if num_parameters == 1 else 2, x.ndim))
        weights = []
        if state:
            weights = [state["weight"].reshape(-1, *(1,) * (x.ndim - 2))]
        if num_parameters != 1 and x.shape[1] != num_parameters:
            raise ValueError(f"num_parameters={num_parameters}: {x.shape[1]} channels")
        if not weights:
            shape = (num_parameters, *(1,) * (x.ndim - 2))
            weights = [keras.ops.full(shape, init, call.dtype)]
        return called("PReLU", call.dtype, x, weights, shared_axes=shared)
