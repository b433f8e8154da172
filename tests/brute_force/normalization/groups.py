"""Normalisations of a sample by itself as plain loops, from the documentation alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import numpy as np

from conformance.model.case import Case

Place = tuple[int, ...]


def _places(shape: Iterable[int]) -> list[Place]:
    return list(product(*(range(n) for n in shape)))


def _statistics(numbers: list[float]) -> tuple[float, float]:
    """Mean, and Σ(x − mean)²."""
    mean = math.fsum(numbers) / len(numbers)
    return mean, math.fsum((number - mean) ** 2 for number in numbers)


def _affine(y: float, weight: np.ndarray | None, bias: np.ndarray | None, place: Place) -> float:
    y = y if weight is None else y * float(weight[place])
    return y if bias is None else y + float(bias[place])


def instance_norm(
    x: np.ndarray, tensors: Mapping[str, Any], use_input_stats: bool, momentum: float, eps: float
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Every channel of every sample by itself; the output, and the running statistics after it."""
    output, spatial = np.zeros(x.shape), _places(x.shape[2:])
    means, variances = (tensors.get(name) for name in ("running_mean", "running_var"))
    weight, bias = tensors.get("weight"), tensors.get("bias")
    channel_statistics: dict[int, list[tuple[float, float]]] = {}
    for sample, channel in product(range(x.shape[0]), range(x.shape[1])):
        numbers = [float(x[(sample, channel, *place)]) for place in spatial]
        if use_input_stats:
            mean, squares = _statistics(numbers)
            variance = squares / len(numbers)
            channel_statistics.setdefault(channel, []).append((mean, squares / (len(numbers) - 1)))
        else:
            assert means is not None
            assert variances is not None
            mean, variance = float(means[channel]), float(variances[channel])
        for place, number in zip(spatial, numbers, strict=True):
            y = (number - mean) / math.sqrt(variance + eps)
            output[(sample, channel, *place)] = _affine(y, weight, bias, (channel,))
    changes: dict[str, np.ndarray] = {}
    if use_input_stats and means is not None and variances is not None:
        changes = {"running_mean": means.copy(), "running_var": variances.copy()}
        for channel, sample_statistics in channel_statistics.items():
            for statistic, name in enumerate(("running_mean", "running_var")):
                average = math.fsum(pair[statistic] for pair in sample_statistics) / len(
                    sample_statistics
                )
                previous = float(changes[name][channel])
                changes[name][channel] = (1 - momentum) * previous + momentum * average
    return output, changes


def group_norm(
    x: np.ndarray, groups: int, weight: np.ndarray | None, bias: np.ndarray | None, eps: float
) -> np.ndarray:
    """The channels of each group of each sample together."""
    output, size = np.zeros(x.shape), x.shape[1] // groups
    for sample, group in product(range(x.shape[0]), range(groups)):
        channels = range(group * size, (group + 1) * size)
        places = [(c, *place) for c in channels for place in _places(x.shape[2:])]
        mean, squares = _statistics([float(x[(sample, *place)]) for place in places])
        deviation = math.sqrt(squares / len(places) + eps)
        for place in places:
            y = (float(x[(sample, *place)]) - mean) / deviation
            output[(sample, *place)] = _affine(y, weight, bias, place[:1])
    return output


def rms_norm(
    x: np.ndarray, sizes: tuple[int, ...], weight: np.ndarray | None, eps: float
) -> np.ndarray:
    """Every row of the last dimensions by itself."""
    output, row_positions = np.zeros(x.shape), _places(sizes)
    for outer in _places(x.shape[: x.ndim - len(sizes)]):
        if not row_positions:
            continue
        squares = math.fsum(float(x[outer + place]) ** 2 for place in row_positions)
        root = math.sqrt(squares / len(row_positions) + eps)
        for place in row_positions:
            output[outer + place] = _affine(float(x[outer + place]) / root, weight, None, place)
    return output


def local_response_norm(
    x: np.ndarray, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> np.ndarray:
    """Every number with those in its place in `size` channels, the surplus one before it."""
    output = np.zeros(x.shape)
    for sample, channel, *place in _places(x.shape):
        window = [channel - size // 2 + step for step in range(size)]
        numbers = [float(x[(sample, c, *place)]) for c in window if 0 <= c < x.shape[1]]
        squares = math.fsum(number**2 for number in numbers)
        factor = (k + alpha * squares / size) ** beta
        output[(sample, channel, *place)] = float(x[(sample, channel, *place)]) / factor
    return output


def answer(case: Case) -> tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]] | None:
    """The outputs of a case and what it changes; None where it is of another module here.

    Args:
        case: of any layer of the family.
    """
    call, arguments = case.call, dict(case.call.arguments)
    name, tensors = call.layer.removeprefix("functional.").removeprefix("Lazy"), dict(call.state)
    x, *other_inputs = case.inputs
    assert x is not None
    function = call.layer.startswith("functional.")
    eps = arguments.get("eps", 1e-5)
    if name in ("LocalResponseNorm", "local_response_norm", "CrossMapLRN2d"):
        return (local_response_norm(x, **arguments),), {}
    if name in ("RMSNorm", "rms_norm"):
        sizes = arguments["normalized_shape"]
        sizes = (sizes,) if isinstance(sizes, int) else tuple(sizes)
        default_eps = 2.0**-52 if call.dtype == "float64" else 2.0**-23
        eps = arguments.get("eps")
        weight = other_inputs[0] if other_inputs else tensors.get("weight")
        return (rms_norm(x, sizes, weight, default_eps if eps is None else eps),), {}
    if name in ("GroupNorm", "group_norm"):
        weight, bias = other_inputs or (tensors.get("weight"), tensors.get("bias"))
        return (group_norm(x, arguments["num_groups"], weight, bias, eps),), {}
    if name.startswith("InstanceNorm") or name == "instance_norm":
        tracked = arguments.get("track_running_stats", call.layer.startswith("Lazy"))
        use_input_stats = call.training or not tracked
        if function:
            names = ("running_mean", "running_var", "weight", "bias")
            tensors, use_input_stats = (
                dict(zip(names, other_inputs, strict=True)),
                arguments.get("use_input_stats", True),
            )
        unbatched = not function and x.ndim == int(call.layer[-2]) + 1
        batch = x[np.newaxis] if unbatched else x
        output, changes = instance_norm(
            batch, tensors, use_input_stats, arguments.get("momentum", 0.1), eps
        )
        return (output[0] if unbatched else output,), changes
    return None
