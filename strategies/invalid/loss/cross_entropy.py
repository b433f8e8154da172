"""Ways to break a valid call of the cross entropy, besides those of class indices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    replace_arguments,
    resize_inputs,
    set_argument,
)
from conformance.strategies.invalid.loss.nll import (
    has_indices,
    log_likelihood_breaks,
    wrong_weight_length,
)
from conformance.strategies.invalid.loss.parts import present_input, replace_input
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_too_large = st.sampled_from((1.5, 2.0, 1.25))
_below_zero = st.sampled_from((-0.5, -0.1, -1.0))
_class_indices = st.sampled_from((0, 1, 255))


def _has_probabilities(case: Case) -> bool:
    return not has_indices(case)


def _more_probabilities(draw: Draw, case: Case) -> Case:
    shape = list(present_input(case, 1).shape)
    shape[0 if len(shape) == 1 else 1] += draw(st.integers(1, 2))
    return resize_inputs(case, {1: shape})


def _integer_probabilities(draw: Draw, case: Case) -> Case:
    return replace_input(case, 1, np.rint(present_input(case, 1)).astype(np.int64))


def _ignored_class(draw: Draw, case: Case) -> Case:
    return replace_arguments(case, ignore_index=draw(_class_indices))


def smoothing_breaks() -> tuple[Break, ...]:
    """The breaks of label smoothing."""
    name = "label_smoothing"
    return (
        Break("label_smoothing above 1", name, set_argument(name, _too_large)),
        Break("label_smoothing negative", name, set_argument(name, _below_zero)),
    )


def _restrict_to_indices(break_: Break) -> Break:
    """Restrict a break to calls with class indices."""
    return replace(break_, applies=lambda case: has_indices(case) and break_.applies(case))


def cross_entropy_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the module and of the function; `shapes` are those with class indices."""
    return (
        *map(_restrict_to_indices, log_likelihood_breaks(signature, shapes)),
        *smoothing_breaks(),
        Break(
            "probabilities of another number of classes",
            "target",
            _more_probabilities,
            applies=_has_probabilities,
        ),
        Break(
            "probabilities of another dtype",
            "target",
            _integer_probabilities,
            applies=_has_probabilities,
        ),
        Break(
            "ignored class of probabilities",
            "ignore_index",
            _ignored_class,
            applies=_has_probabilities,
        ),
        Break(
            "weight of another length with probabilities",
            "weight",
            wrong_weight_length,
            applies=_has_probabilities,
        ),
    )
