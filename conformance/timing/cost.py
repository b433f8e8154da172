"""How much work a call is: operations of the plain algorithm, and bytes that must be moved."""

from __future__ import annotations

import math
from dataclasses import dataclass

from conformance.layers import states
from conformance.timing.operands import Operands

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


def cost(operands: Operands) -> Cost:
    """The work of a call.

    Args:
        operands: of the call.
    """
    w, name = operands.workload, states.eager(operands.timed.layer)
    output = operands.outputs[0]
    backward = operands.timed.direction != "forward"
    weights = list(w.inputs[-2:]) if operands.functional else list(operands.shapes.values())
    if "hidden_size" in w.arguments:
        rows = math.prod(w.inputs[0][:-1])
        matrices = [math.prod(s) for s in weights if len(s) == 2]
        flops = 2 * rows * sum(matrices)
    elif name == "Identity":
        return Cost(0, 0)  # the answer is the input itself
    else:
        weight = weights[0]
        if "ilinear" in name:
            rows = math.prod(output[:-1])
            flops = 2 * rows * (math.prod(weight) + weight[0] * weight[2])
        elif "ranspose" in name:
            dims = states.dimensions(name)
            flops = 2 * math.prod(weight) * w.inputs[0][0] * math.prod(w.inputs[0][-dims:])
        else:
            dims = states.dimensions(name)
            places = output[0] * math.prod(output[-dims:]) if dims else math.prod(output[:-1])
            flops = 2 * math.prod(weight) * places
    size = BYTES[operands.timed.dtype]
    read = sum(map(math.prod, w.inputs)) + sum(map(math.prod, operands.shapes.values()))
    written = sum(map(math.prod, operands.outputs))
    moved = read + written
    if backward:
        # The cotangent of the first output is read, gradients of all operands are written.
        moved += math.prod(output) + read
    return Cost(3 * flops if backward else flops, size * moved)
