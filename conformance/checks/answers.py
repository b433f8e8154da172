"""The oracle's answers, kept as long as the cases that they are of, for all checks together."""

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
# What is expected of an output: a value with a bound, or several of them.
Expected = Rounded | Choices
# Answers of the oracle that are kept whatever their size: those of an item at the standard profile,
# and to other weights; with more examples, the large ones beyond are computed again.
KEPT = 400
# Bytes of an answer that is kept in any case.
SMALL = 8192


@dataclass(frozen=True)
class Pulled:
    """Cotangents, and the gradients that the oracle has of them.

    Args:
        cotangents: one for each output that is there; None for one that is left out.
        inputs: gradients of the inputs; None of one that is left out, or has none.
        parameters: of the state, by name.
    """

    cotangents: Sequence[np.ndarray | None]
    inputs: Sequence[Expected | None]
    parameters: Mapping[str, Expected]

    def only(self, wanted: frozenset[str], names: Sequence[str]) -> Pulled:
        """Without the gradients that nobody asks for.

        Args:
            wanted: names of inputs and parameters.
            names: of the inputs.
        """
        inputs = [
            x if name in wanted else None for x, name in zip(self.inputs, names, strict=False)
        ]
        parameters = {name: x for name, x in self.parameters.items() if name in wanted}
        return Pulled(self.cotangents, inputs, parameters)


class Kept(Generic[T]):
    """Answers of one kind.

    Args:
        numbers: answer → the values and bounds that it holds.
    """

    def __init__(self, numbers: Callable[[T], Iterable[Expected | None]]) -> None:
        self._numbers = numbers
        self._answers: WeakKeyDictionary[Case, tuple[Precision, T]] = WeakKeyDictionary()

    def get(self, case: Case, precision: Precision, compute: Callable[[], T]) -> T:
        """The answer to a case in a precision, computed unless it is kept."""
        earlier = self._answers.get(case)
        if earlier is not None and earlier[0] == precision:
            return earlier[1]
        answer = compute()
        if len(self._answers) < KEPT or _bytes(self._numbers(answer)) <= SMALL:
            self._answers[case] = precision, answer
        return answer


class Answers:
    """What the oracle has answered: `outputs` with the changed state, and `gradients`."""

    def __init__(self) -> None:
        self.outputs = Kept[Updated](lambda x: (*x.outputs, *x.state.values()))
        self.gradients = Kept[Pulled](lambda x: (*x.inputs, *x.parameters.values()))


def lean(x: Expected) -> Expected:
    """An expected value without what only further arithmetic needs."""
    if isinstance(x, Choices):
        return Choices(tuple(y.lean for y in x.alternatives))
    return x.lean


def _bytes(numbers: Iterable[Expected | None]) -> int:
    each = (x.alternatives if isinstance(x, Choices) else (x,) for x in numbers if x is not None)
    return sum(2 * y.value.nbytes for several in each for y in several)
