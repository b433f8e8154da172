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

from conformance.arithmetic.choices import Choices, enclosed
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exactly, multilinear
from conformance.model.case import Numerics

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

Move = Callable[[np.ndarray], np.ndarray]
Generator = np.random.Generator

MOVED = "equal where the case's own sums are exact, else within twice its bound"
SUMMED = "equal where every sum of every call is exact, else within the sum of their bounds"


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
    name: str, statement: str, exact: str = MOVED
) -> Callable[[Callable[[Trial, Generator], Claims]], Law]:
    """Turn the decorated function into a `Law` with these fields."""

    def made(claims: Callable[[Trial, Generator], Claims]) -> Law:
        return Law(name, statement, exact, claims)

    return made


def input_of(trial: Trial) -> np.ndarray:
    """The first input of the case."""
    x = trial.case.inputs[0]
    assert x is not None
    return x


def called(
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
    given = {**(call.arguments if arguments is None else arguments), **changes}
    call = replace(call, layer=layer or call.layer, arguments=given, layouts={})
    return trial.other(replace(trial.case, call=call, inputs=inputs, layouts=()))


def measured(trial: Trial) -> tuple[Rounded, ...]:
    """The backend's outputs, each with the oracle's bound on its error."""
    return bounded(trial.answer, trial.expected)


def bounded(arrays: Sequence[np.ndarray], like: Sequence[Rounded | Choices]) -> tuple[Rounded, ...]:
    """The backend's numbers with the bounds of the expected values in `like`.

    Where several values are right, two calls may give different ones: the bound encloses them all.
    """
    return tuple(
        Rounded(array, wanted.error, wanted.precision)
        for array, wanted in zip(arrays, map(enclosed, like), strict=True)
    )


def claim(got: Trial, outputs: tuple[Rounded, ...], wanted: Side) -> Claim:
    """A claim that outputs of one call equal the other side, `wanted`."""
    return Claim(got.names, Side(got.text(), outputs, got), wanted)


def same(
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
    bounds = moved(measured(wanted), wanted_moves)
    moves = _each(got_moves, len(bounds))
    arrays = [move(array) for move, array in zip(moves, got.answer, strict=True)]
    return claim(got, bounded(arrays, bounds), Side(wanted.text(), bounds, wanted))


def moved(outputs: Sequence[Rounded], moves: Sequence[Move] | Move | None) -> tuple[Rounded, ...]:
    """Apply the moves to values and bounds of the outputs; None moves nothing."""
    each = _each(moves, len(outputs))
    return tuple(output.map(move) for output, move in zip(outputs, each, strict=True))


def _each(moves: Sequence[Move] | Move | None, count: int) -> Sequence[Move]:
    if moves is None:
        return (lambda array: array,) * count
    return (moves,) * count if callable(moves) else moves


def on_host(x: Rounded) -> Rounded:
    """The numbers with the precision of float64, in which the suite takes further sums."""
    wide = "complex128" if np.iscomplexobj(x.value) else "float64"
    return replace(x, precision=Precision.of(wide, Numerics()))


def times(x: Rounded, factor: float) -> Rounded:
    """The product with ± a power of two, which is exact."""
    return Rounded(x.value * factor, x.error * abs(factor), x.precision)


def paired(x: Rounded, y: np.ndarray) -> Rounded:
    """The inner product ⟨x, y⟩ over all axes but the first."""
    x = on_host(x)

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((a * b).sum(tuple(range(1, a.ndim))))

    with np.errstate(over="ignore", invalid="ignore"):
        return multilinear(product, x, exactly(y, x.precision), terms=max(y[:1].size, 1))


def many(generator: Generator, cost: float = 0.0, least: int = 17, most: int = 65) -> int:
    """Draw a size from `least` to `most`, larger than cases have; odd sizes included.

    `cost` is the number of products for each unit of size: where it is high, the size is lower.
    """
    dear = int(2e7 / cost) if cost else most
    return int(generator.integers(least, max(least, min(most, dear)), endpoint=True))
