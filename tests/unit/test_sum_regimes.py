"""Values that show how a sum is computed: outliers, and windows of many elements."""

from __future__ import annotations

import math

import numpy as np
import planted
import pytest
from conformance.strategies.values import Filler
from planted.bug import replacement_namespaces
from planted.embedding import sums as of_bags
from planted.interpolation import sums as of_interpolation
from planted.normalization import sums as of_normalization
from planted.pooling import sums as of_pooling
from support import cases, first_failure

from conformance.backends import ModuleBackend
from conformance.spec.sizes import per_dimension

MODULES = {module.__name__ for module in (of_bags, of_interpolation, of_normalization, of_pooling)}
BUGS = [bug for bug in planted.BUGS if bug.implementation.__module__ in MODULES]


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
def test_few_elements_are_a_million_times_as_large_as_the_others(dtype: str) -> None:
    sizes = np.sort(np.abs(Filler("outliers", dtype, 0, 9, factors=1).operand(4, 64)).ravel())
    assert sizes[-4] > 2**6 > 2**-6 > sizes[-5]
    assert np.median(sizes[-4:]) / np.median(sizes[:-4]) > 5e5
    assert sizes[0] > 0


def test_only_one_factor_has_outliers() -> None:
    filler = Filler("outliers", "float32", 0, 9)
    first, second = filler.operand(4, 64), filler.operand(4, 64)
    assert np.abs(first).max() / np.median(np.abs(first)) > 2**12
    assert np.abs(second).max() / np.median(np.abs(second)) < 2**4


@pytest.mark.parametrize("layer", ["AvgPool1d", "AvgPool2d", "functional.avg_pool3d", "LPPool2d"])
def test_windows_of_many_elements_are_drawn(layer: str) -> None:
    dims = int(layer[-2])
    heavy = [x for x in cases(layer) if x.labels["profile"] == "heavy"]
    assert heavy
    for case in heavy:
        assert math.prod(per_dimension(case.call.arguments["kernel_size"], dims)) > 32
        assert case.inputs[0] is not None
        assert case.inputs[0].size


@pytest.mark.in_fork
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_wrong_way_to_add_up_is_caught(bug: planted.Bug) -> None:
    backend = ModuleBackend(bug.name, **replacement_namespaces(bug.layer, bug.implementation))
    searches = (
        first_failure(backend, bug.layer, bug.check, dtype)
        for dtype in ("float32", "bfloat16", "float16")
    )
    assert any(not search.passed for search in searches)
