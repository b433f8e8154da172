"""Ways to break a valid call of a loss of class indices."""

from __future__ import annotations

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
)
from conformance.strategies.invalid.loss.parts import (
    extra_axis,
    present_input,
    replace_input,
    resize_weight,
    unknown_batchmean,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature


def class_count(case: Case) -> int:
    """Number of classes."""
    shape = present_input(case, 0).shape
    return int(shape[0 if len(shape) == 1 else 1])


def has_indices(case: Case) -> bool:
    """Whether the target holds class indices, not probabilities."""
    return present_input(case, 1).dtype.kind == "i"


def _has_any_index(case: Case) -> bool:
    return has_indices(case) and present_input(case, 1).size > 0


def _has_flat_target(case: Case) -> bool:
    return present_input(case, 1).ndim == 1


def _class_out_of_range(draw: Draw, case: Case) -> Case:
    """One index out of range: negative, or at least the number of classes."""
    target, ignored = present_input(case, 1).copy(), case.call.arguments.get("ignore_index", -100)
    wrong_classes = [k for k in (class_count(case), class_count(case) + 7, -1, -2) if k != ignored]
    target.reshape(-1)[draw(st.integers(0, target.size - 1))] = draw(st.sampled_from(wrong_classes))
    return replace_input(case, 1, target)


def _float_indices(draw: Draw, case: Case) -> Case:
    return replace_input(case, 1, present_input(case, 1).astype(np.float64) % class_count(case))


def wrong_weight_length(draw: Draw, case: Case) -> Case:
    """A weight with too many or too few elements, in a module's state or as an input."""
    size = class_count(case)
    length = draw(st.sampled_from([n for n in (size + 1, size - 1, 2 * size) if n > 1]))
    return resize_weight(case, 2, (length,))


def log_likelihood_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of a call with class indices, of a module or a function.

    With the scores of one sample torch also accepts a target of shape (1), and in a K-dimensional
    loss a weight of any shape.
    """
    excluded = ["target missing", "* of another rank", "target of another positions"]
    weight_breaks = [Break("weight of another length", "weight", wrong_weight_length)]
    if "weight" in signature.input_names:
        excluded, weight_breaks = [*excluded, "weight of another dtype"], []
    return (
        unknown_batchmean,
        Break("class out of range", "target", _class_out_of_range, applies=_has_any_index),
        extra_axis("target", 1, applies=_has_flat_target),
        Break("indices of another dtype", "target", _float_indices),
        *weight_breaks,
        *shape_breaks(signature, shapes, excluded=excluded),
    )
