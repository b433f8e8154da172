"""The work of a call: operations of the plain algorithm, and bytes that must be moved."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conformance.model.case import Call
from conformance.timing.operands import ArrayTuple, TimedArrays

BYTES_PER_NUMBER = {
    "float64": 8,
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "complex64": 8,
    "complex128": 16,
}
_INTEGER_BYTES = {"int64": 8, "bool": 1}


@dataclass(frozen=True)
class Cost:
    """The work of one call.

    Args:
        flops: multiplications and additions in the sums of products of the documentation's
            formula. A faster algorithm (Winograd, FFT) does fewer. Backward counts twice forward,
            because the gradients of both operands are such sums again.
        bytes: each operand read once and each result written once. No implementation moves fewer,
            unless a cache holds them. Backward also reads the cotangent and writes the gradients.
    """

    flops: int
    bytes: int


def count_operations(operands: TimedArrays) -> int:
    """Count the multiplications and additions of a call."""
    w, spec = operands.workload, operands.spec
    weight_shapes = [
        w.inputs[k] for k in spec.signature.input_indices("weight", "bias") if k < len(w.inputs)
    ]
    weights = weight_shapes or list(operands.state_shapes.values())
    assert spec.benchmark.flops is not None
    flops = spec.benchmark.flops(w, weights, operands.output_shapes)
    return flops if operands.timed.direction == "forward" else 3 * flops


def cost(operands: TimedArrays, call: Call, inputs: ArrayTuple) -> Cost:
    """The work of a call that does not return a view of its input.

    Args:
        call: the call, with its state.
        inputs: its inputs; in an embedding they decide how many rows the call reads.
    """
    spec, size = operands.spec, BYTES_PER_NUMBER[operands.timed.dtype]
    names = [x.name for x in spec.signature.inputs]
    arrays = {**call.state, **dict(zip(names, inputs, strict=False))}
    elements_read = spec.benchmark.elements_read(arrays)
    bytes_moved = sum(
        elements_read.get(name, array.size) * _bytes_per_element(array, size)
        for name, array in arrays.items()
    )
    case = operands.case(call, inputs)
    for shape, output in zip(operands.output_shapes, spec.signature.outputs, strict=False):
        dtype = operands.timed.dtype if output.dtype is None else output.dtype(case)
        bytes_moved += math.prod(shape) * _INTEGER_BYTES.get(
            dtype, BYTES_PER_NUMBER.get(dtype, size)
        )
    if operands.timed.direction != "forward":
        # The cotangent is of the first output.
        gradients = sum(array.size for array in _differentiated_operands(operands, call, inputs))
        bytes_moved += size * (math.prod(operands.output_shapes[0]) + gradients)
    return Cost(count_operations(operands), bytes_moved)


def _bytes_per_element(array: np.ndarray, size: int) -> int:
    """Bytes of one element; indices and counters keep their integer dtype in every dtype."""
    return array.dtype.itemsize if array.dtype.kind in "iub" else size


def _differentiated_operands(
    operands: TimedArrays, call: Call, inputs: ArrayTuple
) -> Iterator[np.ndarray]:
    """The operands that have gradients."""
    spec = operands.spec
    for x, array in zip(spec.signature.inputs, inputs, strict=False):
        if x.differentiable and array.dtype.kind in "fc":
            yield array
    shape = inputs[0].shape
    arguments = {**call.arguments, **spec.inferred_arguments(shape)}
    buffers = {x.name for x in spec.state_tensors(arguments, shape) if x.buffer}
    yield from (array for name, array in call.state.items() if name not in buffers)
