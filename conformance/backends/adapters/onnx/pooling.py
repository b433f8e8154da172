"""Pooling in ONNX: MaxPool, AveragePool, LpPool, MaxUnpool and the global ones.

ONNX counts indices over the whole tensor, torch over the plane of a channel. Mod converts the
indices of MaxPool to torch's, and Add converts those for MaxUnpool back. Adaptive pooling to a size
of 1 is a global operator. Operators accept padding beyond half of a window, so it is declined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from conformance.backends.adapters.onnx.nodes import Graph, Value, sizes
from conformance.model.case import Unsupported

INTEGERS = np.dtype(np.int64)


def max_pool(
    graph: Graph, input: Value, *, dims: int, kernel_size: Any, stride: Any = None,
    padding: Any = 0, dilation: Any = 1, return_indices: bool = False, ceil_mode: bool = False,
) -> str | list[str]:  # fmt: skip
    """MaxPool, with indices on request."""
    x, single = _batched(graph, input, dims)
    attributes = _windows(input, kernel_size, stride, padding, ceil_mode, dims, dilation)
    if not return_indices:
        return _as_given(graph, graph.add("MaxPool", x, **attributes), single)
    y, indices = graph.several("MaxPool", 2, x, **attributes)
    plane = math.prod(input.shape[-dims:])
    within = graph.add("Mod", indices, graph.integers(max(plane, 1)))
    found = [_as_given(graph, name, single) for name in (y, within)]
    return [found[0], graph.typed(found[1], INTEGERS)]


def avg_pool(
    graph: Graph, input: Value, *, dims: int, kernel_size: Any, stride: Any = None,
    padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> str:  # fmt: skip
    """AveragePool."""
    if divisor_override is not None:
        raise Unsupported(f"divisor_override={divisor_override!r}")
    x, single = _batched(graph, input, dims)
    attributes = _windows(input, kernel_size, stride, padding, ceil_mode, dims)
    y = graph.add("AveragePool", x, count_include_pad=int(count_include_pad), **attributes)
    return _as_given(graph, y, single)


def lp_pool(
    graph: Graph, input: Value, *, dims: int, norm_type: float, kernel_size: Any,
    stride: Any = None, ceil_mode: bool = False,
) -> str:  # fmt: skip
    """LpPool, which takes absolute values; torch does not, so only even powers agree."""
    if norm_type <= 0 or norm_type % 2:
        raise Unsupported(f"norm_type={norm_type!r}, of which LpPool has absolute values")
    x, single = _batched(graph, input, dims)
    attributes = _windows(input, kernel_size, stride, 0, ceil_mode, dims)
    return _as_given(graph, graph.add("LpPool", x, p=int(norm_type), **attributes), single)


def adaptive_pool(
    graph: Graph, input: Value, *, dims: int, operator: str, output_size: Any,
    return_indices: bool = False,
) -> str:  # fmt: skip
    """GlobalAveragePool and GlobalMaxPool, to a size of 1 in each dimension."""
    wanted = [output_size] * dims if isinstance(output_size, int) else list(output_size)
    if wanted != [1] * dims:
        raise Unsupported(f"output_size={output_size!r}")
    if return_indices:
        raise Unsupported("return_indices=True")
    if 0 in input.shape[-dims:]:
        raise Unsupported("an input of no elements, which a global operator takes")
    x, single = _batched(graph, input, dims)
    return _as_given(graph, graph.add(operator, x), single)


def max_unpool(
    graph: Graph, input: Value, indices: Value, *, dims: int, kernel_size: Any,
    stride: Any = None, padding: Any = 0, output_size: Sequence[int] | None = None,
) -> str:  # fmt: skip
    """MaxUnpool with an explicit output shape."""
    if indices.shape != input.shape:
        raise Unsupported("indices of another shape")
    attributes = _windows(None, kernel_size, stride, padding, False, dims)
    steps, pads = attributes["strides"], attributes["pads"]
    x, single = _batched(graph, input, dims)
    places, _ = _batched(graph, indices, dims)
    shape = (1, *input.shape) if single else input.shape
    rows = zip(shape[2:], steps, pads, attributes["kernel_shape"], strict=False)
    wanted = least = [(n - 1) * s - 2 * p + k for n, s, p, k in rows]
    if output_size is not None:
        wanted = list(output_size)[-dims:]
        if len(output_size) not in (dims, dims + 2):
            raise Unsupported(f"output_size={output_size!r}")
        more = [o - n for o, n in zip(wanted, least, strict=True)]
        # MaxUnpool accepts any larger size, and no smaller one.
        if any(not 0 <= n < s for n, s in zip(more, steps, strict=True)):
            raise Unsupported(f"output_size={output_size!r}, where {tuple(least)} is the least")
    if min(wanted) < 1:
        raise Unsupported("an output of no elements")
    planes = np.arange(shape[0] * shape[1], dtype=np.int64).reshape(*shape[:2], *[1] * dims)
    offsets = graph.constant(planes * math.prod(wanted))
    places = graph.add("Add", places, offsets)
    result = graph.integers(*shape[:2], *wanted)
    y = _as_given(graph, graph.add("MaxUnpool", x, places, result, **attributes), single)
    return graph.ranked(y, input.rank)


def _sizes(value: Any, dims: int, name: str) -> list[int]:
    """One number for each dimension, from a single number or a sequence.

    Raises:
        ValueError: if a sequence has another length than 1 or `dims`.
    """
    found = sizes(value, dims)
    if len(found) == 1:
        found = found * dims
    if len(found) != dims:
        raise ValueError(f"{name}={value!r}: expected {dims} numbers, or one")
    return found


def _windows(
    input: Value | None, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, dims: int,
    dilation: Any = 1,
) -> dict[str, Any]:  # fmt: skip
    """Attributes of a pooling window; at least one must fit into the input, if there is one."""
    kernel = _sizes(kernel_size, dims, "kernel_size")
    none = stride is None or (not isinstance(stride, int) and not len(stride))
    steps = kernel if none else _sizes(stride, dims, "stride")
    pads = _sizes(padding, dims, "padding")
    if any(2 * p > k or p < 0 for p, k in zip(pads, kernel, strict=True)):
        raise Unsupported(f"padding={padding!r}, which an operator takes")
    spread = _sizes(dilation, dims, "dilation")
    if min(*kernel, *steps, *spread) < 1:
        raise Unsupported("a size that is not positive, which an operator takes")
    if input is not None:
        if 0 in input.shape[-dims - 1 :]:
            raise Unsupported("an input of no elements, which an operator takes")
        rows = zip(input.shape[-dims:], kernel, pads, spread, strict=True)
        if any(n + 2 * p < d * (k - 1) + 1 for n, k, p, d in rows):
            raise Unsupported("a window longer than the input, which an operator takes")
        if input.dtype.kind == "i":
            raise Unsupported(f"an input of {input.dtype}")
    found: dict[str, Any] = {"kernel_shape": kernel, "strides": steps, "pads": pads * 2}
    if spread != [1] * dims:
        found["dilations"] = spread
    return {**found, "ceil_mode": 1} if ceil_mode else found


def _batched(graph: Graph, input: Value, dims: int) -> tuple[str, bool]:
    """Add a batch to an input that has none; return also whether one was added."""
    if input.rank not in (dims + 1, dims + 2):
        raise Unsupported(f"an input of {input.rank} axes, which an operator takes")
    single = input.rank == dims + 1
    return graph.add("Unsqueeze", input.name, graph.integers(0)) if single else input.name, single


def _as_given(graph: Graph, output: str, single: bool) -> str:
    return graph.add("Squeeze", output, graph.integers(0)) if single else output


def _functions() -> dict[str, Callable[..., Any]]:
    """Implementations by layer: modules and functions."""
    found: dict[str, Callable[..., Any]] = {}
    for dims in (1, 2, 3):
        kinds: dict[tuple[str, str], Callable[..., Any]] = {
            ("MaxPool", "max_pool"): partial(max_pool, dims=dims),
            ("AvgPool", "avg_pool"): partial(avg_pool, dims=dims),
            ("LPPool", "lp_pool"): partial(lp_pool, dims=dims),
            ("MaxUnpool", "max_unpool"): partial(max_unpool, dims=dims),
            ("AdaptiveAvgPool", "adaptive_avg_pool"): partial(
                adaptive_pool, dims=dims, operator="GlobalAveragePool"
            ),
            ("AdaptiveMaxPool", "adaptive_max_pool"): partial(
                adaptive_pool, dims=dims, operator="GlobalMaxPool"
            ),
        }
        for (module, name), function in kinds.items():
            found |= {f"{module}{dims}d": function, f"functional.{name}{dims}d": function}
    return found


FUNCTIONS = _functions()
