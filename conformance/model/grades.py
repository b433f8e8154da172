"""Grades of a case by the accuracy of its numbers, and classes of a case by its operands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

EXACT, ONE_ROUNDING, TWO_ROUNDINGS = "exact", "one rounding", "two roundings"
STEP_BY_STEP, CLOSE, WRONG = "step by step", "assert_close", "wrong"
GRADES: Mapping[str, str] = {
    EXACT: "every number is the true value, rounded correctly",
    ONE_ROUNDING: "computed in float32 or in the dtype, if that is wider, and stored once",
    TWO_ROUNDINGS: "as above, but some intermediate results of `Numerics.stored` are stored, too",
    STEP_BY_STEP: "bfloat16 and float16 store every step of a composite",
    CLOSE: "beyond every derived bound, but within the default tolerances of "
    "`torch.testing.assert_close`",
    WRONG: "none of these",
}
"""What each grade says of an answer, the best first.

Each allows what the ones before it allow. In float32 and wider dtypes, `ONE_ROUNDING` to
`STEP_BY_STEP` are one grade, called `ONE_ROUNDING`.
"""
PROMISES = tuple(GRADES)[:-1]
"""The grades that a backend may promise (`Numerics.grade`)."""
LETTERS: Mapping[str, str] = dict(zip(GRADES, "ABCDEF", strict=True))

CLOSE_TOLERANCES: Mapping[str, tuple[float, float]] = {
    "float64": (1e-7, 1e-7),
    "float32": (1.3e-6, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float16": (1e-3, 1e-5),
    "complex128": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
}
"""The default `rtol` and `atol` of `torch.testing.assert_close`, from its documentation."""

ORDINARY, EXTREMAL, EMPTY = "ordinary", "extremal", "empty"
CLASSES: Mapping[str, str] = {
    ORDINARY: "all others",
    EXTREMAL: "a finite number whose square overflows, in float32 for bfloat16 and float16",
    EMPTY: "an input without elements",
}
"""The classes of cases. torch's note on numerical accuracy lets intermediates of extremal overflow.

<https://docs.pytorch.org/docs/stable/notes/numerical_accuracy.html#extremal-values>
"""


@dataclass(frozen=True)
class ClassCounts:
    """Counts of the examples of one class.

    Args:
        checked, failed, excused: as in `Examples`.
    """

    checked: int = 0
    failed: int = 0
    excused: int = 0

    def __add__(self, other: ClassCounts) -> ClassCounts:
        """Add the counts."""
        return ClassCounts(
            self.checked + other.checked,
            self.failed + other.failed,
            self.excused + other.excused,
        )


def add_class_counts(counts: Iterable[Mapping[str, ClassCounts]]) -> dict[str, ClassCounts]:
    """Sum the counts of several items by class; classes without examples are left out."""
    total = dict.fromkeys(CLASSES, ClassCounts())
    for counts_by_class in counts:
        for name, number in counts_by_class.items():
            if name in total:
                total[name] += number
    return {name: number for name, number in total.items() if number.checked}


def worst_grade(grades: Iterable[str], promised: str = WRONG) -> str:
    """The worst grade that is no worse than the promised one; empty if there is none."""
    names = set(grades)
    order = [name for name in GRADES if name in names]
    allowed = (
        order if promised not in GRADES else [n for n in order if LETTERS[n] <= LETTERS[promised]]
    )
    return allowed[-1] if allowed else ""
