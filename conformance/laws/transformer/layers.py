"""Laws of a transformer's layers, of their stacks, and of the whole transformer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.laws.transformer.calls import (
    change_layer,
    inputs_by_name,
    is_batch_first,
    layer_arguments,
    mask_sequences,
)
from conformance.spec.law import (
    Claim,
    Claims,
    Generator,
    Law,
    Side,
    equality_claim,
    large_size,
    law,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

Array = np.ndarray
ArrayChange = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Operands:
    """The operands of a call.

    Args:
        trial: the call.
        given: its inputs by name.
    """

    trial: Trial
    given: Mapping[str, Array | None]

    @classmethod
    def of(cls, trial: Trial) -> Operands | None:
        """The operands of a case, or None where several answers are right: two calls may differ."""
        if any(isinstance(x, Choices) for x in trial.expected):
            return None
        return cls(trial, inputs_by_name(trial))

    @property
    def has_causal_hint(self) -> bool:
        """Whether the call gives the hint that a mask is the causal one."""
        return any(name.endswith("is_causal") and x for name, x in self.trial.case.keywords.items())

    @property
    def masks(self) -> dict[str, Array]:
        """The masks that are given."""
        return {k: x for k, x in self.given.items() if x is not None and k.endswith("mask")}

    @property
    def sequences(self) -> dict[str, Array]:
        """The inputs that are sequences, not masks."""
        return {k: x for k, x in self.given.items() if x is not None and not k.endswith("mask")}

    @property
    def query_name(self) -> str:
        """Name of the sequence whose shape is the output's."""
        return "tgt" if "tgt" in self.given else "src"

    @property
    def is_batched(self) -> bool:
        """Whether there is a batch."""
        return next(iter(self.sequences.values())).ndim == 3

    @property
    def batch_axis(self) -> int:
        """0 if `batch_first`, else 1; only sequences of three axes have it."""
        return 0 if is_batch_first(self.trial.case) else 1

    @property
    def position_axis(self) -> int:
        """The axis that is not the batch's: 0 or 1; without a batch 0."""
        return 1 - self.batch_axis if self.is_batched else 0

    @property
    def is_empty(self) -> bool:
        """Whether a sequence has no element."""
        return any(not x.size for x in self.sequences.values())

    def call(
        self,
        sequences: ArrayChange | None = None,
        masks: Callable[[str, Array], Array] | None = None,
        layer_changes: Mapping[str, Any] | None = None,
        state: Mapping[str, Array] | None = None,
        **keywords: Any,
    ) -> Trial:
        """The call with changed sequences, masks, layer arguments, state or keywords."""
        case = self.trial.case
        inputs = []
        for name, x in self.given.items():
            if x is not None and name in self.masks:
                x = x if masks is None else masks(name, x)
            elif x is not None and sequences is not None:
                x = sequences(x)
            inputs.append(x)
        call = replace(
            case.call,
            arguments=change_layer(case.call.arguments, layer_changes or {}),
            state=case.call.state if state is None else state,
        )
        changed_keywords = {**case.keywords, **keywords}
        return self.trial.trial_of(
            replace(case, call=call, inputs=tuple(inputs), layouts=(), keywords=changed_keywords)
        )


def _is_padding_mask(name: str) -> bool:
    return "padding" in name


@law("unbatched", "a batch of one is as good as none")
def unbatched(trial: Trial, generator: Generator) -> Claims:
    """One element as a batch; a batch of one as an element."""
    op = Operands.of(trial)
    if op is None:
        return
    if not op.is_batched:
        other = op.call(
            lambda x: np.expand_dims(x, op.batch_axis),
            lambda name, x: x[np.newaxis] if _is_padding_mask(name) else x,
        )
        yield equality_claim(other, trial, got_moves=lambda y: y.squeeze(op.batch_axis))
    elif all(x.shape[op.batch_axis] == 1 for x in op.sequences.values()):
        other = op.call(
            lambda x: x.squeeze(op.batch_axis),
            lambda name, x: x[0] if _is_padding_mask(name) else x,
        )
        yield equality_claim(other, trial, got_moves=lambda y: np.expand_dims(y, op.batch_axis))


@law("batch_first", "batch_first exchanges the first two axes")
def batch_first(trial: Trial, generator: Generator) -> Claims:
    """The call with batch_first inverted and the first two axes exchanged."""
    op = Operands.of(trial)
    if op is None or not op.is_batched:
        return
    changes = {"batch_first": not is_batch_first(trial.case)}
    other = op.call(lambda x: np.ascontiguousarray(x.swapaxes(0, 1)), layer_changes=changes)
    yield equality_claim(other, trial, got_moves=lambda y: y.swapaxes(0, 1))


@law("batch", "each element of a batch is as good as alone")
def batch(trial: Trial, generator: Generator) -> Claims:
    """5 to 17 elements, drawn from the case's."""
    op = Operands.of(trial)
    if op is None or not op.is_batched or op.is_empty:
        return
    size = next(iter(op.sequences.values())).shape[op.batch_axis]
    chosen = generator.integers(size, size=large_size(generator, minimum=5, maximum=17))
    heads = layer_arguments(trial.case.call.arguments)["nhead"]

    def select_masks(name: str, x: Array) -> Array:
        if _is_padding_mask(name):
            return np.asarray(x[chosen])
        if x.ndim == 2:
            return x
        return x.reshape(-1, heads, *x.shape[1:])[chosen].reshape(-1, *x.shape[1:])

    other = op.call(lambda x: x.take(chosen, op.batch_axis), select_masks)
    yield equality_claim(other, trial, wanted_moves=lambda y: y.take(chosen, op.batch_axis))


@law("order", "the order of the keys means nothing, and that of the queries is the output's")
def order(trial: Trial, generator: Generator) -> Claims:
    """One sequence permuted, with its masks."""
    op = Operands.of(trial)
    if op is None or op.has_causal_hint or op.is_empty:
        return
    names = list(op.sequences)
    moved_name = names[generator.integers(len(names))]
    new_order = generator.permutation(op.sequences[moved_name].shape[op.position_axis])

    def reorder_mask(name: str, x: Array) -> Array:
        query, key = mask_sequences(name, op.given)
        x = x.take(new_order, -1) if key == moved_name else x
        return x.take(new_order, -2) if query == moved_name else x

    reordered = replace(
        op,
        given={**op.given, moved_name: op.sequences[moved_name].take(new_order, op.position_axis)},
    )
    other = reordered.call(masks=reorder_mask)
    if moved_name == op.query_name:
        yield equality_claim(
            other, trial, wanted_moves=lambda y: y.take(new_order, op.position_axis)
        )
    else:
        yield equality_claim(other, trial)


@law("padding", "a padded key is as good as none")
def padding(trial: Trial, generator: Generator) -> Claims:
    """More rows at the end of a sequence, hidden by its padding mask."""
    op = Operands.of(trial)
    if op is None or op.has_causal_hint or op.is_empty:
        return
    names = list(op.sequences)
    longer_name = names[generator.integers(len(names))]
    x, axis = op.sequences[longer_name], op.position_axis
    count, length = large_size(generator, minimum=1, maximum=9), x.shape[axis]
    extended = np.concatenate([x, x.take(generator.integers(0, length, count), axis)], axis)
    batch_shape = (x.shape[op.batch_axis],) if op.is_batched else ()
    inputs: dict[str, Array | None] = {**op.given, longer_name: extended}
    for name in op.given:
        query, key = mask_sequences(name, op.given) if name.endswith("mask") else ("", "")
        mask = op.given[name]
        if key != longer_name:
            if query == longer_name and mask is not None:
                inputs[name] = _extend_mask(mask, count, -2)
            continue
        if not _is_padding_mask(name):
            if mask is not None:
                wide_mask = _extend_mask(mask, count, -1)
                inputs[name] = (
                    _extend_mask(wide_mask, count, -2) if query == longer_name else wide_mask
                )
            continue
        # The attention mask of the same attention; an encoder's is named `mask` only.
        paired_mask = op.masks.get(name.replace("key_padding_mask", "mask"), op.masks.get("mask"))
        mask_like = paired_mask if mask is None else mask
        is_boolean = mask_like is None or mask_like.dtype == bool
        present = (
            np.zeros((*batch_shape, length), bool if is_boolean else float)
            if mask is None
            else mask
        )
        hidden = np.full((*batch_shape, count), True if is_boolean else -np.inf)
        inputs[name] = np.concatenate([present, hidden], -1)
    other = replace(op, given=inputs).call()
    if longer_name == op.query_name:
        yield equality_claim(other, trial, got_moves=lambda y: y.take(range(length), axis))
    else:
        yield equality_claim(other, trial)


def _extend_mask(mask: Array, count: int, axis: int) -> Array:
    """The mask with more positions, which it allows."""
    shape = list(mask.shape)
    shape[axis] = count
    return np.concatenate([mask, np.zeros(shape, mask.dtype)], axis)


@law("hint", "the hint that a mask is causal changes nothing")
def hint(trial: Trial, generator: Generator) -> Claims:
    """The call without the hint."""
    op = Operands.of(trial)
    if op is not None and op.has_causal_hint:
        no_hints: dict[str, Any] = dict.fromkeys(trial.case.keywords, False)
        yield equality_claim(op.call(**no_hints), trial)


@law("masks", "a mask of truths is that of 0 and -inf")
def masks(trial: Trial, generator: Generator) -> Claims:
    """Boolean masks as numbers."""
    op = Operands.of(trial)
    if op is None or not any(x.dtype == bool for x in op.masks.values()):
        return
    numeric_masks = op.call(
        masks=lambda name, x: np.where(x, -np.inf, 0.0) if x.dtype == bool else x
    )
    yield equality_claim(numeric_masks, trial)


@law("heads", "the order of the heads means nothing")
def heads(trial: Trial, generator: Generator) -> Claims:
    """The heads of every attention permuted, with their masks."""
    op, arguments = Operands.of(trial), layer_arguments(trial.case.call.arguments)
    size, count = arguments["d_model"], arguments["nhead"]
    if op is None or count == 1:
        return
    head_order = generator.permutation(count)
    new_order = np.arange(size).reshape(count, -1)[head_order].reshape(-1)
    state = dict(trial.case.call.state)
    for name, x in state.items():
        if name.rpartition(".")[2].startswith("in_proj_"):
            state[name] = x.reshape(3, size, *x.shape[1:])[:, new_order].reshape(x.shape)
        elif name.endswith("out_proj.weight"):
            state[name] = x[:, new_order]

    def reorder_mask(name: str, x: Array) -> Array:
        if _is_padding_mask(name) or x.ndim == 2:
            return x
        return x.reshape(-1, count, *x.shape[1:])[:, head_order].reshape(x.shape)

    yield equality_claim(op.call(masks=reorder_mask, state=state), trial)


@law("residual", "with weights and biases of 0 in each sublayer norm_first leaves the input")
def residual(trial: Trial, generator: Generator) -> Claims:
    """The call with norm_first and all other weights 0, compared with its input."""
    op = Operands.of(trial)
    if op is None or any(".norm." in f".{name}" for name in trial.case.call.state):
        return
    state = {
        name: x if "norm" in name else np.zeros_like(x) for name, x in trial.case.call.state.items()
    }
    other, wanted = (
        op.call(layer_changes={"norm_first": True}, state=state),
        op.sequences[op.query_name],
    )
    exact = Rounded(wanted, np.zeros(wanted.shape), trial.precision)
    got = Rounded(other.answer[0], np.zeros(wanted.shape), trial.precision)
    yield Claim(trial.names, Side(other.text(), (got,), other), Side(op.query_name, (exact,)))


@law("last", "a last norm without weights leaves its bias")
def last(trial: Trial, generator: Generator) -> Claims:
    """The call with norm_first=False and a weight of 0 in the last norm."""
    op, state = Operands.of(trial), dict(trial.case.call.state)
    name = _last_norm(state)
    if op is None or f"{name}.bias" not in state:
        return
    state[f"{name}.weight"] = np.zeros_like(state[f"{name}.weight"])
    other = op.call(layer_changes={"norm_first": False}, state=state)
    shape = op.sequences[op.query_name].shape
    bias = np.broadcast_to(state[f"{name}.bias"], shape).copy()
    if not np.isfinite(other.expected[0].error).all():
        return
    exact = Rounded(bias, np.zeros(shape), trial.precision)
    got = Rounded(other.answer[0], np.zeros(shape), trial.precision)
    yield Claim(trial.names, Side(other.text(), (got,), other), Side(f"{name}.bias", (exact,)))


def _last_norm(state: Mapping[str, Array]) -> str:
    """Name of the norm that makes the output."""
    names = [name.removesuffix(".weight") for name in state if name.endswith("weight")]
    return [name for name in names if "norm" in name.rpartition(".")[2]][-1]


SHARED: tuple[Law, ...] = (
    unbatched, batch_first, batch, order, padding, hint, masks, heads, residual, last,
)  # fmt: skip
"""Laws that all of these layers share."""
