"""Losses that are a number for each element, as plain loops over single numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from brute_force.loss.parts import reduced
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
    count: float = losses.size
    if reduction == "batchmean":
        count = input.shape[0] if input.ndim else 1
    if "weight" in spread and bare_name(case.call.layer) in ("l1_loss", "mse_loss"):
        count = weights
    return (reduced(losses, reduction, count),)


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


def _kl(of: dict[str, Any]) -> float:
    x, y = of["input"], of["target"]
    if of.get("log_target"):
        return math.exp(y) * (y - x)
    return y * (math.log(y) - x) if y else 0.0


def _bce(of: dict[str, Any]) -> float:
    """Next to 0 all digits of log(1 - x) are in log1p(-x)."""
    x, y = of["input"], of["target"]
    positive = math.log(x) if x > 0 else -math.inf
    negative = math.log1p(-x) if x < 1 else -math.inf
    return -(y * max(positive, -100.0) + (1 - y) * max(negative, -100.0))


def _bce_with_logits(of: dict[str, Any]) -> float:
    """−log σ(x) is log(1 + e⁻ˣ), or −x + log(1 + eˣ)."""
    x, y = of["input"], of["target"]
    tail = math.log1p(math.exp(-abs(x)))
    positive, negative = max(-x, 0.0) + tail, max(x, 0.0) + tail
    return of.get("pos_weight", 1.0) * y * positive + (1 - y) * negative


def _poisson(of: dict[str, Any]) -> float:
    x, y = of["input"], of["target"]
    if of.get("log_input", True):
        loss = math.exp(x) - y * x
    else:
        loss = x - y * math.log(x + of.get("eps", 1e-8))
    if of.get("full") and y > 1:
        loss += y * math.log(y) - y + 0.5 * math.log(2 * math.pi * y)
    return loss


def _gaussian(of: dict[str, Any]) -> float:
    v = max(of["var"], of.get("eps", 1e-6))
    loss = 0.5 * (math.log(v) + (of["input"] - of["target"]) ** 2 / v)
    return loss + (0.5 * math.log(2 * math.pi) if of.get("full") else 0.0)


LOSSES: dict[str, Callable[[dict[str, Any]], float]] = {
    "L1Loss": _l1,
    "l1_loss": _l1,
    "MSELoss": _mse,
    "mse_loss": _mse,
    "SmoothL1Loss": _smooth_l1,
    "smooth_l1_loss": _smooth_l1,
    "HuberLoss": _huber,
    "huber_loss": _huber,
    "KLDivLoss": _kl,
    "kl_div": _kl,
    "BCELoss": _bce,
    "binary_cross_entropy": _bce,
    "BCEWithLogitsLoss": _bce_with_logits,
    "binary_cross_entropy_with_logits": _bce_with_logits,
    "PoissonNLLLoss": _poisson,
    "poisson_nll_loss": _poisson,
    "GaussianNLLLoss": _gaussian,
    "gaussian_nll_loss": _gaussian,
}
EXTRA: dict[str, tuple[str, ...]] = {
    "GaussianNLLLoss": ("var",),
    "gaussian_nll_loss": ("var",),
    "binary_cross_entropy_with_logits": ("weight", "pos_weight"),
}
"""Names of inputs behind the target, where they are others than `weight`."""
