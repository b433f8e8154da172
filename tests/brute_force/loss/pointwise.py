"""Losses that are a number for each element, as plain loops over single numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from brute_force.loss.parts import reduce_losses
from conformance.model.case import Case, bare_name


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The outputs of a case of one of `LOSSES`."""
    loss = LOSSES[bare_name(case.call.layer)]
    arguments = dict(case.call.arguments)
    reduction = arguments.pop("reduction", "mean")
    names = ("input", "target", *EXTRA.get(bare_name(case.call.layer), ("weight",)))
    arrays = dict(zip(names, case.inputs, strict=False)) | dict(case.call.state)
    inputs = {name: x for name, x in arrays.items() if x is not None}
    input = inputs["input"]
    if "var" in inputs and inputs["var"].ndim == input.ndim - 1:
        inputs["var"] = inputs["var"][..., np.newaxis]
    shape = np.broadcast_shapes(*(x.shape for x in inputs.values()))
    broadcast = {name: np.broadcast_to(x, shape) for name, x in inputs.items()}
    losses, weights = np.zeros(shape), 0.0
    for position in np.ndindex(*shape):
        numbers = {name: float(x[position]) for name, x in broadcast.items()}
        losses[position] = loss(numbers | arguments)
        if "weight" in numbers:
            losses[position] *= numbers["weight"]
            weights += numbers["weight"]
    count: float = losses.size
    if reduction == "batchmean":
        count = input.shape[0] if input.ndim else 1
    if "weight" in broadcast and bare_name(case.call.layer) in ("l1_loss", "mse_loss"):
        count = weights
    return (reduce_losses(losses, reduction, count),)


def _l1(values: dict[str, Any]) -> float:
    return abs(values["input"] - values["target"])


def _mse(values: dict[str, Any]) -> float:
    return (values["input"] - values["target"]) ** 2


def _smooth_l1(values: dict[str, Any]) -> float:
    beta, d = values.get("beta", 1.0), _l1(values)
    return 0.5 * d**2 / beta if d < beta else d - 0.5 * beta


def _huber(values: dict[str, Any]) -> float:
    delta, d = values.get("delta", 1.0), _l1(values)
    return 0.5 * d**2 if d < delta else delta * (d - 0.5 * delta)


def _kl(values: dict[str, Any]) -> float:
    x, y = values["input"], values["target"]
    if values.get("log_target"):
        return math.exp(y) * (y - x)
    return y * (math.log(y) - x) if y else 0.0


def _bce(values: dict[str, Any]) -> float:
    """Next to 0 all digits of log(1 - x) are in log1p(-x)."""
    x, y = values["input"], values["target"]
    positive = math.log(x) if x > 0 else -math.inf
    negative = math.log1p(-x) if x < 1 else -math.inf
    return -(y * max(positive, -100.0) + (1 - y) * max(negative, -100.0))


def _bce_with_logits(values: dict[str, Any]) -> float:
    """−log σ(x) is log(1 + e⁻ˣ), or −x + log(1 + eˣ)."""
    x, y = values["input"], values["target"]
    tail = math.log1p(math.exp(-abs(x)))
    positive, negative = max(-x, 0.0) + tail, max(x, 0.0) + tail
    return values.get("pos_weight", 1.0) * y * positive + (1 - y) * negative


def _poisson(values: dict[str, Any]) -> float:
    x, y = values["input"], values["target"]
    if values.get("log_input", True):
        loss = math.exp(x) - y * x
    else:
        loss = x - y * math.log(x + values.get("eps", 1e-8))
    if values.get("full") and y > 1:
        loss += y * math.log(y) - y + 0.5 * math.log(2 * math.pi * y)
    return loss


def _gaussian(values: dict[str, Any]) -> float:
    v = max(values["var"], values.get("eps", 1e-6))
    loss = 0.5 * (math.log(v) + (values["input"] - values["target"]) ** 2 / v)
    return loss + (0.5 * math.log(2 * math.pi) if values.get("full") else 0.0)


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
