"""Dropout element by element or channel by channel, by a mask of its own."""

from __future__ import annotations

import math
import random

import numpy as np

from brute_force.oracles import positions
from conformance.model.case import Case

_SCALE, _ALPHA = 1.0507009873554805, 1.6732632423543772  # of SELU


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """One of the outputs that a case of this family may have."""
    (x,) = case.inputs
    assert x is not None
    arguments = dict(case.call.arguments)
    name = case.call.layer.removeprefix("functional.").replace("_", "").lower()
    alpha = "alpha" in name
    function = case.call.layer.startswith("functional.")
    training = arguments.get("training", not alpha) if function else case.call.training
    p, coin = arguments.get("p", 0.5), random.Random(case.seed)
    output = np.empty(x.shape)
    masks: dict[tuple[int, ...], bool] = {}
    for position in positions(x.shape):
        number = float(x[position])
        key = position if name in ("dropout", "alphadropout") else position[:2]
        dropped = masks.setdefault(key, coin.random() < p or p == 1)
        if not training:
            output[position] = number
        elif alpha:
            output[position] = _alpha_dropout(None if dropped else number, p)
        else:
            output[position] = 0.0 if dropped else number / (1 - p)
    return (output,)


def _alpha_dropout(number: float | None, p: float) -> float:
    """Alpha dropout of a number that is kept, or of None, which is dropped."""
    if p == 1:
        return 0.0
    low = -_SCALE * _ALPHA
    a = 1 / math.sqrt((1 - p) * (1 + p * low * low))
    b = -a * p * low
    return a * (low if number is None else number) + b
