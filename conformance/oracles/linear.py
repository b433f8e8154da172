"""Identity, Linear, LazyLinear and Bilinear.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page.

Sources: the pages torch.nn.Identity, Linear, LazyLinear, Bilinear and
torch.nn.functional.linear, bilinear of the PyTorch documentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, multilinear
from conformance.oracles.forms import module_oracle

State = Mapping[str, Rounded]


def identity(state: State, input: Rounded, **unused: Any) -> Rounded:
    """A placeholder identity operator that is argument-insensitive: y = x."""
    return input


def functional_linear(
    state: State, input: Rounded, weight: Rounded, bias: Rounded | None = None
) -> Rounded:
    """y = x Aᵀ + b, weight (out_features, in_features) or (in_features), bias to match."""
    formula = "...i,oi->...o" if len(weight.shape) == 2 else "...i,i->..."

    def product(x: np.ndarray, A: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum(formula, x, A))

    def input_gradient(c: np.ndarray, A: np.ndarray) -> np.ndarray:
        return np.asarray(c @ A if A.ndim == 2 else c[..., np.newaxis] * A)

    def weight_gradient(c: np.ndarray, x: np.ndarray) -> np.ndarray:
        rows = _rows(x)
        flat = _rows(c).T if len(weight.shape) == 2 else c.reshape(-1)
        return np.asarray(flat @ rows)

    # In half precision the product with a vector is stored before the bias is added.
    separate_bias = bias is not None and len(weight.shape) == 1 and input.precision.is_half
    sums = multilinear(
        product,
        input,
        weight,
        addend=None if separate_bias else bias,
        terms=weight.shape[-1],
        wide=True,
        adjoints=(input_gradient, weight_gradient),
    )
    return sums + bias if separate_bias and bias is not None else sums


def functional_bilinear(
    state: State, input1: Rounded, input2: Rounded, weight: Rounded, bias: Rounded | None = None
) -> Rounded:
    """y = x₁ᵀ A x₂ + b, weight (out_features, in1_features, in2_features)."""

    def product(x1: np.ndarray, A: np.ndarray, x2: np.ndarray) -> np.ndarray:
        return np.asarray(np.einsum("...i,kij,...j->...k", x1, A, x2))

    _, rows, columns = weight.shape
    # Each product of three factors rounds twice.
    return multilinear(
        product,
        input1,
        weight,
        input2,
        addend=bias,
        terms=rows * columns + 1,
        adjoints=(
            lambda c, A, x2: np.einsum("...k,kij,...j->...i", c, A, x2),
            lambda c, x1, x2: np.einsum("nk,ni,nj->kij", *map(_rows, (c, x1, x2))),
            lambda c, x1, A: np.einsum("...k,...i,kij->...j", c, x1, A),
        ),
    )


def _rows(x: np.ndarray) -> np.ndarray:
    """(*, features) → (N, features)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


linear = lazy_linear = module_oracle(functional_linear, "weight", "bias")
bilinear = module_oracle(functional_bilinear, "weight", "bias")
