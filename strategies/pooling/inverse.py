"""Cases of the inverse of pooling by maximum: modules and functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.pooling.windows import (
    DEFAULTS,
    draw_leading,
    extras,
    few_extras,
    kernels,
    strides,
    yes_no,
)
from conformance.strategies.values import Filler, regimes, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case, is_function

# plain: adjacent windows; full: windows that overlap, leave gaps, reach into the padding; sized:
# the call passes output_size; anywhere: indices outside their windows; wide: many channels.
profiles = st.sampled_from(("plain", "full", "full", "sized", "sized", "anywhere", "wide"))


@dataclass(frozen=True)
class _Span:
    """One dimension.

    Args:
        stride: None = the kernel's size.
        length: length of the input.
        size: length of the output.
    """

    kernel: int
    stride: int | None
    padding: int
    length: int
    size: int

    @property
    def step(self) -> int:
        """Distance from a window to the next."""
        return self.kernel if self.stride is None else self.stride


def _draw_span(draw: Draw, profile: str, dims: int) -> _Span:
    """Draw a window, an input length and an output size that fit each other."""
    kernel, length = draw(kernels), 1 + draw(extras if dims < 3 else few_extras)
    if profile in ("plain", "wide", "anywhere"):
        return _Span(kernel, None, 0, length, length * kernel)
    stride = draw(strides)
    step = kernel if stride is None else stride
    padding = draw(st.integers(0, kernel // 2))
    size = (length - 1) * step - 2 * padding + kernel
    if profile == "sized":
        # Sizes that differ by less than a stride have the same number of windows.
        size += draw(st.integers(0, step - 1)) * (1 if draw(yes_no) else -1)
    while size < 1:
        # One more window makes the output longer by a stride.
        length, size = length + 1, size + step
    return _Span(kernel, stride, padding, length, size)


def _draw_indices(
    spans: Sequence[_Span], planes: int, anywhere: bool, generator: np.random.Generator
) -> np.ndarray:
    """Draw indices (planes, windows): one in each window, as pooling returns, or distinct ones."""
    plane, count = math.prod(s.size for s in spans), math.prod(s.length for s in spans)
    if anywhere:
        orders = [generator.permutation(plane)[:count] for _ in range(planes)]
        return np.array(orders, np.int64).reshape(planes, count)
    indices = np.zeros((planes, 1), np.int64)
    for span in spans:
        starts = np.arange(span.length) * span.step - span.padding
        tap = generator.integers(0, span.kernel, (planes, indices.shape[1], span.length))
        position = np.clip(starts + tap, 0, span.size - 1)
        size = indices.shape[1] * span.length
        indices = (indices[:, :, np.newaxis] * span.size + position).reshape(planes, size)
    return indices


@composite
def max_unpools(draw: Draw, layer: str, dims: int, dtype: str) -> Case:
    """Cases of the inverse of pooling by maximum.

    Overlapping windows may repeat an index in a plane; the elements of that index are equal.

    Args:
        layer: `"MaxUnpool2d"`, `"functional.max_unpool3d"`, …
        dims: number of spatial dimensions.
    """
    profile = draw(profiles)
    spans = [_draw_span(draw, profile, dims) for _ in range(dims)]
    leading_shape = draw_leading(draw, profile)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(regimes), draw(seeds)

    sizes: dict[str, Any] = {
        "stride": writer.size_argument([s.step for s in spans]),
        "padding": writer.size_argument([s.padding for s in spans]),
    }
    if all(span.stride is None for span in spans):
        sizes["stride"] = None
    arguments: dict[str, Any] = {"kernel_size": writer.size_argument([s.kernel for s in spans])}
    arguments |= writer.explicit_arguments(sizes, DEFAULTS)
    keywords: dict[str, Any] = {}
    if profile == "sized":
        outputs = [span.size for span in spans]
        # If there is a batch, output_size may also be the full shape.
        full_shape = writer.next_bit() and len(leading_shape) == 2
        size = [*leading_shape, *outputs] if full_shape else outputs
        if is_function(layer):
            arguments["output_size"] = tuple(size)
        else:
            keywords["output_size"] = size
    planes, plane = math.prod(leading_shape), math.prod(span.size for span in spans)
    generator = np.random.default_rng((seed, 2))
    index = _draw_indices(spans, planes, profile == "anywhere", generator)
    source = Filler(regime, dtype, seed, 1, factors=1).operand(planes, plane)
    shape = (*leading_shape, *(span.length for span in spans))
    x = np.take_along_axis(source, index, 1).reshape(shape)
    call = Call(layer, arguments, {}, dtype, "cpu")
    labels = {"profile": profile, "regime": regime}
    return Case(call, (x, index.reshape(shape)), keywords, labels=labels, seed=seed)
