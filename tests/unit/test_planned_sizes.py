"""Options meet block sizes, tensors have more than 65,536 elements, and both shrink."""

from __future__ import annotations

from collections.abc import Sequence

import planted
import pytest
from kill_rate import backend_of

from conformance.generation.planned_sizes import MANY_ELEMENTS, Plan, plan_cases
from conformance.items.planning import Item
from conformance.items.stream import Stream
from conformance.layers import CATALOGUE
from conformance.model.case import Case
from conformance.run.engine import Engine

FILES = (".large_tensors", ".block_options", ".overlapping_rows")
BUGS = [bug for bug in planted.BUGS if bug.implementation.__module__.endswith(FILES)]


def _cases(layer: str, dtype: str, examples: int, seed: int) -> Sequence[Case]:
    return Stream(Item(layer, "values", dtype, "cpu"), examples, seed).cases()


ELEMENTWISE = ("ReLU", "GELU", "functional.tanh", "Hardswish", "functional.mish")
OTHERS = ("Linear", "LayerNorm", "Softmax", "MSELoss", "functional.max_pool1d", "Conv1d")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_bug_is_caught(bug: planted.Bug) -> None:
    dtypes = ("float32", "bfloat16", "float16", "float64")
    engine = Engine(backend_of(bug), 60, 0)
    verdicts = (engine.run(Item(bug.layer, bug.check, dtype, "cpu")) for dtype in dtypes)
    assert any(verdict.status == "failed" for verdict in verdicts), bug.story


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("layer", [*ELEMENTWISE, *OTHERS])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_some_tensor_has_more_than_65536_elements(layer: str, dtype: str, seed: int) -> None:
    assert any(
        x.size > MANY_ELEMENTS for case in _cases(layer, dtype, 40, seed) for x in case.operands
    )


def test_a_table_of_more_rows_than_16_bits_count_is_looked_up_at_its_end() -> None:
    indices = [
        case.inputs[0].max()
        for dtype in ("float32", "float64", "bfloat16", "float16")
        for case in _cases("functional.embedding", dtype, 60, 0)
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
        for case in _cases(layer, "float32", 200, seed)
        if str(case.call.arguments.get(name)) == value and case.inputs[0] is not None
        for size in case.inputs[0].shape
    ]
    assert max(sizes) > 256


def test_plans_depend_on_the_cases_only() -> None:
    spec, cases = CATALOGUE["Linear"], _cases("Linear", "float32", 60, 3)
    first, second = ([x.plan for x in plan_cases(spec, cases)] for _ in range(2))
    assert first == second
    assert not plan_cases(spec, ())


def test_smaller_plans_come_first() -> None:
    plan = Plan({"in_features": 128, "out_features": 65})
    plans = list(plan.smaller_plans())
    assert plans[0] == Plan({"in_features": 15})
    assert plans[-1] is plan


def test_a_failing_large_case_shrinks_as_far_as_it_fails() -> None:
    # Each mean of more elements is wrong, whatever they are; planned are 66,561.
    bug = next(bug for bug in planted.BUGS if bug.name == "mse-loss-mean-of-the-first-65536")
    verdict = Engine(backend_of(bug), 60, 0).run(Item(bug.layer, "values", "float32", "cpu"))
    assert verdict.status == "failed"
    assert verdict.case is not None
    shapes = [x["shape"] for x in verdict.case["inputs"].values()]
    assert {max(shape) for shape in shapes} == {65_537}
    assert not verdict.case["call"]["arguments"]
