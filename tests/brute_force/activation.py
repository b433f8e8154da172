"""Activations element by element."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from conformance.model.activations import activation_of, require_complete
from conformance.model.case import Case


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def _log1p_exp(x: float) -> float:
    return x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))


def _gelu(x: float, approximate: str = "none") -> float:
    if approximate == "none":
        return x * 0.5 * math.erfc(-x / math.sqrt(2))
    z = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return 0.5 * x * (1 + math.tanh(z))


def _softplus(x: float, beta: float = 1.0, threshold: float = 20.0) -> float:
    return x if x * beta > threshold else _log1p_exp(x * beta) / beta


def _elu(x: float, alpha: float = 1.0) -> float:
    return x if x > 0 else alpha * math.expm1(x)


def _celu(x: float, alpha: float = 1.0) -> float:
    return x if x > 0 else alpha * math.expm1(x / alpha)


def _selu(x: float) -> float:
    return 1.0507009873554804934193349852946 * _elu(x, 1.6732632423543772848170429916717)


def _hardtanh(x: float, min_val: float = -1.0, max_val: float = 1.0) -> float:
    if x > max_val:
        return max_val
    return min_val if x < min_val else x


def _hardshrink(x: float, lambd: float = 0.5) -> float:
    return x if x > lambd or x < -lambd else 0.0


def _softshrink(x: float, lambd: float = 0.5) -> float:
    if x > lambd:
        return x - lambd
    return x + lambd if x < -lambd else 0.0


def _hardsigmoid(x: float) -> float:
    if x <= -3:
        return 0.0
    return 1.0 if x >= 3 else x / 6 + 1 / 2


def _hardswish(x: float) -> float:
    if x <= -3:
        return 0.0
    return x if x >= 3 else x * (x + 3) / 6


def _threshold(x: float, threshold: float, value: float) -> float:
    return x if x > threshold else value


def _leaky_relu(x: float, negative_slope: float = 0.01) -> float:
    return x if x > 0 else negative_slope * x


_FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "ReLU": lambda x: x if x > 0 else 0.0,
    "ReLU6": lambda x: min(max(0.0, x), 6.0),
    "LeakyReLU": _leaky_relu,
    "Threshold": _threshold,
    "Hardtanh": _hardtanh,
    "Hardshrink": _hardshrink,
    "Softshrink": _softshrink,
    "Hardsigmoid": _hardsigmoid,
    "Hardswish": _hardswish,
    "ELU": _elu,
    "SELU": _selu,
    "CELU": _celu,
    "GELU": _gelu,
    "SiLU": lambda x: x * _sigmoid(x),
    "Mish": lambda x: x * math.tanh(_log1p_exp(x)),
    "Sigmoid": _sigmoid,
    "Tanh": math.tanh,
    "Softplus": _softplus,
    "LogSigmoid": lambda x: -_log1p_exp(-x),
    "Softsign": lambda x: x / (1 + abs(x)),
    "Tanhshrink": lambda x: x - math.tanh(x),
}
# Of RReLU the function is another in each case: `_rrelu`.
require_complete({*_FUNCTIONS, "RReLU"}, "tests/brute_force/activation.py")


def _rrelu(case: Case, arguments: Mapping[str, Any]) -> Callable[[float], float]:
    """A slope of its own for each number in training, else their mean."""
    lower, upper = arguments.get("lower", 1 / 8), arguments.get("upper", 1 / 3)
    chance = random.Random(case.seed)
    if arguments.get("training", case.call.training):
        return lambda x: x if x >= 0 else chance.uniform(lower, upper) * x
    return lambda x: x if x >= 0 else (lower + upper) / 2 * x


def _prelu(case: Case, x: np.ndarray) -> np.ndarray:
    """A slope for each channel, which is the second index, or one for all."""
    weight = case.inputs[1] if len(case.inputs) > 1 else case.call.state["weight"]
    assert weight is not None
    slopes, output = weight.reshape(-1), np.empty(x.shape)
    for place in np.ndindex(x.shape):
        slope = slopes[0] if slopes.size == 1 else slopes[place[1]]
        output[place] = max(0.0, x[place]) + slope * min(0.0, x[place])
    return output


def reference(case: Case) -> tuple[np.ndarray, ...]:
    """The output of a case of this family."""
    x = case.inputs[0]
    assert x is not None
    if case.call.layer in ("PReLU", "functional.prelu"):
        return (_prelu(case, x),)
    activation = activation_of(case.call.layer)
    arguments = {k: v for k, v in case.call.arguments.items() if k != "inplace"}
    if activation.random:
        function = _rrelu(case, arguments)
        arguments = {}
    else:
        function = _FUNCTIONS[activation.module]
    output = [function(number, **arguments) for number in x.reshape(-1).tolist()]
    return (np.array(output).reshape(x.shape),)
