"""Initial values, number by number; those that are drawn by a generator of Python's own."""

from __future__ import annotations

import math
import random

import numpy as np

from brute_force.oracles import _positions
from conformance.model.case import Case, bare_name

_GAINS = {"relu": 2**0.5, "tanh": 5 / 3, "selu": 0.75}


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """One of the outputs that a case of this family may have."""
    (x,) = case.inputs
    assert x is not None
    name, given = bare_name(case.call.layer), dict(case.call.arguments)
    found = np.zeros(x.shape)
    if name == "orthogonal_":
        return (_orthogonal(x.shape, given.get("gain", 1), random.Random(case.seed)),)
    if name == "sparse_":
        return (_sparse(x.shape, given, random.Random(case.seed)),)
    if name == "dirac_":
        groups = given.get("groups", 1)
        for at in _positions(x.shape):
            output, channel, *kernel = at
            inside = output % (x.shape[0] // groups)
            centred = all(k == n // 2 for k, n in zip(kernel, x.shape[2:], strict=True))
            found[at] = 1.0 if inside == channel and centred else 0.0
        return (found,)
    generator = random.Random(case.seed)
    for at in _positions(x.shape):
        found[at] = _number(name, given, x.shape, at, generator)
    return (found,)


def _number(name, given, shape, at, generator):
    if name in ("ones_", "zeros_"):
        return 1.0 if name == "ones_" else 0.0
    if name == "constant_":
        return given["val"]
    if name == "eye_":
        return 1.0 if at[0] == at[1] else 0.0
    if name == "uniform_":
        return generator.uniform(given.get("a", 0.0), given.get("b", 1.0))
    if name == "normal_":
        return generator.gauss(given.get("mean", 0.0), given.get("std", 1.0))
    if name == "trunc_normal_":
        while True:
            number = generator.gauss(given.get("mean", 0.0), given.get("std", 1.0))
            if given.get("a", -2.0) <= number <= given.get("b", 2.0):
                return number
    size = 1
    for n in shape[2:]:
        size *= n
    fan_in, fan_out = shape[1] * size, shape[0] * size
    if name.startswith("xavier"):
        variance = given.get("gain", 1.0) ** 2 * 2 / (fan_in + fan_out)
    else:
        kind, a = given.get("nonlinearity", "leaky_relu"), given.get("a", 0)
        gain = (2 / (1 + a * a)) ** 0.5 if kind == "leaky_relu" else _GAINS.get(kind, 1.0)
        fan = fan_out if given.get("mode") == "fan_out" else fan_in
        variance = gain**2 / fan
    if "normal" in name:
        return generator.gauss(0.0, math.sqrt(variance))
    return generator.uniform(-math.sqrt(3 * variance), math.sqrt(3 * variance))


def _orthogonal(shape, gain, generator):
    """By Gram and Schmidt."""
    rows, columns = shape[0], math.prod(shape[1:])
    count, size = min(rows, columns), max(rows, columns)
    found: list[list[float]] = []
    while len(found) < count:
        vector = [generator.gauss(0.0, 1.0) for _ in range(size)]
        for _ in range(2):
            for other in found:
                along = sum(a * b for a, b in zip(vector, other, strict=True))
                vector = [a - along * b for a, b in zip(vector, other, strict=True)]
        length = math.sqrt(sum(a * a for a in vector))
        found.append([a / length for a in vector])
    matrix = np.array(found).reshape(count, size)
    return gain * (matrix.T if rows > columns else matrix).reshape(shape)


def _sparse(shape, given, generator):
    rows, columns = shape
    found = np.zeros(shape)
    zeros = math.ceil(given["sparsity"] * rows)
    for column in range(columns):
        gone = generator.sample(range(rows), zeros)
        for row in range(rows):
            number = generator.gauss(0.0, given.get("std", 0.01))
            found[row, column] = 0.0 if row in gone else number
    return found
