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
from conformance.arithmetic.half_precision import is_stored, stored, widened, working_precision
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.reductions import as_read
from conformance.arithmetic.rounded import Rounded, with_pullback
from conformance.oracles.interpolation.axis import (
    Axis,
    Scale,
    antialiased_axis,
    averaging_axis,
    cubic,
    linear,
    nearest,
    selection_axis,
)
from conformance.oracles.interpolation.sums import input_cotangent, weighted_sum, window_averages

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
        outputs = _output_lengths(lengths, size, factor)
        factors = None if recompute else _factors(lengths, factor)
        scales = [
            _scale(n, o, None if factors is None else factors[k], bool(corners))
            for k, (n, o) in enumerate(zip(lengths, outputs, strict=True))
        ]
        return cls(lengths, outputs, tuple(scales), bool(corners))

    @property
    def dimensions(self) -> Iterator[tuple[int, int, Scale]]:
        """Length of the output, length of the input and step in each dimension."""
        return zip(self.outputs, self.lengths, self.scales, strict=True)

    def axes(
        self, mode: str, antialias: bool, precision: Precision, storage_dtype: str = ""
    ) -> list[Axis]:
        """The weights of a linear or cubic mode, or of an antialiasing filter.

        Args:
            antialias: with a filter as wide as a step.
            precision: in which the weights are computed.
            storage_dtype: a dtype in which they may be stored; empty = none.
        """
        if antialias:
            form = "corners" if self.corners else "edges"
            return [
                antialiased_axis(o, n, scale, form, precision, mode)
                for o, n, scale in self.dimensions
            ]
        make_axis = cubic if mode == "bicubic" else linear
        form = "corners" if self.corners else "centres"
        return [
            make_axis(o, n, scale, form, precision, storage_dtype)
            for o, n, scale in self.dimensions
        ]


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
    lengths, inner = input.shape[2:], working_precision(input.precision)
    resize = Resize.of(lengths, size, scale_factor, align_corners, recompute_scale_factor)
    if mode == "area":
        pairs = [averaging_axis(o, n, inner) for o, n in zip(resize.outputs, lengths, strict=True)]
        return window_averages(input, [axis for axis, _ in pairs], [count for _, count in pairs])
    if mode in ("nearest", "nearest-exact"):
        return _resize_nearest(input, resize, "corners" if mode == "nearest" else "edges", inner)
    axes = resize.axes(mode, antialias, inner)
    storage_dtype = inner.store if is_stored(inner, "interpolation_weights") else ""
    forward = resize.axes(mode, antialias, inner, storage_dtype) if storage_dtype else axes
    return weighted_sum(input, forward, axes, separable=antialias)


def interpolate_shape(
    input: Shape, *, size: Size = None, scale_factor: Factor = None, **unused: Any
) -> tuple[Shape, ...]:
    """(N, C, *) → (N, C, *size), or (N, C, ⌊length × scale_factor⌋ each)."""
    return ((*input[:2], *_output_lengths(input[2:], size, scale_factor)),)


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


def _output_lengths(lengths: Shape, size: Size, factor: Factor) -> Shape:
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
        return Scale(*_reduce_fraction(length, count))
    numerator, denominator = float(factor).as_integer_ratio()
    return Scale(denominator, numerator, from_factor=True)


def _reduce_fraction(numerator: int, denominator: int) -> tuple[int, int]:
    common = int(np.gcd(numerator, denominator))
    return numerator // common, denominator // common


def _resize_nearest(
    x: Rounded, resize: Resize, form: str, precision: Precision
) -> Rounded | Choices:
    """The element at ⌊s⌋ for each output, or either of two, in each dimension."""
    flushed_input = as_read(x)
    pairs = [nearest(o, n, scale, form, precision) for o, n, scale in resize.dimensions]
    axes = [
        selection_axis(*pair, n, precision) for pair, n in zip(pairs, resize.lengths, strict=True)
    ]
    choices = [
        (index,) if np.array_equal(index, other) else (index, other) for index, other in pairs
    ]

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        return [stored(input_cotangent(widened(cotangent.detached), axes), x.precision)]

    copies = []
    for choice in product(*choices):
        grid = np.ix_(*(np.arange(n) for n in x.shape[:2]), *choice)
        copy = Rounded(flushed_input.value[grid], flushed_input.error[grid], x.precision)
        copies.append(with_pullback(copy, [x], pull))
    return copies[0] if len(copies) == 1 else Choices(tuple(copies))
