"""Padding as plain loops, from the documentation alone."""

from __future__ import annotations

import numpy as np

from brute_force.oracles import positions
from conformance.model.case import Case
from conformance.model.formats import round_to

_MODES = {"Refl": "reflect", "Repl": "replicate", "Circ": "circular"}


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """A case's output."""
    (x,), arguments, layer = case.inputs, case.call.arguments, case.call.layer
    assert x is not None
    value = arguments.get("value") or arguments.get("value", 0.0)
    fill = 0.0 if value is None else value
    if x.dtype.kind == "f":
        fill = float(round_to(np.array(float(fill)), case.call.dtype))
    if layer == "functional.pad":
        return (pad(x, tuple(arguments["pad"]), arguments.get("mode", "constant"), fill),)
    numbers = arguments["padding"]
    if isinstance(numbers, int):
        numbers = (numbers,) * (2 * int(layer[-2]))
    return (pad(x, numbers, _MODES.get(layer[:4], "constant"), fill),)


def pad(x: np.ndarray, numbers: tuple[int, ...], mode: str, value: float) -> np.ndarray:
    """One element after the other walks home from where it stands in the output."""
    sides = [(0, 0)] * x.ndim
    for k in range(len(numbers) // 2):
        sides[x.ndim - 1 - k] = (numbers[2 * k], numbers[2 * k + 1])
    shape = tuple(n + b + a for n, (b, a) in zip(x.shape, sides, strict=True))
    output = np.full(shape, value, x.dtype)
    for position in positions(shape):
        source = [
            source_index(place - before, length, (before, after), mode)
            for place, length, (before, after) in zip(position, x.shape, sides, strict=True)
        ]
        if None not in source:
            output[position] = x[tuple(source)]
    return output


def source_index(place: int, length: int, side: tuple[int, int], mode: str) -> int | None:
    """Where in the input an element comes from; None of the constant."""
    first, last = 0, length - 1
    if mode == "circular":
        # What is cropped is gone before anything is wrapped round.
        first, last = max(-side[0], 0), length - 1 - max(-side[1], 0)
    while not first <= place <= last:
        if mode == "constant":
            return None
        if mode == "replicate":
            place = first if place < first else last
        elif mode == "reflect":
            place = 2 * first - place if place < first else 2 * last - place
        else:
            place += last - first + 1 if place < first else first - last - 1
    return place
