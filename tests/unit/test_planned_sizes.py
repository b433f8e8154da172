"""Options meet block sizes, tensors have more than 65,536 elements, and both shrink."""

from __future__ import annotations

import planted
import pytest
from kill_rate import backend_of
from support import first_failure

from conformance.generation.drawing import draw_cases
from conformance.generation.planned_sizes import MANY_ELEMENTS, Plan, plan_sizes
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.run.engine import Engine

FILES = (".large_tensors", ".block_options", ".overlapping_rows")
BUGS = [bug for bug in planted.BUGS if bug.implementation.__module__.endswith(FILES)]
ELEMENTWISE = ("ReLU", "GELU", "functional.tanh", "Hardswish", "functional.mish")
OTHERS = ("Linear", "LayerNorm", "Softmax", "MSELoss", "functional.max_pool1d", "Conv1d")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_bug_is_caught(bug: planted.Bug) -> None:
    dtypes = ("float32", "bfloat16", "float16", "float64")
    searches = (first_failure(backend_of(bug), bug.layer, bug.check, dtype) for dtype in dtypes)
    assert any(search.failure for search in searches), bug.story


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("layer", [*ELEMENTWISE, *OTHERS])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_some_tensor_has_more_than_65536_elements(layer: str, dtype: str, seed: int) -> None:
    assert any(
        x.size > MANY_ELEMENTS for case in draw_cases(layer, dtype, 40, seed) for x in case.operands
    )


def test_a_table_of_more_rows_than_16_bits_count_is_looked_up_at_its_end() -> None:
    indices = [
        case.inputs[0].max()
        for case in draw_cases("functional.embedding", "float32", 60, 0)
        if case.inputs[0] is not None and case.inputs[0].size
    ]
    assert max(indices) >= MANY_ELEMENTS


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("layer", "option"), [("MSELoss", ("reduction", "sum")), ("GroupNorm", ("affine", "False"))]
)
def test_an_option_meets_a_large_block(layer: str, option: tuple[str, str], seed: int) -> None:
    name, value = option
    sizes = [
        size
        for case in draw_cases(layer, "float32", 200, seed)
        if str(case.call.arguments.get(name)) == value and case.inputs[0] is not None
        for size in case.inputs[0].shape
    ]
    assert max(sizes) > 256


def test_plans_depend_on_the_cases_only() -> None:
    spec, cases = CATALOGUE["Linear"], draw_cases("Linear", "float32", 60, 3)
    assert plan_sizes(spec, cases) == plan_sizes(spec, cases)
    assert plan_sizes(spec, ()) == {}


def test_smaller_plans_come_first() -> None:
    plan = Plan({"in_features": 128, "out_features": 65})
    plans = list(plan.smaller_plans())
    assert plans[0] == Plan({"in_features": 15})
    assert plans[-1] is plan


def test_a_failing_large_case_shrinks_as_far_as_it_fails() -> None:
    bug = next(bug for bug in planted.BUGS if bug.name == "relu-index-of-16-bits")
    verdict = Engine(backend_of(bug), 200, 0).run(Item(bug.layer, "values", "float32", "cpu"))
    assert verdict.status == "failed"
    assert verdict.case is not None
    (size,) = [x["shape"] for x in verdict.case["inputs"].values()]
    assert size in ([65537], [66561])
