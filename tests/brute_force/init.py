"""Initial values, number by number; those that are drawn by a generator of Python's own."""

from __future__ import annotations

import math
import random

import numpy as np

from brute_force.oracles import positions
from conformance.model.case import Case, bare_name

_GAINS = {"relu": 2**0.5, "tanh": 5 / 3, "selu": 0.75}


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """One of the outputs that a case of this family may have."""
    (x,) = case.inputs
    assert x is not None
    name, arguments = bare_name(case.call.layer), dict(case.call.arguments)
    values = np.zeros(x.shape)
    if name == "orthogonal_":
        return (_orthogonal(x.shape, arguments.get("gain", 1), random.Random(case.seed)),)
    if name == "sparse_":
        return (_sparse(x.shape, arguments, random.Random(case.seed)),)
    if name == "dirac_":
        groups = arguments.get("groups", 1)
        for position in positions(x.shape):
            output, channel, *kernel = position
            index_in_group = output % (x.shape[0] // groups)
            centred = all(k == n // 2 for k, n in zip(kernel, x.shape[2:], strict=True))
            values[position] = 1.0 if index_in_group == channel and centred else 0.0
        return (values,)
    generator = random.Random(case.seed)
    for position in positions(x.shape):
        values[position] = _initial_value(name, arguments, x.shape, position, generator)
    return (values,)


def _initial_value(name, arguments, shape, position, generator):
    if name in ("ones_", "zeros_"):
        return 1.0 if name == "ones_" else 0.0
    if name == "constant_":
        return arguments["val"]
    if name == "eye_":
        return 1.0 if position[0] == position[1] else 0.0
    if name == "uniform_":
        return generator.uniform(arguments.get("a", 0.0), arguments.get("b", 1.0))
    if name == "normal_":
        return generator.gauss(arguments.get("mean", 0.0), arguments.get("std", 1.0))
    if name == "trunc_normal_":
        while True:
            number = generator.gauss(arguments.get("mean", 0.0), arguments.get("std", 1.0))
            if arguments.get("a", -2.0) <= number <= arguments.get("b", 2.0):
                return number
    size = 1
    for n in shape[2:]:
        size *= n
    fan_in, fan_out = shape[1] * size, shape[0] * size
    if name.startswith("xavier"):
        variance = arguments.get("gain", 1.0) ** 2 * 2 / (fan_in + fan_out)
    else:
        nonlinearity, a = arguments.get("nonlinearity", "leaky_relu"), arguments.get("a", 0)
        gain = (
            (2 / (1 + a * a)) ** 0.5
            if nonlinearity == "leaky_relu"
            else _GAINS.get(nonlinearity, 1.0)
        )
        fan = fan_out if arguments.get("mode") == "fan_out" else fan_in
        variance = gain**2 / fan
    if "normal" in name:
        return generator.gauss(0.0, math.sqrt(variance))
    return generator.uniform(-math.sqrt(3 * variance), math.sqrt(3 * variance))


def _orthogonal(shape, gain, generator):
    """By Gram and Schmidt."""
    rows, columns = shape[0], math.prod(shape[1:])
    count, size = min(rows, columns), max(rows, columns)
    basis: list[list[float]] = []
    while len(basis) < count:
        vector = [generator.gauss(0.0, 1.0) for _ in range(size)]
        for _ in range(2):
            for basis_vector in basis:
                projection = sum(a * b for a, b in zip(vector, basis_vector, strict=True))
                vector = [a - projection * b for a, b in zip(vector, basis_vector, strict=True)]
        length = math.sqrt(sum(a * a for a in vector))
        basis.append([a / length for a in vector])
    matrix = np.array(basis).reshape(count, size)
    return gain * (matrix.T if rows > columns else matrix).reshape(shape)


def _sparse(shape, arguments, generator):
    rows, columns = shape
    output = np.zeros(shape)
    zeros = math.ceil(arguments["sparsity"] * rows)
    for column in range(columns):
        zero_rows = generator.sample(range(rows), zeros)
        for row in range(rows):
            number = generator.gauss(0.0, arguments.get("std", 0.01))
            output[row, column] = 0.0 if row in zero_rows else number
    return output
