"""Cache of oracle answers, shared by all checks, that lives as long as the cases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.model.case import Case, Updated

T = TypeVar("T")
# An expected output: values with bounds, or several right alternatives.
Expected = Rounded | Choices
# Number of answers that are cached whatever their size: those of an item at the standard profile,
# and those with other weights. Beyond it, large answers are computed again.
MAX_CACHED = 400
# Bytes of an answer that is always cached.
SMALL_ANSWER_BYTES = 8192


@dataclass(frozen=True)
class ExpectedGradients:
    """Cotangents, and the gradients that the oracle computes from them.

    Args:
        cotangents: one for each output that is present; None for an output without cotangent.
        inputs: gradients of the inputs; None for an input that is absent or has no gradient.
        parameters: gradients of the state, by name.
    """

    cotangents: Sequence[np.ndarray | None]
    inputs: Sequence[Expected | None]
    parameters: Mapping[str, Expected]

    def only(self, selected: frozenset[str], names: Sequence[str]) -> ExpectedGradients:
        """Keep only the gradients of the inputs and parameters in `selected`.

        `names` are the names of all inputs, in order.
        """
        inputs = [
            x if name in selected else None for x, name in zip(self.inputs, names, strict=False)
        ]
        parameters = {name: x for name, x in self.parameters.items() if name in selected}
        return ExpectedGradients(self.cotangents, inputs, parameters)

    @property
    def accumulated(self) -> ExpectedGradients:
        """The gradients as g + g − g, with the errors of three backward passes and two sums."""
        return ExpectedGradients(
            self.cotangents,
            [None if x is None else _add_and_subtract(x) for x in self.inputs],
            {name: _add_and_subtract(x) for name, x in self.parameters.items()},
        )


class AnswerCache(Generic[T]):
    """Cache of one kind of answers; `numbers` lists the values and bounds in an answer."""

    def __init__(self, arrays_of: Callable[[T], Iterable[Expected | None]]) -> None:
        self._arrays_of = arrays_of
        self._answers: WeakKeyDictionary[Case, tuple[Precision, T]] = WeakKeyDictionary()

    def get(self, case: Case, precision: Precision, compute: Callable[[], T]) -> T:
        """Return the cached answer to a case in a precision, or compute it."""
        cached = self._answers.get(case)
        if cached is not None and cached[0] == precision:
            return cached[1]
        answer = compute()
        if (
            len(self._answers) < MAX_CACHED
            or _size_in_bytes(self._arrays_of(answer)) <= SMALL_ANSWER_BYTES
        ):
            self._answers[case] = precision, answer
        return answer


class OracleAnswers:
    """The caches: `outputs` with the changed state, and `gradients`."""

    def __init__(self) -> None:
        self.outputs = AnswerCache[Updated](lambda x: (*x.outputs, *x.state.values()))
        self.gradients = AnswerCache[ExpectedGradients](
            lambda x: (*x.inputs, *x.parameters.values())
        )


def _add_and_subtract(x: Expected) -> Expected:
    if isinstance(x, Choices):
        return Choices(tuple(y + y - y for y in x.alternatives))
    with np.errstate(invalid="ignore", over="ignore"):
        return x + x - x


def lean(x: Expected) -> Expected:
    """Drop from an expected value the data that only further arithmetic needs."""
    if isinstance(x, Choices):
        return Choices(tuple(y.compact for y in x.alternatives))
    return x.compact


def _size_in_bytes(numbers: Iterable[Expected | None]) -> int:
    alternatives = (
        x.alternatives if isinstance(x, Choices) else (x,) for x in numbers if x is not None
    )
    return sum(2 * y.value.nbytes for values in alternatives for y in values)
