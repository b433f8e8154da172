"""The checks, one module for each property; a module named here reaches every layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from conformance.checks import (
    errors,
    gradients,
    laws,
    layout,
    random,
    repeat,
    shape,
    siblings,
    special,
    state,
    support,
    values,
)
from conformance.checks.trial import Evidence, Trial
from conformance.model.case import Case
from conformance.spec.row import Row


def _every_layer(row: Row) -> bool:
    return True


def _has_state(row: Row) -> bool:
    return not row.function


def _takes_numbers(row: Row) -> bool:
    """Whether any operand is no whole number: an index is never NaN or infinite."""
    return not row.function or any(x.role != "index" for x in row.inputs)


@dataclass(frozen=True)
class Check:
    """One property of a layer.

    Args:
        run: looks at one case; raises `Failure`, `Unsupported`, or `Inapplicable`.
        invalid: it is given invalid calls instead of valid ones.
        applies: whether a layer has the property at all.
        relaid: the case as the check lays it out in memory, and the layout of each operand by name;
            None where it does not choose layouts.
        larger: case → the case of another size that the check calls the layer with as well; None
            where it does not.
        whole: of a function of single numbers it looks at every number of a half precision.
        conclude: what the answers to all cases come to, where no single case shows it.
        every: in dtypes other than `IN_FULL` it looks at one of so many cases, since what it asks
            depends little on the dtype.
        of_many: of a layer that has all of a profile's examples it looks there at one of so many.
        of_medium: of a layer that has `MEDIUM` of them or more, likewise.
        in_full: in `IN_FULL` it looks at one of so many cases of those two.
        enough, enough_further: where a profile samples it looks at about so many cases, in
            `IN_FULL` and in other dtypes.
        further: in how many dtypes besides a layer's first it is asked in a profile that samples.
        leads: it runs before the others where a time budget may not suffice for all.
    """

    run: Callable[[Trial], Evidence]
    invalid: bool = False
    applies: Callable[[Row], bool] = _every_layer
    relaid: Callable[[Case], tuple[Case, Mapping[str, str]]] | None = None
    larger: Callable[[Case], Case | None] | None = None
    whole: bool = False
    conclude: Callable[[Sequence[support.Answer]], support.Conclusion] | None = None
    every: int = 1
    of_many: int = 1
    of_medium: int = 1
    in_full: int = 1
    enough: int = 16
    enough_further: int = 4
    further: int = 0
    leads: bool = False

    def step(self, row: Row, dtype: str) -> int:
        """Of the cases of a layer and dtype it looks at every n-th: this n."""
        many, medium = row.examples >= 1, row.examples >= MEDIUM
        if dtype == IN_FULL:
            return self.in_full if medium else 1
        return max(self.every, self.of_many if many else self.of_medium if medium else 1)


ALL = 1 << 30
"""More cases than any item has."""

MEDIUM = 0.3
"""The share of a profile's examples from which on part of a layer's cases is enough."""

IN_FULL = "float32"
"""The dtype in which a check looks at all cases, or at the largest share of them."""

CHECKS: dict[str, Check] = {
    "shape": Check(shape.check, of_many=2, of_medium=2, enough=24, further=3),
    "values": Check(
        values.check, whole=True, enough=ALL, enough_further=ALL, further=3, leads=True
    ),
    "gradients": Check(gradients.check, whole=True, of_many=2, of_medium=2, further=2, leads=True),
    "laws": Check(laws.check, applies=lambda row: bool(row.laws), of_many=3, of_medium=2),
    "layout": Check(
        layout.check, relaid=layout.relaid, of_many=3, of_medium=2, in_full=2, enough=14
    ),
    "special": Check(special.check, applies=_takes_numbers, of_many=3, enough_further=6, further=1),
    "state": Check(state.check, applies=_has_state, every=4, in_full=3, enough=10),
    "random": Check(
        random.check, applies=lambda row: row.draws is not None, of_many=2, of_medium=2, enough=16
    ),
    "repeat": Check(repeat.check, larger=siblings.larger, every=4, of_many=6, in_full=3, enough=10),
    "errors": Check(
        errors.check, invalid=True, applies=lambda row: row.invalid is not None, every=4, enough=30
    ),
}

# Run only where they are named: no columns of the matrix.
ON_REQUEST: dict[str, Check] = {
    "support": Check(support.check, conclude=support.conclude),
}
EVERY_CHECK: dict[str, Check] = {**CHECKS, **ON_REQUEST}
