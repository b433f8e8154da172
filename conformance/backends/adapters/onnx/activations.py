"""Activations and softmax in ONNX: one operator for each.

Operators store their numbers (`alpha`, `lambd`) in float32, so a call in float64 with a number that
float32 does not have is declined. Tensors of a graph are immutable, so nothing runs in place.
Activations without an operator of their own are left out: LogSigmoid, Tanhshrink, RReLU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from conformance.backends.adapters.onnx.nodes import BFLOAT16, Graph, Value, numpy_dtype
from conformance.backends.adapters.shared import require_supported
from conformance.model.case import Unsupported

# The opset that first has the operator, if it is later than the default.
SWISH_OPSET = 24
APPROXIMATE = ("none", "tanh")


def elementwise(graph: Graph, input: Value, *, operator: str, inplace: bool = False) -> str:
    """An elementwise operator without arguments."""
    require_supported(inplace=(inplace, False))
    return graph.add(operator, input.name)


def swish(graph: Graph, input: Value, *, inplace: bool = False) -> str:
    """SiLU: Swish, whose alpha is 1."""
    require_supported(inplace=(inplace, False))
    return graph.add("Swish", input.name, since=SWISH_OPSET)


def selu(graph: Graph, input: Value, *, inplace: bool = False) -> str:
    """Selu, whose constants have the precision of float32."""
    require_supported(inplace=(inplace, False))
    if graph.dtype == np.float64:
        raise Unsupported("Selu in float64, whose constants are of float32")
    return graph.add("Selu", input.name)


def hardsigmoid(graph: Graph, input: Value, *, inplace: bool = False) -> str:
    """HardSigmoid with a slope of 1/6."""
    require_supported(inplace=(inplace, False))
    return graph.add("HardSigmoid", input.name, alpha=graph.attribute("alpha", 1 / 6), beta=0.5)


def leaky_relu(
    graph: Graph, input: Value, *, negative_slope: float = 0.01, inplace: bool = False
) -> str:
    """LeakyRelu, whose slope ONNX calls `alpha`."""
    require_supported(inplace=(inplace, False))
    return graph.add(
        "LeakyRelu", input.name, alpha=graph.attribute("negative_slope", negative_slope)
    )


def elu(
    graph: Graph, input: Value, *, operator: str = "Elu", alpha: float = 1.0, inplace: bool = False
) -> str:
    """Elu, and Celu, which ONNX has in float32 only."""
    require_supported(inplace=(inplace, False))
    if operator == "Celu" and graph.dtype != np.float32:
        raise Unsupported(f"Celu in {graph.dtype}")
    if operator == "Celu" and alpha == 0:
        raise Unsupported("alpha=0, which Celu does not refuse")
    return graph.add(operator, input.name, alpha=graph.attribute("alpha", alpha))


def gelu(graph: Graph, input: Value, *, approximate: str = "none") -> str:
    """Gelu, whose `approximate` takes torch's words."""
    if approximate not in APPROXIMATE:
        raise Unsupported(f"approximate={approximate!r}")
    return graph.add("Gelu", input.name, approximate=approximate)


def clip(
    graph: Graph, input: Value, *, min_val: float = -1.0, max_val: float = 1.0,
    inplace: bool = False,
) -> str:  # fmt: skip
    """Hardtanh: Clip."""
    require_supported(inplace=(inplace, False))
    if min_val > max_val:
        raise Unsupported(f"min_val={min_val!r}, above max_val, which Clip does not refuse")
    return graph.add("Clip", input.name, graph.scalar(min_val), graph.scalar(max_val))


def relu6(graph: Graph, input: Value, *, inplace: bool = False) -> str:
    """Clip from 0 to 6."""
    return clip(graph, input, min_val=0.0, max_val=6.0, inplace=inplace)


def shrink(graph: Graph, input: Value, *, soft: bool, lambd: float = 0.5) -> str:
    """Hardshrink and Softshrink: Shrink, whose bias is 0 or lambd."""
    if lambd < 0:
        raise Unsupported(f"lambd={lambd!r}, which Shrink does not refuse")
    if graph.dtype == BFLOAT16:
        raise Unsupported("Shrink in bfloat16")
    bound = graph.attribute("lambd", lambd)
    return graph.add("Shrink", input.name, lambd=bound, bias=bound if soft else 0.0)


def threshold(
    graph: Graph, input: Value, *, threshold: float, value: float, inplace: bool = False
) -> str:
    """ThresholdedRelu, which replaces elements that are not above the threshold by 0."""
    require_supported(inplace=(inplace, False), value=(value, 0))
    return graph.add("ThresholdedRelu", input.name, alpha=graph.attribute("threshold", threshold))


def softplus(graph: Graph, input: Value, *, beta: float = 1.0, threshold: float = 20.0) -> str:
    """Softplus, which has neither beta nor a threshold.

    In float64 torch's threshold matters, because e⁻²⁰ is more than a rounding error.
    """
    require_supported(beta=(beta, 1.0), threshold=(threshold, 20.0))
    if graph.dtype == np.float64:
        raise Unsupported(f"threshold={threshold!r} in float64, of which Softplus has none")
    return graph.add("Softplus", input.name)


def prelu(graph: Graph, input: Value, weight: Value) -> str:
    """PRelu; slopes for each channel, the second axis, are reshaped to broadcast over the rest."""
    if weight.rank != 1:
        raise Unsupported("weight of another rank, which PRelu broadcasts")
    count = weight.shape[0]
    if count == 1:
        slope = weight.name
        if input.rank == 0:
            slope = graph.add("Squeeze", slope)
        return graph.add("PRelu", input.name, slope)
    if input.rank < 2 or input.shape[1] != count:
        raise Unsupported("slopes of another number, which PRelu broadcasts")
    slope = graph.add("Reshape", weight.name, graph.integers(count, *[1] * (input.rank - 2)))
    return graph.add("PRelu", input.name, slope)


def softmax(
    graph: Graph, input: Value, *, operator: str = "Softmax", negated: bool = False,
    dim: int | None = None, dtype: str | None = None,
) -> str:  # fmt: skip
    """Softmax and LogSoftmax; with Neg before it for softmin, and Cast for the argument `dtype`.

    Without `dim` the axis is the first for one or three axes, otherwise the second, as torch
    documents it.
    """
    if dim is None:
        dim = 0 if input.rank in (0, 1, 3) else 1
    if input.rank == 0:
        raise Unsupported("a scalar, which has no axis in ONNX")
    x = input.name
    if dtype is not None and dtype != str(graph.dtype):
        if dtype not in ("float16", "bfloat16", "float32", "float64"):
            raise Unsupported(f"dtype={dtype!r}")
        x = graph.cast(x, numpy_dtype(dtype))
    if negated:
        x = graph.add("Neg", x)
    y = graph.add(operator, x, axis=dim)
    return graph.set_dtype(y, graph.dtype if dtype is None else numpy_dtype(dtype))


def softmax2d(graph: Graph, input: Value) -> str:
    """Softmax over the channels, the third axis from the end."""
    if input.rank not in (3, 4):
        raise Unsupported(f"an input of {input.rank} axes, which Softmax does not refuse")
    return graph.add("Softmax", input.name, axis=-3)


def _functions() -> dict[str, Callable[..., Any]]:
    """Implementations by layer: modules and functions."""
    both: dict[tuple[str, str], Callable[..., Any]] = {
        ("ReLU", "relu"): partial(elementwise, operator="Relu"),
        ("ReLU6", "relu6"): relu6,
        ("LeakyReLU", "leaky_relu"): leaky_relu,
        ("Threshold", "threshold"): threshold,
        ("Hardtanh", "hardtanh"): clip,
        ("Hardshrink", "hardshrink"): partial(shrink, soft=False),
        ("Softshrink", "softshrink"): partial(shrink, soft=True),
        ("Hardsigmoid", "hardsigmoid"): hardsigmoid,
        ("Hardswish", "hardswish"): partial(elementwise, operator="HardSwish"),
        ("ELU", "elu"): elu,
        ("CELU", "celu"): partial(elu, operator="Celu"),
        ("SELU", "selu"): selu,
        ("GELU", "gelu"): gelu,
        ("SiLU", "silu"): swish,
        ("Mish", "mish"): partial(elementwise, operator="Mish"),
        ("Sigmoid", "sigmoid"): partial(elementwise, operator="Sigmoid"),
        ("Tanh", "tanh"): partial(elementwise, operator="Tanh"),
        ("Softplus", "softplus"): softplus,
        ("Softsign", "softsign"): partial(elementwise, operator="Softsign"),
        ("PReLU", "prelu"): prelu,
        ("Softmin", "softmin"): partial(softmax, negated=True),
        ("Softmax", "softmax"): softmax,
        ("LogSoftmax", "log_softmax"): partial(softmax, operator="LogSoftmax"),
    }
    implementations = {name: f for (name, _), f in both.items()}
    implementations |= {f"functional.{name}": f for (_, name), f in both.items()}
    return implementations | {"Softmax2d": softmax2d}


FUNCTIONS = _functions()
