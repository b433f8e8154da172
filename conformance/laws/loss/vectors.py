"""Laws of the losses of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.choices import minimum
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.rounded import Rounded
from conformance.laws.loss.reductions import (
    argument_value,
    call_on,
    form_law,
    reductions,
    unbatched_law,
)
from conformance.model.case import is_function
from conformance.oracles.loss.hinge import hinge
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
    trial_with,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_TRIPLET = ("TripletMarginLoss", "functional.triplet_margin_loss")
_WITH_DISTANCE = (
    "TripletMarginWithDistanceLoss",
    "functional.triplet_margin_with_distance_loss",
)


def _inputs(trial: Trial) -> list[np.ndarray]:
    return [x for x in trial.case.inputs if x is not None]


@law("swapped", "neither vector is the first")
def swapped(trial: Trial, generator: Generator) -> Claims:
    """The two inputs exchanged."""
    first, second, target = _inputs(trial)
    yield equality_claim(call_on(trial, [second, first, target]), trial)


@law("order", "components may come in any order")
def order(trial: Trial, generator: Generator) -> Claims:
    """The same permutation of the components of all vectors."""
    chosen = generator.permutation(_inputs(trial)[0].shape[-1])
    reordered = [
        x.take(chosen, -1) if index in trial.spec.signature.input_indices("data") else x
        for index, x in enumerate(_inputs(trial))
    ]
    yield equality_claim(call_on(trial, reordered), trial)


@law(
    "similarity",
    "of label 1 the loss is 1 less the similarity of the same backend",
    WITHIN_SUM_OF_BOUNDS,
)
def similarity(trial: Trial, generator: Generator) -> Claims:
    """All labels 1, compared with functional.cosine_similarity."""
    first, second, target = _inputs(trial)
    loss = call_on(trial, [first, second, np.ones_like(target)], reduction="none")
    layer = "functional.cosine_similarity"
    cosine = trial_with(trial, first, second, layer=layer, arguments={"dim": -1})
    (similarities,) = map(in_float64, outputs_with_bounds(cosine))
    with np.errstate(all="ignore"):
        wanted = constant(1.0, similarities) - similarities
    yield claim(loss, outputs_with_bounds(loss), Side(f"1 - {cosine.text()}", (wanted,)))


@law("distances", "the loss is made of distances of the same backend", WITHIN_SUM_OF_BOUNDS)
def distances(trial: Trial, generator: Generator) -> Claims:
    """The unreduced losses, computed from the distance function of the case."""
    anchor, positive, negative = _inputs(trial)
    arguments = trial.case.call.arguments
    norm = {name: arguments[name] for name in ("p", "eps") if name in arguments}
    layer = f"functional.{arguments.get('distance_function') or 'pairwise_distance'}"

    def distance(x: np.ndarray, y: np.ndarray) -> Rounded:
        (distances,) = outputs_with_bounds(trial_with(trial, x, y, layer=layer, arguments=norm))
        return in_float64(distances)

    with np.errstate(all="ignore"):
        near, far = distance(anchor, positive), distance(anchor, negative)
        if argument_value(trial, "swap"):
            far = minimum(far, distance(positive, negative))
        wanted = hinge(constant(argument_value(trial, "margin"), near), near, -far)
    loss = call_on(trial, trial.case.inputs, reduction="none")
    yield claim(
        loss, outputs_with_bounds(loss), Side("max(0, d(a, p) - d(a, n) + margin)", (wanted,))
    )


def _has_default_distance(trial: Trial) -> bool:
    """Whether the distance is the default one, named or not."""
    return trial.case.call.arguments.get("distance_function") in (None, "pairwise_distance")


@law("kin", "the distance of both losses is the same by default", WITHIN_SUM_OF_BOUNDS)
def kin(trial: Trial, generator: Generator) -> Claims:
    """Both triplet losses with default p, eps and distance function."""
    layer = trial.case.call.layer
    if not _has_default_distance(trial):
        return
    names = _TRIPLET if layer in _WITH_DISTANCE else _WITH_DISTANCE
    specific = ("p", "eps", "distance_function")
    common = {k: v for k, v in trial.case.call.arguments.items() if k not in specific}
    own_loss = trial_with(trial, *_inputs(trial), arguments=common)
    other_loss = trial_with(
        trial, *_inputs(trial), layer=names[is_function(layer)], arguments=common
    )
    yield claim(
        other_loss,
        outputs_with_bounds(other_loss),
        Side(own_loss.text(), outputs_with_bounds(own_loss)),
    )


@law("unbatched", "a triplet without a batch dimension is a batch of one")
def alone(trial: Trial, generator: Generator) -> Claims:
    """Only with the default distance function: the cosine needs a batch."""
    if _has_default_distance(trial):
        yield from unbatched_law(2).claims(trial, generator)


_COMMON_LAWS = (*reductions(), order)
_BATCHED_LAWS = (*_COMMON_LAWS, unbatched_law(2))
COSINE = (
    form_law("CosineEmbeddingLoss", "functional.cosine_embedding_loss"),
    *_BATCHED_LAWS,
    swapped,
    similarity,
)
TRIPLET = (form_law(*_TRIPLET), *_BATCHED_LAWS, distances, kin)
WITH_DISTANCE = (form_law(*_WITH_DISTANCE), *_COMMON_LAWS, alone, distances, kin)
