"""Ways to break a valid call of a bag of embeddings, and of one-hot rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    argument,
    with_arguments,
)
from conformance.strategies.invalid.embedding.embedding import negative_size, weight_rank
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function

surplus = st.integers(0, 2)


class _Places:
    """Positions of the tensors among the inputs of a bag's call."""

    def __init__(self, layer: str) -> None:
        self.function = is_function(layer)
        self.offsets = 2 if self.function else 1
        self.factors = self.offsets + 1

    def count(self, case: Case) -> int:
        """Number of rows of the weight."""
        if self.function:
            weight = case.inputs[1]
            assert weight is not None
            return len(weight)
        return int(case.call.arguments["num_embeddings"])

    def put(self, case: Case, place: int, array: np.ndarray | None) -> Case:
        """The case with another array as one of its inputs."""
        inputs = tuple(array if k == place else x for k, x in enumerate(case.inputs))
        return replace(case, inputs=inputs)


def _index(case: Case) -> np.ndarray:
    index = case.inputs[0]
    assert index is not None
    return index


def _some(case: Case) -> bool:
    return _index(case).size > 0


def _flat(case: Case) -> bool:
    return _index(case).ndim == 1


def _mode(case: Case) -> str:
    return str(case.call.arguments.get("mode", "mean"))


def _beyond(places: _Places, below: bool) -> Break:
    """The break of one index that is out of range."""

    def apply(draw: Draw, case: Case) -> Case:
        index = _index(case).copy()
        beyond = -1 - draw(surplus) if below else places.count(case) + draw(surplus)
        index.reshape(-1)[draw(st.integers(0, index.size - 1))] = beyond
        return places.put(case, 0, index)

    return Break("negative index" if below else "index of no row", "input", apply, applies=_some)


def _offsets(places: _Places, change: Callable[[Draw, np.ndarray, int], np.ndarray]) -> Callable[
    [Draw, Case], Case
]:  # fmt: skip
    def apply(draw: Draw, case: Case) -> Case:
        offsets = case.inputs[places.offsets]
        assert offsets is not None
        return places.put(case, places.offsets, change(draw, offsets.copy(), _index(case).size))

    return apply


def _late(draw: Draw, offsets: np.ndarray, size: int) -> np.ndarray:
    offsets[0] = 1
    return np.asarray(np.maximum(offsets, 1))


def _far(draw: Draw, offsets: np.ndarray, size: int) -> np.ndarray:
    offsets[-1] = size + 1 + draw(surplus)
    return offsets


def _has_bags(places: _Places) -> Callable[[Case], bool]:
    def applies(case: Case) -> bool:
        offsets = case.inputs[places.offsets]
        return offsets is not None and len(offsets) > 1 and _some(case)

    return applies


def embedding_bag_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of `"EmbeddingBag"` or `"functional.embedding_bag"`."""
    places = _Places(layer)

    def padding(draw: Draw, case: Case) -> Case:
        count = places.count(case)
        value = draw(st.sampled_from((count, count + 1, -count - 1, -count - 2)))
        return with_arguments(case, padding_idx=value)

    def factors(draw: Draw, case: Case) -> Case:
        return places.put(case, places.factors, np.ones(_index(case).shape))

    def other_factors(draw: Draw, case: Case) -> Case:
        return places.put(case, places.factors, np.ones((*_index(case).shape, 1)))

    def superfluous(draw: Draw, case: Case) -> Case:
        return places.put(case, places.offsets, np.arange(len(_index(case))))

    def summing(case: Case) -> bool:
        return case.inputs[places.factors] is not None

    found = (
        _beyond(places, below=False),
        _beyond(places, below=True),
        Break("padding_idx of no row", "padding_idx", padding, applies=_some),
        Break(
            "indices that are no whole numbers", "input",
            lambda draw, case: places.put(case, 0, _index(case).astype(float)),
        ),
        Break("unknown mode", "mode", argument("mode", st.sampled_from(("average", "min", ""))),
              applies=lambda case: not summing(case)),
        Break("frequencies with a maximum", "scale_grad_by_freq",
              argument("scale_grad_by_freq", st.just(True)),
              applies=lambda case: _mode(case) == "max"),
        Break("sparse gradient of a maximum", "sparse", argument("sparse", st.just(True)),
              applies=lambda case: _mode(case) == "max"),
        Break("per_sample_weights without a sum", "per_sample_weights", factors,
              applies=lambda case: _mode(case) != "sum"),
        Break("per_sample_weights of another shape", "per_sample_weights", other_factors,
              applies=summing),
        Break("offsets of indices in rows", "offsets", superfluous,
              applies=lambda case: not _flat(case)),
        Break("no offsets", "offsets",
              lambda draw, case: places.put(case, places.offsets, None), applies=_flat),
        Break("first offset not 0", "offsets", _offsets(places, _late),
              applies=_has_bags(places)),
        Break("offset beyond the indices", "offsets", _offsets(places, _far), CUSTOMARY,
              applies=_has_bags(places)),
        Break("indices of three axes", "input",
              lambda draw, case: places.put(case, 0, _index(case)[np.newaxis]),
              applies=lambda case: not _flat(case) and not summing(case)),
    )  # fmt: skip
    if places.function:
        return (*found, weight_rank)
    return (*found, *map(negative_size, ("num_embeddings", "embedding_dim")))


def _with_class(draw: Draw, case: Case, value: int) -> Case:
    tensor = _index(case).copy()
    tensor.reshape(-1)[draw(st.integers(0, tensor.size - 1))] = value
    return replace(case, inputs=(tensor,))


def one_hot_breaks() -> tuple[Break, ...]:
    """The breaks of `"functional.one_hot"`."""

    def given(case: Case) -> bool:
        return _some(case) and case.call.arguments.get("num_classes", -1) > 0

    def beyond(draw: Draw, case: Case) -> Case:
        return _with_class(draw, case, case.call.arguments["num_classes"] + draw(surplus))

    def below(draw: Draw, case: Case) -> Case:
        return _with_class(draw, case, -1 - draw(surplus))

    def inferred(draw: Draw, case: Case) -> Case:
        case = replace(case, inputs=(np.zeros((0,), np.int64),))
        return with_arguments(case, num_classes=-1)

    return (
        Break("class beyond num_classes", "tensor", beyond, applies=given),
        Break("negative class", "tensor", below, applies=_some),
        Break("as many classes as nothing has", "num_classes", inferred),
        Break("no classes", "num_classes", argument("num_classes", st.sampled_from((0, -2))),
              applies=_some),
        Break("classes that are no whole numbers", "tensor",
              lambda draw, case: replace(case, inputs=(_index(case).astype(float),))),
    )  # fmt: skip
