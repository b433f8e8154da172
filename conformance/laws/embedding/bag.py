"""Laws of bags of embeddings, and of one-hot rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.reductions import divide_by_count, maximum, total
from conformance.model.case import is_function
from conformance.oracles.embedding.bag import bags
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    in_float64,
    large_size,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

EXACT = "equal: nothing is computed"
MOVED = "equal where the case's sums are exact, else within twice its bound"
_SIZES = ("num_embeddings", "embedding_dim")


@dataclass(frozen=True, eq=False)
class Bag:
    """The operands of a call, of a module or a function.

    Args:
        trial: the case that they were read from.
        index, weight, offsets, factors: its tensors; factors are the per_sample_weights.
        arguments: the written arguments without the sizes.
    """

    trial: Trial
    index: np.ndarray
    weight: np.ndarray
    offsets: np.ndarray | None
    factors: np.ndarray | None
    arguments: dict[str, Any]

    @classmethod
    def of(cls, trial: Trial) -> Bag:
        """Read a case."""
        call, (index, *others) = trial.case.call, trial.case.inputs
        weight = others.pop(0) if is_function(call.layer) else call.state["weight"]
        offsets, factors = others
        assert index is not None
        assert weight is not None
        arguments = {k: v for k, v in call.arguments.items() if k not in _SIZES}
        return cls(trial, index, weight, offsets, factors, arguments)

    @property
    def has_end_offset(self) -> bool:
        """Whether the last offset is the end of the last bag."""
        return bool(self.arguments.get("include_last_offset", False))

    @property
    def mode(self) -> str:
        """How a bag is reduced."""
        return str(self.arguments.get("mode", "mean"))

    @property
    def bag_of_index(self) -> tuple[np.ndarray, int]:
        """The bag of each index, and the number of bags."""
        return bags(self.index, self.offsets, self.has_end_offset)

    def with_arguments(self, **arguments: Any) -> Bag:
        """The operands with changed arguments; None removes one."""
        all_arguments = {k: v for k, v in {**self.arguments, **arguments}.items() if v is not None}
        return replace(self, arguments=all_arguments)

    def call(self, layer: str = "") -> Trial:
        """The call of the module or of the function; by default of the case's layer."""
        case = self.trial.case
        name = layer or case.call.layer
        function, arguments = is_function(name), dict(self.arguments)
        optional_inputs = (self.offsets, self.factors)
        if not function:
            arguments |= dict(zip(_SIZES, self.weight.shape, strict=True))
        state = {} if function else {"weight": self.weight}
        call = replace(case.call, layer=name, arguments=arguments, state=state, layouts={})
        inputs = (
            (self.index, self.weight, *optional_inputs)
            if function
            else (self.index, *optional_inputs)
        )
        return self.trial.trial_of(replace(case, call=call, inputs=inputs, layouts=()))


@law("function", "the module is the function of the same backend, with its own weight", MOVED)
def function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    other = "EmbeddingBag" if trial.spec.is_function else "functional.embedding_bag"
    yield equality_claim(Bag.of(trial).call(other), trial)


@law("flat", "bags of one size are rows of indices, or one row with offsets", MOVED)
def flat(trial: Trial, generator: Generator) -> Claims:
    """A case with (B, N) indices as a flat index with offsets."""
    bag = Bag.of(trial)
    if bag.index.ndim != 2 or not bag.index.size:
        return
    count, size = bag.index.shape
    ends = np.arange(count + bag.has_end_offset) * size
    factors = None if bag.factors is None else bag.factors.reshape(-1)
    yield equality_claim(
        replace(bag, index=bag.index.reshape(-1), offsets=ends, factors=factors).call(), trial
    )


@law("end", "the last offset may be left out, as it is where the indices end", MOVED)
def end(trial: Trial, generator: Generator) -> Claims:
    """The call with include_last_offset inverted."""
    bag = Bag.of(trial)
    if bag.offsets is None:
        return
    offsets = bag.offsets[:-1] if bag.has_end_offset else np.append(bag.offsets, bag.index.size)
    yield equality_claim(
        replace(bag, offsets=offsets)
        .with_arguments(include_last_offset=not bag.has_end_offset)
        .call(),
        trial,
    )


@law("ones", "weights of 1 are none", MOVED)
def ones(trial: Trial, generator: Generator) -> Claims:
    """The call with weights of 1, for a sum without weights."""
    bag = Bag.of(trial)
    if bag.mode != "sum" or bag.factors is not None:
        return
    yield equality_claim(replace(bag, factors=np.ones(bag.index.shape)).call(), trial)


@law("many", "a bag means the same among many others", MOVED)
def among(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 bags drawn from the case's, including empty ones."""
    bag = Bag.of(trial)
    bag_index, count = bag.bag_of_index
    if not count:
        return
    chosen = generator.integers(count, size=large_size(generator))
    items = [np.flatnonzero(bag_index == k) for k in chosen]
    positions = np.concatenate(items)
    starts = np.cumsum([0, *map(len, items)])
    offsets = starts if bag.has_end_offset else starts[:-1]
    factors = None if bag.factors is None else bag.factors.reshape(-1)[positions]
    other = replace(bag, index=bag.index.reshape(-1)[positions], offsets=offsets, factors=factors)
    yield equality_claim(other.call(), trial, wanted_moves=lambda y: y[chosen])


@law("order", "the order within a bag means nothing", MOVED)
def order(trial: Trial, generator: Generator) -> Claims:
    """The indices of each bag shuffled."""
    bag = Bag.of(trial)
    bag_index, _ = bag.bag_of_index
    shuffled = generator.permutation(len(bag_index))
    shuffled = shuffled[np.argsort(bag_index[shuffled], kind="stable")]

    def reorder(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array.reshape(-1)[shuffled].reshape(array.shape)

    index = reorder(bag.index)
    assert index is not None
    yield equality_claim(replace(bag, index=index, factors=reorder(bag.factors)).call(), trial)


@law("padding", "what the row of padding_idx holds means nothing", MOVED)
def padding(trial: Trial, generator: Generator) -> Claims:
    """The call with another row at padding_idx."""
    bag = Bag.of(trial)
    padding_row = bag.arguments.get("padding_idx")
    if padding_row is None:
        return
    weight = bag.weight.copy()
    weight[padding_row] = bag.weight[generator.integers(len(weight))] * 2.0 ** -int(
        generator.integers(2)
    ) if bag.arguments.get("max_norm") is None else 0.0  # fmt: skip
    yield equality_claim(replace(bag, weight=weight).call(), trial)


@law("features", "features are reduced each by itself", MOVED)
def features(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 features drawn from the case's; not with max_norm, which depends on all features."""
    bag = Bag.of(trial)
    if trial.spec.traits.updates_state(trial.case.call):
        return
    chosen = generator.integers(bag.weight.shape[1], size=large_size(generator))
    yield equality_claim(
        replace(bag, weight=bag.weight[:, chosen]).call(),
        trial,
        wanted_moves=lambda y: y[:, chosen],
    )


@law(
    "embedding", "a bag of the embedding's rows is their sum, mean or maximum", WITHIN_SUM_OF_BOUNDS
)
def embedding(trial: Trial, generator: Generator) -> Claims:
    """functional.embedding, reduced by the law; for (B, N) without padding_idx and max_norm."""
    bag = Bag.of(trial)
    is_plain = bag.arguments.get("padding_idx") is None and bag.arguments.get("max_norm") is None
    if bag.index.ndim != 2 or not bag.index.size or bag.factors is not None or not is_plain:
        return
    case = trial.case
    call = replace(case.call, layer="functional.embedding", arguments={}, state={}, layouts={})
    rows = trial.trial_of(replace(case, call=call, inputs=(bag.index, bag.weight), layouts=()))
    (output,) = outputs_with_bounds(rows)
    wide_output = in_float64(output)
    reduced = maximum(wide_output, 1) if bag.mode == "max" else total(wide_output, 1)
    if bag.mode == "mean":
        reduced = divide_by_count(reduced, bag.index.shape[1])
    yield claim(
        trial, outputs_with_bounds(trial), Side(f"{rows.text()}, then {bag.mode}", (reduced,))
    )


LAWS = (function, flat, end, ones, among, order, padding, features, embedding)


@law("rows", "a class means the same among many others", EXACT)
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 indices drawn from the case's, with the same number of classes."""
    (tensor,) = trial.case.inputs
    assert tensor is not None
    if not tensor.size:
        return
    classes = trial.shapes[0][-1]
    chosen = generator.integers(tensor.size, size=large_size(generator))
    yield equality_claim(
        _one_hot_call(trial, tensor.reshape(-1)[chosen], classes),
        trial,
        wanted_moves=lambda y: y.reshape(tensor.size, classes)[chosen],
    )


@law("more", "more classes are more columns of zeros", EXACT)
def more(trial: Trial, generator: Generator) -> Claims:
    """The call with 17 to 65 more classes."""
    (tensor,) = trial.case.inputs
    assert tensor is not None
    classes, extra = trial.shapes[0][-1], large_size(generator)
    yield equality_claim(
        _one_hot_call(trial, tensor, classes + extra), trial, got_moves=lambda y: y[..., :classes]
    )


@law("relabelled", "columns go with the names of the classes", EXACT)
def relabelled(trial: Trial, generator: Generator) -> Claims:
    """The call with the classes permuted."""
    (tensor,) = trial.case.inputs
    assert tensor is not None
    classes = trial.shapes[0][-1]
    new_labels = generator.permutation(classes)
    other = _one_hot_call(trial, new_labels[tensor] if classes else tensor, classes)
    yield equality_claim(other, trial, got_moves=lambda y: y[..., new_labels])


def _one_hot_call(trial: Trial, tensor: np.ndarray, classes: int) -> Trial:
    call = replace(trial.case.call, arguments={"num_classes": classes})
    return trial.trial_of(replace(trial.case, call=call, inputs=(tensor,), layouts=()))


ONE_HOT_LAWS = (rows, more, relabelled)
