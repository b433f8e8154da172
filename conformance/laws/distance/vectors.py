"""Laws of cosine similarity, and of distances."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import exact_operand
from conformance.model.case import is_function
from conformance.spec.law import (
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    large_size,
    law,
    outputs_with_bounds,
    trial_with,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

BOTH = "equal where nothing rounds, else within twice the bound"
_FORMS = {
    "CosineSimilarity": "functional.cosine_similarity",
    "PairwiseDistance": "functional.pairwise_distance",
}
_COUNTERPARTS = {**_FORMS, **{function: module for module, function in _FORMS.items()}}


def _vectors(trial: Trial) -> list[np.ndarray]:
    vectors = [x for x in trial.case.inputs if x is not None]
    assert len(vectors) == len(trial.case.inputs)
    return vectors


def _have_same_shape(trial: Trial) -> bool:
    """Whether both operands have the same shape and are not empty."""
    first, second = _vectors(trial)
    return first.shape == second.shape and first.size > 0


@law("function", "the module is the function of the same backend", BOTH)
def function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module, where both accept the shapes."""
    if not is_function(trial.case.call.layer) or _have_same_shape(trial):
        layer = _COUNTERPARTS[trial.case.call.layer]
        yield equality_claim(trial_with(trial, *_vectors(trial), layer=layer), trial)


@law("order", "components may come in any order", BOTH)
def order(trial: Trial, generator: Generator) -> Claims:
    """The same permutation of all vectors."""
    if not _have_same_shape(trial):
        return
    axis = trial.case.call.arguments.get("dim", 1) if "dim" in trial.spec.signature.defaults else -1
    first, second = _vectors(trial)
    chosen = generator.permutation(first.shape[axis])
    yield equality_claim(
        trial_with(trial, first.take(chosen, axis), second.take(chosen, axis)), trial
    )


@law("rows", "a pair means the same among many others", BOTH)
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 pairs, drawn from the case's."""
    batch = trial.spec.batch_axis(trial.case, 0)
    if batch is None or not _have_same_shape(trial):
        return
    first, second = _vectors(trial)
    chosen = generator.integers(len(first), size=large_size(generator))
    yield equality_claim(
        trial_with(trial, first[chosen], second[chosen]), trial, wanted_moves=lambda y: y[chosen]
    )


@law("swapped", "neither vector is the first", BOTH)
def swapped(trial: Trial, generator: Generator) -> Claims:
    """The operands exchanged."""
    first, second = _vectors(trial)
    yield equality_claim(trial_with(trial, second, first), trial)


@law("axis", "dim is the name of an axis", BOTH)
def axis(trial: Trial, generator: Generator) -> Claims:
    """`dim` counted from the other end, or moved to the end."""
    if not _have_same_shape(trial):
        return
    first, second = _vectors(trial)
    dim = trial.case.call.arguments.get("dim", 1)
    if generator.integers(2):
        other = dim - first.ndim if dim >= 0 else dim + first.ndim
        yield equality_claim(trial_with(trial, first, second, dim=other), trial)
    else:
        moved = (np.moveaxis(x, dim, -1) for x in (first, second))
        yield equality_claim(trial_with(trial, *moved, dim=-1), trial)


@law("itself", "a vector is as similar to itself as can be", "within the bound of the call")
def itself(trial: Trial, generator: Generator) -> Claims:
    """The similarity is 1 for vectors long enough to ignore eps, without overflow of squares."""
    first, _ = _vectors(trial)
    arguments = trial.case.call.arguments
    dim, eps = arguments.get("dim", 1), arguments.get("eps", 1e-8)
    if first.ndim <= (dim if dim >= 0 else -dim - 1):
        return
    with np.errstate(over="ignore", under="ignore"):
        lengths = np.sqrt((first**2).sum(dim))
    if not first.size or (lengths <= max(2 * eps, 1e-6)).any() or (lengths > 1e4).any():
        return
    other = trial_with(trial, first, first)
    ones = exact_operand(np.ones(other.shapes[0]), trial.precision)
    yield claim(other, outputs_with_bounds(other), Side("1", (ones,)))


SIMILARITY = (function, order, rows, swapped, axis, itself)


@law("mirrored", "without eps neither vector is the first", BOTH)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """The operands exchanged, with eps = 0 in both calls."""
    first, second = _vectors(trial)
    wanted = trial_with(trial, first, second, eps=0.0)
    yield equality_claim(trial_with(trial, second, first, eps=0.0), wanted)


@law("kept", "keepdim is a matter of the shape alone", BOTH)
def kept(trial: Trial, generator: Generator) -> Claims:
    """The call with keepdim inverted."""
    keepdim = bool(trial.case.call.arguments.get("keepdim", False))
    other = trial_with(trial, *_vectors(trial), keepdim=not keepdim)
    shape = trial.shapes[0]
    yield equality_claim(other, trial, got_moves=lambda y: y.reshape(shape))


@law("zeros", "components that are equal add nothing without eps", BOTH)
def zeros(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 more equal components, with eps = 0; not for a negative p, where they dominate."""
    if trial.case.call.arguments.get("p", 2.0) < 0:
        return
    first, second = _vectors(trial)
    equal_components = np.ones((*first.shape[:-1], large_size(generator)))
    longer = (np.concatenate([x, equal_components], -1) for x in (first, second))
    wanted = trial_with(trial, first, second, eps=0.0)
    yield equality_claim(trial_with(trial, *longer, eps=0.0), wanted)


DISTANCE = (function, order, rows, mirrored, kept, zeros)


@law("renamed", "rows may come in any order", BOTH)
def renamed(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows drawn from the case's; repeated rows have the distance 0."""
    (x,) = _vectors(trial)
    if len(x) < 2:
        return
    chosen = generator.integers(len(x), size=large_size(generator))
    first, second = np.triu_indices(len(chosen), 1)

    def select_pairs(y: np.ndarray) -> np.ndarray:
        square = np.zeros((len(x), len(x)))
        square[np.triu_indices(len(x), 1)] = y
        return (square + square.T)[chosen[first], chosen[second]]

    yield equality_claim(trial_with(trial, x[chosen]), trial, wanted_moves=select_pairs)


@law("pairwise", "each is the distance of two rows by pairwise_distance without eps", BOTH)
def pairwise(trial: Trial, generator: Generator) -> Claims:
    """pairwise_distance of all pairs; not for p = 0, which it does not support as a norm."""
    (x,) = _vectors(trial)
    p = trial.case.call.arguments.get("p", 2.0)
    if not p or len(x) < 2 or not x.shape[1]:
        return
    first, second = np.triu_indices(len(x), 1)
    call = replace(
        trial.case.call, layer=_FORMS["PairwiseDistance"], arguments={"p": p, "eps": 0.0}
    )
    other = replace(trial.case, call=call, inputs=(x[first], x[second]), layouts=())
    yield equality_claim(trial.trial_of(other), trial)


@law("columns", "columns may come in any order, and equal ones add nothing", BOTH)
def columns(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 columns of ones among the case's."""
    (x,) = _vectors(trial)
    wide = np.concatenate([x, np.ones((len(x), large_size(generator)))], 1)
    yield equality_claim(trial_with(trial, wide[:, generator.permutation(wide.shape[1])]), trial)


PAIRS = (renamed, pairwise, columns)
