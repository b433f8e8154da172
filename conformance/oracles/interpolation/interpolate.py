"""Interpolation: interpolate, Upsample, UpsamplingNearest2d and UpsamplingBilinear2d.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page. `*_shape` functions take shapes instead of arrays.

Sources: the pages torch.nn.functional.interpolate, torch.nn.Upsample, UpsamplingNearest2d and
UpsamplingBilinear2d of the PyTorch documentation. They say which points of input and output
coincide, and name the modes; the filters are those of the literature under these names. The pages
say that a `scale_factor` is used directly, unless it is recomputed from the sizes. The oracle does
so, even where the output is as long as the input (torch then copies it in the linear modes). The
exceptions are `area`, which uses sizes only, and coinciding corners.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.half_precision import declared, stored, wide, widened
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.reductions import as_read
from conformance.arithmetic.rounded import Rounded, traced
from conformance.oracles.interpolation.axis import (
    Axis,
    Scale,
    antialiased,
    averaged,
    cubic,
    linear,
    nearest,
    picked,
)
from conformance.oracles.interpolation.sums import averages, pulled, weighted

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
Size = int | Sequence[int] | None
Factor = float | Sequence[float] | None


@dataclass(frozen=True)
class Resize:
    """Lengths of input and output, and the input's step for each step of the output.

    Args:
        lengths: the input's spatial sizes.
        outputs: the output's spatial sizes.
        scales: the step in each dimension.
        corners: the centres of corner pixels coincide.
    """

    lengths: Shape
    outputs: Shape
    scales: tuple[Scale, ...]
    corners: bool

    @classmethod
    def of(
        cls,
        lengths: Shape,
        size: Size,
        factor: Factor,
        corners: bool | None,
        recompute: bool | None,
    ) -> Resize:
        """The resize for the arguments of a call."""
        outputs = _sizes(lengths, size, factor)
        factors = None if recompute else _factors(lengths, factor)
        scales = [
            _scale(n, o, None if factors is None else factors[k], bool(corners))
            for k, (n, o) in enumerate(zip(lengths, outputs, strict=True))
        ]
        return cls(lengths, outputs, tuple(scales), bool(corners))

    @property
    def rows(self) -> Iterator[tuple[int, int, Scale]]:
        """Length of the output, length of the input and step in each dimension."""
        return zip(self.outputs, self.lengths, self.scales, strict=True)

    def axes(
        self, mode: str, antialias: bool, precision: Precision, stored: str = ""
    ) -> list[Axis]:
        """The weights of a linear or cubic mode, or of an antialiasing filter.

        Args:
            antialias: with a filter as wide as a step.
            precision: in which the weights are computed.
            stored: a dtype in which they may be stored; empty = none.
        """
        if antialias:
            form = "corners" if self.corners else "edges"
            return [antialiased(o, n, scale, form, precision, mode) for o, n, scale in self.rows]
        weigh = cubic if mode == "bicubic" else linear
        form = "corners" if self.corners else "centres"
        return [weigh(o, n, scale, form, precision, stored) for o, n, scale in self.rows]


def interpolate(
    state: State,
    input: Rounded,
    *,
    size: Size = None,
    scale_factor: Factor = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Rounded | Choices:
    """The input resized to `size`, or by `scale_factor`, in all dimensions but the first two."""
    lengths, inner = input.shape[2:], wide(input.precision)
    resize = Resize.of(lengths, size, scale_factor, align_corners, recompute_scale_factor)
    if mode == "area":
        pairs = [averaged(o, n, inner) for o, n in zip(resize.outputs, lengths, strict=True)]
        return averages(input, [axis for axis, _ in pairs], [count for _, count in pairs])
    if mode in ("nearest", "nearest-exact"):
        return _selected(input, resize, "corners" if mode == "nearest" else "edges", inner)
    axes = resize.axes(mode, antialias, inner)
    coarse = inner.store if declared(inner, "interpolation_weights") else ""
    forward = resize.axes(mode, antialias, inner, coarse) if coarse else axes
    return weighted(input, forward, axes, apart=antialias)


def interpolate_shape(
    input: Shape, *, size: Size = None, scale_factor: Factor = None, **unused: Any
) -> tuple[Shape, ...]:
    """(N, C, *) → (N, C, *size), or (N, C, ⌊length × scale_factor⌋ each)."""
    return ((*input[:2], *_sizes(input[2:], size, scale_factor)),)


def upsampling_nearest2d(
    state: State, input: Rounded, *, size: Size = None, scale_factor: Factor = None
) -> Rounded | Choices:
    """Nearest neighbours of an image."""
    return interpolate(state, input, size=size, scale_factor=scale_factor)


def upsampling_bilinear2d(
    state: State, input: Rounded, *, size: Size = None, scale_factor: Factor = None
) -> Rounded | Choices:
    """Bilinear interpolation of an image, with coinciding centres of corner pixels."""
    return interpolate(
        state, input, size=size, scale_factor=scale_factor, mode="bilinear", align_corners=True
    )


def _factors(lengths: Shape, factor: Factor) -> Sequence[float] | None:
    if factor is None:
        return None
    return [factor] * len(lengths) if isinstance(factor, (int, float)) else factor


def _sizes(lengths: Shape, size: Size, factor: Factor) -> Shape:
    """The output's spatial sizes."""
    if isinstance(size, int):
        return (size,) * len(lengths)
    if size is not None:
        return tuple(size)
    factors = _factors(lengths, factor)
    if factors is None:
        raise ValueError("neither size nor scale_factor")
    return tuple(int(n * f) for n, f in zip(lengths, factors, strict=True))


def _scale(length: int, count: int, factor: float | None, corners: bool) -> Scale:
    """The input's step for each step of the output."""
    if corners:
        return Scale(length - 1, count - 1) if count > 1 else Scale(0, 1)
    if factor is None:
        return Scale(*_lowest(length, count))
    above, below = float(factor).as_integer_ratio()
    return Scale(below, above, factor=True)


def _lowest(above: int, below: int) -> tuple[int, int]:
    common = int(np.gcd(above, below))
    return above // common, below // common


def _selected(x: Rounded, resize: Resize, form: str, precision: Precision) -> Rounded | Choices:
    """The element at ⌊s⌋ for each output, or either of two, in each dimension."""
    read = as_read(x)
    pairs = [nearest(o, n, scale, form, precision) for o, n, scale in resize.rows]
    axes = [picked(*pair, n, precision) for pair, n in zip(pairs, resize.lengths, strict=True)]
    ways = [(index,) if np.array_equal(index, other) else (index, other) for index, other in pairs]

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        return [stored(pulled(widened(cotangent.bare), axes), x.precision)]

    found = []
    for way in product(*ways):
        grid = np.ix_(*(np.arange(n) for n in x.shape[:2]), *way)
        copy = Rounded(read.value[grid], read.error[grid], x.precision)
        found.append(traced(copy, [x], pull))
    return found[0] if len(found) == 1 else Choices(tuple(found))
