"""Laws of scaled_dot_product_attention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.model.formats import round_to
from conformance.spec.law import (
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    large_size,
    law,
    outputs_with_bounds,
    scale_exactly,
    with_bounds_of,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

MAX_SCORES = 2e6
"""Largest number of scores of a call."""


@dataclass(frozen=True, eq=False)
class Operands:
    """The operands of a call.

    Args:
        trial: the call.
        query, key, value, mask: its tensors.
    """

    trial: Trial
    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    mask: np.ndarray | None

    @classmethod
    def of(cls, trial: Trial) -> Operands | None:
        """The operands of a case, or None where a row attends to nothing: it has several
        answers.
        """
        query, key, value, *masks = trial.case.inputs
        assert query is not None
        assert key is not None
        assert value is not None
        has_choices = any(isinstance(x, Choices) for x in trial.expected)
        return None if has_choices else cls(trial, query, key, value, masks[0] if masks else None)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments written in the call."""
        return dict(self.trial.case.call.arguments)

    @property
    def is_causal(self) -> bool:
        """Whether the call masks later keys."""
        return bool(self.arguments.get("is_causal", False))

    def call(self, **arguments: Any) -> Trial:
        """The call on these tensors, with changed arguments."""
        case = self.trial.case
        call = replace(case.call, arguments={**case.call.arguments, **arguments})
        inputs = (self.query, self.key, self.value, self.mask)
        return self.trial.trial_of(replace(case, call=call, inputs=inputs, layouts=()))

    def full_mask(self) -> np.ndarray | None:
        """The mask broadcast to (…, L, S)."""
        if self.mask is None:
            return None
        shape = (*self.mask.shape[:-2], self.query.shape[-2], self.key.shape[-2])
        return np.broadcast_to(self.mask, shape)


@law("causal", "is_causal is the mask below the diagonal, from the upper left corner")
def causal(trial: Trial, generator: Generator) -> Claims:
    """The call with an explicit mask instead of is_causal: True or 0 below the diagonal."""
    op = Operands.of(trial)
    if op is None or not op.is_causal:
        return
    lower = np.tril(np.ones((op.query.shape[-2], op.key.shape[-2]), bool))
    mask = lower if generator.integers(2) else np.where(lower, 0.0, -np.inf)
    yield equality_claim(replace(op, mask=mask).call(is_causal=False), trial)


@law("kind", "True is 0 and False is −∞ in a mask of numbers")
def kind(trial: Trial, generator: Generator) -> Claims:
    """A mask of the other kind; for a case without a mask, one that allows all keys."""
    op = Operands.of(trial)
    if op is None or op.is_causal:
        return
    if op.mask is None:
        mask = np.ones((op.query.shape[-2], op.key.shape[-2]), bool)
        yield equality_claim(replace(op, mask=mask).call(), trial)
    elif op.mask.dtype == bool:
        yield equality_claim(replace(op, mask=np.where(op.mask, 0.0, -np.inf)).call(), trial)
    elif not np.isin(op.mask, (0.0, -np.inf)).all():
        return
    else:
        yield equality_claim(replace(op, mask=op.mask == 0).call(), trial)


@law("masked", "a masked key is as good as none")
def masked(trial: Trial, generator: Generator) -> Claims:
    """More keys at the end, which the mask forbids."""
    op = Operands.of(trial)
    if op is None or op.is_causal or not op.key.size or not op.value.size:
        return
    count, columns = large_size(generator, minimum=1, maximum=9), op.key.shape[-2]
    mask = op.full_mask()
    mask = np.ones((op.query.shape[-2], columns), bool) if mask is None else mask
    forbidden = np.full((*mask.shape[:-1], count), False if mask.dtype == bool else -np.inf)
    extra = generator.integers(0, columns, count)
    longer = [np.concatenate([x, x[..., extra, :]], -2) for x in (op.key, op.value)]
    other = replace(
        op,
        key=longer[0],
        value=longer[1],
        mask=np.concatenate([mask, forbidden.astype(mask.dtype)], -1),
    )
    yield equality_claim(other.call(), trial)


@law("keys", "the order of the keys means nothing")
def keys(trial: Trial, generator: Generator) -> Claims:
    """Keys, values and columns of the mask in another order."""
    op = Operands.of(trial)
    if op is None or op.is_causal:
        return
    order = generator.permutation(op.key.shape[-2])
    mask = op.full_mask()
    other = replace(
        op,
        key=op.key[..., order, :],
        value=op.value[..., order, :],
        mask=None if mask is None else mask[..., order],
    )
    yield equality_claim(other.call(), trial)


@law("queries", "each of many queries attends for itself")
def queries(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 queries, drawn from the case's."""
    op = Operands.of(trial)
    if op is None or op.is_causal or not op.query.shape[-2]:
        return
    chosen = generator.integers(op.query.shape[-2], size=large_size(generator))
    mask = op.full_mask()
    other = replace(
        op,
        query=op.query[..., chosen, :],
        mask=None if mask is None else mask[..., chosen, :],
    )
    yield equality_claim(other.call(), trial, wanted_moves=lambda y: y[..., chosen, :])


@law("columns", "each column of the values is weighed for itself")
def columns(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 columns, drawn from the case's."""
    op = Operands.of(trial)
    if op is None or not op.value.shape[-1]:
        return
    chosen = generator.integers(op.value.shape[-1], size=large_size(generator))
    other = replace(op, value=op.value[..., chosen])
    yield equality_claim(other.call(), trial, wanted_moves=lambda y: y[..., chosen])


@law("batch", "each element of a batch attends for itself")
def batch(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 elements, drawn from the case's."""
    op = Operands.of(trial)
    if op is None or op.query.ndim < 4 or not len(op.query):
        return
    scores = op.query[0].size // max(op.query.shape[-1], 1) * op.key.shape[-2]
    if 65 * scores > MAX_SCORES:
        return
    chosen = generator.integers(len(op.query), size=large_size(generator))
    mask = op.mask
    if mask is not None and mask.ndim == op.query.ndim and len(mask) == len(op.query):
        mask = mask[chosen]
    other = replace(
        op, query=op.query[chosen], key=op.key[chosen], value=op.value[chosen], mask=mask
    )
    yield equality_claim(other.call(), trial, wanted_moves=lambda y: y[chosen])


@law("groups", "enable_gqa repeats the heads of keys and values")
def groups(trial: Trial, generator: Generator) -> Claims:
    """The call with each key and value head repeated for the query heads that share it."""
    op = Operands.of(trial)
    if op is None or not op.arguments.get("enable_gqa", False) or not op.key.shape[-3]:
        return
    repeats = op.query.shape[-3] // op.key.shape[-3]
    key, value = (np.repeat(x, repeats, axis=-3) for x in (op.key, op.value))
    yield equality_claim(replace(op, key=key, value=value).call(enable_gqa=False), trial)


@law("scale", "a query four times as large is as good as a scale four times as large")
def scale(trial: Trial, generator: Generator) -> Claims:
    """The query times 4, the scale times ¼: both square roots are exact."""
    op = Operands.of(trial)
    if op is None or not op.query.shape[-1]:
        return
    query, written_scale = 4 * op.query, op.arguments.get("scale")
    if not (round_to(query, trial.case.call.dtype) == query).all():
        return
    factor = op.query.shape[-1] ** -0.5 if written_scale is None else written_scale
    yield equality_claim(replace(op, query=query).call(scale=factor / 4), trial)


@law("values", "twice the values come to twice the output")
def values(trial: Trial, generator: Generator) -> Claims:
    """The values times −2 or −½."""
    op = Operands.of(trial)
    if op is None:
        return
    factor = -2.0 if generator.integers(2) else -0.5
    value = factor * op.value
    if not (round_to(value, trial.case.call.dtype) == value).all():
        return
    small = np.abs(op.value[op.value != 0]).min(initial=1.0)
    if trial.precision.flushes and min(abs(factor), 1.0) * small < trial.precision.normal:
        return  # a subnormal number flushed to 0 is not half of the other
    other = replace(op, value=value).call()
    wanted = tuple(scale_exactly(x, factor) for x in outputs_with_bounds(trial))
    side = Side(f"{factor} times that of {trial.text()}", wanted)
    yield claim(other, with_bounds_of(other.answer, wanted), side)


LAWS = (causal, kind, masked, keys, queries, columns, batch, groups, scale, values)
