"""Softmax and its kin as plain loops, from the documentation alone."""

from __future__ import annotations

import math
import random

import numpy as np

from brute_force.oracles import _positions
from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output; of Gumbel-softmax one of those that it may have."""
    (x,) = case.inputs
    assert x is not None
    name = case.call.layer.removeprefix("functional.").replace("_", "").lower()
    given = dict(case.call.arguments)
    if given.get("dtype") is not None:
        x = cast(x, given["dtype"])
    axis = _axis(name, given, x.ndim)
    if not x.ndim:
        return (_sliced(case, name, given, x.reshape(1), 0).reshape(()),)
    return (_sliced(case, name, given, x, axis),)


def cast(x: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers as they are in another dtype, as float64."""
    with np.errstate(over="ignore"):
        if dtype != "bfloat16":
            return x.astype(dtype).astype(np.float64)
        bits = x.astype(np.float32).view(np.uint32)
    # To the nearest of 8 bits, of two to the even one.
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16
    return rounded.astype(np.uint32).view(np.float32).astype(np.float64)


def _axis(name: str, given: dict[str, object], axes: int) -> int:
    dim = given.get("dim", -1 if name == "gumbelsoftmax" else None)
    if name == "softmax2d":
        return axes - 3
    if dim is None:
        return {0: 0, 1: 0, 3: 0}.get(axes, 1)
    assert isinstance(dim, int)
    return dim if dim >= 0 else dim + max(axes, 1)


def _sliced(
    case: Case, name: str, given: dict[str, object], x: np.ndarray, axis: int
) -> np.ndarray:
    found, coin = np.empty(x.shape), random.Random(case.seed)
    rest = x.shape[:axis] + x.shape[axis + 1 :]
    for at in _positions(rest):
        places = [(*at[:axis], k, *at[axis:]) for k in range(x.shape[axis])]
        row = [float(x[place]) for place in places]
        if name == "gumbelsoftmax":
            numbers = _drawn(row, given, coin)
        elif name == "logsoftmax":
            numbers = _logarithms(row)
        else:
            numbers = _shares([-a for a in row] if name == "softmin" else row)
        for place, number in zip(places, numbers, strict=True):
            found[place] = number
    return found


def _shares(row: list[float]) -> list[float]:
    if not row or not math.isfinite(max(row)) or any(math.isnan(a) for a in row):
        return [math.nan] * len(row)
    raised = [math.exp(a - max(row)) for a in row]
    return [a / math.fsum(raised) for a in raised]


def _logarithms(row: list[float]) -> list[float]:
    if not row or not math.isfinite(max(row)) or any(math.isnan(a) for a in row):
        return [math.nan] * len(row)
    most = max(range(len(row)), key=row.__getitem__)
    # All but the largest, whose exponential is 1: log1p keeps the digits of a small sum.
    rest = math.fsum(math.exp(a - row[most]) for k, a in enumerate(row) if k != most)
    return [a - row[most] - math.log1p(rest) for a in row]


def _drawn(row: list[float], given: dict[str, object], coin: random.Random) -> list[float]:
    tau, hard = float(str(given.get("tau", 1.0))), bool(given.get("hard", False))
    noisy = [(a - math.log(-math.log(coin.uniform(1e-12, 1 - 1e-12)))) / tau for a in row]
    soft = _shares(noisy)
    if not hard:
        return soft
    return [float(k == max(range(len(row)), key=soft.__getitem__)) for k in range(len(row))]
