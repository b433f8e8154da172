"""Ways to break a valid call of a loss of class indices."""

from __future__ import annotations

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
)
from conformance.strategies.invalid.loss.parts import (
    array_of,
    unknown_word,
    with_axis,
    with_input,
    with_weight,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature


def class_count(case: Case) -> int:
    """Number of classes."""
    shape = array_of(case, 0).shape
    return int(shape[0 if len(shape) == 1 else 1])


def of_indices(case: Case) -> bool:
    """Whether the target holds class indices, not probabilities."""
    return array_of(case, 1).dtype.kind == "i"


def _any_index(case: Case) -> bool:
    return of_indices(case) and array_of(case, 1).size > 0


def _rows(case: Case) -> bool:
    return array_of(case, 1).ndim == 1


def _beyond(draw: Draw, case: Case) -> Case:
    """One index out of range: negative, or at least the number of classes."""
    target, ignored = array_of(case, 1).copy(), case.call.arguments.get("ignore_index", -100)
    outside = [k for k in (class_count(case), class_count(case) + 7, -1, -2) if k != ignored]
    target.reshape(-1)[draw(st.integers(0, target.size - 1))] = draw(st.sampled_from(outside))
    return with_input(case, 1, target)


def _real_indices(draw: Draw, case: Case) -> Case:
    return with_input(case, 1, array_of(case, 1).astype(np.float64) % class_count(case))


def weight_length(draw: Draw, case: Case) -> Case:
    """A weight with too many or too few elements, in a module's state or as an input."""
    size = class_count(case)
    length = draw(st.sampled_from([n for n in (size + 1, size - 1, 2 * size) if n > 1]))
    return with_weight(case, 2, (length,))


def log_likelihood_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of a call with class indices, of a module or a function.

    With the scores of one sample torch also accepts a target of shape (1), and in a K-dimensional
    loss a weight of any shape.
    """
    left = ["target missing", "* of another rank", "target of another positions"]
    weight = [Break("weight of another length", "weight", weight_length)]
    if "weight" in signature.input_names:
        left, weight = [*left, "weight of another dtype"], []
    return (
        unknown_word,
        Break("class out of range", "target", _beyond, applies=_any_index, index=True),
        with_axis("target", 1, applies=_rows),
        Break("indices of another dtype", "target", _real_indices),
        *weight,
        *shape_breaks(signature, shapes, without=left),
    )
