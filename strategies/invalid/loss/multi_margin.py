"""Ways to break a valid call of a margin loss over classes."""

from __future__ import annotations

import numpy as np
from conformance.strategies.invalid.breaks import Break, argument
from conformance.strategies.invalid.loss.parts import (
    array_of,
    operand_breaks,
    unknown_word,
    with_input,
    with_weight,
)
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature


def _any_label(case: Case) -> bool:
    return array_of(case, 1).size > 0


def _beyond(least: int) -> Break:
    """The break of an index that is not a class; `least` is the smallest valid index."""

    def apply(draw: Draw, case: Case) -> Case:
        target, count = array_of(case, 1).copy(), array_of(case, 0).shape[-1]
        at = draw(st.integers(0, target.size - 1))
        target.reshape(-1)[at] = draw(st.sampled_from((count, count + 7, least - 1)))
        return with_input(case, 1, target)

    return Break("class out of range", "target", apply, applies=_any_label, index=True)


def _real(draw: Draw, case: Case) -> Case:
    return with_input(case, 1, array_of(case, 1).astype(np.float64))


_real_indices = Break("indices of another dtype", "target", _real, applies=_any_label)


def _weight_length(draw: Draw, case: Case) -> Case:
    return with_weight(case, 2, (array_of(case, 0).shape[-1] + draw(st.integers(1, 2)),))


def _weight_matrix(draw: Draw, case: Case) -> Case:
    return with_weight(case, 2, (1, array_of(case, 0).shape[-1]))


def _several_classes(case: Case) -> bool:
    """Whether a weight of another length cannot broadcast."""
    return array_of(case, 0).shape[-1] > 1 and array_of(case, 0).size > 0


_weights = Break("weight of another length", "weight", _weight_length, applies=_several_classes)
_matrix = Break("weight of two axes", "weight", _weight_matrix, applies=_several_classes)


def _constructed(signature: Signature, *breaks: Break) -> tuple[Break, ...]:
    """The breaks if the constructor takes the weight; those of an input follow from its shape."""
    return () if "weight" in signature.input_names else breaks


def multi_margin_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the multi-class margin loss; torch does not check the targets' rank."""
    told = shape_breaks(
        signature,
        shapes,
        customary=("input of another rank", "target of another rank"),
    )
    return (
        unknown_word,
        Break("p neither 1 nor 2", "p", argument("p", st.sampled_from((3, 0, -1)))),
        _beyond(0),
        _real_indices,
        *_constructed(signature, _weights, _matrix),
        *told,
    )


def multilabel_margin_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the multi-label margin loss."""
    return (unknown_word, _beyond(-1), _real_indices, *shape_breaks(signature, shapes))


def multilabel_soft_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the multi-label soft margin loss."""
    told = operand_breaks(signature, shapes, "* of another rank")
    return (*told, *_constructed(signature, _weights))
