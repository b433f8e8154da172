"""Softmax and its kin as plain loops, from the documentation alone."""

from __future__ import annotations

import math
import random

import numpy as np

from brute_force.oracles import positions
from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output; of Gumbel-softmax one of those that it may have."""
    (x,) = case.inputs
    assert x is not None
    name = case.call.layer.removeprefix("functional.").replace("_", "").lower()
    arguments = dict(case.call.arguments)
    if arguments.get("dtype") is not None:
        x = round_to_dtype(x, arguments["dtype"])
    axis = _axis(name, arguments, x.ndim)
    if not x.ndim:
        return (_apply_to_rows(case, name, arguments, x.reshape(1), 0).reshape(()),)
    return (_apply_to_rows(case, name, arguments, x, axis),)


def round_to_dtype(x: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers as they are in another dtype, as float64."""
    with np.errstate(over="ignore"):
        if dtype != "bfloat16":
            return x.astype(dtype).astype(np.float64)
        bits = x.astype(np.float32).view(np.uint32)
    # To the nearest of 8 bits, of two to the even one.
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
    return rounded.astype(np.uint32).view(np.float32).astype(np.float64)


def _axis(name: str, arguments: dict[str, object], axes: int) -> int:
    dim = arguments.get("dim", -1 if name == "gumbelsoftmax" else None)
    if name == "softmax2d":
        return axes - 3
    if dim is None:
        return {0: 0, 1: 0, 3: 0}.get(axes, 1)
    assert isinstance(dim, int)
    return dim if dim >= 0 else dim + max(axes, 1)


def _apply_to_rows(
    case: Case, name: str, arguments: dict[str, object], x: np.ndarray, axis: int
) -> np.ndarray:
    output, generator = np.empty(x.shape), random.Random(case.seed)
    batch_shape = x.shape[:axis] + x.shape[axis + 1 :]
    for position in positions(batch_shape):
        places = [(*position[:axis], k, *position[axis:]) for k in range(x.shape[axis])]
        row = [float(x[place]) for place in places]
        if name == "gumbelsoftmax":
            numbers = _gumbel_softmax(row, arguments, generator)
        elif name == "logsoftmax":
            numbers = _log_softmax(row)
        else:
            numbers = _softmax([-a for a in row] if name == "softmin" else row)
        for place, number in zip(places, numbers, strict=True):
            output[place] = number
    return output


def _softmax(row: list[float]) -> list[float]:
    if not row or not math.isfinite(max(row)) or any(math.isnan(a) for a in row):
        return [math.nan] * len(row)
    exponentials = [math.exp(a - max(row)) for a in row]
    return [a / math.fsum(exponentials) for a in exponentials]


def _log_softmax(row: list[float]) -> list[float]:
    if not row or not math.isfinite(max(row)) or any(math.isnan(a) for a in row):
        return [math.nan] * len(row)
    argmax = max(range(len(row)), key=row.__getitem__)
    # All but the largest, whose exponential is 1: log1p keeps the digits of a small sum.
    other_sum = math.fsum(math.exp(a - row[argmax]) for k, a in enumerate(row) if k != argmax)
    return [a - row[argmax] - math.log1p(other_sum) for a in row]


def _gumbel_softmax(
    row: list[float], arguments: dict[str, object], generator: random.Random
) -> list[float]:
    tau, hard = float(str(arguments.get("tau", 1.0))), bool(arguments.get("hard", False))
    noisy = [(a - math.log(-math.log(generator.uniform(1e-12, 1 - 1e-12)))) / tau for a in row]
    soft = _softmax(noisy)
    if not hard:
        return soft
    return [float(k == max(range(len(row)), key=soft.__getitem__)) for k in range(len(row))]
