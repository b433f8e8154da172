"""Pooling as plain loops, from the documentation alone."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from brute_force.oracles import per_dimension, positions
from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's outputs: of several largest elements the index is the first one's."""
    layer, arguments = (
        case.call.layer.removeprefix("functional.").replace("_", "").lower(),
        case.call.arguments,
    )
    dims = int(layer[-2])
    if layer.startswith("adaptive"):
        return adaptive_pool(case.inputs[0], dims, "max" in layer, **arguments)
    if layer.startswith("fractional"):
        return fractional_max_pool(case.inputs[0], dims, **arguments)
    if "unpool" in layer:
        return (max_unpool(*case.inputs, dims, **arguments, **case.keywords),)
    if layer.startswith("lp"):
        return (lp_pool(case.inputs[0], dims, **arguments),)
    if layer.startswith("avg"):
        return (avg_pool(case.inputs[0], dims, **arguments),)
    return max_pool(case.inputs[0], dims, **arguments)


def _window_starts(length: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool):
    """Where each window begins, found by trying one after the other."""
    starts = []
    start = -padding
    while True:
        end = start + dilation * (kernel - 1)
        begins_inside = end < length + padding
        # ceil_mode: off-bounds, but begun within the left padding or the input; a window beyond
        # those that fit is the next one only.
        before = start - stride + dilation * (kernel - 1) < length + padding - 1
        if not (begins_inside or (ceil and start < length and (before or not starts))):
            return starts
        starts.append(start)
        start += stride


def max_pool(
    input: np.ndarray,
    dimensions: int,
    *,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    return_indices=False,
    ceil_mode=False,
) -> tuple[np.ndarray, ...]:
    """MaxPool1d, MaxPool2d, MaxPool3d: the largest of each window, the padding being −∞."""
    kernel = per_dimension(kernel_size, dimensions)
    strides = kernel if stride is None else per_dimension(stride, dimensions)
    paddings = per_dimension(padding, dimensions)
    dilations = per_dimension(dilation, dimensions)
    sizes = input.shape[-dimensions:]
    starts = [
        _window_starts(sizes[d], kernel[d], strides[d], paddings[d], dilations[d], ceil_mode)
        for d in range(dimensions)
    ]
    leading = input.shape[:-dimensions]
    shape = (*leading, *map(len, starts))
    is_integer = input.dtype.kind == "i"
    values = np.full(shape, -(2**63)) if is_integer else np.full(shape, -np.inf)
    indices = np.zeros(shape)
    for plane in positions(leading):
        for position in positions(shape[-dimensions:]):
            best, best_index, has_value = -math.inf, 0, False
            for tap in positions(kernel):
                place = tuple(
                    starts[d][position[d]] + dilations[d] * tap[d] for d in range(dimensions)
                )
                if any(not 0 <= place[d] < sizes[d] for d in range(dimensions)):
                    continue
                x = input[(*plane, *place)]
                if not has_value or x > best or math.isnan(x):
                    best, has_value = x, True
                    best_index = 0
                    for d in range(dimensions):
                        best_index = best_index * sizes[d] + place[d]
            indices[(*plane, *position)] = best_index
            if has_value:
                values[(*plane, *position)] = best
    return (values, indices) if return_indices else (values,)


def avg_pool(
    input: np.ndarray,
    dimensions: int,
    *,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
) -> np.ndarray:
    """AvgPool1d, AvgPool2d, AvgPool3d: the sum of each window over the elements that count."""
    kernel = per_dimension(kernel_size, dimensions)
    strides = kernel if stride is None else per_dimension(stride, dimensions)
    paddings = per_dimension(padding, dimensions)
    sizes = input.shape[-dimensions:]
    starts = [
        _window_starts(sizes[d], kernel[d], strides[d], paddings[d], 1, ceil_mode)
        for d in range(dimensions)
    ]
    leading = input.shape[:-dimensions]
    shape = (*leading, *map(len, starts))
    result = np.zeros(shape)
    for plane in positions(leading):
        for position in positions(shape[-dimensions:]):
            terms, padded = [], 0
            for tap in positions(kernel):
                place = tuple(starts[d][position[d]] + tap[d] for d in range(dimensions))
                if all(0 <= place[d] < sizes[d] for d in range(dimensions)):
                    terms.append(input[(*plane, *place)])
                elif all(place[d] < sizes[d] + paddings[d] for d in range(dimensions)):
                    padded += 1
            count = len(terms) + (padded if count_include_pad else 0)
            divisor = count if divisor_override is None else divisor_override
            result[(*plane, *position)] = math.fsum(terms) / divisor
    return result


def adaptive_pool(
    input: np.ndarray, dimensions: int, largest: bool, *, output_size, return_indices=False
) -> tuple[np.ndarray, ...]:
    """AdaptiveMaxPool1d to 3d and AdaptiveAvgPool1d to 3d, element by element.

    An element at x belongs to each region that has a part of [x, x + 1), the input being cut into
    equal parts.
    """
    sizes = input.shape[-dimensions:]
    is_sequence = isinstance(output_size, (tuple, list))
    outputs = output_size if is_sequence else (output_size,) * dimensions
    outputs = [n if o is None else o for n, o in zip(sizes, outputs, strict=True)]
    leading = input.shape[:-dimensions]
    values, indices = np.zeros((*leading, *outputs)), np.zeros((*leading, *outputs))
    for plane in positions(leading):
        for position in positions(outputs):
            results = []
            for place in positions(sizes):
                if all(
                    place[d] * outputs[d] < (position[d] + 1) * sizes[d]
                    and position[d] * sizes[d] < (place[d] + 1) * outputs[d]
                    for d in range(dimensions)
                ):
                    flat = 0
                    for d in range(dimensions):
                        flat = flat * sizes[d] + place[d]
                    results.append((input[(*plane, *place)], flat))
            numbers = [x for x, _ in results]
            if not largest:
                values[(*plane, *position)] = math.fsum(numbers) / len(numbers)
                continue
            best = math.nan if any(map(math.isnan, numbers)) else max(numbers)
            values[(*plane, *position)] = best
            indices[(*plane, *position)] = next(
                k for x, k in results if x == best or (math.isnan(x) and math.isnan(best))
            )
    return (values, indices) if return_indices else (values,)


def lp_pool(
    input: np.ndarray, dimensions: int, *, norm_type, kernel_size, stride=None, ceil_mode=False
) -> np.ndarray:
    """LPPool1d, LPPool2d, LPPool3d: the p-norm of the elements in each window."""
    kernel = per_dimension(kernel_size, dimensions)
    strides = kernel if stride is None else per_dimension(stride, dimensions)
    sizes = input.shape[-dimensions:]
    starts = [
        _window_starts(sizes[d], kernel[d], strides[d], 0, 1, ceil_mode) for d in range(dimensions)
    ]
    leading = input.shape[:-dimensions]
    result = np.zeros((*leading, *map(len, starts)))
    for plane in positions(leading):
        for position in positions(result.shape[-dimensions:]):
            terms = []
            for tap in positions(kernel):
                place = tuple(starts[d][position[d]] + tap[d] for d in range(dimensions))
                if all(place[d] < sizes[d] for d in range(dimensions)):
                    terms.append(float(input[(*plane, *place)]))
            if norm_type == math.inf:
                result[(*plane, *position)] = max(map(abs, terms))
                continue
            total = math.fsum(x**norm_type for x in terms)
            result[(*plane, *position)] = math.copysign(abs(total) ** (1 / norm_type), total)
    return result


def max_unpool(
    input: np.ndarray,
    indices: np.ndarray,
    dimensions: int,
    *,
    kernel_size,
    stride=None,
    padding=0,
    output_size=None,
) -> np.ndarray:
    """MaxUnpool1d, MaxUnpool2d, MaxUnpool3d: each element where its index says."""
    kernel = per_dimension(kernel_size, dimensions)
    strides = kernel if stride is None else per_dimension(stride, dimensions)
    paddings = per_dimension(padding, dimensions)
    sizes = [
        (input.shape[d - dimensions] - 1) * strides[d] - 2 * paddings[d] + kernel[d]
        for d in range(dimensions)
    ]
    sizes = sizes if output_size is None else list(output_size)[-dimensions:]
    result = np.zeros((*input.shape[:-dimensions], *sizes))
    for position in positions(input.shape):
        flat, place = int(indices[position]), []
        for size in reversed(sizes):
            place.insert(0, flat % size)
            flat //= size
        result[(*position[:-dimensions], *place)] = input[position]
    return result


def fractional_max_pool(
    input: np.ndarray,
    dimensions: int,
    *,
    kernel_size,
    output_size=None,
    output_ratio=None,
    return_indices=False,
    draws=(0.2, 0.7, 0.45),
) -> tuple[np.ndarray, ...]:
    """FractionalMaxPool2d, FractionalMaxPool3d, of one draw for each dimension."""
    kernel = per_dimension(kernel_size, dimensions)
    sizes = input.shape[-dimensions:]
    if output_size is not None:
        outputs = per_dimension(output_size, dimensions)
    else:
        ratios = output_ratio if isinstance(output_ratio, tuple) else (output_ratio,) * dimensions
        outputs = [math.floor(n * r) for n, r in zip(sizes, ratios, strict=True)]
    leading = input.shape[:-dimensions]
    values, indices = np.zeros((*leading, *outputs)), np.zeros((*leading, *outputs))
    for plane in positions(leading):
        for position in positions(outputs):
            starts = []
            for d in range(dimensions):
                last_start = sizes[d] - kernel[d]
                if position[d] == outputs[d] - 1:
                    starts.append(last_start)
                    continue
                alpha, u = Fraction(last_start, outputs[d] - 1), Fraction(draws[d])
                starts.append(math.floor((position[d] + u) * alpha) - math.floor(u * alpha))
            best, best_index = -math.inf, None
            for tap in positions(kernel):
                place = [starts[d] + tap[d] for d in range(dimensions)]
                x = input[(*plane, *place)]
                if best_index is None or x > best or math.isnan(x):
                    best, best_index = x, 0
                    for d in range(dimensions):
                        best_index = best_index * sizes[d] + place[d]
            values[(*plane, *position)], indices[(*plane, *position)] = best, best_index
    return (values, indices) if return_indices else (values,)
