"""Laws of Identity, Linear and Bilinear."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.convolution.calls import Operands
from conformance.spec.law import Claims, Generator, equality_claim, get_input, large_size, law

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

EXACT = "always equal: nothing is computed"


@law("leading", "several leading dimensions are as good as one, and one row as none")
def leading(trial: Trial, generator: Generator) -> Claims:
    """(*, features) flattened to (rows, features); (rows, features) as (1, rows, features)."""
    op = Operands.of(trial)
    *leading_shape, _ = op.x.shape
    if op.weight.ndim == 1 and op.bias is not None:
        return  # torch refuses a bias for a weight of one dimension if the input has two
    shape: tuple[int, ...] = (math.prod(leading_shape),)
    if len(leading_shape) == 1:
        shape = () if leading_shape[0] == 1 and generator.integers(2) else (1, leading_shape[0])
    # With a weight of one dimension the output has no axis of features.
    trailing_shape = trial.shapes[0][len(leading_shape) :]
    other = replace(op, inputs=tuple(x.reshape(*shape, x.shape[-1]) for x in op.inputs))
    yield equality_claim(
        other.call(), trial, got_moves=lambda y: y.reshape((*leading_shape, *trailing_shape))
    )


@law("vector", "a weight of one dimension is one row of a matrix")
def vector(trial: Trial, generator: Generator) -> Claims:
    """A weight vector as a matrix of one row; or one row of the case's matrix as a vector."""
    op = Operands.of(trial)
    if op.weight.ndim == 1:
        bias = None if op.bias is None else op.bias.reshape(1)
        matrix = replace(op, weight=op.weight[np.newaxis], bias=bias)
        yield equality_claim(matrix.call(), trial, got_moves=lambda y: y[..., 0])
        return
    row = int(generator.integers(len(op.weight)))
    # A vector's bias is added in a separate step, which the case's bound does not cover.
    if op.bias is None:
        yield equality_claim(
            replace(op, weight=op.weight[row]).call(), trial, wanted_moves=lambda y: y[..., row]
        )


@law("swap", "the two inputs may be exchanged, if the weight is transposed")
def swap(trial: Trial, generator: Generator) -> Claims:
    """The weight (out, in1, in2) becomes (out, in2, in1)."""
    op = Operands.of(trial)
    first, second = op.inputs
    weight = np.ascontiguousarray(op.weight.swapaxes(1, 2))
    yield equality_claim(replace(op, inputs=(second, first), weight=weight).call(), trial)


def _call_identity(trial: Trial, x: np.ndarray, **changes: Any) -> Trial:
    case = trial.case
    return trial.trial_of(
        replace(case, call=replace(case.call, **changes), inputs=(x,), layouts=())
    )


@law("rows", "each row of a large batch is that row of a small one", EXACT)
def identity_rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    x = get_input(trial)
    if not x.ndim or not len(x):
        return
    chosen = generator.integers(len(x), size=large_size(generator))
    yield equality_claim(_call_identity(trial, x[chosen]), trial, wanted_moves=lambda y: y[chosen])


@law("arguments", "the arguments mean nothing", EXACT)
def identity_arguments(trial: Trial, generator: Generator) -> Claims:
    """The call without the case's arguments, or with some if it has none."""
    arguments = {} if trial.case.call.arguments else {"*": (54, None), "unused_argument1": 0.1}
    yield equality_claim(_call_identity(trial, get_input(trial), arguments=arguments), trial)


@law("reshaped", "shape means nothing", EXACT)
def identity_reshaped(trial: Trial, generator: Generator) -> Claims:
    """All elements in one row, or with one more axis."""
    x = get_input(trial)
    flat = x.reshape(-1) if generator.integers(2) else x[np.newaxis]
    yield equality_claim(_call_identity(trial, flat), trial, got_moves=lambda y: y.reshape(x.shape))


@law("twice", "the identity of the identity is the identity", EXACT)
def identity_twice(trial: Trial, generator: Generator) -> Claims:
    """The call on its own output."""
    yield equality_claim(_call_identity(trial, trial.answer[0]), trial)
