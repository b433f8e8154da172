"""LayerNorm and BatchNorm as plain loops, one number at a time, from the documentation alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

import brute_force.normalization.groups as groups
from conformance.model.case import Case


def _statistics(numbers: Sequence[float]) -> tuple[float, float]:
    """Mean, and Σ(x − mean)²."""
    mean = math.fsum(numbers) / len(numbers)
    return mean, math.fsum((number - mean) ** 2 for number in numbers)


def layer_norm(
    input: np.ndarray,
    normalized_shape: int | Sequence[int],
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    eps: float = 1e-5,
) -> np.ndarray:
    """Every row of the last dimensions by itself; weight and bias element by element."""
    sizes = [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
    before = input.shape[: input.ndim - len(sizes)]
    output = np.zeros(input.shape)
    row_positions = list(product(*(range(n) for n in sizes)))
    for outer in product(*(range(n) for n in before)):
        numbers = [float(input[outer + place]) for place in row_positions]
        if not numbers:
            continue
        mean, squares = _statistics(numbers)
        deviation = math.sqrt(squares / len(numbers) + eps)
        for place, number in zip(row_positions, numbers, strict=True):
            y = (number - mean) / deviation
            if weight is not None:
                y *= float(weight[place])
            if bias is not None:
                y += float(bias[place])
            output[outer + place] = y
    return output


def _channel_values(input: np.ndarray, channel: int) -> Iterator[tuple[int, ...]]:
    for place in product(*(range(n) for n in input.shape)):
        if place[1] == channel:
            yield place


def batch_norm(
    input: np.ndarray,
    running_mean: np.ndarray | None,
    running_var: np.ndarray | None,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Every channel by itself; the output, and in training the running statistics after it."""
    output, changes = np.zeros(input.shape), dict[str, np.ndarray]()
    if training and running_mean is not None and running_var is not None:
        changes = {"running_mean": running_mean.copy(), "running_var": running_var.copy()}
    for channel in range(input.shape[1]):
        places = list(_channel_values(input, channel))
        if not places:
            continue
        if training:
            count = len(places)
            mean, squares = _statistics([float(input[place]) for place in places])
            variance = squares / count
            for name, observed in (("running_mean", mean), ("running_var", squares / (count - 1))):
                if changes:
                    previous = float(changes[name][channel])
                    changes[name][channel] = (1 - momentum) * previous + momentum * observed
        else:
            assert running_mean is not None
            assert running_var is not None
            mean, variance = float(running_mean[channel]), float(running_var[channel])
        for place in places:
            y = (float(input[place]) - mean) / math.sqrt(variance + eps)
            if weight is not None:
                y *= float(weight[channel])
            if bias is not None:
                y += float(bias[channel])
            output[place] = y
    return output, changes


def answer(case: Case) -> tuple[tuple[np.ndarray, ...], dict[str, np.ndarray]]:
    """The outputs of a case, and the state or the inputs that it changes.

    Args:
        case: of any layer of the family.
    """
    result = groups.answer(case)
    if result is not None:
        return result
    call, arguments = case.call, dict(case.call.arguments)
    x, *tensors = case.inputs
    assert x is not None
    eps = arguments.get("eps", 1e-5)
    if "normalized_shape" in arguments:
        weight, bias = tensors or (call.state.get("weight"), call.state.get("bias"))
        return (layer_norm(x, arguments["normalized_shape"], weight, bias, eps),), {}
    if call.layer.startswith("functional."):
        output, changes = batch_norm(x, *tensors, **arguments)
        return (output,), changes
    state, tracked = call.state, arguments.get("track_running_stats", True)
    momentum = arguments.get("momentum", 0.1)
    count = int(state["num_batches_tracked"]) + 1 if tracked else 0
    if momentum is None:
        momentum = 1 / count if count else 0.0
    output, changes = batch_norm(
        x, state.get("running_mean"), state.get("running_var"), state.get("weight"),
        state.get("bias"), call.training or not tracked, momentum, eps,
    )  # fmt: skip
    if call.training and tracked:
        changes["num_batches_tracked"] = np.array(count)
    return (output,), changes


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The outputs of a case.

    Args:
        case: of any layer of the family.
    """
    return answer(case)[0]
