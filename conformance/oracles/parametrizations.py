"""Weights that are computed from other tensors: weight_norm and spectral_norm.

Like a distance they are composed of kernels, each of which stores its result (`distance/`); a
single kernel that stores once errs less. The layer's own oracle uses the computed weight.

Sources: the pages torch.nn.utils.parametrizations.weight_norm and spectral_norm of the PyTorch
documentation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, multilinear, unbroadcast, with_pullback
from conformance.oracles.distance.normalize import normalize
from conformance.oracles.distance.vectors import norm

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
Module = tuple[str, tuple[tuple[str, Any], ...]]
"""A layer's name, and (argument, value) pairs."""


def magnitude_shape(weight: Shape, dim: int | None) -> Shape:
    """The shape of g: one number for each index along `dim`; a scalar for None."""
    if dim is None:
        return ()
    return tuple(n if axis == dim % len(weight) else 1 for axis, n in enumerate(weight))


def matrix_shape(weight: Shape, dim: int) -> Shape:
    """The shape of the weight as a matrix: `dim` as rows, all other axes as columns."""
    rows = weight[dim]
    return rows, math.prod(weight) // rows


def as_matrix(weight: Rounded, dim: int) -> Rounded:
    """The weight as a matrix: `dim` as rows, all other axes as columns."""
    shape = matrix_shape(weight.shape, dim)
    return weight.map(lambda array: np.moveaxis(array, dim, 0).reshape(shape))


def weight_norm(g: Rounded, v: Rounded, dim: int | None) -> Rounded:
    """w = g·v/‖v‖, the norm over all axes except `dim`; over all axes for None.

    v·(g/‖v‖), (g·v)/‖v‖ and (v/‖v‖)·g round equally, except for overflow and underflow.

    Args:
        g: lengths, with size 1 in the axes of the norm.
        v: directions.
        dim: the axis with one length for each index.
    """
    rows = v.map(lambda array: array.reshape(1, -1)) if dim is None else as_matrix(v, dim)
    length = norm(rows, 2.0, -1).map(lambda array: array.reshape(g.shape))
    scaled = v * (g / length)
    alternatives = ((g * v).detached / length.detached, (v / length).detached * g.detached)
    return scaled.with_error(np.maximum.reduce([scaled.error, *(x.error for x in alternatives)]))


def spectral_norm(
    weight: Rounded,
    vectors: tuple[Rounded, Rounded] | None,
    dim: int,
    steps: int,
    eps: float,
) -> tuple[Rounded, tuple[Rounded, Rounded] | None]:
    """W/σ with σ = uᵀWv, and u and v after some steps of the power method.

    A step is u = Wv/‖Wv‖, v = Wᵀu/‖Wᵀu‖, with norms of at least eps. Gradients treat u and v as
    constants. If W is a vector, it is divided by its norm.

    Args:
        weight: W.
        vectors: u and v; None if W is a vector.
        dim: the axis of W that becomes the rows of the matrix.
        steps: number of steps; 0 in eval mode.
        eps: smallest norm.
    """
    if vectors is None:
        return normalize({}, weight, dim=0, eps=eps), None
    u, v = vectors
    matrix = as_matrix(weight, dim)
    for _ in range(steps):
        u = normalize({}, _product(matrix.detached, v), dim=0, eps=eps).detached
        v = normalize({}, _product(matrix.detached.map(np.transpose), u), dim=0, eps=eps).detached
    sigma = _inner(u, _product(matrix, v))
    return _divide_by(weight, sigma), (u, v)


def _divide_by(a: Rounded, b: Rounded) -> Rounded:
    """a/b by a scalar b; its gradient is −(c·q)/b, or −c·(q/b), where q/b may overflow."""
    quotient = a.detached / b.detached

    def pull(cotangent: Rounded) -> list[Rounded | None]:
        by_product = (cotangent * quotient) / b.detached
        error = np.maximum(by_product.error, (cotangent * (quotient / b.detached)).error)
        return [cotangent / b.detached, unbroadcast(-by_product.with_error(error), b.shape)]

    return with_pullback(quotient, [a, b], pull)


def _product(matrix: Rounded, vector: Rounded) -> Rounded:
    """A matrix times a vector."""
    return multilinear(
        lambda a, b: np.asarray(np.einsum("ij,j->i", a, b)),
        matrix,
        vector,
        terms=matrix.shape[1],
        adjoints=(lambda c, b: np.einsum("i,j->ij", c, b), lambda c, a: np.einsum("i,ij->j", c, a)),
    )


def _inner(a: Rounded, b: Rounded) -> Rounded:
    """⟨a, b⟩."""
    return multilinear(
        lambda x, y: np.asarray(np.einsum("i,i->", x, y)),
        a,
        b,
        terms=a.shape[0],
        adjoints=(lambda c, y: np.asarray(c * y), lambda c, x: np.asarray(c * x)),
    )


def state_names(name: str) -> Mapping[str, str]:
    """Names in the state of the tensors from which a weight is computed."""
    stem = f"parametrizations.{name}"
    return {
        "g": f"{stem}.original0",
        "v": f"{stem}.original1",
        "weight": f"{stem}.original",
        "left": f"{stem}.0._u",
        "right": f"{stem}.0._v",
    }


def output_axis(module: Module) -> int:
    """spectral_norm's default for `dim`: 1 for a transposed convolution, else 0.

    Args:
        module: the layer with the weight.
    """
    return 1 if module[0].startswith("ConvTranspose") else 0


def weight_norm_weight(
    state: State, *, module: Module, name: str = "weight", dim: int | None = 0
) -> tuple[Rounded, dict[str, Rounded]]:
    """The weight of weight_norm, and the updates of the state: none."""
    names = state_names(name)
    return weight_norm(state[names["g"]], state[names["v"]], dim), {}


def spectral_norm_weight(
    state: State,
    *,
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
    training: bool = False,
) -> tuple[Rounded, dict[str, Rounded]]:
    """The weight of spectral_norm, and in train mode u and v after the call."""
    names = state_names(name)
    pair = (state[names["left"]], state[names["right"]]) if names["left"] in state else None
    axis = output_axis(module) if dim is None else dim
    steps = n_power_iterations if training else 0
    weight, new_vectors = spectral_norm(state[names["weight"]], pair, axis, steps, eps)
    if new_vectors is None or not training:
        return weight, {}
    return weight, {names["left"]: new_vectors[0], names["right"]: new_vectors[1]}
