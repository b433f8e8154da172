"""Interpolation and sampling in ONNX: Resize, GridSample, AffineGrid.

Resize's coordinate transformation `asymmetric` with floor is torch's nearest, and `half_pixel` with
round_prefer_ceil is its nearest-exact. Its linear and cubic modes use `half_pixel` or
`align_corners`. The cubic coefficient is −0.75. With antialias it is −0.5, and elements outside
have no weight. ONNX has no mode `area`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from conformance.backends.adapters.onnx.nodes import Graph, Value
from conformance.backends.adapters.windows import LINEAR
from conformance.model.case import Unsupported

SAMPLED = {"bilinear": "linear", "nearest": "nearest", "bicubic": "cubic"}


def interpolate(
    graph: Graph, input: Value, *, size: Any = None, scale_factor: Any = None,
    mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None, antialias: bool = False, rank: int = 0,
) -> str:  # fmt: skip
    """Resize to a size, or by factors, which it stores in float32."""
    dims = input.rank - 2
    if dims not in (1, 2, 3) or rank not in (0, input.rank):
        raise Unsupported(f"an input of {input.rank} axes, which Resize does not refuse")
    attributes = _mode_attributes(mode, dims, align_corners, antialias)
    scales, lengths = None, None
    if (size is None) == (scale_factor is None):
        raise Unsupported(f"size={size!r} and scale_factor={scale_factor!r}")
    if size is not None:
        if recompute_scale_factor:
            raise Unsupported("recompute_scale_factor=True with a size")
        lengths = [size] * dims if isinstance(size, int) else list(size)
        if len(lengths) != dims or min(lengths) < 1:
            raise Unsupported(f"size={size!r}")
    else:
        factors = (
            [scale_factor] * dims if isinstance(scale_factor, int | float) else [*scale_factor]
        )
        if len(factors) != dims or not all(0 < s < math.inf for s in factors):
            raise Unsupported(f"scale_factor={scale_factor!r}")
        output_sizes = [math.floor(n * s) for n, s in zip(input.shape[2:], factors, strict=True)]
        if min(output_sizes) < 1:
            raise Unsupported("an output of no elements")
        # With aligned corners only the sizes matter.
        if recompute_scale_factor or align_corners:
            lengths = output_sizes
        else:
            if any(float(np.float32(s)) != s for s in factors):
                raise Unsupported(f"scale_factor={scale_factor!r}, which Resize keeps in float32")
            scales = graph.constant(np.array([1, 1, *factors], dtype=np.float32))
    if 0 in input.shape:
        raise Unsupported("an input of no elements")
    sizes = None if lengths is None else graph.integers(*input.shape[:2], *lengths)
    return graph.add("Resize", input.name, None, scales, sizes, **attributes)


def upsampling(
    graph: Graph, input: Value, *, mode: str, size: Any = None, scale_factor: Any = None
) -> str:
    """UpsamplingNearest2d, and UpsamplingBilinear2d, which aligns corners."""
    align_corners = True if mode == "bilinear" else None
    return interpolate(
        graph, input, size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners,
        rank=4,
    )  # fmt: skip


def _mode_attributes(mode: str, dims: int, corners: bool | None, antialias: bool) -> dict[str, Any]:
    """Resize's attributes for a mode of torch."""
    transformation = "align_corners" if corners else "half_pixel"
    attributes: dict[str, Any] = {"coordinate_transformation_mode": transformation}
    if antialias:
        if mode not in ("bilinear", "bicubic"):
            raise Unsupported(f"antialias=True with mode={mode!r}")
        if corners:
            raise Unsupported("antialias=True with align_corners, where Resize's filter is wider")
        attributes |= {"antialias": 1, "exclude_outside": 1}
    if mode in ("nearest", "nearest-exact"):
        if corners is not None:
            raise Unsupported(f"align_corners={corners!r} with mode={mode!r}")
        if mode == "nearest":
            return {
                "mode": "nearest", "coordinate_transformation_mode": "asymmetric",
                "nearest_mode": "floor",
            }  # fmt: skip
        return attributes | {"mode": "nearest", "nearest_mode": "round_prefer_ceil"}
    if LINEAR.get(mode) == dims:
        return attributes | {"mode": "linear"}
    if mode == "bicubic" and dims == 2:
        return attributes | {"mode": "cubic", "cubic_coeff_a": -0.5 if antialias else -0.75}
    raise Unsupported(f"mode={mode!r} of {dims} dimensions")


def grid_sample(
    graph: Graph, input: Value, grid: Value | None, *, mode: str = "bilinear",
    padding_mode: str = "zeros", align_corners: bool | None = None,
) -> str:  # fmt: skip
    """GridSample, in two and three dimensions."""
    if mode not in SAMPLED or (mode == "bicubic" and input.rank != 4):
        raise Unsupported(f"mode={mode!r} of {input.rank} axes")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise Unsupported(f"padding_mode={padding_mode!r}")
    if grid is None or grid.dtype != input.dtype:
        raise Unsupported("an input and a grid of one dtype")
    if input.rank not in (4, 5) or grid.rank != input.rank or input.shape[0] != grid.shape[0]:
        raise Unsupported("an input and a grid that GridSample takes")
    if grid.shape[-1] != input.rank - 2 or 0 in input.shape[1:]:
        raise Unsupported("an input and a grid that GridSample takes")
    return graph.add(
        "GridSample", input.name, grid.name, mode=SAMPLED[mode], padding_mode=padding_mode,
        align_corners=int(bool(align_corners)),
    )  # fmt: skip


def affine_grid(graph: Graph, theta: Value, *, size: Any, align_corners: bool | None = None) -> str:
    """AffineGrid, in two and three dimensions."""
    sizes = list(size)
    dims = len(sizes) - 2
    if dims not in (2, 3) or theta.shape != (sizes[0], dims, dims + 1) or min(sizes) < 1:
        raise Unsupported(f"size={size!r} with theta of shape {theta.shape}")
    corners = int(bool(align_corners))
    return graph.add("AffineGrid", theta.name, graph.integers(*sizes), align_corners=corners)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "functional.interpolate": interpolate,
    "Upsample": interpolate,
    "UpsamplingNearest2d": partial(upsampling, mode="nearest"),
    "UpsamplingBilinear2d": partial(upsampling, mode="bilinear"),
    "functional.grid_sample": grid_sample,
    "functional.affine_grid": affine_grid,
}
