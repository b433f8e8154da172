"""Oracles of operators that add up products: `matmul`, `einsum`, `addmm` and their relatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from conformance.arithmetic import elementary
from conformance.arithmetic.rounded import Rounded, multilinear, sum_copies
from conformance.oracles.operators.forms import Operand, as_rounded, first_rounded, wide


@wide
def matmul(a: Operand, b: Operand) -> Rounded:
    """a·b, batched and broadcast as `numpy.matmul`; vectors count as a row and a column."""
    like = first_rounded((a, b))
    left, right = as_rounded(a, like), as_rounded(b, like)
    row, column = len(left.shape) == 1, len(right.shape) == 1
    if row:
        left = left.map(lambda array: array[np.newaxis])
    if column:
        right = right.map(lambda array: array[:, np.newaxis])
    product = multilinear(
        lambda x, y: np.asarray(x @ y),
        left,
        right,
        terms=max(left.shape[-1], 1),
        adjoints=(
            lambda c, y: sum_copies(c @ np.swapaxes(y, -1, -2), left.shape),
            lambda c, x: sum_copies(np.swapaxes(x, -1, -2) @ c, right.shape),
        ),
    )
    if row:
        product = product.map(lambda array: array[..., 0, :])
    return product.map(lambda array: array[..., 0]) if column else product


def einsum(formula: str, *operands: Any) -> Rounded:
    """A contraction; the operands may be given as one list."""
    is_listed = isinstance(operands[0], (tuple, list))
    return _contract(formula, *(operands[0] if is_listed else operands))


@wide
def _contract(formula: str, *tensors: Rounded) -> Rounded:
    """A contraction without repeated letters in one operand, in any order of its products."""
    left, arrow, output = formula.replace(" ", "").partition("->")
    inputs = left.split(",")
    sizes = dict(zip("".join(inputs), (n for x in tensors for n in x.shape), strict=True))
    unusual = not arrow or "." in formula or any(len({*own}) < len(own) for own in inputs)
    broadcasts = any(
        x.shape != tuple(map(sizes.get, own)) for own, x in zip(inputs, tensors, strict=True)
    )
    if unusual or broadcasts:
        raise NotImplementedError(f"einsum {formula!r}")
    terms = math.prod(sizes[letter] for letter in {*left} - {*output, ","})

    def adjoint(k: int) -> Callable[..., np.ndarray]:
        own, others = inputs[k], inputs[:k] + inputs[k + 1 :]

        def pull(c: np.ndarray, *factors: np.ndarray) -> np.ndarray:
            letters = [letter for letter in own if letter in "".join((output, *others))]
            parts = ",".join((output, *others))
            part = np.einsum(f"{parts}->{''.join(letters)}", c, *factors, optimize=True)
            missing = tuple(i for i, letter in enumerate(own) if letter not in letters)
            full = np.expand_dims(part, missing)
            return np.asarray(np.broadcast_to(full, [sizes[letter] for letter in own]))

        return pull

    return multilinear(
        lambda *arrays: np.asarray(np.einsum(formula, *arrays, optimize=True)),
        *tensors,
        # Each further factor rounds once more.
        terms=max(terms, 1) + max(len(tensors) - 2, 0),
        adjoints=[adjoint(k) for k in range(len(tensors))],
    )


@wide
def add_product(
    addend: Rounded, a: Rounded, b: Rounded, *, beta: float = 1, alpha: float = 1
) -> Rounded:
    """beta·addend + alpha·(a·b)."""
    product = matmul(a, b)
    if alpha != 1:
        product = product * elementary.constant(alpha, product)
    return product + (addend if beta == 1 else addend * elementary.constant(beta, addend))
