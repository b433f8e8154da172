"""Laws of an embedding."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.model.case import is_function
from conformance.spec.law import Claims, Generator, equality_claim, large_size, law

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

EXACT = "equal where no row is renormalised, else within twice the bound"


def _operands(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weight."""
    index, *weights = trial.case.inputs
    weight = trial.case.call.state.get("weight", weights[0] if weights else None)
    assert index is not None
    assert weight is not None
    return index, weight


def _call_with(
    trial: Trial, index: np.ndarray, weight: np.ndarray, *, layer: str = "", **changes: Any
) -> Trial:
    """The call on other operands, or as another layer; a change to None removes an argument."""
    call = trial.case.call
    name = layer or call.layer
    function = is_function(name)
    arguments = {k: v for k, v in call.arguments.items() if k not in _SIZES}
    arguments = {k: v for k, v in {**arguments, **changes}.items() if v is not None}
    if not function:
        arguments |= dict(zip(_SIZES, weight.shape, strict=True))
    state = {} if function else {"weight": weight}
    call = replace(call, layer=name, arguments=arguments, state=state, layouts={})
    inputs = (index, weight) if function else (index,)
    return trial.trial_of(replace(trial.case, call=call, inputs=inputs, layouts=()))


_SIZES = ("num_embeddings", "embedding_dim")


@law("rows", "an index means the same among many others", EXACT)
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 indices drawn from the case's, in one row."""
    index, weight = _operands(trial)
    if not index.size:
        return
    chosen = generator.integers(index.size, size=large_size(generator))
    other = _call_with(trial, index.reshape(-1)[chosen], weight)

    def select_rows(y: np.ndarray) -> np.ndarray:
        return y.reshape(index.size, y.shape[-1])[chosen]

    yield equality_claim(other, trial, wanted_moves=select_rows)


@law("reshaped", "the shape of the indices means nothing", EXACT)
def reshaped(trial: Trial, generator: Generator) -> Claims:
    """All indices in one row, or with one more axis."""
    index, weight = _operands(trial)
    flat = index.reshape(-1) if generator.integers(2) else index[np.newaxis]
    shape = trial.shapes[0]
    yield equality_claim(
        _call_with(trial, flat, weight), trial, got_moves=lambda y: y.reshape(shape)
    )


@law("function", "the module is the function of the same backend, with its own weight", EXACT)
def function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    module = not trial.spec.is_function
    other = "functional.embedding" if module else "Embedding"
    yield equality_claim(_call_with(trial, *_operands(trial), layer=other), trial)


@law("relabelled", "rows of the weight may come in any order, if the indices go with them", EXACT)
def relabelled(trial: Trial, generator: Generator) -> Claims:
    """The rows permuted among 17 to 65 rows, most of them unused; without padding_idx."""
    index, weight = _operands(trial)
    total = max(len(weight), large_size(generator))
    new_rows = generator.permutation(total)[: len(weight)]
    wide = np.resize(weight, (total, weight.shape[1]))
    wide[new_rows] = weight
    yield equality_claim(_call_with(trial, new_rows[index], wide, padding_idx=None), trial)


@law("options", "padding_idx and scale_grad_by_freq are matters of the gradient alone", EXACT)
def options(trial: Trial, generator: Generator) -> Claims:
    """Each of the two inverted: set where the case lacks it, removed where it has it."""
    index, weight = _operands(trial)
    written = trial.case.call.arguments
    padding_row = (
        int(generator.integers(len(weight))) if written.get("padding_idx") is None else None
    )
    by_frequency = not written.get("scale_grad_by_freq", False)
    other = _call_with(
        trial, index, weight, padding_idx=padding_row, scale_grad_by_freq=by_frequency
    )
    yield equality_claim(other, trial)


@law("features", "features are looked up each by itself", EXACT)
def features(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 features drawn from the case's; not with max_norm, which depends on all features."""
    index, weight = _operands(trial)
    if trial.spec.traits.updates_state(trial.case.call):
        return
    chosen = generator.integers(weight.shape[1], size=large_size(generator))
    wide = _call_with(trial, index, weight[:, chosen])
    yield equality_claim(wide, trial, wanted_moves=lambda y: y[..., chosen])


LAWS = (rows, reshaped, function, relabelled, options, features)
