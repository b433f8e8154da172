"""Ways to break a valid call of a bag of embeddings, and of one-hot rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from conformance.strategies.invalid.breaks import (
    Break,
    replace_arguments,
    set_argument,
)
from conformance.strategies.invalid.embedding.embedding import negative_size, weight_rank
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function

surplus = st.integers(0, 2)


class _BagInputs:
    """Positions of the tensors among the inputs of a bag's call."""

    def __init__(self, layer: str) -> None:
        self.function = is_function(layer)
        self.offsets = 2 if self.function else 1
        self.factors = self.offsets + 1

    def row_count(self, case: Case) -> int:
        """Number of rows of the weight."""
        if self.function:
            weight = case.inputs[1]
            assert weight is not None
            return len(weight)
        return int(case.call.arguments["num_embeddings"])

    def replace_input(self, case: Case, place: int, array: np.ndarray | None) -> Case:
        """The case with another array as one of its inputs."""
        inputs = tuple(array if k == place else x for k, x in enumerate(case.inputs))
        return replace(case, inputs=inputs)


def _index(case: Case) -> np.ndarray:
    index = case.inputs[0]
    assert index is not None
    return index


def _has_indices(case: Case) -> bool:
    return _index(case).size > 0


def _is_flat(case: Case) -> bool:
    return _index(case).ndim == 1


def _mode(case: Case) -> str:
    return str(case.call.arguments.get("mode", "mean"))


def _index_out_of_range(bag_inputs: _BagInputs, below: bool) -> Break:
    """The break of one index that is out of range."""

    def apply(draw: Draw, case: Case) -> Case:
        index = _index(case).copy()
        wrong_index = -1 - draw(surplus) if below else bag_inputs.row_count(case) + draw(surplus)
        index.reshape(-1)[draw(st.integers(0, index.size - 1))] = wrong_index
        return bag_inputs.replace_input(case, 0, index)

    return Break(
        "negative index" if below else "index of no row", "input", apply, applies=_has_indices
    )


def _change_offsets(
    bag_inputs: _BagInputs, change: Callable[[Draw, np.ndarray, int], np.ndarray]
) -> Callable[[Draw, Case], Case]:
    def apply(draw: Draw, case: Case) -> Case:
        offsets = case.inputs[bag_inputs.offsets]
        assert offsets is not None
        return bag_inputs.replace_input(
            case, bag_inputs.offsets, change(draw, offsets.copy(), _index(case).size)
        )

    return apply


def _first_offset_not_zero(draw: Draw, offsets: np.ndarray, size: int) -> np.ndarray:
    offsets[0] = 1
    return np.asarray(np.maximum(offsets, 1))


def _offset_beyond_indices(draw: Draw, offsets: np.ndarray, size: int) -> np.ndarray:
    offsets[-1] = size + 1 + draw(surplus)
    return offsets


def _has_bags(bag_inputs: _BagInputs) -> Callable[[Case], bool]:
    def applies(case: Case) -> bool:
        offsets = case.inputs[bag_inputs.offsets]
        return offsets is not None and len(offsets) > 1 and _has_indices(case)

    return applies


def embedding_bag_breaks(layer: str) -> tuple[Break, ...]:
    """The breaks of `"EmbeddingBag"` or `"functional.embedding_bag"`."""
    bag_inputs = _BagInputs(layer)

    def wrong_padding(draw: Draw, case: Case) -> Case:
        count = bag_inputs.row_count(case)
        value = draw(st.sampled_from((count, count + 1, -count - 1, -count - 2)))
        return replace_arguments(case, padding_idx=value)

    def unsummed_factors(draw: Draw, case: Case) -> Case:
        return bag_inputs.replace_input(case, bag_inputs.factors, np.ones(_index(case).shape))

    def wrong_factor_shape(draw: Draw, case: Case) -> Case:
        return bag_inputs.replace_input(case, bag_inputs.factors, np.ones((*_index(case).shape, 1)))

    def superfluous_offsets(draw: Draw, case: Case) -> Case:
        return bag_inputs.replace_input(case, bag_inputs.offsets, np.arange(len(_index(case))))

    def has_factors(case: Case) -> bool:
        return case.inputs[bag_inputs.factors] is not None

    common_breaks = (
        _index_out_of_range(bag_inputs, below=False),
        _index_out_of_range(bag_inputs, below=True),
        Break("padding_idx of no row", "padding_idx", wrong_padding, applies=_has_indices),
        Break(
            "indices that are no whole numbers", "input",
            lambda draw, case: bag_inputs.replace_input(case, 0, _index(case).astype(float)),
        ),
        Break("unknown mode", "mode", set_argument("mode", st.sampled_from(("average", "min", ""))),
              applies=lambda case: not has_factors(case)),
        Break("frequencies with a maximum", "scale_grad_by_freq",
              set_argument("scale_grad_by_freq", st.just(True)),
              applies=lambda case: _mode(case) == "max"),
        Break("sparse gradient of a maximum", "sparse", set_argument("sparse", st.just(True)),
              applies=lambda case: _mode(case) == "max"),
        Break("per_sample_weights without a sum", "per_sample_weights", unsummed_factors,
              applies=lambda case: _mode(case) != "sum"),
        Break("per_sample_weights of another shape", "per_sample_weights", wrong_factor_shape,
              applies=has_factors),
        Break("offsets of indices in rows", "offsets", superfluous_offsets,
              applies=lambda case: not _is_flat(case)),
        Break("no offsets", "offsets",
              lambda draw, case: bag_inputs.replace_input(case, bag_inputs.offsets, None),
              applies=_is_flat),
        Break("first offset not 0", "offsets", _change_offsets(bag_inputs, _first_offset_not_zero),
              applies=_has_bags(bag_inputs)),
        Break("offset beyond the indices", "offsets",
              _change_offsets(bag_inputs, _offset_beyond_indices),
              applies=_has_bags(bag_inputs)),
        Break("indices of three axes", "input",
              lambda draw, case: bag_inputs.replace_input(case, 0, _index(case)[np.newaxis]),
              applies=lambda case: not _is_flat(case) and not has_factors(case)),
    )  # fmt: skip
    if bag_inputs.function:
        return (*common_breaks, weight_rank)
    return (*common_breaks, *map(negative_size, ("num_embeddings", "embedding_dim")))


def _set_class(draw: Draw, case: Case, value: int) -> Case:
    tensor = _index(case).copy()
    tensor.reshape(-1)[draw(st.integers(0, tensor.size - 1))] = value
    return replace(case, inputs=(tensor,))


def one_hot_breaks() -> tuple[Break, ...]:
    """The breaks of `"functional.one_hot"`."""

    def has_num_classes(case: Case) -> bool:
        return _has_indices(case) and case.call.arguments.get("num_classes", -1) > 0

    def class_too_large(draw: Draw, case: Case) -> Case:
        return _set_class(draw, case, case.call.arguments["num_classes"] + draw(surplus))

    def negative_class(draw: Draw, case: Case) -> Case:
        return _set_class(draw, case, -1 - draw(surplus))

    def nothing_to_infer_from(draw: Draw, case: Case) -> Case:
        case = replace(case, inputs=(np.zeros((0,), np.int64),))
        return replace_arguments(case, num_classes=-1)

    return (
        Break("class beyond num_classes", "tensor", class_too_large, applies=has_num_classes),
        Break("negative class", "tensor", negative_class, applies=_has_indices),
        Break("as many classes as nothing has", "num_classes", nothing_to_infer_from),
        Break("no classes", "num_classes", set_argument("num_classes", st.sampled_from((0, -2))),
              applies=_has_indices),
        Break("classes that are no whole numbers", "tensor",
              lambda draw, case: replace(case, inputs=(_index(case).astype(float),))),
    )  # fmt: skip
