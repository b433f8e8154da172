"""The work of a call: operations of the plain algorithm, and bytes that must be moved."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conformance.model.case import Call
from conformance.timing.operands import ArrayTuple, TimedArrays

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "complex64": 8, "complex128": 16}
_WHOLE = {"int64": 8, "bool": 1}


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


def operations(operands: TimedArrays) -> int:
    """Count the multiplications and additions of a call."""
    w, row = operands.workload, operands.row
    given = [w.inputs[k] for k in row.signature.places("weight", "bias") if k < len(w.inputs)]
    weights = given or list(operands.shapes.values())
    assert row.benchmark.flops is not None
    flops = row.benchmark.flops(w, weights, operands.outputs)
    return flops if operands.timed.direction == "forward" else 3 * flops


def cost(operands: TimedArrays, call: Call, inputs: ArrayTuple) -> Cost:
    """The work of a call that does not return a view of its input.

    Args:
        call: the call, with its state.
        inputs: its inputs; in an embedding they decide how many rows the call reads.
    """
    row, size = operands.row, BYTES[operands.timed.dtype]
    names = [x.name for x in row.signature.inputs]
    arrays = {**call.state, **dict(zip(names, inputs, strict=False))}
    needed = row.benchmark.needed(arrays)
    moved = sum(
        needed.get(name, array.size) * _width(array, size) for name, array in arrays.items()
    )
    case = operands.case(call, inputs)
    for shape, output in zip(operands.outputs, row.signature.outputs, strict=False):
        dtype = operands.timed.dtype if output.dtype is None else output.dtype(case)
        moved += math.prod(shape) * _WHOLE.get(dtype, BYTES.get(dtype, size))
    if operands.timed.direction != "forward":
        # The cotangent is of the first output.
        gradients = sum(array.size for array in _differentiated(operands, call, inputs))
        moved += size * (math.prod(operands.outputs[0]) + gradients)
    return Cost(operations(operands), moved)


def _width(array: np.ndarray, size: int) -> int:
    """Bytes of one element; indices and counters keep their integer dtype in every dtype."""
    return array.dtype.itemsize if array.dtype.kind in "iub" else size


def _differentiated(operands: TimedArrays, call: Call, inputs: ArrayTuple) -> Iterator[np.ndarray]:
    """The operands that have gradients."""
    row = operands.row
    for x, array in zip(row.signature.inputs, inputs, strict=False):
        if x.differentiable and array.dtype.kind in "fc":
            yield array
    shape = inputs[0].shape
    given = {**call.arguments, **row.inferred(shape)}
    buffers = {x.name for x in row.state_tensors(given, shape) if x.buffer}
    yield from (array for name, array in call.state.items() if name not in buffers)
