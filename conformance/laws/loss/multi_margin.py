"""Laws of the losses over classes by margins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.laws.loss.reductions import call_on, form_law, reductions, unbatched_law
from conformance.model.case import is_function
from conformance.model.formats import round_to
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _scores(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    x, target = trial.case.inputs[:2]
    assert x is not None
    assert target is not None
    return x, target


def _weight(trial: Trial) -> np.ndarray | None:
    optional_inputs = trial.case.inputs[2:]
    return optional_inputs[0] if optional_inputs else trial.case.call.state.get("weight")


def _call_with(trial: Trial, x: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> Trial:
    """The call on other scores, targets and weight; a module's weight goes to its state."""
    if is_function(trial.case.call.layer):
        optional_inputs = (weight,) if "weight" in trial.spec.signature.input_names else ()
        return call_on(trial, (x, target, *optional_inputs))
    return call_on(trial, (x, target), state={} if weight is None else {"weight": weight})


def _renumber_labels(target: np.ndarray, new_places: np.ndarray) -> np.ndarray:
    """Labels after the classes moved to new indices; −1 stays."""
    return np.where(target >= 0, new_places[np.maximum(target, 0)], target)


@law("classes", "classes may change their places, with their weights and labels")
def classes(trial: Trial, generator: Generator) -> Claims:
    """A permutation of the classes."""
    x, target = _scores(trial)
    weight, order = _weight(trial), generator.permutation(x.shape[-1])
    if target.dtype.kind == "i":
        target = _renumber_labels(target, np.argsort(order))
    else:
        target = target.take(order, -1)
    weight = None if weight is None else weight[order]
    yield equality_claim(_call_with(trial, x.take(order, -1), target, weight), trial)


@law("shifted", "what is added to all scores of a sample means nothing", WITHIN_SUM_OF_BOUNDS)
def shifted(trial: Trial, generator: Generator) -> Claims:
    """Integers added to all scores of a sample, where no sum rounds."""
    x, target = _scores(trial)
    shift = generator.integers(-16, 16, (*x.shape[:-1], 1)).astype(np.float64)
    shifted_scores = x + shift
    exact = (round_to(shifted_scores, trial.case.call.dtype) == shifted_scores) & (
        shifted_scores - shift == x
    )
    shifted_scores = np.where(exact.all(-1, keepdims=True), shifted_scores, x)
    if not np.array_equal(shifted_scores, x):
        other = _call_with(trial, shifted_scores, target, _weight(trial))
        yield claim(
            other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial))
        )


@law("weighted", "weights half as large: half the loss; weights of 1 are none")
def weighted(trial: Trial, generator: Generator) -> Claims:
    """Half the weights; or weights of 1, for a case without weights."""
    x, target = _scores(trial)
    weight = _weight(trial)
    if weight is None:
        yield equality_claim(_call_with(trial, x, target, np.ones(x.shape[-1])), trial)
    else:
        other = _call_with(trial, x, target, weight / 2)
        yield equality_claim(other, trial, got_moves=lambda y: y * 2)


@law("labels", "labels may come in any order, and what stands behind the first -1 means nothing")
def labels(trial: Trial, generator: Generator) -> Claims:
    """Each sample's labels shuffled, with other numbers after the first −1."""
    x, target = _scores(trial)
    other, count = target.copy(), x.shape[-1]
    for row in other.reshape(-1, count):
        label_count = int(np.cumprod(row >= 0).sum())
        row[:label_count] = generator.permutation(row[:label_count])
        row[label_count + 1 :] = generator.integers(-1, count, len(row[label_count + 1 :]))
    yield equality_claim(call_on(trial, (x, other)), trial)


@law("mirrored", "a score and its label negated mean the same")
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """The call on −x and 1 − y."""
    x, target = _scores(trial)
    yield equality_claim(_call_with(trial, -x, 1 - target, _weight(trial)), trial)


MULTI_MARGIN = (
    form_law("MultiMarginLoss", "functional.multi_margin_loss", ("weight",)),
    *reductions(),
    unbatched_law(2),
    classes,
    shifted,
    weighted,
)
MULTILABEL_MARGIN = (
    form_law("MultiLabelMarginLoss", "functional.multilabel_margin_loss"),
    *reductions(),
    unbatched_law(2),
    classes,
    shifted,
    labels,
)
MULTILABEL_SOFT = (
    form_law("MultiLabelSoftMarginLoss", "functional.multilabel_soft_margin_loss", ("weight",)),
    *reductions(),
    classes,
    weighted,
    mirrored,
)
