"""Dropout element by element, by a mask of its own."""

from __future__ import annotations

import random

import numpy as np

from conformance.model.case import Case


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """One of the outputs that a case of this family may have."""
    (x,) = case.inputs
    assert x is not None
    arguments = dict(case.call.arguments)
    function = case.call.layer.startswith("functional.")
    training = arguments.get("training", True) if function else case.call.training
    p, coin = arguments.get("p", 0.5), random.Random(case.seed)
    found = []
    for number in x.reshape(-1).tolist():
        if not training:
            found.append(number)
        elif coin.random() < p or p == 1:
            found.append(0.0)
        else:
            found.append(number / (1 - p))
    return (np.array(found).reshape(x.shape),)
