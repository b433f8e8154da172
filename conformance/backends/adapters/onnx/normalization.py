"""Normalisations in ONNX: of batches, instances, layers and groups, RMS, and LRN.

For running statistics ONNX divides a batch's variance by n, torch by n − 1. BatchNormalization with
a momentum of 0 therefore returns the statistics of the batch, and Mul and Add update the old ones.
Operators need a scale and a shift: ones and zeros where torch has none. eps is an attribute, which
ONNX keeps in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from conformance.backends.adapters.onnx.nodes import Graph, Value
from conformance.model.case import Unsupported

RMS_OPSET = 23  # the first with RMSNormalization
DOUBLE_TYPE = 11  # ONNX's code of float64, for the attribute stash_type


def batch_norm(
    graph: Graph, input: Value, running_mean: Value | None = None,
    running_var: Value | None = None, weight: Value | None = None, bias: Value | None = None, *,
    ranks: Sequence[int] = (), training: bool | None = None, momentum: float | None = 0.1,
    eps: float = 1e-5, track_running_stats: bool = True,
) -> str:  # fmt: skip
    """BatchNormalization; a module without running statistics uses the batch's in eval mode, too.

    Args:
        graph: the graph to which nodes are added.
        input: (N, C, …).
        running_mean, running_var: running statistics, or None.
        weight, bias: a number for each channel, or None.
        ranks: allowed numbers of axes of the input; empty = at least two.
        training: the argument of a function; None for a module, which has a mode.
    """
    if input.rank not in ranks if ranks else input.rank < 2:
        raise Unsupported(
            f"an input of {input.rank} axes, which BatchNormalization does not refuse"
        )
    if momentum is None:
        raise Unsupported("momentum=None")
    _check_channels(input, running_mean, running_var, weight, bias)
    parameters = _scale_and_shift(graph, input, weight, bias)
    is_training = graph.training if training is None else training
    if eps < 0 or (eps == 0 and (is_training or running_mean is None)):
        raise Unsupported(f"eps={eps!r}, which BatchNormalization does not refuse")
    epsilon = graph.attribute("eps", eps)
    if (running_mean is None) != (running_var is None):
        raise Unsupported("running_mean or running_var without the other")
    if running_mean is not None and running_var is not None and not is_training:
        return graph.add(
            "BatchNormalization", input.name, *parameters, running_mean.name, running_var.name,
            epsilon=epsilon,
        )  # fmt: skip
    if not is_training and training is not None:
        raise Unsupported("no statistics in eval mode")
    count = input.shape[0] * math.prod(input.shape[2:])
    if count < 2:
        raise Unsupported("one value for each channel, which BatchNormalization does not refuse")
    zeros, ones = (graph.full(x, input.shape[1]) for x in (0.0, 1.0))
    y, mean, variance = graph.add_several(
        "BatchNormalization", 3, input.name, *parameters, zeros, ones,
        epsilon=epsilon, momentum=0.0, training_mode=1,
    )  # fmt: skip
    if running_mean is not None and running_var is not None:
        variance_factor = momentum * count / (count - 1)
        graph.updates = {
            "running_mean": _moving_average(graph, running_mean, mean, momentum, momentum),
            "running_var": _moving_average(graph, running_var, variance, momentum, variance_factor),
        }
    return y


def instance_norm(
    graph: Graph, input: Value, running_mean: Value | None = None,
    running_var: Value | None = None, weight: Value | None = None, bias: Value | None = None, *,
    dims: int | None = None, use_input_stats: bool | None = None, momentum: float | None = 0.1,
    eps: float = 1e-5, track_running_stats: bool = False,
) -> str:  # fmt: skip
    """InstanceNormalization; in eval mode BatchNormalization applies running statistics.

    Args:
        graph: the graph to which nodes are added.
        input: (N, C, …) or, for a module, (C, …).
        running_mean, running_var: running statistics, or None.
        weight, bias: a number for each channel, or None.
        dims: number of spatial dimensions of a module; None for a function.
        use_input_stats: the argument of a function; None for a module, which has a mode.
    """
    if input.rank not in ((dims + 1, dims + 2) if dims else (3, 4, 5)):
        raise Unsupported(
            f"an input of {input.rank} axes, which InstanceNormalization does not refuse"
        )
    is_unbatched = dims is not None and input.rank == dims + 1
    shape = (1, *input.shape) if is_unbatched else input.shape
    x = graph.add("Unsqueeze", input.name, graph.integers(0)) if is_unbatched else input.name
    batched_input = Value(x, shape, input.dtype)
    _check_channels(batched_input, running_mean, running_var, weight, bias)
    uses_input_statistics = use_input_stats
    if uses_input_statistics is None:
        uses_input_statistics = graph.training or running_mean is None
    if uses_input_statistics and running_mean is not None:
        raise Unsupported("an update of running statistics, which InstanceNormalization lacks")
    if not uses_input_statistics and (running_mean is None or running_var is None):
        raise Unsupported("no statistics")
    parameters = _scale_and_shift(graph, batched_input, weight, bias)
    epsilon = graph.attribute("eps", eps)
    if running_mean is not None and running_var is not None:
        y = graph.add(
            "BatchNormalization", x, *parameters, running_mean.name, running_var.name,
            epsilon=epsilon,
        )  # fmt: skip
    else:
        if math.prod(shape[2:]) < 2:
            raise Unsupported(
                "one value for each channel, which InstanceNormalization does not refuse"
            )
        y = graph.add("InstanceNormalization", x, *parameters, epsilon=epsilon)
    return graph.add("Squeeze", y, graph.integers(0)) if is_unbatched else y


def layer_norm(
    graph: Graph, input: Value, weight: Value | None = None, bias: Value | None = None, *,
    normalized_shape: Any, eps: float = 1e-5,
) -> str:  # fmt: skip
    """LayerNormalization; the mean is computed in float32, or in float64 for float64."""
    sizes = _last_sizes(input, normalized_shape, weight, bias)
    scale = graph.full(1.0, *sizes) if weight is None else weight.name
    return graph.add(
        "LayerNormalization", input.name, scale, None if bias is None else bias.name,
        axis=-len(sizes), epsilon=graph.attribute("eps", eps), **_stash_attribute(graph),
    )  # fmt: skip


def rms_norm(
    graph: Graph, input: Value, weight: Value | None = None, *, normalized_shape: Any,
    eps: float | None = None,
) -> str:  # fmt: skip
    """RMSNormalization; the default eps is that of the dtype in which it is computed."""
    sizes = _last_sizes(input, normalized_shape, weight, None)
    scale = graph.full(1.0, *sizes) if weight is None else weight.name
    compute_dtype = np.float64 if graph.dtype == np.float64 else np.float32
    epsilon = float(np.finfo(compute_dtype).eps) if eps is None else eps
    return graph.add(
        "RMSNormalization", input.name, scale, since=RMS_OPSET, axis=-len(sizes),
        epsilon=graph.attribute("eps", epsilon), **_stash_attribute(graph),
    )  # fmt: skip


def group_norm(
    graph: Graph, input: Value, weight: Value | None = None, bias: Value | None = None, *,
    num_groups: int, num_channels: int | None = None, eps: float = 1e-5,
) -> str:  # fmt: skip
    """GroupNormalization, which has a scale for each channel since opset 21."""
    if input.rank < 2 or num_channels not in (None, input.shape[1]):
        raise Unsupported(
            f"an input of shape {input.shape}, which GroupNormalization does not refuse"
        )
    if num_groups < 1 or input.shape[1] % num_groups:
        raise Unsupported(f"num_groups={num_groups} of {input.shape[1]} channels")
    if math.prod(input.shape[2:], start=input.shape[1] // num_groups * input.shape[0]) < 2:
        raise Unsupported("one value in all, which GroupNormalization does not refuse")
    _check_channels(input, weight, bias)
    y = graph.add(
        "GroupNormalization", input.name, *_scale_and_shift(graph, input, weight, bias),
        num_groups=num_groups, epsilon=graph.attribute("eps", eps), **_stash_attribute(graph),
    )  # fmt: skip
    return graph.set_rank(y, input.rank)


def local_response_norm(
    graph: Graph, input: Value, *, size: int, alpha: float = 1e-4, beta: float = 0.75,
    k: float = 1.0, ranks: Sequence[int] = (),
) -> str:  # fmt: skip
    """LRN; of a window of even size it has the larger half after the element, torch before it."""
    if input.rank not in ranks if ranks else input.rank < 3:
        raise Unsupported(f"an input of {input.rank} axes, which LRN does not refuse")
    if size < 1 or size % 2 == 0:
        raise Unsupported(f"size={size}: LRN and torch have the same window for odd sizes only")
    attributes = {"alpha": alpha, "beta": beta, "bias": k}
    return graph.add(
        "LRN", input.name, size=size, **{n: graph.attribute(n, x) for n, x in attributes.items()}
    )


def _stash_attribute(graph: Graph) -> dict[str, int]:
    """The attribute that sets the dtype of the mean: float64 for float64, else the default."""
    return {"stash_type": DOUBLE_TYPE} if graph.dtype == np.float64 else {}


def _moving_average(graph: Graph, old: Value, new: str, momentum: float, factor: float) -> str:
    """Add nodes for (1 − momentum)·old + factor·new.

    Half precision is computed in float32, because 1 − momentum is another number in half precision.
    """
    if graph.dtype.itemsize > 2:
        old_part = graph.add("Mul", old.name, graph.scalar(1 - momentum))
        return graph.add("Add", old_part, graph.add("Mul", new, graph.scalar(factor)))
    wide = np.dtype(np.float32)
    factors = [graph.constant(np.array(x, wide)) for x in (1 - momentum, factor)]
    parts = [
        graph.add("Mul", graph.cast(x, wide), y)
        for x, y in zip((old.name, new), factors, strict=True)
    ]
    return graph.cast(graph.add("Add", *parts), graph.dtype)


def _scale_and_shift(
    graph: Graph, input: Value, weight: Value | None, bias: Value | None
) -> tuple[str, str]:
    channels = input.shape[1]
    return (
        graph.full(1.0, channels) if weight is None else weight.name,
        graph.full(0.0, channels) if bias is None else bias.name,
    )


def _check_channels(input: Value, *tensors: Value | None) -> None:
    """Require that each tensor has one number for each channel.

    Raises:
        Unsupported: for another shape, because an operator may broadcast it.
    """
    if any(x is not None and x.shape != (input.shape[1],) for x in tensors):
        raise Unsupported("another number of channels, which an operator broadcasts")


def _last_sizes(
    input: Value, normalized_shape: Any, weight: Value | None, bias: Value | None
) -> tuple[int, ...]:
    """Read normalized_shape as a tuple; the input's last axes and the weights must have it.

    Raises:
        Unsupported: for other shapes, because an operator may broadcast them.
    """
    is_number = isinstance(normalized_shape, int)
    sizes = (normalized_shape,) if is_number else tuple(normalized_shape)
    if not sizes or input.shape[-len(sizes) :] != sizes:
        raise Unsupported(f"normalized_shape={normalized_shape!r}, which no operator checks")
    if any(x is not None and x.shape != sizes for x in (weight, bias)):
        raise Unsupported("a weight of another shape, which an operator broadcasts")
    return sizes


def _functions() -> dict[str, Callable[..., Any]]:
    """Implementations by layer: modules and functions."""
    implementations: dict[str, Callable[..., Any]] = {}
    for dims in (1, 2, 3):
        ranks = (2, 3) if dims == 1 else (dims + 2,)
        for prefix in ("", "Lazy"):
            implementations[f"{prefix}BatchNorm{dims}d"] = partial(batch_norm, ranks=ranks)
            implementations[f"{prefix}InstanceNorm{dims}d"] = partial(instance_norm, dims=dims)
    for names, function in (
        (("functional.batch_norm",), partial(batch_norm, training=False)),
        (("functional.instance_norm",), partial(instance_norm, use_input_stats=True)),
        (("LayerNorm", "functional.layer_norm"), layer_norm),
        (("RMSNorm", "functional.rms_norm"), rms_norm),
        (("GroupNorm", "functional.group_norm"), group_norm),
        (("LocalResponseNorm", "functional.local_response_norm"), local_response_norm),
        (("CrossMapLRN2d",), partial(local_response_norm, ranks=(4,))),
    ):
        implementations |= dict.fromkeys(names, function)
    return implementations


FUNCTIONS = _functions()
