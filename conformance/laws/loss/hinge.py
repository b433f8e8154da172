"""Laws of the losses of ±1 labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import exactly
from conformance.laws.loss.reductions import form, given, on, reductions, unbatched
from conformance.model.formats import format_of
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
    Side,
    claim,
    law,
    measured,
    on_host,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def may_double(trial: Trial, *arrays: np.ndarray) -> bool:
    """Whether doubling the numbers keeps them in the dtype's range, and none is subnormal."""
    form = format_of(trial.case.call.dtype)
    sizes = np.concatenate([np.abs(x).reshape(-1) for x in arrays])
    sizes = sizes[sizes > 0]
    # Their sum must not overflow either.
    return bool(((sizes > form.normal) & (sizes < form.largest / 4 / max(sizes.size, 1))).all())


@law("scaled", "numbers and margin twice as large: a loss twice as large")
def scaled(trial: Trial, generator: Generator) -> Claims:
    """Doubled numbers and margin, where nothing rounds or overflows."""
    *numbers, target = (x for x in trial.case.inputs if x is not None)
    margin = given(trial, "margin")
    if may_double(trial, *numbers, np.array(margin)):
        other = on(trial, [*(2 * x for x in numbers), target], margin=2 * margin)
        yield same(other, trial, got_moves=lambda y: y / 2)


@law("swapped", "neither input is the first: the labels tell")
def swapped(trial: Trial, generator: Generator) -> Claims:
    """The inputs exchanged and every label negated."""
    first, second, target = trial.case.inputs
    assert target is not None
    yield same(on(trial, [second, first, -target]), trial)


@law("mirrored", "a number and its label of the other sign mean the same")
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """The call with numbers and labels negated."""
    x, target = trial.case.inputs
    assert x is not None
    assert target is not None
    yield same(on(trial, [-x, -target]), trial)


@law("odd", "under the other label a loss is larger by the label times the number", SUMMED)
def odd(trial: Trial, generator: Generator) -> Claims:
    """log(1 + eᶻ) = log(1 + e⁻ᶻ) + z for each loss."""
    x, target = trial.case.inputs
    assert x is not None
    assert target is not None
    one = on(trial, [x, target], reduction="none")
    other = on(trial, [x, -target], reduction="none")
    (loss,) = map(on_host, measured(one))
    with np.errstate(all="ignore"):
        wanted = loss + exactly(target * x, loss.precision)
    yield claim(other, measured(other), Side(f"{one.text()} + target * input", (wanted,)))


@law("label", "of label 1 the loss is the number, whatever the margin")
def label(trial: Trial, generator: Generator) -> Claims:
    """The call with all labels 1 and another margin."""
    x, target = trial.case.inputs
    assert target is not None
    ones = np.ones_like(target)
    yield same(on(trial, [x, ones], margin=given(trial, "margin") + 1.0), on(trial, [x, ones]))


_ALL = (*reductions(), unbatched(1))
EMBEDDING = (
    form("HingeEmbeddingLoss", "functional.hinge_embedding_loss"),
    *_ALL,
    scaled,
    label,
)
RANKING = (
    form("MarginRankingLoss", "functional.margin_ranking_loss"),
    *_ALL,
    scaled,
    swapped,
)
SOFT = (form("SoftMarginLoss", "functional.soft_margin_loss"), *_ALL, mirrored, odd)
