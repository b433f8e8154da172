"""Laws of MultiheadAttention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.reductions import mean
from conformance.arithmetic.rounded import Rounded
from conformance.spec.law import (
    Claim,
    Claims,
    Generator,
    Side,
    equality_claim,
    in_float64,
    large_size,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

Move = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Operands:
    """The operands of a call.

    Args:
        trial: the call.
        query, key, value, padding, mask: its inputs.
    """

    trial: Trial
    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    padding: np.ndarray | None
    mask: np.ndarray | None

    @classmethod
    def of(cls, trial: Trial) -> Operands | None:
        """The operands of a case, or None where a row attends to nothing.

        Such a row has several right answers, and two calls may give different ones.
        """
        if any(isinstance(x, Choices) for x in trial.expected):
            return None
        query, key, value, padding, mask = (*trial.case.inputs, None, None)[:5]
        assert query is not None
        assert key is not None
        assert value is not None
        return cls(trial, query, key, value, padding, mask)

    @property
    def has_causal_hint(self) -> bool:
        """Whether the call gives the hint that its mask is the causal one."""
        return bool(self.trial.case.keywords.get("is_causal", False))

    @property
    def is_batched(self) -> bool:
        """Whether there is a batch."""
        return self.query.ndim == 3

    @property
    def batch_axis(self) -> int:
        """0 if `batch_first`, else 1; only tensors of three axes have it."""
        return 0 if self.trial.case.call.arguments.get("batch_first", False) else 1

    @property
    def position_axis(self) -> int:
        """The axis that is not the batch's: 0 or 1; without a batch 0."""
        return 1 - self.batch_axis if self.is_batched else 0

    @property
    def needs_weights(self) -> bool:
        """Whether the call returns weights."""
        return bool(self.trial.case.keywords.get("need_weights", True))

    def call(self, arguments: dict[str, Any] | None = None, **keywords: Any) -> Trial:
        """The call on these tensors, with changed arguments or keywords."""
        case = self.trial.case
        call = replace(case.call, arguments={**case.call.arguments, **(arguments or {})})
        inputs = (self.query, self.key, self.value, self.padding, self.mask)
        all_keywords = {**case.keywords, **keywords}
        return self.trial.trial_of(
            replace(case, call=call, inputs=inputs, layouts=(), keywords=all_keywords)
        )

    def moves(self, output: Move, weights: Move) -> tuple[Move, ...]:
        """A move for each output that the call has."""
        return (output, weights) if self.needs_weights else (output,)


@law("weights", "asking for weights changes no output")
def weights(trial: Trial, generator: Generator) -> Claims:
    """The call with weights, for a case without them."""
    op = Operands.of(trial)
    if op is None or op.needs_weights:
        return
    other, wanted = op.call(need_weights=True), outputs_with_bounds(trial)
    got = Rounded(other.answer[0], wanted[0].error, wanted[0].precision)
    yield Claim(trial.names, Side(other.text(), (got,)), Side(trial.text(), wanted))


@law("average", "averaged weights are the mean of those of each head")
def average(trial: Trial, generator: Generator) -> Claims:
    """The call with average_attn_weights inverted."""
    op = Operands.of(trial)
    if op is None or not op.needs_weights:
        return
    is_averaged = bool(trial.case.keywords.get("average_attn_weights", True))
    other = op.call(average_attn_weights=not is_averaged)
    averaged, per_head = (trial, other) if is_averaged else (other, trial)
    averaged_weights, head_weights = (
        outputs_with_bounds(averaged)[1],
        outputs_with_bounds(per_head)[1],
    )
    axis = 1 if op.is_batched else 0
    with np.errstate(invalid="ignore"):
        averages = mean(in_float64(head_weights), axis)
    mean_side = Side(f"the mean of those of {per_head.text()}", (averages,))
    yield Claim(averaged.names[1:], Side(averaged.text(), (averaged_weights,)), mean_side)


@law("copies", "a tensor given three times is as good as three copies")
def copies(trial: Trial, generator: Generator) -> Claims:
    """The call with key and value copied, where two inputs are one object."""
    op = Operands.of(trial)
    if op is None or (op.query is not op.key and op.key is not op.value):
        return
    yield equality_claim(replace(op, key=op.key.copy(), value=op.value.copy()).call(), trial)


@law("unbatched", "a batch of one is as good as none")
def unbatched(trial: Trial, generator: Generator) -> Claims:
    """One element as a batch; a batch of one as an element."""
    op = Operands.of(trial)
    if op is None:
        return
    padding = op.padding
    if not op.is_batched:
        query, key, value = (np.expand_dims(x, op.batch_axis) for x in (op.query, op.key, op.value))
        padding = None if padding is None else padding[np.newaxis]
        moves = op.moves(lambda y: y.squeeze(op.batch_axis), lambda y: y[0])
    elif op.query.shape[op.batch_axis] == 1:
        query, key, value = (x.squeeze(op.batch_axis) for x in (op.query, op.key, op.value))
        padding = None if padding is None else padding[0]
        moves = op.moves(lambda y: np.expand_dims(y, op.batch_axis), lambda y: y[np.newaxis])
    else:
        return
    other = replace(op, query=query, key=key, value=value, padding=padding)
    yield equality_claim(other.call(), trial, got_moves=moves)


@law("batch_first", "batch_first exchanges the first two axes")
def batch_first(trial: Trial, generator: Generator) -> Claims:
    """The call with batch_first inverted and the first two axes exchanged."""
    op = Operands.of(trial)
    if op is None or not op.is_batched:
        return
    query, key, value = (
        np.ascontiguousarray(x.swapaxes(0, 1)) for x in (op.query, op.key, op.value)
    )
    other = replace(op, query=query, key=key, value=value)
    moves = op.moves(lambda y: y.swapaxes(0, 1), lambda y: y)
    yield equality_claim(other.call({"batch_first": op.batch_axis == 1}), trial, got_moves=moves)


@law("batch", "each element of a batch attends for itself")
def batch(trial: Trial, generator: Generator) -> Claims:
    """5 to 33 elements, drawn from the case's."""
    op = Operands.of(trial)
    if op is None or not op.is_batched or not op.query.size:
        return
    chosen = generator.integers(
        op.query.shape[op.batch_axis], size=large_size(generator, minimum=5, maximum=33)
    )
    heads, mask = trial.case.call.arguments["num_heads"], op.mask
    if mask is not None and mask.ndim == 3:
        mask = mask.reshape(-1, heads, *mask.shape[1:])[chosen].reshape(-1, *mask.shape[1:])
    other = replace(
        op,
        query=op.query.take(chosen, op.batch_axis),
        key=op.key.take(chosen, op.batch_axis),
        value=op.value.take(chosen, op.batch_axis),
        padding=None if op.padding is None else op.padding[chosen],
        mask=mask,
    )
    moves = op.moves(lambda y: y.take(chosen, op.batch_axis), lambda y: y[chosen])
    yield equality_claim(other.call(), trial, wanted_moves=moves)


@law("queries", "each of many queries attends for itself")
def queries(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 queries, drawn from the case's."""
    op = Operands.of(trial)
    if op is None or op.has_causal_hint or not op.query.size:
        return
    chosen = generator.integers(op.query.shape[op.position_axis], size=large_size(generator))
    other = replace(
        op,
        query=op.query.take(chosen, op.position_axis),
        mask=None if op.mask is None else op.mask[..., chosen, :],
    )
    moves = op.moves(lambda y: y.take(chosen, op.position_axis), lambda y: y[..., chosen, :])
    yield equality_claim(other.call(), trial, wanted_moves=moves)


@law("padding", "a padded key is as good as none")
def padding(trial: Trial, generator: Generator) -> Claims:
    """More keys at the end, hidden by key_padding_mask; compares the weights of the case's keys."""
    op = Operands.of(trial)
    arguments = trial.case.call.arguments
    added = arguments.get("add_bias_kv", False) or arguments.get("add_zero_attn", False)
    if op is None or op.has_causal_hint or added or not op.key.size:
        return
    count, length = large_size(generator, minimum=1, maximum=5), op.key.shape[op.position_axis]
    extra = generator.integers(0, length, count)
    key, value = (
        np.concatenate([x, x.take(extra, op.position_axis)], op.position_axis)
        for x in (op.key, op.value)
    )
    batch_shape = (op.query.shape[op.batch_axis],) if op.is_batched else ()
    mask_like = op.mask if op.padding is None else op.padding
    is_boolean = mask_like is None or mask_like.dtype == bool
    present = (
        np.zeros((*batch_shape, length), bool if is_boolean else float)
        if op.padding is None
        else op.padding
    )
    hidden = np.full((*batch_shape, count), True if is_boolean else -np.inf)
    mask = op.mask
    if mask is not None:
        mask = np.concatenate([mask, np.zeros((*mask.shape[:-1], count), mask.dtype)], -1)
    other = replace(
        op, key=key, value=value, padding=np.concatenate([present, hidden], -1), mask=mask
    )
    yield equality_claim(
        other.call(), trial, got_moves=op.moves(lambda y: y, lambda y: y[..., :length])
    )


@law("keys", "the order of the keys means nothing")
def keys(trial: Trial, generator: Generator) -> Claims:
    """Keys, values and masks in another order."""
    op = Operands.of(trial)
    if op is None or op.has_causal_hint:
        return
    length = op.key.shape[op.position_axis]
    order = generator.permutation(length)
    other = replace(
        op,
        key=op.key.take(order, op.position_axis),
        value=op.value.take(order, op.position_axis),
        padding=None if op.padding is None else op.padding[..., order],
        mask=None if op.mask is None else op.mask[..., order],
    )

    def place(y: np.ndarray) -> np.ndarray:
        return y[..., np.concatenate([order, np.arange(length, y.shape[-1])]).astype(int)]

    yield equality_claim(other.call(), trial, wanted_moves=op.moves(lambda y: y, place))


@law("hint", "the hint that a mask is causal changes nothing")
def hint(trial: Trial, generator: Generator) -> Claims:
    """The call without the hint."""
    op = Operands.of(trial)
    if op is not None and op.has_causal_hint:
        yield equality_claim(op.call(is_causal=False), trial)


@law("zero", "add_zero_attn is a key and a value of zeros")
def zero(trial: Trial, generator: Generator) -> Claims:
    """For a case without biases: the call with one more key and value of zeros at the end."""
    op, arguments = Operands.of(trial), trial.case.call.arguments
    bias = arguments.get("bias", True) or arguments.get("add_bias_kv", False)
    if op is None or bias or op.has_causal_hint or not arguments.get("add_zero_attn", False):
        return
    if op.padding is not None or not op.query.size:
        return
    axis = op.position_axis
    key, value = (
        np.concatenate([x, np.zeros_like(x.take([0], axis))], axis) for x in (op.key, op.value)
    )
    mask = op.mask
    if mask is not None:
        mask = np.concatenate([mask, np.zeros((*mask.shape[:-1], 1), mask.dtype)], -1)
    yield equality_claim(
        replace(op, key=key, value=value, mask=mask).call({"add_zero_attn": False}), trial
    )


LAWS = (
    weights, average, copies, unbatched, batch_first, batch, queries, padding, keys, hint, zero,
)  # fmt: skip
