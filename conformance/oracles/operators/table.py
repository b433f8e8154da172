"""Oracles of the tensor operators that stand between the layers of a network.

Each takes operands with bounds and gives the result with its bound, and with its pull-back. Half
precision computes in float32 and stores the result once, as `conformance.arithmetic.half_precision`
says. Sources: the pages of the operators in the PyTorch documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conformance.arithmetic import activations, choices, elementary, reductions
from conformance.arithmetic.rounded import Rounded, choose, join, multilinear
from conformance.oracles.operators import movements
from conformance.oracles.operators.contractions import add_product, einsum, matmul
from conformance.oracles.operators.forms import Operand, as_rounded, binary, first_rounded, wide


def _scaled_addition(sign: float) -> Callable[..., Rounded]:
    def computed(a: Operand, b: Operand, *, alpha: float = 1) -> Rounded:
        like = first_rounded((a, b))
        second = as_rounded(b, like)
        if alpha != 1:
            second = second * elementary.constant(alpha, like)
        return as_rounded(a, like) + (second if sign > 0 else -second)

    return wide(computed)


def _divide(a: Rounded, b: Rounded) -> Rounded:
    return elementary.ratio(a, b)


@wide
def _power(x: Operand, exponent: Any) -> Rounded:
    if not isinstance(exponent, (int, float)) or not isinstance(x, Rounded):
        raise NotImplementedError("pow of a tensor exponent")
    if exponent == 2:
        return elementary.square(x)
    if exponent == 0.5:
        return elementary.sqrt(x)
    return elementary.power(x, float(exponent))


@wide
def _clamp(x: Rounded, min: Any = None, max: Any = None) -> Rounded:
    if min is not None:
        x = choices.maximum(x, as_rounded(min, x))
    return x if max is None else choices.minimum(x, as_rounded(max, x))


Dims = int | Sequence[int] | None


def _axes(dim: Dims) -> Any:
    return tuple(dim) or None if isinstance(dim, (tuple, list)) else dim


@wide
def _sum(x: Rounded, dim: Dims = None, keepdim: bool = False) -> Rounded:
    return reductions.total(x, _axes(dim), keepdims=keepdim)


@wide
def _mean(x: Rounded, dim: Dims = None, keepdim: bool = False) -> Rounded:
    return reductions.mean(x, _axes(dim), keepdims=keepdim)


@wide
def _variance(
    x: Rounded, dim: Any = None, unbiased: bool = True, keepdim: bool = False,
    *, correction: float | None = None,
) -> Rounded:  # fmt: skip
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    count = float(unbiased) if correction is None else float(correction)
    return reductions.variance(x, _axes(dim), correction=count, keepdims=keepdim)


@wide
def _deviation(x: Rounded, *arguments: Any, **options: Any) -> Rounded:
    return elementary.sqrt(_variance(x, *arguments, **options))


@wide
def _norm(x: Rounded, p: Any = 2, dim: Dims = None, keepdim: bool = False) -> Rounded:
    order = 2.0 if p in ("fro", None) else float(p)
    if order == 2.0:
        squares = reductions.total(elementary.square(x), _axes(dim), keepdims=keepdim)
        return elementary.sqrt(squares)
    if order == 1.0:
        return reductions.total(elementary.absolute(x), _axes(dim), keepdims=keepdim)
    raise NotImplementedError(f"norm of order {p}")


def _vector_norm(x: Rounded, ord: Any = 2, dim: Dims = None, keepdim: bool = False) -> Rounded:
    return _norm(x, ord, dim, keepdim)


def _largest(x: Rounded, dim: Dims = None, keepdim: bool = False) -> Rounded:
    return reductions.maximum(x, _axes(dim), keepdims=keepdim)


def _smallest(x: Rounded, dim: Dims = None, keepdim: bool = False) -> Rounded:
    return -reductions.maximum(-x, _axes(dim), keepdims=keepdim)


def _largest_and_place(x: Operand, *arguments: Any, **options: Any) -> Any:
    if isinstance(x, Rounded) and (not arguments and not options):
        return _largest(x)
    if arguments and isinstance(arguments[0], (Rounded, np.ndarray)):
        return binary(choices.maximum)(x, arguments[0])
    assert isinstance(x, Rounded)
    return _largest(x, *arguments, **options), _place(np.argmax, x.value, *arguments, **options)


def _smallest_and_place(x: Operand, *arguments: Any, **options: Any) -> Any:
    if isinstance(x, Rounded) and (not arguments and not options):
        return _smallest(x)
    if arguments and isinstance(arguments[0], (Rounded, np.ndarray)):
        return binary(choices.minimum)(x, arguments[0])
    assert isinstance(x, Rounded)
    return _smallest(x, *arguments, **options), _place(np.argmin, x.value, *arguments, **options)


def _place(
    function: Callable[..., Any], x: np.ndarray, dim: int | None = None, keepdim: bool = False
) -> np.ndarray:
    return np.asarray(function(x, axis=dim, keepdims=keepdim))


@wide
def _softmax(x: Rounded, dim: int, dtype: Any = None) -> Rounded:
    return reductions.softmax(x, dim)


@wide
def _log_softmax(x: Rounded, dim: int, dtype: Any = None) -> Rounded:
    return reductions.log_softmax(x, dim)


@wide
def _log_sum_exp(x: Rounded, dim: Dims, keepdim: bool = False) -> Rounded:
    axis = _axes(dim)
    if isinstance(axis, tuple):
        (axis,) = axis
    return reductions.log_sum_exp(x, axis, keepdims=keepdim)


@wide
def _cumulative_sum(x: Rounded, dim: int) -> Rounded:
    def running(a: np.ndarray) -> np.ndarray:
        return np.asarray(np.cumsum(a, axis=dim))

    def adjoint(c: np.ndarray) -> np.ndarray:
        return np.asarray(np.flip(np.cumsum(np.flip(c, dim), axis=dim), dim))

    return multilinear(running, x, terms=max(x.shape[dim], 1), adjoints=(adjoint,))


def _running_products(x: Rounded, dim: int) -> list[Rounded]:
    """The products of the first elements along an axis, each with the rounding of each factor."""
    products = [choices.take(x, np.array([0]), dim)]
    for k in range(1, x.shape[dim]):
        products.append(products[-1] * choices.take(x, np.array([k]), dim))
    return products


@wide
def _cumulative_product(x: Rounded, dim: int) -> Rounded:
    return join(_running_products(x, dim), dim) if x.shape[dim] else x


@wide
def _product(x: Rounded, dim: int | None = None, keepdim: bool = False) -> Rounded:
    if dim is None:
        x, dim = x.map(lambda array: array.reshape(-1)), 0
    if not x.shape[dim]:
        return elementary.constants(np.ones(reductions.total(x, dim, keepdims=keepdim).shape), x)
    product = _running_products(x, dim)[-1]
    axis = dim
    return product if keepdim else product.map(lambda array: np.squeeze(array, axis))


def _where(condition: np.ndarray, a: Operand, b: Operand) -> Rounded:
    like = first_rounded((a, b))
    shape = np.broadcast_shapes(condition.shape, np.shape(_value(a)), np.shape(_value(b)))
    first, second = (movements.expand(as_rounded(x, like), size=shape) for x in (a, b))
    return choose(np.broadcast_to(condition, shape), first, second)


def _value(x: Operand) -> Any:
    return x.value if isinstance(x, Rounded) else x


def _fill_masked(x: Rounded, mask: np.ndarray, value: float) -> Rounded:
    return _where(mask, value, x)


def _compare(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda a, b: np.asarray(function(_value(a), _value(b)))


OPERATORS: dict[str, Callable[..., Any]] = {
    "add": _scaled_addition(1),
    "sub": _scaled_addition(-1),
    "rsub": lambda a, b: _scaled_addition(-1)(b, a),
    "mul": binary(lambda a, b: a * b),
    "div": binary(_divide),
    "rdiv": lambda a, b: binary(_divide)(b, a),
    "pow": _power,
    "neg": lambda x: -x,
    "abs": elementary.absolute,
    "square": wide(elementary.square),
    "sqrt": wide(elementary.sqrt),
    "rsqrt": wide(elementary.reciprocal_sqrt),
    "reciprocal": lambda x: binary(_divide)(1.0, x),
    "exp": wide(elementary.exp),
    "expm1": wide(elementary.expm1),
    "log": wide(elementary.log),
    "log1p": wide(elementary.log1p),
    "erf": wide(elementary.erf),
    "sigmoid": wide(activations.sigmoid),
    "tanh": wide(activations.tanh),
    "relu": activations.relu,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": lambda x, limit: _clamp(x, None, limit),
    "maximum": binary(choices.maximum),
    "minimum": binary(choices.minimum),
    "sum": _sum,
    "mean": _mean,
    "var": _variance,
    "std": _deviation,
    "norm": _norm,
    "vector_norm": _vector_norm,
    "amax": _largest,
    "amin": _smallest,
    "max": _largest_and_place,
    "min": _smallest_and_place,
    "argmax": lambda x, *a, **o: _place(np.argmax, _value(x), *a, **o),
    "argmin": lambda x, *a, **o: _place(np.argmin, _value(x), *a, **o),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "logsumexp": _log_sum_exp,
    "cumsum": _cumulative_sum,
    "cumprod": _cumulative_product,
    "prod": _product,
    "matmul": matmul,
    "mm": matmul,
    "bmm": matmul,
    "mv": matmul,
    "dot": matmul,
    "einsum": einsum,
    "addmm": add_product,
    "baddbmm": add_product,
    "where": _where,
    "masked_fill": _fill_masked,
    "lt": _compare(np.less),
    "le": _compare(np.less_equal),
    "gt": _compare(np.greater),
    "ge": _compare(np.greater_equal),
    "eq": _compare(np.equal),
    "ne": _compare(np.not_equal),
}
"""Oracles by the operator's name, without the underscores of its forms (`add_`, `__iadd__`)."""

MOVEMENTS = frozenset(
    (
        *("view", "reshape", "permute", "transpose", "t", "T", "mT", "swapaxes", "flatten"),
        *("unflatten", "squeeze", "unsqueeze", "expand", "expand_as", "view_as", "reshape_as"),
        *("broadcast_to", "repeat", "tile", "roll", "flip", "movedim", "contiguous", "clone"),
        *("detach", "cat", "concat", "stack", "split", "chunk", "unbind", "getitem", "narrow"),
        *("select", "index_select", "take_along_dim", "gather", "diagonal", "hstack", "vstack"),
        *(
            "repeat_interleave",
            "alias",
            "tensor_split",
            "ravel",
            "unfold_axis",
            "copy",
            "lift_fresh",
        ),
    )
)
"""Operators that only move elements: torch applies them to the elements' places instead."""

TRIANGLES = frozenset(("tril", "triu"))
"""Movements that put 0 in place of some elements."""

CONSTANTS = frozenset(
    ("full_like", "ones_like", "zeros_like", "new_zeros", "new_ones", "new_full", "new_tensor")
)
"""Functions whose results depend on no number of an operand."""
