"""Laws of the losses of ±1 labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import exact_operand
from conformance.laws.loss.reductions import (
    argument_value,
    call_on,
    form_law,
    reductions,
    unbatched_law,
)
from conformance.model.formats import format_of
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    in_float64,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def may_double(trial: Trial, *arrays: np.ndarray) -> bool:
    """Whether doubling the numbers keeps them in the dtype's range, and none is subnormal."""
    target = format_of(trial.case.call.dtype)
    sizes = np.concatenate([np.abs(x).reshape(-1) for x in arrays])
    sizes = sizes[sizes > 0]
    # Their sum must not overflow either.
    return bool(((sizes > target.normal) & (sizes < target.largest / 4 / max(sizes.size, 1))).all())


@law("scaled", "numbers and margin twice as large: a loss twice as large")
def scaled(trial: Trial, generator: Generator) -> Claims:
    """Doubled numbers and margin, where nothing rounds or overflows."""
    *numbers, target = (x for x in trial.case.inputs if x is not None)
    margin = argument_value(trial, "margin")
    if may_double(trial, *numbers, np.array(margin)):
        other = call_on(trial, [*(2 * x for x in numbers), target], margin=2 * margin)
        yield equality_claim(other, trial, got_moves=lambda y: y / 2)


@law("swapped", "neither input is the first: the labels tell")
def swapped(trial: Trial, generator: Generator) -> Claims:
    """The inputs exchanged and every label negated."""
    first, second, target = trial.case.inputs
    assert target is not None
    yield equality_claim(call_on(trial, [second, first, -target]), trial)


@law("mirrored", "a number and its label of the other sign mean the same")
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """The call with numbers and labels negated."""
    x, target = trial.case.inputs
    assert x is not None
    assert target is not None
    yield equality_claim(call_on(trial, [-x, -target]), trial)


@law(
    "odd",
    "under the other label a loss is larger by the label times the number",
    WITHIN_SUM_OF_BOUNDS,
)
def odd(trial: Trial, generator: Generator) -> Claims:
    """log(1 + eᶻ) = log(1 + e⁻ᶻ) + z for each loss."""
    x, target = trial.case.inputs
    assert x is not None
    assert target is not None
    own_label = call_on(trial, [x, target], reduction="none")
    other_label = call_on(trial, [x, -target], reduction="none")
    (loss,) = map(in_float64, outputs_with_bounds(own_label))
    with np.errstate(all="ignore"):
        wanted = loss + exact_operand(target * x, loss.precision)
    yield claim(
        other_label,
        outputs_with_bounds(other_label),
        Side(f"{own_label.text()} + target * input", (wanted,)),
    )


@law("label", "of label 1 the loss is the number, whatever the margin")
def label(trial: Trial, generator: Generator) -> Claims:
    """The call with all labels 1 and another margin."""
    x, target = trial.case.inputs
    assert target is not None
    ones = np.ones_like(target)
    yield equality_claim(
        call_on(trial, [x, ones], margin=argument_value(trial, "margin") + 1.0),
        call_on(trial, [x, ones]),
    )


_COMMON_LAWS = (*reductions(), unbatched_law(1))
EMBEDDING = (
    form_law("HingeEmbeddingLoss", "functional.hinge_embedding_loss"),
    *_COMMON_LAWS,
    scaled,
    label,
)
RANKING = (
    form_law("MarginRankingLoss", "functional.margin_ranking_loss"),
    *_COMMON_LAWS,
    scaled,
    swapped,
)
SOFT = (form_law("SoftMarginLoss", "functional.soft_margin_loss"), *_COMMON_LAWS, mirrored, odd)
