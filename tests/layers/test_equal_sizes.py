"""Axes of equal sizes, and one array for two inputs, are drawn; what confuses them is caught."""

from __future__ import annotations

import numpy as np
import planted
import pytest
from kill_rate import backend_of
from support import cases, first_failure

from conformance.generation.block_sizes import make_sizes_agree
from conformance.layers import CATALOGUE

BUGS = [bug for bug in planted.BUGS if bug.implementation.__module__.endswith(".equal_sizes")]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_bug_is_caught(bug: planted.Bug) -> None:
    dtypes = ("float32", "bfloat16", "float16", "float64")
    searches = (first_failure(backend_of(bug), bug.layer, bug.check, dtype) for dtype in dtypes)
    assert any(search.failure for search in searches), bug.story


@pytest.mark.parametrize("layer", ["BatchNorm1d", "functional.linear", "GRU", "Conv2d", "Bilinear"])
def test_axes_of_one_size_have_different_contents(layer: str) -> None:
    drawn = [x for x in cases(layer, tiled=True) if "one size" in x.labels.get("tile", "")]
    assert drawn
    squares = [
        x
        for case in drawn
        for x in case.inputs
        if x is not None and x.ndim > 1 and len(set(x.shape)) == 1 and x.shape[0] > 1
    ]
    assert squares
    different = [x for x in squares if not np.array_equal(x, x.swapaxes(0, -1))]
    assert len(different) > len(squares) / 2


def test_all_sizes_of_a_case_can_agree() -> None:
    spec = CATALOGUE["functional.conv2d"]
    case = next(
        x
        for x in cases("functional.conv2d")
        if x.inputs[0] is not None and x.inputs[0].ndim == 4 and x.inputs[0].size
    )
    names = ["input.shape[-4]", "input.shape[-1]", "input.shape[-2]"]
    agreed = make_sizes_agree(spec, case, names, 8)
    assert agreed.inputs[0] is not None
    assert agreed.inputs[0].shape[0] == agreed.inputs[0].shape[2] == agreed.inputs[0].shape[3] == 8
    assert agreed.labels["tile"].endswith("of one size")
