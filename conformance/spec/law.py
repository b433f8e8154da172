"""What a law is, and what laws are written with.

A law says that two answers of one backend are the same answer. Each is known to within the bound
of its call, so they may be the sum of both bounds apart, and not at all where both are exact. No
oracle is needed at the size of a call whose elements are those of a smaller one, in another place:
its bound is the smaller one's, moved along. What is computed on the host, in float64, carries its
own rounding.
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
    """One side of a law.

    Args:
        text: the calls that it is made of.
        outputs: values of the backend, with the bounds on their errors.
        trial: the call, where the side is one: the oracle can tell whether it is right.
    """

    text: str
    outputs: tuple[Rounded, ...]
    trial: Trial | None = None


@dataclass(frozen=True, eq=False)
class Claim:
    """Two answers that must be the same.

    Args:
        names: of what is compared, for messages.
        got: one answer.
        wanted: the other.
    """

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
        exact: where equality is asked for, and which bound applies elsewhere.
        claims: (a case on the backend, random numbers of the case) → what must be the same;
            nothing where the law says nothing of the case. Raises `Unsupported` where the backend
            declines one of the calls.
    """

    name: str
    statement: str
    exact: str
    claims: Callable[[Trial, Generator], Claims]


def law(
    name: str, statement: str, exact: str = MOVED
) -> Callable[[Callable[[Trial, Generator], Claims]], Law]:
    """Make a law of the decorated function; the arguments are those of `Law`."""

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
    """The case on other inputs, or as another layer, with every operand contiguous.

    Args:
        inputs: in place of the case's.
        layer: another layer that takes them.
        arguments: in place of the case's; None = the case's.
        changes: of the arguments.
    """
    call = trial.case.call
    given = {**(call.arguments if arguments is None else arguments), **changes}
    call = replace(call, layer=layer or call.layer, arguments=given, layouts={})
    return trial.other(replace(trial.case, call=call, inputs=inputs, layouts=()))


def measured(trial: Trial) -> tuple[Rounded, ...]:
    """The backend's outputs, each with the oracle's bound on its error."""
    return bounded(trial.answer, trial.expected)


def bounded(arrays: Sequence[np.ndarray], like: Sequence[Rounded | Choices]) -> tuple[Rounded, ...]:
    """The backend's numbers with the bounds of others that they must be the same as.

    Of several right values two calls may give different ones: the bound is as wide as these.

    Args:
        like: what they must be, with bounds that hold of both.
    """
    return tuple(
        Rounded(array, wanted.error, wanted.precision)
        for array, wanted in zip(arrays, map(enclosed, like), strict=True)
    )


def claim(got: Trial, outputs: tuple[Rounded, ...], wanted: Side) -> Claim:
    """A claim about outputs of one call.

    Args:
        wanted: the other side.
    """
    return Claim(got.names, Side(got.text(), outputs, got), wanted)


def same(
    got: Trial,
    wanted: Trial,
    *,
    got_moves: Sequence[Move] | Move | None = None,
    wanted_moves: Sequence[Move] | Move | None = None,
) -> Claim:
    """Two calls give the same numbers in other places.

    The bound of the one whose oracle is known is that of both: moving changes no sum, and what is
    left out or multiplied by zero adds no rounding.

    Args:
        got: the call without an oracle.
        wanted: the call with an oracle.
        got_moves, wanted_moves: for each output (or for all) what brings it to the common form.
    """
    bounds = moved(measured(wanted), wanted_moves)
    moves = _each(got_moves, len(bounds))
    arrays = [move(array) for move, array in zip(moves, got.answer, strict=True)]
    return claim(got, bounded(arrays, bounds), Side(wanted.text(), bounds, wanted))


def moved(outputs: Sequence[Rounded], moves: Sequence[Move] | Move | None) -> tuple[Rounded, ...]:
    """Outputs with their elements moved."""
    each = _each(moves, len(outputs))
    return tuple(output.map(move) for output, move in zip(outputs, each, strict=True))


def _each(moves: Sequence[Move] | Move | None, count: int) -> Sequence[Move]:
    if moves is None:
        return (lambda array: array,) * count
    return (moves,) * count if callable(moves) else moves


def on_host(x: Rounded) -> Rounded:
    """Numbers whose further sums are taken here, in float64."""
    wide = "complex128" if np.iscomplexobj(x.value) else "float64"
    return replace(x, precision=Precision.of(wide, Numerics()))


def times(x: Rounded, factor: float) -> Rounded:
    """A multiple by ± a power of two, which is exact."""
    return Rounded(x.value * factor, x.error * abs(factor), x.precision)


def paired(x: Rounded, y: np.ndarray) -> Rounded:
    """⟨x, y⟩ over all axes but the first."""
    x = on_host(x)

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray((a * b).sum(tuple(range(1, a.ndim))))

    with np.errstate(over="ignore", invalid="ignore"):
        return multilinear(product, x, exactly(y, x.precision), terms=max(y[:1].size, 1))


def many(generator: Generator, cost: float = 0.0, least: int = 17, most: int = 65) -> int:
    """A number larger than cases draw, odd ones included.

    Args:
        cost: products that one of them needs; dear ones are fewer.
        least, most: the range.
    """
    dear = int(2e7 / cost) if cost else most
    return int(generator.integers(least, max(least, min(most, dear)), endpoint=True))
