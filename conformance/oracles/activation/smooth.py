"""Activations with curved parts, modules and functions.

Sources: the pages torch.nn.ELU, SELU, CELU, GELU, SiLU, Mish, Sigmoid, Tanh, Softplus, LogSigmoid,
Softsign and Tanhshrink of the PyTorch documentation.
"""

from __future__ import annotations

import numpy as np

from conformance.arithmetic import activations, smooth
from conformance.arithmetic.choices import where_undecided
from conformance.arithmetic.elementary import absolute, constant, irrational
from conformance.arithmetic.half_precision import stored, widened
from conformance.arithmetic.piecewise import Piece, identity, piecewise
from conformance.arithmetic.rounded import Rounded
from conformance.model.case import Updated
from conformance.oracles.activation.elementwise import State, finish_activation

# As the page of SELU prints them, after G. Klambauer et al. (2017).
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def elu(
    state: State, input: Rounded, *, alpha: float = 1.0, inplace: bool = False
) -> Rounded | Updated:
    """ELU(x) = x where x > 0, else α·(exp(x) − 1)."""

    def below(x: Rounded) -> Rounded:
        return smooth.exponential_unit(x, alpha)

    return _split_at_zero(input, below, identity, inplace=inplace)


def selu(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """SELU(x) = scale·(max(0, x) + min(0, α·(exp(x) − 1)))."""

    def below(x: Rounded) -> Rounded:
        return smooth.exponential_unit(x, SELU_ALPHA, scale=SELU_SCALE)

    return _split_at_zero(input, below, lambda x: x * irrational(SELU_SCALE, x), inplace=inplace)


def celu(
    state: State, input: Rounded, *, alpha: float = 1.0, inplace: bool = False
) -> Rounded | Updated:
    """CELU(x) = max(0, x) + min(0, α·(exp(x/α) − 1))."""

    def below(x: Rounded) -> Rounded:
        return smooth.exponential_unit(x, alpha, divided=alpha != 1)

    return _split_at_zero(input, below, identity, inplace=inplace)


def gelu(state: State, input: Rounded, *, approximate: str = "none") -> Rounded | Updated:
    """GELU(x) = x·Φ(x), or with "tanh" 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))."""
    function = {"none": smooth.gelu, "tanh": smooth.gelu_by_tanh}[approximate]
    return _vanishing_product(input, function)


def silu(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """silu(x) = x · σ(x)."""
    return _vanishing_product(input, lambda x: x * activations.sigmoid(x), inplace=inplace)


def mish(state: State, input: Rounded, *, inplace: bool = False) -> Rounded | Updated:
    """Mish(x) = x · tanh(softplus(x))."""
    return _vanishing_product(input, smooth.mish, inplace=inplace)


def sigmoid(state: State, input: Rounded) -> Rounded | Updated:
    """Sigmoid(x) = 1/(1 + exp(−x))."""
    return finish_activation(stored(activations.sigmoid(widened(input)), input.precision), input)


def tanh(state: State, input: Rounded) -> Rounded | Updated:
    """Tanh(x) = (exp(x) − exp(−x))/(exp(x) + exp(−x))."""
    return finish_activation(_tanh(input), input)


def _tanh(input: Rounded) -> Rounded:
    return stored(activations.tanh(widened(input)), input.precision)


def softplus(
    state: State, input: Rounded, *, beta: float = 1.0, threshold: float = 20.0
) -> Rounded | Updated:
    """Softplus(x) = log(1 + exp(β·x))/β, and x where β·x > threshold."""
    x = widened(input)
    factor = constant(beta, x)
    z = x * factor
    y = where_undecided(z, threshold, x, smooth.softplus(z) / factor)
    return finish_activation(stored(y, input.precision), input)


def logsigmoid(state: State, input: Rounded) -> Rounded | Updated:
    """LogSigmoid(x) = log(1/(1 + exp(−x))) = −log(1 + exp(−x))."""
    return finish_activation(stored(-smooth.softplus(-widened(input)), input.precision), input)


def softsign(state: State, input: Rounded) -> Rounded | Updated:
    """SoftSign(x) = x/(1 + |x|), a chain of operations, each of which is stored."""
    return finish_activation(input / (constant(1.0, input) + absolute(input)), input)


def tanhshrink(state: State, input: Rounded) -> Rounded | Updated:
    """Tanhshrink(x) = x − tanh(x): a difference of tensors, the second of which is stored."""
    return finish_activation(input - _tanh(input), input)


def _split_at_zero(x: Rounded, below: Piece, above: Piece, *, inplace: bool) -> Rounded | Updated:
    y = piecewise(widened(x), (0.0,), (below, above))
    return finish_activation(stored(y, x.precision), x, inplace=inplace)


def _vanishing_product(
    input: Rounded, function: Piece, *, inplace: bool = False
) -> Rounded | Updated:
    """x·g(x), where g(−∞) = 0: −∞·0 is NaN by the formula, 0 in the limit."""
    y = stored(function(widened(input)), input.precision)
    return finish_activation(y, input, input.value == -np.inf, inplace=inplace)
