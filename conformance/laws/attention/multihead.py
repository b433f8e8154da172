"""Laws of MultiheadAttention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.reductions import mean
from conformance.arithmetic.rounded import Rounded
from conformance.spec.law import Claim, Claims, Generator, Side, law, many, measured, on_host, same

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
    def hinted(self) -> bool:
        """Whether the call gives the hint that its mask is the causal one."""
        return bool(self.trial.case.keywords.get("is_causal", False))

    @property
    def batched(self) -> bool:
        """Whether there is a batch."""
        return self.query.ndim == 3

    @property
    def batch(self) -> int:
        """The axis of the batch."""
        return 0 if self.trial.case.call.arguments.get("batch_first", False) else 1

    @property
    def positions(self) -> int:
        """The axis of positions."""
        return 1 - self.batch if self.batched else 0

    @property
    def weighed(self) -> bool:
        """Whether the call returns weights."""
        return bool(self.trial.case.keywords.get("need_weights", True))

    def run(self, arguments: dict[str, Any] | None = None, **keywords: Any) -> Trial:
        """The call on these tensors, with changed arguments or keywords."""
        case = self.trial.case
        call = replace(case.call, arguments={**case.call.arguments, **(arguments or {})})
        inputs = (self.query, self.key, self.value, self.padding, self.mask)
        changed = {**case.keywords, **keywords}
        return self.trial.other(
            replace(case, call=call, inputs=inputs, layouts=(), keywords=changed)
        )

    def both(self, output: Move, weights: Move) -> tuple[Move, ...]:
        """A move for each output that the call has."""
        return (output, weights) if self.weighed else (output,)


@law("weights", "asking for weights changes no output")
def weights(trial: Trial, generator: Generator) -> Claims:
    """The call with weights, for a case without them."""
    op = Operands.of(trial)
    if op is None or op.weighed:
        return
    other, wanted = op.run(need_weights=True), measured(trial)
    got = Rounded(other.answer[0], wanted[0].error, wanted[0].precision)
    yield Claim(trial.names, Side(other.text(), (got,)), Side(trial.text(), wanted))


@law("average", "averaged weights are the mean of those of each head")
def average(trial: Trial, generator: Generator) -> Claims:
    """The call with average_attn_weights inverted."""
    op = Operands.of(trial)
    if op is None or not op.weighed:
        return
    asked = bool(trial.case.keywords.get("average_attn_weights", True))
    other = op.run(average_attn_weights=not asked)
    averaged, per_head = (trial, other) if asked else (other, trial)
    whole, parts = measured(averaged)[1], measured(per_head)[1]
    axis = 1 if op.batched else 0
    with np.errstate(invalid="ignore"):
        averages = mean(on_host(parts), axis)
    side = Side(f"the mean of those of {per_head.text()}", (averages,))
    yield Claim(averaged.names[1:], Side(averaged.text(), (whole,)), side)


@law("copies", "a tensor given three times is as good as three copies")
def copies(trial: Trial, generator: Generator) -> Claims:
    """The call with key and value copied, where two inputs are one object."""
    op = Operands.of(trial)
    if op is None or (op.query is not op.key and op.key is not op.value):
        return
    yield same(replace(op, key=op.key.copy(), value=op.value.copy()).run(), trial)


@law("unbatched", "a batch of one is as good as none")
def unbatched(trial: Trial, generator: Generator) -> Claims:
    """One element as a batch; a batch of one as an element."""
    op = Operands.of(trial)
    if op is None:
        return
    padding = op.padding
    if not op.batched:
        query, key, value = (np.expand_dims(x, op.batch) for x in (op.query, op.key, op.value))
        padding = None if padding is None else padding[np.newaxis]
        moves = op.both(lambda y: y.squeeze(op.batch), lambda y: y[0])
    elif op.query.shape[op.batch] == 1:
        query, key, value = (x.squeeze(op.batch) for x in (op.query, op.key, op.value))
        padding = None if padding is None else padding[0]
        moves = op.both(lambda y: np.expand_dims(y, op.batch), lambda y: y[np.newaxis])
    else:
        return
    other = replace(op, query=query, key=key, value=value, padding=padding)
    yield same(other.run(), trial, got_moves=moves)


@law("batch_first", "batch_first exchanges the first two axes")
def batch_first(trial: Trial, generator: Generator) -> Claims:
    """The call with batch_first inverted and the first two axes exchanged."""
    op = Operands.of(trial)
    if op is None or not op.batched:
        return
    query, key, value = (
        np.ascontiguousarray(x.swapaxes(0, 1)) for x in (op.query, op.key, op.value)
    )
    other = replace(op, query=query, key=key, value=value)
    moves = op.both(lambda y: y.swapaxes(0, 1), lambda y: y)
    yield same(other.run({"batch_first": op.batch == 1}), trial, got_moves=moves)


@law("batch", "each element of a batch attends for itself")
def batch(trial: Trial, generator: Generator) -> Claims:
    """5 to 33 elements, drawn from the case's."""
    op = Operands.of(trial)
    if op is None or not op.batched or not op.query.size:
        return
    chosen = generator.integers(op.query.shape[op.batch], size=many(generator, least=5, most=33))
    heads, mask = trial.case.call.arguments["num_heads"], op.mask
    if mask is not None and mask.ndim == 3:
        mask = mask.reshape(-1, heads, *mask.shape[1:])[chosen].reshape(-1, *mask.shape[1:])
    other = replace(
        op,
        query=op.query.take(chosen, op.batch),
        key=op.key.take(chosen, op.batch),
        value=op.value.take(chosen, op.batch),
        padding=None if op.padding is None else op.padding[chosen],
        mask=mask,
    )
    moves = op.both(lambda y: y.take(chosen, op.batch), lambda y: y[chosen])
    yield same(other.run(), trial, wanted_moves=moves)


@law("queries", "each of many queries attends for itself")
def queries(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 queries, drawn from the case's."""
    op = Operands.of(trial)
    if op is None or op.hinted or not op.query.size:
        return
    chosen = generator.integers(op.query.shape[op.positions], size=many(generator))
    other = replace(
        op,
        query=op.query.take(chosen, op.positions),
        mask=None if op.mask is None else op.mask[..., chosen, :],
    )
    moves = op.both(lambda y: y.take(chosen, op.positions), lambda y: y[..., chosen, :])
    yield same(other.run(), trial, wanted_moves=moves)


@law("padding", "a padded key is as good as none")
def padding(trial: Trial, generator: Generator) -> Claims:
    """More keys at the end, hidden by key_padding_mask; compares the weights of the case's keys."""
    op = Operands.of(trial)
    arguments = trial.case.call.arguments
    added = arguments.get("add_bias_kv", False) or arguments.get("add_zero_attn", False)
    if op is None or op.hinted or added or not op.key.size:
        return
    count, length = many(generator, least=1, most=5), op.key.shape[op.positions]
    extra = generator.integers(0, length, count)
    key, value = (
        np.concatenate([x, x.take(extra, op.positions)], op.positions) for x in (op.key, op.value)
    )
    rows = (op.query.shape[op.batch],) if op.batched else ()
    given = op.mask if op.padding is None else op.padding
    whole = given is None or given.dtype == bool
    kind = np.zeros((*rows, length), bool if whole else float) if op.padding is None else op.padding
    hidden = np.full((*rows, count), True if whole else -np.inf)
    mask = op.mask
    if mask is not None:
        mask = np.concatenate([mask, np.zeros((*mask.shape[:-1], count), mask.dtype)], -1)
    other = replace(op, key=key, value=value, padding=np.concatenate([kind, hidden], -1), mask=mask)
    yield same(other.run(), trial, got_moves=op.both(lambda y: y, lambda y: y[..., :length]))


@law("keys", "the order of the keys means nothing")
def keys(trial: Trial, generator: Generator) -> Claims:
    """Keys, values and masks in another order."""
    op = Operands.of(trial)
    if op is None or op.hinted:
        return
    length = op.key.shape[op.positions]
    order = generator.permutation(length)
    other = replace(
        op,
        key=op.key.take(order, op.positions),
        value=op.value.take(order, op.positions),
        padding=None if op.padding is None else op.padding[..., order],
        mask=None if op.mask is None else op.mask[..., order],
    )

    def place(y: np.ndarray) -> np.ndarray:
        return y[..., np.concatenate([order, np.arange(length, y.shape[-1])]).astype(int)]

    yield same(other.run(), trial, wanted_moves=op.both(lambda y: y, place))


@law("hint", "the hint that a mask is causal changes nothing")
def hint(trial: Trial, generator: Generator) -> Claims:
    """The call without the hint."""
    op = Operands.of(trial)
    if op is not None and op.hinted:
        yield same(op.run(is_causal=False), trial)


@law("zero", "add_zero_attn is a key and a value of zeros")
def zero(trial: Trial, generator: Generator) -> Claims:
    """For a case without biases: the call with one more key and value of zeros at the end."""
    op, arguments = Operands.of(trial), trial.case.call.arguments
    bias = arguments.get("bias", True) or arguments.get("add_bias_kv", False)
    if op is None or bias or op.hinted or not arguments.get("add_zero_attn", False):
        return
    if op.padding is not None or not op.query.size:
        return
    at = op.positions
    key, value = (
        np.concatenate([x, np.zeros_like(x.take([0], at))], at) for x in (op.key, op.value)
    )
    mask = op.mask
    if mask is not None:
        mask = np.concatenate([mask, np.zeros((*mask.shape[:-1], 1), mask.dtype)], -1)
    yield same(replace(op, key=key, value=value, mask=mask).run({"add_zero_attn": False}), trial)


LAWS = (
    weights, average, copies, unbatched, batch_first, batch, queries, padding, keys, hint, zero,
)  # fmt: skip
