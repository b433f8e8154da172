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

from conformance.backends.adapters.onnx.nodes import Graph, Value, per_dimension
from conformance.model.case import Unsupported

INT64 = np.dtype(np.int64)


def max_pool(
    graph: Graph, input: Value, *, dims: int, kernel_size: Any, stride: Any = None,
    padding: Any = 0, dilation: Any = 1, return_indices: bool = False, ceil_mode: bool = False,
) -> str | list[str]:  # fmt: skip
    """MaxPool, with indices on request."""
    x, is_unbatched = _add_batch(graph, input, dims)
    attributes = _window_attributes(input, kernel_size, stride, padding, ceil_mode, dims, dilation)
    if not return_indices:
        return _remove_batch(graph, graph.add("MaxPool", x, **attributes), is_unbatched)
    y, indices = graph.add_several("MaxPool", 2, x, **attributes)
    plane = math.prod(input.shape[-dims:])
    plane_indices = graph.add("Mod", indices, graph.integers(max(plane, 1)))
    outputs = [_remove_batch(graph, name, is_unbatched) for name in (y, plane_indices)]
    return [outputs[0], graph.set_dtype(outputs[1], INT64)]


def avg_pool(
    graph: Graph, input: Value, *, dims: int, kernel_size: Any, stride: Any = None,
    padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> str:  # fmt: skip
    """AveragePool."""
    if divisor_override is not None:
        raise Unsupported(f"divisor_override={divisor_override!r}")
    x, is_unbatched = _add_batch(graph, input, dims)
    attributes = _window_attributes(input, kernel_size, stride, padding, ceil_mode, dims)
    y = graph.add("AveragePool", x, count_include_pad=int(count_include_pad), **attributes)
    return _remove_batch(graph, y, is_unbatched)


def lp_pool(
    graph: Graph, input: Value, *, dims: int, norm_type: float, kernel_size: Any,
    stride: Any = None, ceil_mode: bool = False,
) -> str:  # fmt: skip
    """LpPool, which takes absolute values; torch does not, so only even powers agree."""
    if norm_type <= 0 or norm_type % 2:
        raise Unsupported(f"norm_type={norm_type!r}, of which LpPool has absolute values")
    x, is_unbatched = _add_batch(graph, input, dims)
    attributes = _window_attributes(input, kernel_size, stride, 0, ceil_mode, dims)
    return _remove_batch(
        graph, graph.add("LpPool", x, p=int(norm_type), **attributes), is_unbatched
    )


def adaptive_pool(
    graph: Graph, input: Value, *, dims: int, operator: str, output_size: Any,
    return_indices: bool = False,
) -> str:  # fmt: skip
    """GlobalAveragePool and GlobalMaxPool, to a size of 1 in each dimension."""
    output_sizes = [output_size] * dims if isinstance(output_size, int) else list(output_size)
    if output_sizes != [1] * dims:
        raise Unsupported(f"output_size={output_size!r}")
    if return_indices:
        raise Unsupported("return_indices=True")
    if 0 in input.shape[-dims:]:
        raise Unsupported("an input of no elements, which a global operator takes")
    x, is_unbatched = _add_batch(graph, input, dims)
    return _remove_batch(graph, graph.add(operator, x), is_unbatched)


def max_unpool(
    graph: Graph, input: Value, indices: Value, *, dims: int, kernel_size: Any,
    stride: Any = None, padding: Any = 0, output_size: Sequence[int] | None = None,
) -> str:  # fmt: skip
    """MaxUnpool with an explicit output shape."""
    if indices.shape != input.shape:
        raise Unsupported("indices of another shape")
    attributes = _window_attributes(None, kernel_size, stride, padding, False, dims)
    steps, pads = attributes["strides"], attributes["pads"]
    x, is_unbatched = _add_batch(graph, input, dims)
    places, _ = _add_batch(graph, indices, dims)
    shape = (1, *input.shape) if is_unbatched else input.shape
    rows = zip(shape[2:], steps, pads, attributes["kernel_shape"], strict=False)
    output_sizes = smallest_sizes = [(n - 1) * s - 2 * p + k for n, s, p, k in rows]
    if output_size is not None:
        output_sizes = list(output_size)[-dims:]
        if len(output_size) not in (dims, dims + 2):
            raise Unsupported(f"output_size={output_size!r}")
        extra = [o - n for o, n in zip(output_sizes, smallest_sizes, strict=True)]
        # MaxUnpool accepts any larger size, and no smaller one.
        if any(not 0 <= n < s for n, s in zip(extra, steps, strict=True)):
            raise Unsupported(
                f"output_size={output_size!r}, where {tuple(smallest_sizes)} is the least"
            )
    if min(output_sizes) < 1:
        raise Unsupported("an output of no elements")
    planes = np.arange(shape[0] * shape[1], dtype=np.int64).reshape(*shape[:2], *[1] * dims)
    offsets = graph.constant(planes * math.prod(output_sizes))
    places = graph.add("Add", places, offsets)
    result = graph.integers(*shape[:2], *output_sizes)
    y = _remove_batch(graph, graph.add("MaxUnpool", x, places, result, **attributes), is_unbatched)
    return graph.set_rank(y, input.rank)


def _per_dimension(value: Any, dims: int, name: str) -> list[int]:
    """One number for each dimension, from a single number or a sequence.

    Raises:
        ValueError: if a sequence has another length than 1 or `dims`.
    """
    numbers = per_dimension(value, dims)
    if len(numbers) == 1:
        numbers = numbers * dims
    if len(numbers) != dims:
        raise ValueError(f"{name}={value!r}: expected {dims} numbers, or one")
    return numbers


def _window_attributes(
    input: Value | None, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool, dims: int,
    dilation: Any = 1,
) -> dict[str, Any]:  # fmt: skip
    """Attributes of a pooling window; at least one must fit into the input, if there is one."""
    kernel = _per_dimension(kernel_size, dims, "kernel_size")
    has_no_stride = stride is None or (not isinstance(stride, int) and not len(stride))
    steps = kernel if has_no_stride else _per_dimension(stride, dims, "stride")
    pads = _per_dimension(padding, dims, "padding")
    if any(2 * p > k or p < 0 for p, k in zip(pads, kernel, strict=True)):
        raise Unsupported(f"padding={padding!r}, which an operator takes")
    dilations = _per_dimension(dilation, dims, "dilation")
    if min(*kernel, *steps, *dilations) < 1:
        raise Unsupported("a size that is not positive, which an operator takes")
    if input is not None:
        if 0 in input.shape[-dims - 1 :]:
            raise Unsupported("an input of no elements, which an operator takes")
        rows = zip(input.shape[-dims:], kernel, pads, dilations, strict=True)
        if any(n + 2 * p < d * (k - 1) + 1 for n, k, p, d in rows):
            raise Unsupported("a window longer than the input, which an operator takes")
        if input.dtype.kind == "i":
            raise Unsupported(f"an input of {input.dtype}")
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": steps, "pads": pads * 2}
    if dilations != [1] * dims:
        attributes["dilations"] = dilations
    return {**attributes, "ceil_mode": 1} if ceil_mode else attributes


def _add_batch(graph: Graph, input: Value, dims: int) -> tuple[str, bool]:
    """Add a batch to an input that has none; return also whether one was added."""
    if input.rank not in (dims + 1, dims + 2):
        raise Unsupported(f"an input of {input.rank} axes, which an operator takes")
    is_unbatched = input.rank == dims + 1
    return graph.add(
        "Unsqueeze", input.name, graph.integers(0)
    ) if is_unbatched else input.name, is_unbatched


def _remove_batch(graph: Graph, output: str, is_unbatched: bool) -> str:
    return graph.add("Squeeze", output, graph.integers(0)) if is_unbatched else output


def _functions() -> dict[str, Callable[..., Any]]:
    """Implementations by layer: modules and functions."""
    implementations: dict[str, Callable[..., Any]] = {}
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
            implementations |= {f"{module}{dims}d": function, f"functional.{name}{dims}d": function}
    return implementations


FUNCTIONS = _functions()
