"""Laws of the losses of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.choices import minimum
from conformance.arithmetic.elementary import constant
from conformance.arithmetic.rounded import Rounded
from conformance.laws.loss.reductions import form, given, on, reductions, unbatched
from conformance.model.case import is_function
from conformance.oracles.loss.hinge import hinge
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
    Side,
    called,
    claim,
    law,
    measured,
    on_host,
    same,
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
    yield same(on(trial, [second, first, target]), trial)


@law("order", "components may come in any order")
def order(trial: Trial, generator: Generator) -> Claims:
    """The same permutation of the components of all vectors."""
    chosen = generator.permutation(_inputs(trial)[0].shape[-1])
    moved = [
        x.take(chosen, -1) if place in trial.row.signature.places("data") else x
        for place, x in enumerate(_inputs(trial))
    ]
    yield same(on(trial, moved), trial)


@law("similarity", "of label 1 the loss is 1 less the similarity of the same backend", SUMMED)
def similarity(trial: Trial, generator: Generator) -> Claims:
    """All labels 1, compared with functional.cosine_similarity."""
    first, second, target = _inputs(trial)
    loss = on(trial, [first, second, np.ones_like(target)], reduction="none")
    layer = "functional.cosine_similarity"
    cosine = called(trial, first, second, layer=layer, arguments={"dim": -1})
    (found,) = map(on_host, measured(cosine))
    with np.errstate(all="ignore"):
        wanted = constant(1.0, found) - found
    yield claim(loss, measured(loss), Side(f"1 - {cosine.text()}", (wanted,)))


@law("distances", "the loss is made of distances of the same backend", SUMMED)
def distances(trial: Trial, generator: Generator) -> Claims:
    """The unreduced losses, computed from the distance function of the case."""
    anchor, positive, negative = _inputs(trial)
    arguments = trial.case.call.arguments
    norm = {name: arguments[name] for name in ("p", "eps") if name in arguments}
    layer = f"functional.{arguments.get('distance_function') or 'pairwise_distance'}"

    def distance(x: np.ndarray, y: np.ndarray) -> Rounded:
        (found,) = measured(called(trial, x, y, layer=layer, arguments=norm))
        return on_host(found)

    with np.errstate(all="ignore"):
        near, far = distance(anchor, positive), distance(anchor, negative)
        if given(trial, "swap"):
            far = minimum(far, distance(positive, negative))
        wanted = hinge(constant(given(trial, "margin"), near), near, -far)
    loss = on(trial, trial.case.inputs, reduction="none")
    yield claim(loss, measured(loss), Side("max(0, d(a, p) - d(a, n) + margin)", (wanted,)))


def _by_default(trial: Trial) -> bool:
    """Whether the distance is the default one, named or not."""
    return trial.case.call.arguments.get("distance_function") in (None, "pairwise_distance")


@law("kin", "the distance of both losses is the same by default", SUMMED)
def kin(trial: Trial, generator: Generator) -> Claims:
    """Both triplet losses with default p, eps and distance function."""
    layer = trial.case.call.layer
    if not _by_default(trial):
        return
    names = _TRIPLET if layer in _WITH_DISTANCE else _WITH_DISTANCE
    own = ("p", "eps", "distance_function")
    kept = {k: v for k, v in trial.case.call.arguments.items() if k not in own}
    one = called(trial, *_inputs(trial), arguments=kept)
    other = called(trial, *_inputs(trial), layer=names[is_function(layer)], arguments=kept)
    yield claim(other, measured(other), Side(one.text(), measured(one)))


@law("unbatched", "a triplet without a batch dimension is a batch of one")
def alone(trial: Trial, generator: Generator) -> Claims:
    """Only with the default distance function: the cosine needs a batch."""
    if _by_default(trial):
        yield from unbatched(2).claims(trial, generator)


_COMMON = (*reductions(), order)
_ALL = (*_COMMON, unbatched(2))
COSINE = (
    form("CosineEmbeddingLoss", "functional.cosine_embedding_loss"),
    *_ALL,
    swapped,
    similarity,
)
TRIPLET = (form(*_TRIPLET), *_ALL, distances, kin)
WITH_DISTANCE = (form(*_WITH_DISTANCE), *_COMMON, alone, distances, kin)
