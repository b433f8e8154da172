"""Sizes around kernels' block sizes are drawn for every layer, and shrink to the smallest."""

from __future__ import annotations

import planted
import pytest
from conformance.reports.causes import needed_conditions
from kill_rate import backend_of
from support import LAYERS, cases

from conformance.generation.block_sizes import MAX_ELEMENTS, SIZES, dimensions, set_sizes
from conformance.generation.drawing import draw_cases
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.run.engine import Engine


def test_sizes_are_next_to_whole_blocks() -> None:
    assert tuple(sorted(SIZES)) == SIZES
    assert {15, 16, 17, 127, 128, 129, 1023, 1024, 1025} <= set(SIZES)
    for size in SIZES:
        assert any((size + d) % 16 == 0 for d in (-1, 0, 1))


@pytest.mark.parametrize("layer", [x for x in LAYERS if CATALOGUE[x].oracle.parts is None])
def test_every_layer_has_such_cases_and_they_stay_small(layer: str) -> None:
    tiled = [case for case in cases(layer, tiled=True) if "tile" in case.labels]
    assert tiled, "no case of 200 has a size of a block"
    for case in tiled:
        arrays = (*case.inputs, *case.call.state.values())
        assert sum(x.size for x in arrays if x is not None) <= MAX_ELEMENTS[2]


@pytest.mark.parametrize(
    ("layer", "names"),
    [
        ("Linear", {"in_features", "out_features"}),
        ("functional.linear", {"input.shape[-1]", "weight.shape[-2]"}),
        ("functional.conv2d", {"input.shape[-3]", "weight.shape[-4]", "input.shape[-1]"}),
        ("Conv2d", {"in_channels", "out_channels", "input.shape[-1]"}),
        ("GRU", {"input_size", "hidden_size"}),
        ("LayerNorm", {"normalized_shape"}),
        ("BatchNorm2d", {"num_features", "input.shape[-1]"}),
        ("functional.embedding", {"weight.shape[-1]", "weight.shape[-2]"}),
        ("functional.scaled_dot_product_attention", {"key.shape[-2]", "query.shape[-1]"}),
        ("MultiheadAttention", {"embed_dim", "query.shape[-2]", "key.shape[-2]"}),
        ("functional.cross_entropy", {"input.shape[-1]"}),
    ],
)
def test_what_kernels_cut_is_drawn(layer: str, names: set[str]) -> None:
    spec = CATALOGUE[layer]
    block_names = {
        x.name for case in draw_cases(layer, "float32", 60, 0) for x in dimensions(spec, case)
    }
    assert names <= block_names


def test_the_largest_size_finds_room_beside_the_others() -> None:
    """A softmax wrong for one block of 1,024 once passed, because the other sizes stayed at 3."""
    spec = CATALOGUE["Softmax"]
    ranked = [x for x in cases("Softmax") if x.inputs[0] is not None and x.inputs[0].ndim == 3]
    name = "input.shape[-1]"
    enlarged = [set_sizes(spec, x, {name: 1025}) for x in ranked if x.inputs[0].size]
    assert enlarged
    for case in enlarged:
        assert case is not None
        assert case.inputs[0] is not None
        assert case.inputs[0].shape[-1] == 1025


def test_one_array_is_drawn_for_two_inputs() -> None:
    shared_cases = [
        case for case in cases("Bilinear", tiled=True) if case.inputs[0] is case.inputs[1]
    ]
    assert shared_cases


def test_a_failure_is_shrunk_to_the_smallest_size() -> None:
    bug = next(bug for bug in planted.BUGS if bug.name == "linear-tail-of-features-past-128")
    item = Item(bug.layer, "values", "float32", "cpu")
    verdict = Engine(backend_of(bug), 200, 0).run(item)
    assert verdict.status == "failed"
    assert set(needed_conditions(verdict)) == {"in_features > 128"}
