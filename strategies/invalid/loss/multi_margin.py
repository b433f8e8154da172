"""Ways to break a valid call of a margin loss over classes."""

from __future__ import annotations

import numpy as np
from conformance.strategies.invalid.breaks import Break, set_argument
from conformance.strategies.invalid.loss.parts import (
    operand_breaks,
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


def _has_labels(case: Case) -> bool:
    return present_input(case, 1).size > 0


def _class_out_of_range(min_index: int) -> Break:
    """The break of an index that is not a class; `min_index` is the smallest valid index."""

    def apply(draw: Draw, case: Case) -> Case:
        target, count = present_input(case, 1).copy(), present_input(case, 0).shape[-1]
        position = draw(st.integers(0, target.size - 1))
        target.reshape(-1)[position] = draw(st.sampled_from((count, count + 7, min_index - 1)))
        return replace_input(case, 1, target)

    return Break("class out of range", "target", apply, applies=_has_labels)


def _float_indices(draw: Draw, case: Case) -> Case:
    return replace_input(case, 1, present_input(case, 1).astype(np.float64))


_float_indices_break = Break(
    "indices of another dtype", "target", _float_indices, applies=_has_labels
)


def _weight_length(draw: Draw, case: Case) -> Case:
    return resize_weight(case, 2, (present_input(case, 0).shape[-1] + draw(st.integers(1, 2)),))


def _weight_matrix(draw: Draw, case: Case) -> Case:
    return resize_weight(case, 2, (1, present_input(case, 0).shape[-1]))


def _has_several_classes(case: Case) -> bool:
    """Whether a weight of another length cannot broadcast."""
    return present_input(case, 0).shape[-1] > 1 and present_input(case, 0).size > 0


_weight_length_break = Break(
    "weight of another length", "weight", _weight_length, applies=_has_several_classes
)
_weight_matrix_break = Break(
    "weight of two axes", "weight", _weight_matrix, applies=_has_several_classes
)


def _constructor_breaks(signature: Signature, *breaks: Break) -> tuple[Break, ...]:
    """The breaks if the constructor takes the weight; those of an input follow from its shape."""
    return () if "weight" in signature.input_names else breaks


def multi_margin_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the multi-class margin loss; torch does not check the targets' rank."""
    from_shapes = shape_breaks(signature, shapes)
    return (
        unknown_batchmean,
        Break("p neither 1 nor 2", "p", set_argument("p", st.sampled_from((3, 0, -1)))),
        _class_out_of_range(0),
        _float_indices_break,
        *_constructor_breaks(signature, _weight_length_break, _weight_matrix_break),
        *from_shapes,
    )


def multilabel_margin_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the multi-label margin loss."""
    return (
        unknown_batchmean,
        _class_out_of_range(-1),
        _float_indices_break,
        *shape_breaks(signature, shapes),
    )


def multilabel_soft_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the multi-label soft margin loss."""
    from_shapes = operand_breaks(signature, shapes, "* of another rank")
    return (*from_shapes, *_constructor_breaks(signature, _weight_length_break))
