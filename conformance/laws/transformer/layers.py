"""Laws of a transformer's layers, of their stacks, and of the whole transformer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.rounded import Rounded
from conformance.laws.transformer.calls import changed, first, kind_of, named, sides
from conformance.spec.law import Claim, Claims, Generator, Law, Side, law, many, same

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

Array = np.ndarray
Change = Callable[[Array], Array]


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
        return cls(trial, named(trial))

    @property
    def hinted(self) -> bool:
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
    def query(self) -> str:
        """Name of the sequence whose shape is the output's."""
        return "tgt" if "tgt" in self.given else "src"

    @property
    def batched(self) -> bool:
        """Whether there is a batch."""
        return next(iter(self.sequences.values())).ndim == 3

    @property
    def batch(self) -> int:
        """The axis of the batch."""
        return 0 if first(self.trial.case) else 1

    @property
    def positions(self) -> int:
        """The axis of positions."""
        return 1 - self.batch if self.batched else 0

    @property
    def empty(self) -> bool:
        """Whether a sequence has no element."""
        return any(not x.size for x in self.sequences.values())

    def run(
        self,
        sequences: Change | None = None,
        masks: Callable[[str, Array], Array] | None = None,
        kind: Mapping[str, Any] | None = None,
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
            arguments=changed(case.call.arguments, kind or {}),
            state=case.call.state if state is None else state,
        )
        changed_keywords = {**case.keywords, **keywords}
        return self.trial.other(
            replace(case, call=call, inputs=tuple(inputs), layouts=(), keywords=changed_keywords)
        )


def _padding(name: str) -> bool:
    return "padding" in name


@law("unbatched", "a batch of one is as good as none")
def unbatched(trial: Trial, generator: Generator) -> Claims:
    """One element as a batch; a batch of one as an element."""
    op = Operands.of(trial)
    if op is None:
        return
    if not op.batched:
        other = op.run(
            lambda x: np.expand_dims(x, op.batch),
            lambda name, x: x[np.newaxis] if _padding(name) else x,
        )
        yield same(other, trial, got_moves=lambda y: y.squeeze(op.batch))
    elif all(x.shape[op.batch] == 1 for x in op.sequences.values()):
        other = op.run(lambda x: x.squeeze(op.batch), lambda name, x: x[0] if _padding(name) else x)
        yield same(other, trial, got_moves=lambda y: np.expand_dims(y, op.batch))


@law("batch_first", "batch_first exchanges the first two axes")
def batch_first(trial: Trial, generator: Generator) -> Claims:
    """The call with batch_first inverted and the first two axes exchanged."""
    op = Operands.of(trial)
    if op is None or not op.batched:
        return
    kind = {"batch_first": not first(trial.case)}
    other = op.run(lambda x: np.ascontiguousarray(x.swapaxes(0, 1)), kind=kind)
    yield same(other, trial, got_moves=lambda y: y.swapaxes(0, 1))


@law("batch", "each element of a batch is as good as alone")
def batch(trial: Trial, generator: Generator) -> Claims:
    """5 to 17 elements, drawn from the case's."""
    op = Operands.of(trial)
    if op is None or not op.batched or op.empty:
        return
    size = next(iter(op.sequences.values())).shape[op.batch]
    chosen = generator.integers(size, size=many(generator, least=5, most=17))
    heads = kind_of(trial.case.call.arguments)["nhead"]

    def taken(name: str, x: Array) -> Array:
        if _padding(name):
            return np.asarray(x[chosen])
        if x.ndim == 2:
            return x
        return x.reshape(-1, heads, *x.shape[1:])[chosen].reshape(-1, *x.shape[1:])

    other = op.run(lambda x: x.take(chosen, op.batch), taken)
    yield same(other, trial, wanted_moves=lambda y: y.take(chosen, op.batch))


@law("order", "the order of the keys means nothing, and that of the queries is the output's")
def order(trial: Trial, generator: Generator) -> Claims:
    """One sequence permuted, with its masks."""
    op = Operands.of(trial)
    if op is None or op.hinted or op.empty:
        return
    names = list(op.sequences)
    moved = names[generator.integers(len(names))]
    places = generator.permutation(op.sequences[moved].shape[op.positions])

    def masked(name: str, x: Array) -> Array:
        query, key = sides(name, op.given)
        x = x.take(places, -1) if key == moved else x
        return x.take(places, -2) if query == moved else x

    found = replace(op, given={**op.given, moved: op.sequences[moved].take(places, op.positions)})
    other = found.run(masks=masked)
    if moved == op.query:
        yield same(other, trial, wanted_moves=lambda y: y.take(places, op.positions))
    else:
        yield same(other, trial)


@law("padding", "a padded key is as good as none")
def padding(trial: Trial, generator: Generator) -> Claims:
    """More rows at the end of a sequence, hidden by its padding mask."""
    op = Operands.of(trial)
    if op is None or op.hinted or op.empty:
        return
    names = list(op.sequences)
    longer = names[generator.integers(len(names))]
    x, at = op.sequences[longer], op.positions
    count, length = many(generator, least=1, most=9), x.shape[at]
    added = np.concatenate([x, x.take(generator.integers(0, length, count), at)], at)
    lead = (x.shape[op.batch],) if op.batched else ()
    given: dict[str, Array | None] = {**op.given, longer: added}
    for name in op.given:
        query, key = sides(name, op.given) if name.endswith("mask") else ("", "")
        mask = op.given[name]
        if key != longer:
            if query == longer and mask is not None:
                given[name] = _extended(mask, count, -2)
            continue
        if not _padding(name):
            if mask is not None:
                wide = _extended(mask, count, -1)
                given[name] = _extended(wide, count, -2) if query == longer else wide
            continue
        # The attention mask of the same attention; an encoder's is named `mask` only.
        pair = op.masks.get(name.replace("key_padding_mask", "mask"), op.masks.get("mask"))
        like = pair if mask is None else mask
        whole = like is None or like.dtype == bool
        start = np.zeros((*lead, length), bool if whole else float) if mask is None else mask
        hidden = np.full((*lead, count), True if whole else -np.inf)
        given[name] = np.concatenate([start, hidden], -1)
    other = replace(op, given=given).run()
    if longer == op.query:
        yield same(other, trial, got_moves=lambda y: y.take(range(length), at))
    else:
        yield same(other, trial)


def _extended(mask: Array, count: int, axis: int) -> Array:
    """The mask with more positions, which it allows."""
    shape = list(mask.shape)
    shape[axis] = count
    return np.concatenate([mask, np.zeros(shape, mask.dtype)], axis)


@law("hint", "the hint that a mask is causal changes nothing")
def hint(trial: Trial, generator: Generator) -> Claims:
    """The call without the hint."""
    op = Operands.of(trial)
    if op is not None and op.hinted:
        plain: dict[str, Any] = dict.fromkeys(trial.case.keywords, False)
        yield same(op.run(**plain), trial)


@law("masks", "a mask of truths is that of 0 and -inf")
def masks(trial: Trial, generator: Generator) -> Claims:
    """Boolean masks as numbers."""
    op = Operands.of(trial)
    if op is None or not any(x.dtype == bool for x in op.masks.values()):
        return
    numbers = op.run(masks=lambda name, x: np.where(x, -np.inf, 0.0) if x.dtype == bool else x)
    yield same(numbers, trial)


@law("heads", "the order of the heads means nothing")
def heads(trial: Trial, generator: Generator) -> Claims:
    """The heads of every attention permuted, with their masks."""
    op, kind = Operands.of(trial), kind_of(trial.case.call.arguments)
    size, count = kind["d_model"], kind["nhead"]
    if op is None or count == 1:
        return
    turned = generator.permutation(count)
    places = np.arange(size).reshape(count, -1)[turned].reshape(-1)
    state = dict(trial.case.call.state)
    for name, x in state.items():
        if name.rpartition(".")[2].startswith("in_proj_"):
            state[name] = x.reshape(3, size, *x.shape[1:])[:, places].reshape(x.shape)
        elif name.endswith("out_proj.weight"):
            state[name] = x[:, places]

    def each(name: str, x: Array) -> Array:
        if _padding(name) or x.ndim == 2:
            return x
        return x.reshape(-1, count, *x.shape[1:])[:, turned].reshape(x.shape)

    yield same(op.run(masks=each, state=state), trial)


@law("residual", "with weights and biases of 0 in each sublayer norm_first leaves the input")
def residual(trial: Trial, generator: Generator) -> Claims:
    """The call with norm_first and all other weights 0, compared with its input."""
    op = Operands.of(trial)
    if op is None or any(".norm." in f".{name}" for name in trial.case.call.state):
        return
    state = {
        name: x if "norm" in name else np.zeros_like(x) for name, x in trial.case.call.state.items()
    }
    other, wanted = op.run(kind={"norm_first": True}, state=state), op.sequences[op.query]
    exact = Rounded(wanted, np.zeros(wanted.shape), trial.precision)
    got = Rounded(other.answer[0], np.zeros(wanted.shape), trial.precision)
    yield Claim(trial.names, Side(other.text(), (got,), other), Side(op.query, (exact,)))


@law("last", "a last norm without weights leaves its bias")
def last(trial: Trial, generator: Generator) -> Claims:
    """The call with norm_first=False and a weight of 0 in the last norm."""
    op, state = Operands.of(trial), dict(trial.case.call.state)
    name = _last_norm(state)
    if op is None or f"{name}.bias" not in state:
        return
    state[f"{name}.weight"] = np.zeros_like(state[f"{name}.weight"])
    other = op.run(kind={"norm_first": False}, state=state)
    shape = op.sequences[op.query].shape
    wanted = np.broadcast_to(state[f"{name}.bias"], shape).copy()
    if not np.isfinite(other.expected[0].error).all():
        return
    exact = Rounded(wanted, np.zeros(shape), trial.precision)
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
