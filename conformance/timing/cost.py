"""How much work a call is: operations of the plain algorithm, and bytes that must be moved."""

from __future__ import annotations

import math
from dataclasses import dataclass

from conformance.timing.operands import TimedArrays

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "complex64": 8, "complex128": 16}


@dataclass(frozen=True)
class Cost:
    """The work of one call.

    Args:
        flops: multiplications and additions in the sums of products as the documentation writes
            them; a faster algorithm (Winograd, FFT) does fewer. Backward counts twice forward: the
            gradients of both operands are such sums again.
        bytes: each operand read once and each result written once: the least that any
            implementation moves, unless it fits into a cache.
    """

    flops: int
    bytes: int


def cost(operands: TimedArrays) -> Cost:
    """The work of a call.

    Args:
        operands: of the call.
    """
    w, row = operands.workload, operands.row
    output = operands.outputs[0]
    backward = operands.timed.direction != "forward"
    given = [w.inputs[k] for k in row.places("weight", "bias") if k < len(w.inputs)]
    weights = given or list(operands.shapes.values())
    assert row.flops is not None
    flops = row.flops(w, weights, operands.outputs)
    if row.traits.aliases:
        return Cost(0, 0)  # the answer is the input itself
    size = BYTES[operands.timed.dtype]
    read = sum(map(math.prod, w.inputs)) + sum(map(math.prod, operands.shapes.values()))
    written = sum(map(math.prod, operands.outputs))
    moved = read + written
    if backward:
        # The cotangent of the first output is read, gradients of all operands are written.
        moved += math.prod(output) + read
    return Cost(3 * flops if backward else flops, size * moved)
