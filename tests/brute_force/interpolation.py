"""Interpolation as plain loops over exact fractions, from the documentation alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output."""
    (x,), arguments = case.inputs, dict(case.call.arguments)
    assert x is not None
    if case.call.layer == "UpsamplingBilinear2d":
        arguments |= {"mode": "bilinear", "align_corners": True}
    return (interpolate(x, **arguments),)


def interpolate(
    x: np.ndarray,
    *,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> np.ndarray:
    """Each output is the sum of all inputs, each with the product of its weights."""
    lengths = x.shape[2:]
    factors = _per_axis(scale_factor, len(lengths))
    if size is None:
        outputs = [int(n * f) for n, f in zip(lengths, factors, strict=True)]
    else:
        outputs = list(_per_axis(size, len(lengths)))
    weights = []
    for k, (n, o) in enumerate(zip(lengths, outputs, strict=True)):
        step = Fraction(n, o)
        if size is None and not recompute_scale_factor and mode != "area":
            step = 1 / Fraction(factors[k])
        if align_corners:
            step = Fraction(n - 1, o - 1) if o > 1 else Fraction(0)
        weights.append([_weights(i, n, o, step, mode, bool(align_corners), antialias)
                        for i in range(o)])  # fmt: skip
    output = np.zeros((*x.shape[:2], *outputs))
    for place in product(*map(range, outputs)):
        for tap in product(*map(range, lengths)):
            rows = zip(weights, place, tap, strict=True)
            weight = math.prod(axis_weights[i][j] for axis_weights, i, j in rows)
            if weight:
                output[(..., *place)] += weight * x[(..., *tap)]
    return output


def _per_axis(value: Any, dims: int) -> Sequence[Any]:
    return value if isinstance(value, (tuple, list)) else (value,) * dims


def _weights(
    i: int, n: int, o: int, step: Fraction, mode: str, corners: bool, antialias: bool
) -> list[float]:
    """The weight of each element of the input in the i-th output."""
    weights = [0.0] * n

    def add(j: int, weight: Fraction | float) -> None:
        weights[min(max(j, 0), n - 1)] += float(weight)

    half = Fraction(1, 2)
    if mode == "nearest":
        add(math.floor(i * step), 1.0)
    elif mode == "nearest-exact":
        add(math.floor((i + half) * step), 1.0)
    elif mode == "area":
        window = range(math.floor(Fraction(i * n, o)), math.ceil(Fraction((i + 1) * n, o)))
        for j in window:
            add(j, Fraction(1, len(window)))
    elif antialias:
        centre = i * step + half if corners else (i + half) * step
        width = max(step, Fraction(1))
        filter_values = [_filter(mode, float(abs(j + half - centre) / width)) for j in range(n)]
        for j in range(n):
            add(j, filter_values[j] / sum(filter_values))
    else:
        place = i * step if corners else (i + half) * step - half
        if mode != "bicubic":
            place = min(max(place, Fraction(0)), Fraction(n - 1))
        for j in range(-3, n + 3):
            distance = abs(place - j)
            if mode == "bicubic":
                add(j, _cubic(float(distance), -0.75))
            elif distance < 1:
                add(j, 1 - distance)
    return weights


def _filter(mode: str, distance: float) -> float:
    if mode == "bilinear":
        return max(1 - distance, 0.0)
    if mode == "bicubic":
        return _cubic(distance, -0.5)
    if distance == 0 or distance >= 3:
        return float(distance == 0)
    angle = math.pi * distance
    return math.sin(angle) / angle * math.sin(angle / 3) / (angle / 3)


def _cubic(x: float, a: float) -> float:
    """Cubic convolution (R. Keys, 1981)."""
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0
