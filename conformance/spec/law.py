"""`Law`, and helpers to write laws.

A law says that two answers of one backend are the same answer. Each is known to within the bound
of its call. So they may differ by the sum of both bounds, and by nothing where both are exact.
Where a large call has the elements of a smaller one in other places, it needs no oracle: it takes
the bounds of the smaller call, moved along. Sums that the suite takes in float64 carry their own
rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.choices import Choices, enclose
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand, multilinear
from conformance.model.case import Numerics

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

Move = Callable[[np.ndarray], np.ndarray]
Generator = np.random.Generator

WITHIN_TWICE_BOUND = "equal where the case's own sums are exact, else within twice its bound"
WITHIN_SUM_OF_BOUNDS = (
    "equal where every sum of every call is exact, else within the sum of their bounds"
)


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a claim.

    Args:
        text: the calls that it is computed from.
        outputs: values of the backend, with the bounds on their errors.
        trial: the call, where the side is a single call: the oracle can say whether it is right.
    """

    text: str
    outputs: tuple[Rounded, ...]
    trial: Trial | None = None


@dataclass(frozen=True, eq=False)
class Claim:
    """Two answers that must be the same; `names` name the compared arrays in messages."""

    names: tuple[str, ...]
    got: Side
    wanted: Side


Claims = Iterator[Claim]


@dataclass(frozen=True)
class Law:
    """A relation between calls of the same backend.

    Args:
        name: in one word.
        statement: what holds, in one line.
        exact: where the two sides must be equal, and which bound applies elsewhere.
        claims: (a case on the backend, random generator of the case) → pairs of answers that must
            be the same; empty where the law does not apply. Raises `Unsupported` where the backend
            declines one of the calls.
    """

    name: str
    statement: str
    exact: str
    claims: Callable[[Trial, Generator], Claims]


def law(
    name: str, statement: str, exact: str = WITHIN_TWICE_BOUND
) -> Callable[[Callable[[Trial, Generator], Claims]], Law]:
    """Turn the decorated function into a `Law` with these fields."""

    def make_law(claims: Callable[[Trial, Generator], Claims]) -> Law:
        return Law(name, statement, exact, claims)

    return make_law


def get_input(trial: Trial) -> np.ndarray:
    """The first input of the case."""
    x = trial.case.inputs[0]
    assert x is not None
    return x


def trial_with(
    trial: Trial,
    *inputs: np.ndarray,
    layer: str = "",
    arguments: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Trial:
    """A trial of the case with other inputs, arguments or layer, and every operand contiguous.

    Args:
        inputs: replace the case's.
        layer: name of another layer; "" = the case's.
        arguments: replace the case's; None = the case's.
        changes: single arguments to replace.
    """
    call = trial.case.call
    new_arguments = {**(call.arguments if arguments is None else arguments), **changes}
    call = replace(call, layer=layer or call.layer, arguments=new_arguments, layouts={})
    return trial.trial_of(replace(trial.case, call=call, inputs=inputs, layouts=()))


def outputs_with_bounds(trial: Trial) -> tuple[Rounded, ...]:
    """The backend's outputs, each with the oracle's bound on its error."""
    return with_bounds_of(trial.answer, trial.expected)


def with_bounds_of(
    arrays: Sequence[np.ndarray], expected: Sequence[Rounded | Choices]
) -> tuple[Rounded, ...]:
    """The backend's numbers with the bounds of the `expected` values.

    Where several values are right, two calls may give different ones: the bound encloses them all.
    """
    return tuple(
        Rounded(array, wanted.error, wanted.precision)
        for array, wanted in zip(arrays, map(enclose, expected), strict=True)
    )


def claim(got: Trial, outputs: tuple[Rounded, ...], wanted: Side) -> Claim:
    """A claim that outputs of one call equal the other side, `wanted`."""
    return Claim(got.names, Side(got.text(), outputs, got), wanted)


def equality_claim(
    got: Trial,
    wanted: Trial,
    *,
    got_moves: Sequence[Move] | Move | None = None,
    wanted_moves: Sequence[Move] | Move | None = None,
) -> Claim:
    """A claim that two calls give the same numbers in other places.

    Both calls get the bound of the call that has an oracle, `wanted`. Moving elements changes no
    sum, and omitted terms or products with zero add no rounding. `got_moves` and `wanted_moves`
    bring each output (or all of them) to a common form.
    """
    bounds = move_elements(outputs_with_bounds(wanted), wanted_moves)
    moves = _moves_per_output(got_moves, len(bounds))
    arrays = [move(array) for move, array in zip(moves, got.answer, strict=True)]
    return claim(got, with_bounds_of(arrays, bounds), Side(wanted.text(), bounds, wanted))


def move_elements(
    outputs: Sequence[Rounded], moves: Sequence[Move] | Move | None
) -> tuple[Rounded, ...]:
    """Apply the moves to values and bounds of the outputs; None moves nothing."""
    output_moves = _moves_per_output(moves, len(outputs))
    return tuple(output.map(move) for output, move in zip(outputs, output_moves, strict=True))


def _moves_per_output(moves: Sequence[Move] | Move | None, count: int) -> Sequence[Move]:
    if moves is None:
        return (lambda array: array,) * count
    return (moves,) * count if callable(moves) else moves


def in_float64(x: Rounded) -> Rounded:
    """The numbers with the precision of float64, in which the suite takes further sums."""
    dtype = "complex128" if np.iscomplexobj(x.value) else "float64"
    return replace(x, precision=Precision.of(dtype, Numerics()))


def scale_exactly(x: Rounded, factor: float) -> Rounded:
    """The product with ± a power of two, which is exact."""
    return Rounded(x.value * factor, x.error * abs(factor), x.precision)


def inner_product(x: Rounded, y: np.ndarray) -> Rounded:
    """The inner product ⟨x, y⟩ over all axes but the first."""
    x = in_float64(x)

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((a * b).sum(tuple(range(1, a.ndim))))

    with np.errstate(over="ignore", invalid="ignore"):
        return multilinear(product, x, exact_operand(y, x.precision), terms=max(y[:1].size, 1))


def large_size(
    generator: Generator, cost: float = 0.0, minimum: int = 17, maximum: int = 65
) -> int:
    """Draw a size from `minimum` to `maximum`, larger than cases have; odd sizes included.

    `cost` is the number of products for each unit of size: where it is high, the size is lower.
    """
    affordable = int(2e7 / cost) if cost else maximum
    return int(generator.integers(minimum, max(minimum, min(maximum, affordable)), endpoint=True))
