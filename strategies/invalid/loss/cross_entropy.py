"""Ways to break a valid call of the cross entropy, besides those of class indices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    with_arguments,
    with_inputs,
)
from conformance.strategies.invalid.loss.nll import log_likelihood_breaks, of_indices, weight_length
from conformance.strategies.invalid.loss.parts import array_of, with_input
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

_too_large = st.sampled_from((1.5, 2.0, 1.25))
_below_zero = st.sampled_from((-0.5, -0.1, -1.0))
_indices_of_classes = st.sampled_from((0, 1, 255))


def _of_probabilities(case: Case) -> bool:
    return not of_indices(case)


def _probabilities_of_more(draw: Draw, case: Case) -> Case:
    shape = list(array_of(case, 1).shape)
    shape[0 if len(shape) == 1 else 1] += draw(st.integers(1, 2))
    return with_inputs(case, {1: shape})


def _whole_probabilities(draw: Draw, case: Case) -> Case:
    return with_input(case, 1, np.rint(array_of(case, 1)).astype(np.int64))


def _ignored_class(draw: Draw, case: Case) -> Case:
    return with_arguments(case, ignore_index=draw(_indices_of_classes))


def smoothing_breaks() -> tuple[Break, ...]:
    """The breaks of label smoothing."""
    name = "label_smoothing"
    return (
        Break("label_smoothing above 1", name, argument(name, _too_large)),
        Break("label_smoothing negative", name, argument(name, _below_zero)),
    )


def _with_indices(known: Break) -> Break:
    """Restrict a break to calls with class indices."""
    return replace(known, applies=lambda case: of_indices(case) and known.applies(case))


def cross_entropy_breaks(signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of the module and of the function; `shapes` are those with class indices."""
    return (
        *map(_with_indices, log_likelihood_breaks(signature, shapes)),
        *smoothing_breaks(),
        Break(
            "probabilities of another number of classes",
            "target",
            _probabilities_of_more,
            applies=_of_probabilities,
        ),
        Break(
            "probabilities of another dtype",
            "target",
            _whole_probabilities,
            applies=_of_probabilities,
        ),
        Break(
            "ignored class of probabilities",
            "ignore_index",
            _ignored_class,
            applies=_of_probabilities,
        ),
        Break(
            "weight of another length with probabilities",
            "weight",
            weight_length,
            required=CUSTOMARY,
            applies=_of_probabilities,
        ),
    )
