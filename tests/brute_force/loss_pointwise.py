"""Losses that are a number for each element, as plain loops over single numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.model.case import Case, bare_name


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The outputs of a case of one of `LOSSES`."""
    loss = LOSSES[bare_name(case.call.layer)]
    arguments = dict(case.call.arguments)
    reduction = arguments.pop("reduction", "mean")
    names = ("input", "target", *EXTRA.get(bare_name(case.call.layer), ("weight",)))
    arrays = dict(zip(names, case.inputs, strict=False)) | dict(case.call.state)
    given = {name: x for name, x in arrays.items() if x is not None}
    input = given["input"]
    if "var" in given and given["var"].ndim == input.ndim - 1:
        given["var"] = given["var"][..., np.newaxis]
    whole = np.broadcast_shapes(*(x.shape for x in given.values()))
    spread = {name: np.broadcast_to(x, whole) for name, x in given.items()}
    losses, weights = np.zeros(whole), 0.0
    for where in np.ndindex(*whole):
        numbers = {name: float(x[where]) for name, x in spread.items()}
        losses[where] = loss(numbers | arguments)
        if "weight" in numbers:
            losses[where] *= numbers["weight"]
            weights += numbers["weight"]
    if reduction == "none":
        return (losses,)
    total = math.fsum(losses.reshape(-1))
    if reduction == "sum":
        return (np.array(total),)
    count: float = losses.size
    if reduction == "batchmean":
        count = input.shape[0] if input.ndim else 1
    if "weight" in spread and bare_name(case.call.layer) in ("l1_loss", "mse_loss"):
        count = weights
    return (np.array(total / count if count else math.nan),)


def _l1(of: dict[str, Any]) -> float:
    return abs(of["input"] - of["target"])


def _mse(of: dict[str, Any]) -> float:
    return (of["input"] - of["target"]) ** 2


def _smooth_l1(of: dict[str, Any]) -> float:
    beta, d = of.get("beta", 1.0), _l1(of)
    return 0.5 * d**2 / beta if d < beta else d - 0.5 * beta


def _huber(of: dict[str, Any]) -> float:
    delta, d = of.get("delta", 1.0), _l1(of)
    return 0.5 * d**2 if d < delta else delta * (d - 0.5 * delta)


LOSSES: dict[str, Callable[[dict[str, Any]], float]] = {
    "L1Loss": _l1,
    "l1_loss": _l1,
    "MSELoss": _mse,
    "mse_loss": _mse,
    "SmoothL1Loss": _smooth_l1,
    "smooth_l1_loss": _smooth_l1,
    "HuberLoss": _huber,
    "huber_loss": _huber,
}
EXTRA: dict[str, tuple[str, ...]] = {}
"""Names of inputs behind the target, where they are others than `weight`."""
